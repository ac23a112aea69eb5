"""An OpenAI-compatible `/v1/chat/completions` that costs credits: hold, stream, capture by tokens.

    make demo                        # in one terminal
    make example NAME=openai_proxy   # in another

Any OpenAI client works with it: its `base_url` is http://127.0.0.1:8200/v1 and its `api_key` a customer's Tegoed key,
so each customer pays for what they use. Their key only says who they are and that it may spend: the proxy holds and
captures with a service key of its own, TEGOED_API_KEY, so that nobody can take back what an answer cost. Upstream is a
stand-in, or UPSTREAM_URL (with UPSTREAM_API_KEY).
"""

import hashlib
import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, Protocol

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from tegoed import ApiError, AsyncHold, AsyncTegoed, InsufficientCredits, TegoedError, Usage

from examples import pretend_ai

FEATURE = "chat"  # priced per 1,000 tokens
DEFAULT_MAX_TOKENS = 1_000
LARGEST_MAX_TOKENS = 100_000
HOLD_S = 300
EXTEND_EVERY_S = 120
KNOWN_FOR_S = 60  # how long a customer's key is believed before it is looked at again
MOST_KNOWN = 10_000

Chunk = dict[str, Any]


class Upstream(Protocol):
    """Who writes the answer, in OpenAI's chunks; the last one has `usage`."""

    def stream(self, body: dict[str, Any]) -> AsyncIterator[Chunk]: ...


class UpstreamError(Exception):
    """Nobody wrote an answer."""


class PretendUpstream:
    """Streams a made-up answer, a word at a time."""

    async def stream(self, body: dict[str, Any]) -> AsyncIterator[Chunk]:
        prompt = str(body["messages"][-1].get("content", ""))
        words = pretend_ai.answer(prompt).split(" ")
        for number, word in enumerate(words):
            yield _chunk(body, {"content": word if number == 0 else f" {word}"})
        reported = {
            "prompt_tokens": pretend_ai.tokens(prompt),
            "completion_tokens": pretend_ai.tokens(" ".join(words)),
        }
        yield {**_chunk(body, {}), "usage": reported}


class HttpUpstream:
    """An OpenAI-compatible server."""

    def __init__(self, url: str, api_key: str) -> None:
        self._http = httpx2.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {api_key}"}, timeout=httpx2.Timeout(10, read=120)
        )

    async def stream(self, body: dict[str, Any]) -> AsyncIterator[Chunk]:
        fields = {**body, "stream": True, "stream_options": {"include_usage": True}}
        try:
            async with self._http.stream("POST", "/v1/chat/completions", json=fields) as answer:
                if not answer.is_success:
                    raise UpstreamError(f"it answered {answer.status_code}")
                async for line in answer.aiter_lines():
                    if line.startswith("data: ") and line != "data: [DONE]":
                        yield json.loads(line.removeprefix("data: "))
        except httpx2.HTTPError as error:
            raise UpstreamError(str(error)) from error


class Metered:
    """One answer on its way: counts what comes by, keeps the hold open, and settles it at the end, whatever the end."""

    def __init__(self, hold: AsyncHold, upstream: Upstream, body: dict[str, Any], *, prompt: str) -> None:
        self._hold = hold
        self._upstream = upstream
        self._body = body
        self._prompt = prompt
        self._written: list[str] = []
        self._told: dict[str, int] | None = None
        self._started = time.monotonic()
        self._extended = self._started

    async def chunks(self) -> AsyncIterator[Chunk]:
        """OpenAI's chunks. A client that goes away pays for what was written until then."""
        try:
            async for chunk in self._upstream.stream(self._body):
                self._told = chunk.get("usage") or self._told
                for choice in chunk.get("choices", []):
                    self._written.append(choice.get("delta", {}).get("content") or "")
                if time.monotonic() - self._extended > EXTEND_EVERY_S:
                    self._extended = time.monotonic()
                    await self._hold.extend(expires_in=HOLD_S)
                yield chunk
        finally:
            await self._settle()

    @property
    def text(self) -> str:
        return "".join(self._written)

    @property
    def usage(self) -> dict[str, int]:
        """What upstream reported, else an estimate."""
        return self._told or {
            "prompt_tokens": pretend_ai.tokens(self._prompt),
            "completion_tokens": pretend_ai.tokens(self.text),
        }

    async def _settle(self) -> None:
        if not self.text and self._told is None:
            await self._hold.release()  # nothing was written: nothing is owed
            return
        await self._hold.capture(
            usage=Usage(
                model=str(self._body.get("model", ""))[:100],
                input_tokens=self.usage["prompt_tokens"],
                output_tokens=self.usage["completion_tokens"],
                latency_ms=round((time.monotonic() - self._started) * 1000),
            )
        )


class Customers:
    """Whose key it is: asked of Tegoed, and remembered for a minute."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._known: dict[bytes, tuple[str, float]] = {}

    async def account_of(self, api_key: str) -> str:
        """The account behind a key that may spend. Raises TegoedError."""
        name, moment = hashlib.sha256(api_key.encode()).digest(), time.monotonic()
        account, until = self._known.get(name, ("", 0.0))
        if until > moment:
            return account
        async with AsyncTegoed(api_key, base_url=self._base_url) as client:
            # A token for spending is given to nobody whose key may not spend.
            await client.token(scopes=["credits:spend"], ttl=1)
            account = (await client.balance()).account
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[name] = (account, moment + KNOWN_FOR_S)
        return account


def create_app(base_url: str, service_key: str, upstream: Upstream) -> Starlette:
    """The proxy of one Tegoed server."""
    customers = Customers(base_url)

    async def completions(request: Request) -> Response:
        api_key = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        try:
            body = await request.json()
            prompt = "\n".join(str(message.get("content", "")) for message in body["messages"])
            most = min(int(body.get("max_tokens") or DEFAULT_MAX_TOKENS), LARGEST_MAX_TOKENS)
        except (ValueError, KeyError, TypeError, AttributeError):
            return _error(400, "Send a JSON object with messages.", "invalid_request_error")
        client = AsyncTegoed(service_key, base_url=base_url)
        try:
            account = await customers.account_of(api_key)
            hold = await client.hold(
                feature=FEATURE, max_quantity=pretend_ai.tokens(prompt) + most, expires_in=HOLD_S, account=account
            )
        except TegoedError as refusal:
            await client.close()
            return _refused(refusal)
        metered = Metered(hold, upstream, body, prompt=prompt)
        if body.get("stream"):
            return StreamingResponse(_events(metered, client), media_type="text/event-stream")
        try:
            async for _ in metered.chunks():
                pass
        except UpstreamError as error:
            return _error(502, f"The model does not answer: {error}", "api_error")
        finally:
            await client.close()
        return JSONResponse(_whole(body, metered))

    return Starlette(routes=[Route("/v1/chat/completions", completions, methods=["POST"])])


async def _events(metered: Metered, client: AsyncTegoed) -> AsyncIterator[str]:
    try:
        async for chunk in metered.chunks():
            yield f"data: {json.dumps(chunk)}\n\n"
        yield "data: [DONE]\n\n"
    except UpstreamError as error:
        yield f"data: {json.dumps({'error': {'message': str(error), 'type': 'api_error'}})}\n\n"
    finally:
        await client.close()


def _whole(body: dict[str, Any], metered: Metered) -> dict[str, Any]:
    message = {"role": "assistant", "content": metered.text}
    usage = metered.usage
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model", ""),
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {**usage, "total_tokens": usage["prompt_tokens"] + usage["completion_tokens"]},
    }


def _chunk(body: dict[str, Any], delta: dict[str, Any]) -> Chunk:
    return {
        "id": "chatcmpl-pretend",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": body.get("model", ""),
        "choices": [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}],
    }


def _refused(refusal: TegoedError) -> JSONResponse:
    """Tegoed's refusal in OpenAI's words."""
    if isinstance(refusal, InsufficientCredits):
        return _error(402, f"{refusal.detail} More at {refusal.buy_url}", "insufficient_quota", code=refusal.code)
    if isinstance(refusal, ApiError):
        return _error(refusal.status, refusal.detail, "invalid_request_error", code=refusal.code)
    return _error(503, "The credits cannot be reached. Please try again.", "api_error")


def _error(status: int, message: str, kind: str, *, code: str | None = None) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": kind, "code": code}}, status_code=status)


def main() -> None:
    import uvicorn

    url = os.environ.get("UPSTREAM_URL", "")
    upstream: Upstream = HttpUpstream(url, os.environ.get("UPSTREAM_API_KEY", "")) if url else PretendUpstream()
    print("Serving http://127.0.0.1:8200/v1/chat/completions")
    uvicorn.run(
        create_app(os.environ["TEGOED_URL"], os.environ["TEGOED_API_KEY"], upstream),
        host="127.0.0.1",
        port=8200,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
