"""Limits of requests: exact under concurrency, shown in headers, and off without Redis."""

import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import redis
from django.conf import settings as configured
from django.test import Client
from prometheus_client import REGISTRY
from pytest_django import Settings

from accounts import keys
from accounts.models import Account
from api import throttling
from api.throttling import Limit, RateLimitedError
from common import clock
from tests.threads import together

pytestmark = pytest.mark.xdist_group("throttling")  # one of these forgets all counts


@pytest.fixture(autouse=True)
def redis_is_near(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not settings.REDIS_URL:
        pytest.skip("there is no Redis for these tests")
    monkeypatch.setattr(throttling._Away, "until", 0.0)
    throttling._leases.clear()
    monkeypatch.setattr(throttling, "TIMEOUT_S", 10)
    connect = throttling._script
    connect.cache_clear()
    yield
    connect.cache_clear()


def limit(most: int, name: str = "key") -> Limit:
    return Limit(name=name, who=uuid.uuid4().hex, most=most)


def passes(*limits: Limit) -> bool:
    try:
        return bool(throttling.count(list(limits)))
    except RateLimitedError:
        return False


def test_concurrent_requests_pass_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "WINDOW_S", 86_400)  # so that the test takes no noticeable part of it
    one = limit(50)

    passed = together(10, lambda _: sum(passes(one) for _ in range(20)))

    assert sum(passed) == 50


def test_of_a_wide_limit_as_many_pass_as_may_and_few_ask_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "WINDOW_S", 86_400)
    monkeypatch.setattr(throttling, "LEASE_FOR_S", 3_600)
    one, other = limit(3_000), limit(6_000, "account")
    fields: list[int] = []
    script = throttling._script(configured.REDIS_URL)
    monkeypatch.setattr(throttling, "_script", lambda _url: lambda **how: fields.append(1) or script(**how))

    passed = together(8, lambda _: sum(passes(one, other) for _ in range(500)))

    assert sum(passed) == 3_000
    assert len(fields) < 1_500  # of 4,000: each refusal is looked at


def test_a_lease_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 1_000.0
    monkeypatch.setattr(throttling.time, "monotonic", lambda: moment)
    one = limit(3_000)
    assert passes(one)
    assert throttling._leases[one].left == 9
    moment += throttling.LEASE_FOR_S + 0.1

    (state,) = throttling.count([one])

    assert state.remaining <= 3_000 - 20 + 60  # what was not used is gone


def test_what_one_limit_refuses_counts_against_none() -> None:
    wide, narrow = limit(100), limit(1, "account")

    assert [passes(wide, narrow) for _ in range(5)] == [True, False, False, False, False]
    (state,) = throttling.count([wide])
    assert state.remaining == 98


def test_a_limit_fills_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "WINDOW_S", 2)
    one = limit(2)

    while passes(one):
        pass
    while not passes(one):
        pass


@pytest.fixture
def key(ada_account: Account, present: datetime) -> str:
    return keys.create_key(
        account=ada_account, name="t", scopes=["credits:read"], created_by=None, now=clock.now()
    ).secret


def balance(client: Client, key: str) -> Any:
    return client.get("/api/v1/credits/balance", headers={"Authorization": f"Bearer {key}"})


def test_answers_say_how_the_limits_stand(client: Client, key: str, settings: Settings) -> None:
    settings.REQUESTS_PER_MINUTE_PER_KEY, settings.REQUESTS_PER_MINUTE_PER_ACCOUNT = 1_000, 60

    answer = balance(client, key)

    assert answer["RateLimit-Policy"] == '"key";q=1000;w=60, "account";q=60;w=60'
    assert answer["RateLimit"] == '"key";r=999;t=1, "account";r=59;t=1'


def test_too_many_are_429_with_the_time_to_wait(client: Client, key: str, settings: Settings) -> None:
    settings.REQUESTS_PER_MINUTE_PER_ACCOUNT = 2
    before = REGISTRY.get_sample_value("tegoed_rate_limited_total", {"limit": "account"}) or 0

    answers = [balance(client, key) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    refused = answers[-1]
    assert (refused.json()["code"], refused.json()["retryable"]) == ("rate_limited", True)
    assert 1 <= int(refused["Retry-After"]) <= 30
    assert REGISTRY.get_sample_value("tegoed_rate_limited_total", {"limit": "account"}) == before + 1


def test_two_keys_of_one_account_share_its_limit(
    client: Client, ada_account: Account, key: str, settings: Settings
) -> None:
    settings.REQUESTS_PER_MINUTE_PER_ACCOUNT = 2
    other = keys.create_key(account=ada_account, name="u", scopes=["credits:read"], created_by=None, now=clock.now())

    assert [balance(client, which).status_code for which in (key, other.secret, key)] == [200, 200, 429]


def test_without_redis_there_are_no_limits_and_a_metric_says_so(
    client: Client, key: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REQUESTS_PER_MINUTE_PER_ACCOUNT = 1
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    before = REGISTRY.get_sample_value("tegoed_rate_limits_off_total") or 0
    fields: list[int] = []
    script = throttling._script(settings.REDIS_URL)
    monkeypatch.setattr(throttling, "_script", lambda _url: lambda **how: fields.append(1) or script(**how))

    answers = [balance(client, key) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200] * 5
    assert "RateLimit" not in answers[0]
    assert REGISTRY.get_sample_value("tegoed_rate_limits_off_total") == before + 5
    assert len(fields) == 1  # left alone for a while after the failure


def test_flushing_redis_forgets_the_counts_and_no_more(client: Client, key: str, settings: Settings) -> None:
    settings.REQUESTS_PER_MINUTE_PER_ACCOUNT = 1
    assert [balance(client, key).status_code for _ in range(2)] == [200, 429]
    connection = redis.Redis.from_url(settings.REDIS_URL)
    for name in connection.scan_iter("tegoed:limit:*"):
        connection.delete(name)
    connection.script_flush()
    connection.close()

    assert balance(client, key).status_code == 200


def test_metrics_are_for_who_has_the_token(client: Client, db: None, settings: Settings) -> None:
    assert client.get("/metrics").status_code == 401
    settings.METRICS_TOKEN = "m" * 32

    assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {settings.METRICS_TOKEN}"})
    assert b"tegoed_rate_limits_off_total" in answer.content
