"""The client against a running server, and against one that fails."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest
from pytest_django.live_server_helper import LiveServer
from tegoed import (
    AsyncTegoed,
    ConnectionFailed,
    DailyCapReached,
    HoldNotOpen,
    InsufficientCredits,
    InvalidRequest,
    KeyReused,
    NotAllowed,
    NotFound,
    RateLimited,
    Tegoed,
    Unauthenticated,
    Usage,
    calls,
)

from accounts import keys
from accounts.models import Account
from common import clock
from credits import ledger, limits
from credits.models import Source, Transaction, Wallet
from usage.models import FeaturePrice
from usage.tests.rate_card import put_on_the_card

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses are noted, not waited for."""
    paused: list[float] = []

    async def sleep(seconds: float) -> None:
        paused.append(seconds)

    monkeypatch.setattr("tegoed.synchronous.time.sleep", paused.append)
    monkeypatch.setattr("tegoed.asynchronous.asyncio.sleep", sleep)
    return paused


@pytest.fixture
def secret(ada_account: Account, clock_file: Any) -> str:
    put_on_the_card("message", credits=1)
    put_on_the_card("chat", basis=FeaturePrice.Basis.THOUSAND_TOKENS, credits=2)
    now = clock.now()
    ledger.grant(account_id=ada_account.pk, amount=100, source=Source.PURCHASE, source_key="t", now=now)
    return keys.create_key(account=None, name="t", scopes=keys.SERVICE_KEY_SCOPES, created_by=None, now=now).secret


@pytest.fixture
def connect(live_server: LiveServer, secret: str, ada_account: Account) -> Iterator[Callable[..., Tegoed]]:
    """Makes clients of the server, with an app's key and Ada's account unless others are given."""
    adas = {"account": ada_account.public_id}
    with ExitStack() as stack:
        yield lambda key=secret, **how: stack.enter_context(Tegoed(key, base_url=live_server.url, **adas | how))


@pytest.fixture
def client(connect: Callable[..., Tegoed]) -> Tegoed:
    return connect()


@pytest.fixture
def service(connect: Callable[..., Tegoed]) -> Tegoed:
    created = keys.create_key(account=None, name="s", scopes=keys.SERVICE_KEY_SCOPES, created_by=None, now=clock.now())
    return connect(created.secret)


def test_credits_are_spent_looked_at_and_given_back(client: Tegoed) -> None:
    usage = Usage(model="large", input_tokens=900, output_tokens=200)
    spent = client.spend(feature="chat", usage=usage, description="Hello", metadata={"chat": 1})

    assert (spent.amount, spent.balance_after, spent.usage, spent.lots[0].source) == (-3, 97, usage, "purchase")
    assert client.transaction(spent.id) == spent
    assert client.check(feature="message", quantity=98).reason == "insufficient_credits"
    assert client.reverse(spent.id, reason="It failed.").amount == 3
    assert client.balance().available == 100
    assert [row.type for row in client.transactions()] == ["reverse", "spend", "grant"]
    summary = client.usage_summary(group_by="feature,model")
    assert [(row.feature, row.model, row.credits, row.returned) for row in summary.data] == [("chat", "large", 3, 3)]


def test_a_key_of_one_s_own_makes_a_repeated_call_harmless(client: Tegoed) -> None:
    first = client.spend(amount=2, idempotency_key="job-1")

    assert client.spend(amount=2, idempotency_key="job-1") == first
    with pytest.raises(KeyReused):
        client.spend(amount=3, idempotency_key="job-1")
    assert client.balance().available == 98


def test_a_hold_is_captured_and_the_rest_comes_back(client: Tegoed) -> None:
    with client.hold(feature="chat", max_quantity=10_000) as hold:
        assert client.balance().available == 80
        hold.extend(expires_in=3_600)
        created = hold.capture(quantity=1_500)

    assert (created.amount, created.quantity, hold.state.status, hold.state.captured) == (-3, 1_500, "captured", 3)
    assert client.balance().available == 97
    with pytest.raises(HoldNotOpen):
        client.get_hold(hold.id).capture(amount=9)


def test_what_fails_inside_a_hold_gives_everything_back(client: Tegoed) -> None:
    with pytest.raises(ZeroDivisionError), client.hold(amount=10):
        1 / 0  # noqa: B018

    with client.hold(amount=10):
        pass  # nothing was captured
    assert client.balance().available == 100
    assert not Transaction.objects.filter(kind="spend").exists()


def test_charged_function_spends_and_failure_is_reversed(service: Tegoed) -> None:
    service.grant(account="ext:42", amount=5, reason="Welcome")

    @service.costs("message", quantity=2, account=lambda user, fails: f"ext:{user}")
    def reply(user: str, fails: bool) -> str:
        if fails:
            raise TimeoutError
        return "hello"

    assert reply("42", fails=False) == "hello"
    with pytest.raises(TimeoutError):
        reply("42", fails=True)
    assert service.balance(account="ext:42").available == 3
    assert reply("42", fails=False) == "hello"
    with pytest.raises(InsufficientCredits) as refused:
        reply("42", fails=False)
    assert (refused.value.required, refused.value.available, refused.value.shortfall) == (2, 1, 1)
    assert refused.value.buy_url.endswith("/credits")


def test_many_are_spent_in_one_call(service: Tegoed) -> None:
    service.grant(account="ext:42", amount=3, reason="Welcome")

    answers = service.spend_batch([{"amount": amount, "account": "ext:42"} for amount in (2, 9, 1)])

    assert [answer.status for answer in answers] == [201, 402, 201]
    assert answers[0].transaction is not None
    assert answers[1].problem is not None
    assert (answers[0].transaction.amount, answers[1].problem.code) == (-2, "insufficient_credits")


def test_refusals_are_exceptions_of_their_own(
    client: Tegoed, connect: Callable[..., Tegoed], ada_account: Account
) -> None:
    with pytest.raises(NotFound):
        client.transaction("txn_" + "0" * 26)
    with pytest.raises(InvalidRequest) as invalid:
        client.spend(feature="nothing")
    assert (invalid.value.errors[0]["pointer"], invalid.value.code) == ("/feature", "unknown_feature")
    assert len(invalid.value.request_id) > 10
    mine = keys.create_key(
        account=ada_account, name="m", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=clock.now()
    )
    own = connect(mine.secret)
    with pytest.raises(NotAllowed):
        own.grant(account=ada_account.public_id, amount=1, reason="Mine")
    with pytest.raises(NotAllowed, match="service key"):
        own.hold(amount=1).__enter__()
    with pytest.raises(Unauthenticated):
        connect("tg_test_wrong").balance()
    limits.set_daily_cap(account_id=ada_account.pk, cap=1)
    with pytest.raises(DailyCapReached) as capped:
        client.spend(amount=2)
    assert (capped.value.retry_after_s or 0) > 0


def test_ids_cannot_lead_elsewhere(client: Tegoed) -> None:
    with pytest.raises(NotFound):
        client.transaction("../balance")


class Flaky(httpx2.HTTPTransport):
    """Fails as configured, before or after the server has done its work; then behaves."""

    def __init__(self, *failures: Callable[[httpx2.Request], httpx2.Response | None]) -> None:
        super().__init__()
        self.failures = list(failures)
        self.keys: list[str | None] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.keys.append(request.headers.get("Idempotency-Key"))
        if self.failures and (answer := self.failures.pop(0)(request)) is not None:
            return answer
        return super().handle_request(request)


def lost(_request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("no route")


def answered_too_late(request: httpx2.Request) -> httpx2.Response:
    """The server did it, and its answer was lost."""
    with httpx2.HTTPTransport() as line:
        line.handle_request(request).read()
    raise httpx2.ReadTimeout("too slow")


def busy(status: int, **headers: str) -> Callable[[httpx2.Request], httpx2.Response]:
    return lambda _request: httpx2.Response(status, json={"code": "rate_limited", "detail": "Wait."}, headers=headers)


def test_client_retries_lost_answer_and_spends_once(connect: Callable[..., Tegoed], at_once: list[float]) -> None:
    line = Flaky(answered_too_late, lost)

    spent = connect(transport=line).spend(amount=3)

    assert (spent.balance_after, Wallet.objects.get().balance) == (97, 97)
    assert len(line.keys) == 3
    assert len(set(line.keys)) == 1
    assert at_once == sorted(at_once)


def test_there_is_an_end_to_trying(connect: Callable[..., Tegoed]) -> None:
    line = Flaky(lost, lost, lost, lost)

    with pytest.raises(ConnectionFailed) as failed:
        connect(transport=line).spend(amount=3, idempotency_key="mine")

    assert (len(line.keys), failed.value.idempotency_key) == (3, "mine")


@pytest.mark.parametrize(
    ("failure", "tries"),
    [
        (busy(503), 2),
        (busy(502), 2),
        (busy(429, **{"Retry-After": "2"}), 2),
        (busy(429, **{"Retry-After": "3600"}), 1),  # tomorrow
        (busy(429), 1),
        (busy(500), 1),  # a defect: no use
        (busy(402), 1),
        (busy(409), 1),
    ],
)
def test_only_what_may_help_is_tried_again(
    connect: Callable[..., Tegoed], failure: Callable[[httpx2.Request], httpx2.Response], tries: int
) -> None:
    line = Flaky(failure)
    client = connect(transport=line)

    if tries == 1:
        with pytest.raises(RateLimited):
            client.spend(amount=1)
    else:
        client.spend(amount=1)

    assert len(line.keys) == tries


def test_what_the_server_asks_for_is_waited() -> None:
    assert (calls.pause(httpx2.Response(429, headers={"Retry-After": "7"}), tries=1) or 0) >= 7
    assert calls.pause(httpx2.Response(503, headers={"Retry-After": "61"}), tries=1) is None
    assert all(0.25 <= (calls.pause(None, tries=tries) or 0) <= 8 for tries in range(1, 20))


def test_an_answer_that_is_no_json_is_still_an_error(connect: Callable[..., Tegoed]) -> None:
    line = Flaky(lambda _request: httpx2.Response(404, text="<h1>proxy</h1>"))

    with pytest.raises(NotFound) as missing:
        connect(transport=line).balance()
    assert missing.value.detail == "Not Found"


def test_the_same_with_await(live_server: LiveServer, secret: str, ada_account: Account) -> None:
    async def work() -> None:
        async with AsyncTegoed(secret, base_url=live_server.url, account=ada_account.public_id) as client:
            await asyncio.gather(*(client.spend(feature="message") for _ in range(5)))
            async with client.hold(feature="chat", max_quantity=10_000) as hold:
                await hold.capture(quantity=1_000)
            with pytest.raises(ZeroDivisionError):
                async with client.hold(amount=10):
                    1 / 0  # noqa: B018
            on_hold = await client.hold(amount=4)
            assert (await on_hold.release()).status == "released"
            assert (await (await client.get_hold(on_hold.id))).state.status == "released"

            @client.costs("message")
            async def reply(fails: bool) -> str:
                if fails:
                    raise TimeoutError
                return "hello"

            assert await reply(fails=False) == "hello"
            with pytest.raises(TimeoutError):
                await reply(fails=True)
            assert (await client.balance()).available == 92
            assert len([row async for row in client.transactions(type="spend")]) == 8
            with pytest.raises(InsufficientCredits):
                await client.spend(amount=1_000)

    asyncio.run(work())
