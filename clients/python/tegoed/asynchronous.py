"""The client for asyncio. `synchronous` is made from this file: see clients/python/generate_synchronous.py."""

import asyncio
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping
from datetime import date, datetime
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import httpx2

from tegoed import calls, errors, models
from tegoed.calls import Call, Metadata
from tegoed.models import Usage
from tegoed.version import __version__

logger = logging.getLogger("tegoed")

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

Account = str | Callable[..., str] | None


class AsyncTegoed:
    """A client of one server. It keeps its connections: make one, and share it between tasks.

    `account` is whose credits a service key spends, in every call that names no other: `acc_…`, or `ext:` and your own
    user's id. Key and address come from TEGOED_API_KEY and TEGOED_BASE_URL, if they are not given.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        account: str | None = None,
        timeout_s: float = 10.0,
        max_retries: int = 2,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._account = account
        self._max_retries = max_retries
        self._http = httpx2.AsyncClient(
            base_url=calls.configured("base_url", base_url, "TEGOED_BASE_URL"),
            auth=calls.KeyAuth(calls.configured("api_key", api_key, "TEGOED_API_KEY")),
            timeout=timeout_s,
            transport=transport,
            headers={"User-Agent": f"tegoed-python/{__version__}"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def balance(self, *, account: str | None = None) -> models.Balance:
        """How much can be spent now, of what, and when there is more."""
        return await self._run(calls.balance(account or self._account))

    async def check(
        self,
        *,
        amount: int | None = None,
        feature: str | None = None,
        quantity: int | None = None,
        account: str | None = None,
    ) -> models.Check:
        """Whether that could be spent right now. Advice only: `hold` sets credits aside."""
        return await self._run(
            calls.check(amount=amount, feature=feature, quantity=quantity, account=account or self._account)
        )

    async def spend(
        self,
        *,
        amount: int | None = None,
        feature: str | None = None,
        quantity: int | None = None,
        description: str | None = None,
        metadata: Metadata | None = None,
        usage: Usage | None = None,
        account: str | None = None,
        idempotency_key: str | None = None,
    ) -> models.Transaction:
        """Spend `amount` credits, or what `quantity` of a feature costs. Raises InsufficientCredits.

        With an `idempotency_key` of your own, calling again answers the first spend.
        """
        return await self._run(
            calls.spend(
                amount=amount,
                feature=feature,
                quantity=quantity,
                description=description,
                metadata=metadata,
                usage=usage,
                account=account or self._account,
                idempotency_key=idempotency_key,
            )
        )

    async def spend_batch(self, spends: Iterable[Mapping[str, Any]]) -> tuple[models.Answered, ...]:
        """Up to 500 spends at once, each a mapping of what `spend` takes. One that is refused leaves the others."""
        own = {"account": self._account} if self._account else {}
        return await self._run(calls.spend_batch({**own, **each} for each in spends))

    def hold(
        self,
        *,
        amount: int | None = None,
        feature: str | None = None,
        max_quantity: int | None = None,
        description: str | None = None,
        metadata: Metadata | None = None,
        expires_in: int | None = None,
        account: str | None = None,
        idempotency_key: str | None = None,
    ) -> "AsyncHold":
        """Set aside the most that some work may cost; `with` gives back what was not captured.

        async with client.hold(feature="chat", max_quantity=2000) as hold:
            answer = await ask(...)
            await hold.capture(quantity=answer.tokens)
        """
        account = account or self._account
        call = calls.hold(
            amount=amount,
            feature=feature,
            quantity=max_quantity,
            description=description,
            metadata=metadata,
            expires_in=expires_in,
            account=account,
            idempotency_key=idempotency_key,
        )
        return AsyncHold(self, call, account)

    async def get_hold(self, hold_id: str, *, account: str | None = None) -> "AsyncHold":
        """A hold that was made before, to capture or release it."""
        account = account or self._account
        return await AsyncHold(self, calls.get_hold(hold_id, account), account)

    async def transaction(self, transaction_id: str, *, account: str | None = None) -> models.Transaction:
        """One transaction."""
        return await self._run(calls.transaction(transaction_id, account or self._account))

    async def transactions(
        self,
        *,
        type: str | None = None,
        feature: str | None = None,
        key: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        account: str | None = None,
    ) -> AsyncIterator[models.Transaction]:
        """The account's ledger, latest first, fetched a page at a time."""
        cursor: str | None = None
        while True:
            rows, cursor = await self._run(
                calls.transactions_page(
                    type=type,
                    feature=feature,
                    key=key,
                    created_after=created_after.isoformat() if created_after else None,
                    created_before=created_before.isoformat() if created_before else None,
                    account=account or self._account,
                    limit=100,
                    cursor=cursor,
                )
            )
            for row in rows:
                yield row
            if cursor is None:
                return

    async def reverse(
        self,
        transaction_id: str,
        *,
        reason: str,
        amount: int | None = None,
        account: str | None = None,
        idempotency_key: str | None = None,
    ) -> models.Transaction:
        """Give a spend back, whole or in part."""
        return await self._run(
            calls.reverse(
                transaction_id,
                reason=reason,
                amount=amount,
                account=account or self._account,
                idempotency_key=idempotency_key,
            )
        )

    async def grant(
        self,
        *,
        account: str,
        amount: int,
        reason: str,
        kind: str | None = None,
        expires_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> models.Transaction:
        """Give credits to an account (with a service key)."""
        return await self._run(
            calls.grant(
                account=account,
                amount=amount,
                reason=reason,
                kind=kind,
                expires_at=expires_at,
                idempotency_key=idempotency_key,
            )
        )

    async def usage_summary(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        group_by: str | None = None,
        tz: str | None = None,
        account: str | None = None,
    ) -> models.UsageSummary:
        """What was used, by any of `day,feature,key,model`."""
        return await self._run(
            calls.usage_summary(since=since, until=until, group_by=group_by, tz=tz, account=account or self._account)
        )

    async def catalogue(self, *, account: str | None = None) -> dict[str, Any]:
        """What is for sale, with the promotions that the account gets."""
        return await self._run(calls.catalogue(account or self._account))

    async def checkout(
        self,
        item: str,
        *,
        quantity: int | None = None,
        interval: str | None = None,
        ui: str | None = None,
        success_url: str | None = None,
        cancel_url: str | None = None,
        account: str | None = None,
        idempotency_key: str | None = None,
    ) -> models.Checkout:
        """Start a purchase; `url` is where the customer pays."""
        return await self._run(
            calls.checkout(
                item=item,
                quantity=quantity,
                interval=interval,
                ui=ui,
                success_url=success_url,
                cancel_url=cancel_url,
                account=account or self._account,
                idempotency_key=idempotency_key,
            )
        )

    async def get_checkout(self, checkout_id: str, *, account: str | None = None) -> models.Checkout:
        """How a purchase stands; poll this."""
        return await self._run(calls.get_checkout(checkout_id, account or self._account))

    async def portal(self, *, return_url: str | None = None, account: str | None = None) -> str:
        """A link to the billing portal; it works for some minutes."""
        return await self._run(calls.portal(return_url=return_url, account=account or self._account))

    async def token(
        self, *, scopes: Iterable[str] | None = None, ttl: int | None = None, account: str | None = None
    ) -> models.Token:
        """A token of at most ten minutes, for a phone or a browser."""
        return await self._run(calls.token(scopes=scopes, ttl=ttl, account=account or self._account))

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> calls.Answer:
        """Any operation of the API, with its headers: `ask("GET", "billing/invoices", query={"account": "ext:42"})`.

        Writes that want an idempotency key get one, the same for all tries, if none is given.
        """
        key = idempotency_key or (calls.new_key() if method != "GET" else None)
        call = calls.anything(method, path, body=body, query=query or {}, idempotency_key=key)
        response = await self._send(call)
        return calls.Answer(data=call.answer(response), status=response.status_code, headers=response.headers)

    def costs(
        self,
        feature: str,
        *,
        quantity: int | None = None,
        account: Account = None,
        failed: Callable[[Any], bool] | None = None,
    ) -> Callable[[F], F]:
        """Have each call of a function spend on a feature; what fails is given back.

        `account` may be a function of the call's own arguments: `account=lambda user, text: f"ext:{user.id}"`. `failed`
        says of a result that it is a failure, such as a response of 500. A generator that fails on its way gives back,
        too; one that nobody reads to its end has been paid for.
        """

        async def charge(*args: Any, **kwargs: Any) -> tuple[str, str | None]:
            whose = account(*args, **kwargs) if callable(account) else account
            return (await self.spend(feature=feature, quantity=quantity, account=whose)).id, whose

        def decorate(function: F) -> F:
            if inspect.isasyncgenfunction(function):
                return cast(F, self._charged_stream(function, charge))
            # Asynchronous:
            if not inspect.iscoroutinefunction(function):
                raise TypeError("AsyncTegoed.costs is for async functions; use Tegoed.costs here.")
            # Synchronous:
            # if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            #     raise TypeError("This would not wait for an async function; use the asynchronous client's.")
            # Both:

            @functools.wraps(function)
            async def charged(*args: Any, **kwargs: Any) -> Any:
                spent = await charge(*args, **kwargs)
                try:
                    result = await function(*args, **kwargs)
                except BaseException as error:
                    await self._give_back(*spent, error)
                    raise
                if failed is not None and failed(result):
                    await self._give_back(*spent, None)
                return result

            return cast(F, charged)

        return decorate

    def _charged_stream(self, function: Callable[..., Any], charge: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def streamed(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            transaction_id, whose = await charge(*args, **kwargs)
            try:
                async for part in function(*args, **kwargs):
                    yield part
            except GeneratorExit:
                raise  # nobody reads on: what came was paid for
            except BaseException as error:
                await self._give_back(transaction_id, whose, error)
                raise

        return streamed

    async def _give_back(self, transaction_id: str, account: str | None, error: BaseException | None) -> None:
        """Give a spend back; where that fails as well, the first error counts, and says so."""
        reason = type(error).__name__[:255] if error is not None else "failed"
        try:
            await self.reverse(transaction_id, reason=reason, account=account)
        except errors.TegoedError as second:
            logger.warning("spend %s was not given back: %s", transaction_id, second)
            if error is not None:
                error.add_note(f"The spend {transaction_id} was not given back: {second}")

    async def _run(self, call: Call[T]) -> T:
        """Carry a call out, and read its answer. Raises ApiError and others."""
        return call.answer(await self._send(call))

    async def _send(self, call: Call[Any]) -> httpx2.Response:
        """Send a call, and again with the same key when that may help."""
        for tries in range(1, self._max_retries + 2):
            response: httpx2.Response | None = None
            try:
                response = await self._http.send(call.request(self._http))
            except httpx2.TransportError as error:
                if tries > self._max_retries:
                    reason = f"{type(error).__name__}: {error}"
                    raise errors.ConnectionFailed(reason, idempotency_key=call.idempotency_key) from error
            seconds = calls.pause(response, tries=tries)
            if response is not None and (seconds is None or tries > self._max_retries):
                return response
            logger.info("%s %s is tried again in %.1f s", call.method, call.path, seconds or 0)
            await asyncio.sleep(seconds or 0)
        raise AssertionError("the last try answers or raises")


class AsyncHold:
    """Credits set aside. Leaving the `with` without a capture, or by an exception, gives them back."""

    # Asynchronous:
    def __init__(self, client: AsyncTegoed, call: Call[models.HoldState], account: str | None) -> None:
        self._client = client
        self._call = call
        self._account = account
        self._state: models.HoldState | None = None

    def __await__(self) -> Generator[Any, None, Self]:
        return self.__aenter__().__await__()

    async def _begin(self) -> None:
        if self._state is None:
            self._state = await self._client._run(self._call)

    @property
    def state(self) -> models.HoldState:
        """How it stands. It is made by `await` or `async with`."""
        if self._state is None:
            raise RuntimeError("Write `await client.hold(...)` or `async with client.hold(...) as hold`.")
        return self._state

    @state.setter
    def state(self, state: models.HoldState) -> None:
        self._state = state

    # Synchronous:
    # def __init__(self, client: AsyncTegoed, call: Call[models.HoldState], account: str | None) -> None:
    #     self._client = client
    #     self._account = account
    #     self.state = client._run(call)

    # Both:
    @property
    def id(self) -> str:
        return self.state.id

    async def __aenter__(self) -> Self:
        await self._begin()  # (Asynchronous.)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.state.status != "open":
            return
        try:
            await self.release()
        except errors.TegoedError:
            # It lapses by itself. What went wrong inside the `with` matters more.
            if error is None:
                raise

    async def capture(
        self, *, amount: int | None = None, quantity: int | None = None, usage: Usage | None = None
    ) -> models.Captured:
        """Spend what the work cost; the rest goes back."""
        created = await self._client._run(
            calls.capture(self.id, amount=amount, quantity=quantity, usage=usage, account=self._account)
        )
        self.state = models.after_capture(self.state, created)
        return created

    async def release(self) -> models.HoldState:
        """Give everything back."""
        self.state = await self._client._run(calls.release(self.id, self._account))
        return self.state

    async def extend(self, *, expires_in: int) -> models.HoldState:
        """Keep it open for so many seconds from now."""
        self.state = await self._client._run(calls.extend(self.id, expires_in=expires_in, account=self._account))
        return self.state
