"""The local Stripe itself: state, time, and one door for requests, whichever way they come in.

A request is routed, its parameters are checked, its handler changes objects and emits events, and the answer is
held to the contract. One lock makes each request a unit, as if Stripe had one thread.
"""

import copy
import json
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from common.json_types import JsonObject
from sandbox.clock import SandboxClock
from sandbox.local_stripe import contract, faults, parameters
from sandbox.local_stripe.errors import StripeApiError, invalid, missing
from sandbox.local_stripe.store import DUE, IDEMPOTENCY, Store, new_id

API_VERSION = "2026-05-27.dahlia"
ACCOUNT_ID = "acct_tegoedsandbox"

# Lists inside an object that only `expand` shows.
SHOWN_ON_REQUEST = {
    "checkout.session": {"line_items"},
    "charge": {"refunds"},
    "customer": {"sources", "subscriptions", "tax_ids"},
    "invoice": {"payments", "confirmation_secret"},
    "price": {"currency_options", "tiers"},
}
PORTAL_PRODUCTS = ["features", "subscription_update", "products"]
MAX_PAGE = 100
DEFAULT_PAGE = 10
REMEMBERED_S = 24 * 3600  # an idempotency key

Handler = Callable[..., JsonObject]


class ContractError(AssertionError):
    """The local Stripe was about to answer something that Stripe would not."""


@dataclass(frozen=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    handler: Handler
    params: str | None


@dataclass(frozen=True)
class Answer:
    status: int
    body: JsonObject
    headers: dict[str, str]


_routes: list[Route] = []
_timers: dict[str, Callable[..., None]] = {}
_reactions: dict[str, list[Callable[..., None]]] = {}


def route(method: str, path: str, params: str | None = None) -> Callable[[Handler], Handler]:
    """Serve `path`, whose `{names}` become arguments; `params` names the parameters' type in stripe.params."""
    pattern = re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path) + "$")

    def register(handler: Handler) -> Handler:
        _routes.append(Route(method, pattern, handler, params))
        return handler

    return register


def timer(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A thing that time brings: `LocalStripe.at` plans it, moving the clock carries it out."""

    def register(handler: Callable[..., None]) -> Callable[..., None]:
        _timers[name] = handler
        return handler

    return register


def reaction(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """What follows elsewhere when something happens: `LocalStripe.react` calls it at once."""

    def register(handler: Callable[..., None]) -> Callable[..., None]:
        _reactions.setdefault(name, []).append(handler)
        return handler

    return register


class LocalStripe:
    """One Stripe account in test mode. Import it from `whole`, which registers what its parts serve."""

    def __init__(self, *, store: Store, clock: SandboxClock, public_url: str = "http://127.0.0.1:12111") -> None:
        self.store = store
        self.clock = clock
        self.public_url = public_url
        self.lock = threading.RLock()

    def react(self, name: str, row: JsonObject) -> None:
        """Have the parts that care do what follows."""
        for handler in _reactions.get(name, []):
            handler(self, row)

    # --- requests --------------------------------------------------------------------------------

    def request(self, method: str, path: str, encoded: str, headers: Mapping[str, str]) -> Answer:
        """Answer one API call. `encoded` is the query of a GET or DELETE, or the body of a POST."""
        answer_headers = {"Request-Id": f"req_{secrets.token_hex(7)}", "Stripe-Version": API_VERSION}
        with self.lock:
            fault = faults.next_one(self.store, method, path)
            try:
                self._check_key(headers.get("authorization", ""))
                faults.before(fault)
                status, body, extra = self._idempotent(
                    method, path, encoded, headers.get("idempotency-key"), fails=faults.inside(fault)
                )
            except StripeApiError as error:
                status, body, extra = error.status, error.body, {}
            self.store.save()
        faults.after(fault)
        return Answer(status, body, answer_headers | extra)

    def _check_key(self, authorization: str) -> None:
        key = authorization.removeprefix("Bearer ")
        if key.startswith(("sk_live_", "rk_live_")):
            raise StripeApiError(401, "invalid_request_error", "This is the local Stripe: it refuses live keys.")
        if not key.startswith(("sk_test_", "rk_test_")):
            raise StripeApiError(401, "invalid_request_error", "Invalid API Key provided.")

    def _idempotent(
        self, method: str, path: str, encoded: str, key: str | None, *, fails: StripeApiError | None = None
    ) -> tuple[int, JsonObject, dict[str, str]]:
        """Answer a repeated key with the first answer, also where that was an error.

        docs.stripe.com/api/idempotent_requests. `fails` is an error of Stripe's own, which is remembered as well. Keys
        are kept for a day.
        """
        if key is None or method != "POST":
            if fails is not None:
                raise fails
            return *self._carry_out(method, path, encoded), {}
        request = {"path": path, "encoded": encoded}
        known = self.store.get(IDEMPOTENCY, key)
        if known and known["at"] > self.timestamp() - REMEMBERED_S:
            if known["request"] != request:
                raise StripeApiError(
                    400,
                    "idempotency_error",
                    "Keys for idempotent requests can only be used with the same parameters they were first used with.",
                )
            return known["status"], known["body"], {"Idempotent-Replayed": "true"}
        try:
            if fails is not None:
                raise fails
            status, body = self._carry_out(method, path, encoded)
        except StripeApiError as error:
            status, body = error.status, error.body
        kept = {"request": request, "status": status, "body": body, "at": self.timestamp()}
        self.store.put(IDEMPOTENCY, key, kept)
        return status, body, {}

    def _carry_out(self, method: str, path: str, encoded: str) -> tuple[int, JsonObject]:
        for candidate in _routes:
            match = candidate.pattern.match(path)
            if candidate.method == method and match:
                values = parameters.decode(encoded)
                expand = values.pop("expand", [])
                values = parameters.check(values, candidate.params) if candidate.params else parameters.none(values)
                result = candidate.handler(self, values, **match.groupdict())
                return 200, self.shown(result, expand)
        raise invalid(
            f"Unrecognized request URL ({method}: {path}). If you are trying to list objects, remove the trailing "
            "slash. If you are trying to retrieve an object, make sure you passed a valid (non-empty) identifier.",
            status=404,
        )

    # --- objects ---------------------------------------------------------------------------------

    def new(self, kind: str, prefix: str, **values: Any) -> JsonObject:
        """Make an object: everything its class wants, with these values."""
        created = contract.skeleton(kind)
        if "created" in contract.fields(contract.class_of(kind)):
            created["created"] = self.timestamp()
        created |= values
        created.setdefault("id", "")
        created["id"] = created["id"] or new_id(prefix)
        return self.store.put(kind, created["id"], created)

    def get(self, kind: str, identifier: str) -> JsonObject:
        """The object itself, to read or change. Raises the API's `resource_missing`."""
        result = self.store.get(kind, identifier)
        if result is None:
            raise missing(kind.rpartition(".")[2], identifier)
        return result

    def changed(self, kind: str, row: JsonObject) -> JsonObject:
        """Keep an object that was changed."""
        return self.store.put(kind, row["id"], row)

    def listed(
        self, kind: str, values: JsonObject, *, by: tuple[str, ...] = (), where: Callable[..., bool] | None = None
    ) -> JsonObject:
        """A page of objects, latest first, filtered by the parameters named in `by`."""
        wanted = {name: values[name] for name in by if values.get(name) is not None}
        created = values.get("created")
        span = created if isinstance(created, dict) else {}
        rows = [
            row
            for row in self.store.all(kind)
            if all(row.get(name) == value for name, value in wanted.items())
            and span.get("gte", 0) <= row.get("created", 0) <= span.get("lte", row.get("created", 0))
            and (where is None or where(row))
        ][::-1]
        if after := values.get("starting_after"):
            position = next((number for number, row in enumerate(rows) if row["id"] == after), len(rows))
            rows = rows[position + 1 :]
        limit = min(values.get("limit") or DEFAULT_PAGE, MAX_PAGE)
        path = f"/v1/{kind.replace('.', '/')}s"
        return {"object": "list", "url": path, "has_more": len(rows) > limit, "data": rows[:limit]}

    def shown(self, found: JsonObject, expand: list[str] | tuple[str, ...] = ()) -> JsonObject:
        """A copy of an object as the API shows it, checked against the contract."""
        seen = copy.deepcopy(found)
        for path in expand:
            self._expand(seen, path.split("."))
        _hide(seen, [path.split(".") for path in expand])
        if complaints := contract.problems(seen):
            raise ContractError("; ".join(complaints[:10]))
        return seen

    def _expand(self, place: Any, path: list[str]) -> None:
        if isinstance(place, list):
            for item in place:
                self._expand(item, path)
            return
        if not isinstance(place, dict) or not path:
            return
        head, *rest = path
        value = place.get(head)
        if isinstance(value, str) and (result := self.store.find(value)):
            value = place[head] = copy.deepcopy(result)
        elif isinstance(value, list):
            value = place[head] = [
                copy.deepcopy(self.store.find(each) or each) if isinstance(each, str) else each for each in value
            ]
        self._expand(value, rest)

    # --- time ------------------------------------------------------------------------------------

    def timestamp(self) -> int:
        """Now, in Stripe's whole seconds since 1970."""
        return int(self.clock.now().timestamp())

    def at(self, when: int, name: str, identifier: str) -> None:
        """Plan a timer for an object; planning it again moves it."""
        self.store.put(DUE, f"{name}:{identifier}", {"at": when, "name": name, "id": identifier})

    def run_due(self) -> None:
        """Carry out what is due by now, in the order of time."""
        with self.lock:
            while due := self._next_due(self.timestamp()):
                self._run(due)
            self.store.save()

    def advance(self, seconds: int) -> None:
        """Move the clock ahead, stopping at everything that becomes due on the way."""
        with self.lock:
            target = self.clock.now() + timedelta(seconds=seconds)
            while due := self._next_due(int(target.timestamp())):
                self.clock.advance(max(0, due["at"] - self.timestamp()))
                self._run(due)
            self.clock.advance(max(0, round((target - self.clock.now()).total_seconds())))
            self.store.save()

    def _next_due(self, until: int) -> JsonObject | None:
        due = [row for row in self.store.all(DUE) if row["at"] <= until]
        return min(due, key=lambda row: row["at"], default=None)

    def _run(self, due: JsonObject) -> None:
        self.store.remove(DUE, f"{due['name']}:{due['id']}")
        _timers[due["name"]](self, due["id"])

    # --- events ----------------------------------------------------------------------------------

    def emit(self, kind: str, subject: JsonObject, previous: JsonObject | None = None) -> None:
        """Record an event about an object as it is now, and queue its deliveries."""
        data: JsonObject = {"object": self.shown(subject)}
        if previous is not None:
            data["previous_attributes"] = previous
        event = self.new(
            "event", "evt", type=kind, data=data, api_version=API_VERSION, pending_webhooks=0, request=None
        )
        self.react("event", event)


def _hide(place: Any, shown: list[list[str]]) -> None:
    """Take out what is shown on request only and was not requested."""
    if isinstance(place, list):
        for item in place:
            _hide(item, shown)
    elif isinstance(place, dict):
        if place.get("object") == "billing_portal.configuration" and PORTAL_PRODUCTS not in shown:
            place["features"]["subscription_update"].pop("products", None)
        for name in SHOWN_ON_REQUEST.get(str(place.get("object")), set()):
            if [name] not in [path[:1] for path in shown]:
                place.pop(name, None)
        for name, value in place.items():
            _hide(value, [path[1:] for path in shown if path[:1] == [name]])


def encoded_json(body: JsonObject) -> str:
    """A body as Stripe sends it."""
    return json.dumps(body, indent=2)
