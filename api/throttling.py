"""How many requests a key and an account may make: counted in Redis, both in one round trip, none lost.

The generic cell rate algorithm: a limit of 600 a minute is one every 0.1 s, and up to 600 at once for who was quiet.
Of a wide limit a process takes a few requests at a time (a lease, counted when it is taken), so that most requests ask
nobody. What it does not use within a second is lost to the caller, never gained. Without Redis there are no limits,
and a metric that says so: limits must never be what stops spending.
"""

import hashlib
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import redis
import structlog
from django.conf import settings
from prometheus_client import Counter
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from api.authentication import Caller
from common.errors import ApiError

logger = structlog.get_logger(__name__)

WINDOW_S = 60
TIMEOUT_S = 0.1  # longer than any Redis nearby takes; a spend does not wait for its limits
LEASES = 300  # a lease is this part of a minute's requests: one of less than 600, 20 of 6,000
LEASE_FOR_S = 1.0
MOST_LEASES = 10_000  # callers that a process remembers; a few MB
LEAVE_ALONE_S = 5  # after a failure, Redis is not asked for so long

OFF = Counter("tegoed_rate_limits_off", "Requests that were let through uncounted, since Redis was away.")
REFUSED = Counter("tegoed_rate_limited", "Requests that were refused by a limit.", ["limit"])

# For each limit: the moment (in microseconds) at which it is used up by what was let through. Refused is what would
# move one of these moments further away than a window; then nothing is counted. Asked for several at once, it gives one
# where there are no longer so many.
COUNT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window = tonumber(ARGV[1])
local moments, answer, refused = {}, {}, 0
for number, key in ipairs(KEYS) do
    local step, wanted = window / tonumber(ARGV[2 * number]), tonumber(ARGV[2 * number + 1])
    local moment = math.max(now, tonumber(redis.call('GET', key) or now))
    if moment + wanted * step - now > window then
        wanted = 1
    end
    if moment + step - now > window then
        refused = math.max(refused, moment + step - now - window)
        wanted = 0
    end
    moment = moment + wanted * step
    moments[number] = moment
    answer[3 * number - 1] = math.floor((window - (moment - now)) / step)
    answer[3 * number] = math.ceil((moment - now) / 1000000)
    answer[3 * number + 1] = wanted
end
answer[1] = math.ceil(refused)
if refused == 0 then
    for number, key in ipairs(KEYS) do
        redis.call('SET', key, string.format('%.0f', moments[number]), 'PX', math.ceil((moments[number] - now) / 1000))
    end
end
return answer
"""
COUNT_SHA = hashlib.sha1(COUNT.encode(), usedforsecurity=False).hexdigest()  # what Redis calls it


class RateLimitedError(ApiError):
    code = "rate_limited"
    title = "Too many requests"
    status_code = 429

    def __init__(self, *, limit: "Limit", retry_after_s: int) -> None:
        super().__init__(
            f"At most {limit.most} requests a minute for one {limit.name}. Wait {retry_after_s} s, and send it again "
            "with the same Idempotency-Key.",
            retryable=True,
        )
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, kw_only=True)
class Limit:
    """So many requests a minute for one key, or one account."""

    name: str
    who: str
    most: int


@dataclass(frozen=True, kw_only=True)
class State:
    """How a limit stands after a request: so many more at once, and all of them again in so many seconds."""

    limit: Limit
    remaining: int
    resets_in_s: int


class CallerThrottle(BaseThrottle):
    """Counts each request against its caller's limits, for the headers of the answer."""

    def allow_request(self, request: Request, view: object) -> bool:
        caller: object = request.user
        if isinstance(caller, Caller):
            limits = limits_of(caller)
            request._request.rate_limits = count(limits)  # type: ignore[attr-defined]  # read back by config.middleware
        return True


def limits_of(caller: Caller) -> list[Limit]:
    """The limits that hold for a caller; a service key has no account of its own."""
    limits = [Limit(name="key", who=caller.actor, most=settings.REQUESTS_PER_MINUTE_PER_KEY)]
    if caller.account is not None:
        limits.append(Limit(name="account", who=str(caller.account.pk), most=settings.REQUESTS_PER_MINUTE_PER_ACCOUNT))
    return [limit for limit in limits if limit.most]


def count(limits: list[Limit]) -> list[State]:
    """Count one request against all limits, or against none. Raises RateLimitedError. Without Redis, no states."""
    if not limits or not settings.REDIS_URL or time.monotonic() < _Away.until:
        _count_as_off(limits)
        return []
    if leased := _take_leased(limits):
        return leased
    keys = [f"tegoed:limit:{limit.name}:{limit.who}" for limit in limits]
    # As many of each limit, so that the leases of one caller end together.
    lease = max(1, min(limit.most for limit in limits) // LEASES)
    wanted = [number for limit in limits for number in (limit.most, lease)]
    try:
        result = _script(settings.REDIS_URL)(keys=keys, args=[WINDOW_S * 1_000_000, *wanted])
    except redis.RedisError as error:
        _Away.until = time.monotonic() + LEAVE_ALONE_S
        logger.warning("rate_limits_off", error=str(error))
        _count_as_off(limits)
        return []
    refused_us, numbers = int(result[0]), [int(number) for number in result[1:]]
    states = [
        State(limit=limit, remaining=max(0, numbers[3 * place]), resets_in_s=numbers[3 * place + 1])
        for place, limit in enumerate(limits)
    ]
    if refused_us:
        tightest = min(states, key=lambda state: state.remaining)
        REFUSED.labels(tightest.limit.name).inc()
        raise RateLimitedError(limit=tightest.limit, retry_after_s=-(-refused_us // 1_000_000))
    return _keep(states, [numbers[3 * place + 2] for place in range(len(limits))])


@dataclass
class _Lease:
    """Requests that are counted already, and that this process may let through until a moment."""

    state: State
    left: int
    until: float

    def take(self) -> State:
        """One of them; how the limit stands then."""
        self.left -= 1
        state = self.state
        return State(limit=state.limit, remaining=state.remaining + self.left, resets_in_s=state.resets_in_s)


_leases: dict[Limit, _Lease] = {}
_leases_lock = threading.Lock()


def _take_leased(limits: list[Limit]) -> list[State]:
    """One request of each limit's lease, or none of any."""
    now = time.monotonic()
    with _leases_lock:
        leases = [_leases.get(limit) for limit in limits]
        if not all(lease is not None and lease.left > 0 and lease.until > now for lease in leases):
            return []
        return [lease.take() for lease in leases if lease is not None]


def _keep(states: list[State], given: list[int]) -> list[State]:
    """Take one request of what was counted, and put the others aside for the next ones."""
    now = time.monotonic()
    taken = []
    with _leases_lock:
        if len(_leases) > MOST_LEASES:
            _leases.clear()
        for state, number in zip(states, given, strict=True):
            # Another thread may have taken a lease at the same moment.
            known = _leases.get(state.limit)
            left = known.left if known is not None and known.until > now else 0
            lease = _leases[state.limit] = _Lease(state=state, left=left + number, until=now + LEASE_FOR_S)
            taken.append(lease.take())
    return taken


class _Away:
    """Until when Redis is left alone."""

    until = 0.0


def _count_as_off(limits: list[Limit]) -> None:
    if limits:
        OFF.inc()


@lru_cache(maxsize=2)
def _script(url: str) -> Any:
    """Counts in the Redis at this address."""
    clients = threading.local()

    def run(keys: list[str], args: list[Any]) -> Any:
        # A connection a thread: taking one from a pool and putting it back costs more than the question itself.
        if not hasattr(clients, "own"):
            clients.own = redis.Redis.from_url(
                url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, single_connection_client=True
            )
        try:
            return clients.own.evalsha(COUNT_SHA, len(keys), *keys, *args)
        except redis.exceptions.NoScriptError:
            return clients.own.eval(COUNT, len(keys), *keys, *args)

    return run
