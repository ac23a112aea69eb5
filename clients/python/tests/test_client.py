"""The client against a running server, and against one that fails."""

import asyncio
import base64
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pytest_django.live_server_helper import LiveServer
from tegoed import (
    AsyncTegoed,
    ConnectionFailed,
    DailyCapReached,
    ForgedWebhook,
    HoldNotOpen,
    InsufficientCredits,
    InvalidAnswer,
    InvalidRequest,
    KeyReused,
    NotAllowed,
    NotFound,
    RateLimited,
    ServerError,
    Tegoed,
    Unauthenticated,
    Usage,
    __version__,
    calls,
    verify_webhook,
)

from accounts import keys
from accounts.models import Account
from common import clock, webhook_signatures
from common.version import VERSION
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
    assert refused.value.buy_url.startswith("http")


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


@pytest.mark.parametrize(("status", "text"), [(200, "<h1>captive</h1>"), (404, "<h1>proxy</h1>"), (500, "")])
def test_answer_of_something_else_is_an_error_of_its_own(
    connect: Callable[..., Tegoed], status: int, text: str
) -> None:
    line = Flaky(lambda _request: httpx2.Response(status, text=text))

    with pytest.raises(InvalidAnswer) as wrong:
        connect(transport=line).spend(amount=1, idempotency_key="mine")
    assert (wrong.value.status, wrong.value.idempotency_key) == (status, "mine")


def test_failing_server_is_told_from_a_refusal(connect: Callable[..., Tegoed]) -> None:
    problem = {"code": "internal_error", "detail": "Our mistake"}
    line = Flaky(lambda _request: httpx2.Response(500, json=problem))

    with pytest.raises(ServerError):
        connect(transport=line).balance()


def test_any_operation_can_be_asked_with_its_headers(connect: Callable[..., Tegoed]) -> None:
    client = connect()

    answer = client.ask("GET", "rate-card")
    assert (answer.status, answer.data["has_more"]) == (200, False)
    assert answer.request_id
    with pytest.raises(InvalidRequest):
        client.ask("POST", "credits/check", body={"amuont": 1})


def test_key_and_address_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEGOED_API_KEY", raising=False)
    with pytest.raises(ValueError, match="TEGOED_BASE_URL"):
        Tegoed("tg_test_x")
    monkeypatch.setenv("TEGOED_BASE_URL", "https://credits.example.com")
    with pytest.raises(ValueError, match="TEGOED_API_KEY"):
        Tegoed()
    monkeypatch.setenv("TEGOED_API_KEY", "tg_test_x")
    Tegoed().close()


TRANSACTION = {
    "id": "txn_1", "type": "spend", "amount": -1, "balance_after": 1, "lots": [], "created": "2026-11-28T09:00:00Z",
}  # fmt: skip


def charged_client() -> tuple[Tegoed, list[str]]:
    """A client of a server that notes what is charged and given back."""
    done: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        done.append("back" if request.url.path.endswith("/reverse") else "charge")
        return httpx2.Response(201, json=TRANSACTION)

    return Tegoed("k", base_url="http://x", transport=httpx2.MockTransport(answer)), done


def test_stream_that_fails_on_its_way_is_given_back() -> None:
    client, done = charged_client()

    @client.costs("chat")
    def words(*, fails: bool) -> Iterator[str]:
        yield "one"
        if fails:
            raise RuntimeError("the AI failed")
        yield "two"

    assert list(words(fails=False)) == ["one", "two"]
    assert done == ["charge"]
    with pytest.raises(RuntimeError):
        list(words(fails=True))
    assert done == ["charge", "charge", "back"]
    for word in words(fails=True):
        assert word == "one"
        break  # nobody reads on: what came was paid for
    assert done[3:] == ["charge"]


def test_result_that_says_failure_is_given_back() -> None:
    client, done = charged_client()

    @client.costs("chat", failed=lambda answer: answer[1] >= 500)
    def view(status: int) -> tuple[str, int]:
        return "", status

    assert view(200) == ("", 200)
    assert view(502) == ("", 502)
    assert done == ["charge", "charge", "back"]


def test_decorator_of_the_wrong_kind_is_refused_before_it_charges() -> None:
    client, done = charged_client()

    async def later() -> None: ...
    async def stream() -> AsyncIterator[str]:
        yield ""

    def now() -> None: ...

    for function in (later, stream):
        with pytest.raises(TypeError, match="asynchronous"):
            client.costs("chat")(function)
    with pytest.raises(TypeError, match="async functions"):
        AsyncTegoed("k", base_url="http://x").costs("chat")(now)
    assert done == []


def test_first_error_counts_when_giving_back_fails_too() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/reverse"):
            return httpx2.Response(503, json={"code": "busy"}, headers={"Retry-After": "99"})
        return httpx2.Response(201, json=TRANSACTION)

    client = Tegoed("k", base_url="http://x", transport=httpx2.MockTransport(answer))

    @client.costs("chat")
    def fails() -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine") as raised:
        fails()
    assert "was not given back" in raised.value.__notes__[0]


def test_webhook_is_taken_from_who_has_the_secret_alone() -> None:
    secret = webhook_signatures.PREFIX + base64.b64encode(b"x" * 24).decode()
    body, now = b'{"type": "credits.low", "data": {"left": 2}}', 1_795_860_000
    signature = webhook_signatures.sign(secret=secret, message_id="evt_1", timestamp=now, body=body)
    headers = {"Webhook-Id": "evt_1", "Webhook-Timestamp": str(now), "Webhook-Signature": f"v1,AAAA {signature}"}

    assert verify_webhook(body, headers, ["whsec_AAAA", secret], now=now)["data"] == {"left": 2}
    for wrong in (
        {"body": body.replace(b"2", b"9")}, {"secrets": "whsec_AAAA"}, {"now": now + 301}, {"now": now - 301},
        {"headers": {**headers, "Webhook-Signature": ""}}, {"headers": {}},
        {"headers": {**headers, "Webhook-Timestamp": "x"}},
    ):  # fmt: skip
        with pytest.raises(ForgedWebhook):
            verify_webhook(**({"body": body, "headers": headers, "secrets": secret, "now": now} | wrong))


def test_package_is_of_this_release() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]

    assert (project["version"], project["name"]) == (VERSION, "tegoed-client")
    assert __version__ == VERSION


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
