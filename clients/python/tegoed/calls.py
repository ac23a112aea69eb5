"""What each operation sends and how its answer is read; and when it is sent again. No network here.

`Tegoed` and `AsyncTegoed` carry the calls out.
"""

import os
import random
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx2

from tegoed import errors, models
from tegoed.models import Usage

T = TypeVar("T")

Metadata = Mapping[str, Any]

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 8.0
LONGEST_WAIT_S = 60  # longer than this, a Retry-After is the caller's to wait for
RENEW_BEFORE = timedelta(seconds=60)
AGAIN = {502, 503, 504}


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """One operation: the same request however often it is sent."""

    method: str
    path: str
    read: Callable[[Any], T]
    body: Mapping[str, Any] | None = None
    query: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None

    def request(self, client: httpx2.Client | httpx2.AsyncClient) -> httpx2.Request:
        """What goes over the line."""
        headers = {"Idempotency-Key": self.idempotency_key} if self.idempotency_key else {}
        query = {name: value for name, value in self.query.items() if value is not None}
        body = None if self.body is None else {name: value for name, value in self.body.items() if value is not None}
        return client.build_request(self.method, f"/api/v1/{self.path}", json=body, params=query, headers=headers)

    def answer(self, response: httpx2.Response) -> T:
        """What came back. Raises ApiError."""
        if response.is_success:
            return self.read(self._json(response) if response.content else None)
        problem = self._json(response)
        if not isinstance(problem, dict) or "code" not in problem:
            raise self._invalid(response)
        raise errors.of(response.status_code, problem, retry_after_s=_retry_after(response))

    def _json(self, response: httpx2.Response) -> Any:
        try:
            return response.json()
        except ValueError:
            raise self._invalid(response) from None

    def _invalid(self, response: httpx2.Response) -> errors.InvalidAnswer:
        shown = response.text[:80].strip() or "nothing"
        reason = f"{response.status_code} from something that is not the server: {shown}"
        return errors.InvalidAnswer(reason, status=response.status_code, idempotency_key=self.idempotency_key)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What any operation answers, as it came."""

    data: Any
    status: int
    headers: Mapping[str, str]

    @property
    def request_id(self) -> str:
        return self.headers.get("Request-Id", "")


def anything(
    method: str, path: str, *, body: Mapping[str, Any] | None, query: Mapping[str, Any], idempotency_key: str | None
) -> Call[Any]:
    return Call(
        method=method, path=path.removeprefix("/").removeprefix("api/v1/"), body=body, query=query,
        idempotency_key=idempotency_key, read=lambda data: data,
    )  # fmt: skip


def pause(response: httpx2.Response | None, *, tries: int) -> float | None:
    """How many seconds to wait before another try; None when it would not help. None of a response: nobody answered."""
    grown: float = min(FIRST_PAUSE_S * 2 ** (tries - 1), LONGEST_PAUSE_S)
    jittered: float = grown * random.uniform(0.5, 1)  # noqa: S311 - spreads load, hides nothing
    if response is None:
        return jittered
    reported = _retry_after(response)
    if response.status_code in AGAIN:
        return max(jittered, reported or 0) if (reported or 0) <= LONGEST_WAIT_S else None
    if response.status_code == httpx2.codes.TOO_MANY_REQUESTS and reported is not None and reported <= LONGEST_WAIT_S:
        return max(jittered, reported)
    return None


class KeyAuth(httpx2.Auth):
    """Sends the API key."""

    def __init__(self, api_key: str) -> None:
        self._key = api_key

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._key}"
        yield request


def configured(name: str, given: str | None, variable: str) -> str:
    """What was given, or what the environment says."""
    value = given or os.environ.get(variable)
    if not value:
        raise ValueError(f"{name} is missing: give it, or set {variable}.")
    return value


def balance(account: str | None) -> Call[models.Balance]:
    return Call(method="GET", path="credits/balance", query={"account": account}, read=_as(models.Balance))


def check(*, amount: int | None, feature: str | None, quantity: int | None, account: str | None) -> Call[models.Check]:
    body = {"amount": amount, "feature": feature, "quantity": quantity, "account": account}
    return Call(method="POST", path="credits/check", body=body, read=_as(models.Check))


def work(
    *,
    amount: int | None,
    feature: str | None,
    quantity: int | None,
    description: str | None,
    metadata: Metadata | None,
    usage: Usage | None,
    account: str | None,
) -> dict[str, Any]:
    """What a spend or a hold is for."""
    return {
        "amount": amount,
        "feature": feature,
        "quantity": quantity,
        "description": description,
        "metadata": metadata,
        "usage": usage.as_json() if usage is not None else None,
        "account": account,
    }


def spend(*, idempotency_key: str | None, **what: Any) -> Call[models.Transaction]:
    return Call(
        method="POST",
        path="credits/spend",
        body=work(**what),
        idempotency_key=idempotency_key or new_key(),
        read=_as(models.Transaction),
    )


def spend_batch(spends: Iterable[Mapping[str, Any]]) -> Call[tuple[models.Answered, ...]]:
    rows = []
    for each in spends:
        usage = each.get("usage")
        reported = usage.as_json() if isinstance(usage, Usage) else usage
        row = {**each, "usage": reported, "idempotency_key": each.get("idempotency_key") or new_key()}
        rows.append({name: value for name, value in row.items() if value is not None})
    return Call(method="POST", path="credits/spend/batch", body={"spends": rows}, read=_rows(models.Answered))


def hold(*, expires_in: int | None, idempotency_key: str | None, **what: Any) -> Call[models.HoldState]:
    return Call(
        method="POST",
        path="credits/holds",
        body={**work(**what, usage=None), "expires_in": expires_in},
        idempotency_key=idempotency_key or new_key(),
        read=_as(models.HoldState),
    )


def get_hold(hold_id: str, account: str | None) -> Call[models.HoldState]:
    return Call(
        method="GET", path=f"credits/holds/{_safe(hold_id)}", query={"account": account}, read=_as(models.HoldState)
    )


def capture(
    hold_id: str, *, amount: int | None, quantity: int | None, usage: Usage | None, account: str | None
) -> Call[models.Captured]:
    reported = usage.as_json() if usage is not None else None
    body = {"amount": amount, "quantity": quantity, "usage": reported, "account": account}
    return Call(method="POST", path=f"credits/holds/{_safe(hold_id)}/capture", body=body, read=_as(models.Captured))


def release(hold_id: str, account: str | None) -> Call[models.HoldState]:
    path = f"credits/holds/{_safe(hold_id)}/release"
    return Call(method="POST", path=path, body={"account": account}, read=_as(models.HoldState))


def extend(hold_id: str, *, expires_in: int, account: str | None) -> Call[models.HoldState]:
    body = {"expires_in": expires_in, "account": account}
    return Call(method="POST", path=f"credits/holds/{_safe(hold_id)}/extend", body=body, read=_as(models.HoldState))


def transaction(transaction_id: str, account: str | None) -> Call[models.Transaction]:
    path = f"credits/transactions/{_safe(transaction_id)}"
    return Call(method="GET", path=path, query={"account": account}, read=_as(models.Transaction))


def transactions_page(**query: Any) -> Call[tuple[tuple[models.Transaction, ...], str | None]]:
    rows = _rows(models.Transaction)
    return Call(
        method="GET", path="credits/transactions", query=query, read=lambda data: (rows(data), data.get("next"))
    )


def reverse(
    transaction_id: str, *, reason: str, amount: int | None, account: str | None, idempotency_key: str | None
) -> Call[models.Transaction]:
    return Call(
        method="POST",
        path=f"credits/transactions/{_safe(transaction_id)}/reverse",
        body={"reason": reason, "amount": amount, "account": account},
        idempotency_key=idempotency_key or new_key(),
        read=_as(models.Transaction),
    )


def grant(
    *,
    account: str,
    amount: int,
    reason: str,
    kind: str | None,
    expires_at: datetime | None,
    idempotency_key: str | None,
) -> Call[models.Transaction]:
    ends = expires_at.isoformat() if expires_at else None
    return Call(
        method="POST",
        path="credits/grants",
        body={"account": account, "amount": amount, "reason": reason, "kind": kind, "expires_at": ends},
        idempotency_key=idempotency_key or new_key(),
        read=_as(models.Transaction),
    )


def usage_summary(**query: Any) -> Call[models.UsageSummary]:
    query["from"] = query.pop("since", None)
    query["to"] = query.pop("until", None)
    return Call(method="GET", path="usage/summary", query=query, read=_as(models.UsageSummary))


def catalogue(account: str | None) -> Call[dict[str, Any]]:
    return Call(method="GET", path="billing/catalogue", query={"account": account}, read=dict)


def checkout(*, idempotency_key: str | None, **what: Any) -> Call[models.Checkout]:
    return Call(
        method="POST",
        path="billing/checkouts",
        body=what,
        idempotency_key=idempotency_key or new_key(),
        read=_as(models.Checkout),
    )


def get_checkout(checkout_id: str, account: str | None) -> Call[models.Checkout]:
    path = f"billing/checkouts/{_safe(checkout_id)}"
    return Call(method="GET", path=path, query={"account": account}, read=_as(models.Checkout))


def portal(*, return_url: str | None, account: str | None) -> Call[str]:
    body = {"return_url": return_url, "account": account}
    return Call(method="POST", path="billing/portal-sessions", body=body, read=lambda data: str(data["url"]))


def token(*, scopes: Iterable[str] | None, ttl: int | None, account: str | None) -> Call[models.Token]:
    body = {"scopes": list(scopes) if scopes is not None else None, "ttl": ttl, "account": account}
    return Call(method="POST", path="auth/tokens", body=body, read=_as(models.Token))


def new_key() -> str:
    """An idempotency key of a new operation."""
    return str(uuid.uuid4())


def _as(kind: type[T]) -> Callable[[Any], T]:
    return lambda data: models.parse(kind, data)


def _rows(kind: type[T]) -> Callable[[Any], tuple[T, ...]]:
    return lambda data: tuple(models.parse(kind, row) for row in data["data"])


def _safe(identifier: str) -> str:
    return quote(identifier, safe="")


def _retry_after(response: httpx2.Response) -> int | None:
    reported = response.headers.get("Retry-After", "")
    return int(reported) if reported.isascii() and reported.isdigit() else None
