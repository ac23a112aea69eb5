"""A page whose button costs a credit. With too few it leads to the purchase, and back.

    make demo                        # in one terminal
    make example NAME=ai_page        # in another

Its visitors are known by a cookie; the server knows them as `ext:` and that name, and opens their accounts on first
use.
"""

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from html import escape
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from tegoed import AsyncTegoed, InsufficientCredits

from examples import pretend_ai

FEATURE = "message"
PACK = "credits-20"
LONGEST_PROMPT = 1_000

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Ask the AI</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"></head>
<body><main><h1>Ask the AI</h1>{main}</main></body></html>"""


def create_app(client: AsyncTegoed) -> Starlette:
    """The app, for a client with a service key."""

    async def home(_request: Request, visitor: str) -> Response:
        balance = await client.balance(account=visitor)
        return _page(f"<p>This costs 1 credit; you have {balance.spendable}.</p>{_form()}")

    async def ask(request: Request, visitor: str) -> Response:
        prompt = await _field(request, "prompt")
        try:
            # Spent first: an answer that was not paid for cannot be taken back. One that fails is given back.
            spent = await client.spend(feature=FEATURE, account=visitor, description=prompt[:60])
        except InsufficientCredits as refusal:
            return _page(f"<p>{escape(refusal.detail)}</p>{_buy()}", status=402)
        try:
            answer = pretend_ai.answer(prompt)
        except Exception:
            await client.reverse(spent.id, reason="The AI failed.", account=visitor)
            raise
        return _page(f"<p>{escape(answer)}</p><p>Used 1 credit; {spent.balance_after} left.</p>{_form()}")

    async def buy(request: Request, visitor: str) -> Response:
        back = str(request.url_for("bought"))
        # One key for one click: sent twice, it is one purchase.
        checkout = await client.checkout(
            PACK, account=visitor, success_url=back, cancel_url=back, idempotency_key=await _field(request, "key")
        )
        return RedirectResponse(checkout.url or back, status_code=303)

    async def bought(_request: Request, visitor: str) -> Response:
        balance = await client.balance(account=visitor)
        wait = "<p>If you have just paid, they come within seconds: look again.</p>" if not balance.spendable else ""
        return _page(f"<p>You have {balance.spendable} credits.</p>{wait}<p><a href='/'>Back</a></p>")

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/", _known(home)),
            Route("/ask", _known(ask), methods=["POST"]),
            Route("/buy", _known(buy), methods=["POST"]),
            Route("/bought", _known(bought), name="bought"),
        ],
    )


def _known(view: Callable[[Request, str], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """A view that knows its visitor, by a cookie. (An app with users has their own ids.)"""

    async def with_visitor(request: Request) -> Response:
        name = request.cookies.get("visitor", "")
        if not (name.isalnum() and len(name) == 32):
            name = secrets.token_hex(16)
        response = await view(request, f"ext:ai-page-{name}")
        response.set_cookie("visitor", name, max_age=31_536_000, httponly=True, samesite="lax")
        return response

    return with_visitor


async def _field(request: Request, name: str) -> str:
    result = parse_qs((await request.body()).decode("utf-8", "replace"))
    return result.get(name, [""])[0][:LONGEST_PROMPT]


def _page(main: str, *, status: int = 200) -> HTMLResponse:
    return HTMLResponse(PAGE.format(main=main), status_code=status)


def _form() -> str:
    return (
        '<form method="post" action="/ask"><label>Your question '
        '<input name="prompt" required maxlength="1000"></label> '
        "<button>Ask (1 credit)</button></form>"
    )


def _buy() -> str:
    key = f'<input type="hidden" name="key" value="{secrets.token_hex(16)}">'
    return f'<form method="post" action="/buy">{key}<button>Buy 20 credits</button></form>'


def main() -> None:
    import uvicorn

    client = AsyncTegoed(os.environ["TEGOED_API_KEY"], base_url=os.environ["TEGOED_URL"])
    print("Open http://127.0.0.1:8100")
    uvicorn.run(create_app(client), host="127.0.0.1", port=8100, log_level="warning")


if __name__ == "__main__":
    main()
