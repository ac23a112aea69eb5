"""How many requests a key and an account may make: counted in Redis, both in one round trip, none lost.

The generic cell rate algorithm: a limit of 600 a minute is one every 0.1 s, and up to 600 at once for who was quiet.
Without Redis there are no limits, and a metric that says so: limits must never be what stops spending.
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

from accounts.api_auth import Caller
from accounts.errors import ApiError

logger = structlog.get_logger(__name__)

WINDOW_S = 60
TIMEOUT_S = 0.1  # longer than any Redis nearby takes; a spend does not wait for its limits
LEAVE_ALONE_S = 5  # after a failure, Redis is not asked for so long

OFF = Counter("tegoed_rate_limits_off", "Requests that were let through uncounted, since Redis was away.")
REFUSED = Counter("tegoed_rate_limited", "Requests that were refused by a limit.", ["limit"])

# For each limit: the moment (in microseconds) at which it is used up by what was let through. Refused is what would
# move one of these moments further away than a window; then nothing is counted.
COUNT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window = tonumber(ARGV[1])
local moments, answer, refused = {}, {}, 0
for number, key in ipairs(KEYS) do
    local step = window / tonumber(ARGV[number + 1])
    local moment = math.max(now, tonumber(redis.call('GET', key) or now)) + step
    if moment - now > window then
        refused = math.max(refused, moment - now - window)
        moment = moment - step
    end
    moments[number] = moment
    answer[2 * number] = math.floor((window - (moment - now)) / step)
    answer[2 * number + 1] = math.ceil((moment - now) / 1000000)
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

    def allow_request(self, request: Request, view: Any) -> bool:
        caller: Any = request.user
        if isinstance(caller, Caller):
            limits = limits_of(caller)
            request._request.rate_limits = count(limits)  # type: ignore[attr-defined]
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
    keys = [f"tegoed:limit:{limit.name}:{limit.who}" for limit in limits]
    try:
        found = _script(settings.REDIS_URL)(keys=keys, args=[WINDOW_S * 1_000_000, *(limit.most for limit in limits)])
    except redis.RedisError as error:
        _Away.until = time.monotonic() + LEAVE_ALONE_S
        logger.warning("rate_limits_off", error=str(error))
        _count_as_off(limits)
        return []
    refused_us, numbers = int(found[0]), [int(number) for number in found[1:]]
    states = [
        State(limit=limit, remaining=max(0, numbers[2 * place]), resets_in_s=numbers[2 * place + 1])
        for place, limit in enumerate(limits)
    ]
    if refused_us:
        tightest = min(states, key=lambda state: state.remaining)
        REFUSED.labels(tightest.limit.name).inc()
        raise RateLimitedError(limit=tightest.limit, retry_after_s=-(-refused_us // 1_000_000))
    return states


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
