"""The local Stripe as a process on loopback: API, hosted pages, control API, and the delivery of webhooks."""

import json
import socket
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from common.json_types import JsonObject
from sandbox.local_payconiq import LocalPayconiq
from sandbox.local_stripe import control, events, faults, invoice_collection, pages, portal
from sandbox.local_stripe.core import LocalStripe, encoded_json
from sandbox.local_stripe.errors import StripeApiError

PAYCONIQ = "/payconiq"
LOOPBACK_NAMES = {"127.0.0.1", "localhost", "[::1]"}
TICK_S = 0.2
SEND_TIMEOUT_S = 10
MAX_BODY_BYTES = 1_048_576

# What is served as it is.
FILES = {"/hosted.css": ("text/css", pages.STYLESHEET), "/v3/stripe.js": ("text/javascript", pages.SCRIPT)}

Environ = JsonObject
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Application:
    """The WSGI application around one LocalStripe, and the stand-in for Payconiq under /payconiq."""

    def __init__(self, stripe: LocalStripe) -> None:
        self._stripe = stripe
        self.payconiq = LocalPayconiq(clock=stripe.clock, public_url=f"{stripe.public_url}{PAYCONIQ}")

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            status, kind, body, extra = self._answer(environ)
        except faults.NoAnswerError:
            raise ConnectionAbortedError from None  # the server closes the connection without an answer
        except StripeApiError as error:
            status, kind, body, extra = error.status, "application/json", encoded_json(error.body), {}
        except (ValueError, KeyError) as error:
            status, kind, body, extra = 400, "text/plain", f"This cannot be read: {error}", {}
        headers = [("Content-Type", f"{kind}; charset=utf-8"), *extra.items()]
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [body.encode()]

    def _answer(self, environ: Environ) -> tuple[int, str, str, dict[str, str]]:
        host = environ.get("HTTP_HOST", "").rpartition(":")[0] or environ.get("HTTP_HOST", "")
        if host not in LOOPBACK_NAMES:
            return 403, "text/plain", "The local Stripe answers on this machine only.", {}
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        raw = environ["wsgi.input"].read(min(int(environ.get("CONTENT_LENGTH") or 0), MAX_BODY_BYTES))
        if path.startswith(f"{PAYCONIQ}/"):
            return self._ask_payconiq(method, path.removeprefix(PAYCONIQ), raw, environ.get("HTTP_AUTHORIZATION", ""))
        body = raw.decode()
        if path.startswith("/v1/"):
            headers = {
                "authorization": environ.get("HTTP_AUTHORIZATION", ""),
                **({"idempotency-key": key} if (key := environ.get("HTTP_IDEMPOTENCY_KEY")) else {}),
            }
            encoded = body if method == "POST" else environ.get("QUERY_STRING", "")
            answer = self._stripe.request(method, path, encoded, headers)
            return answer.status, "application/json", encoded_json(answer.body), answer.headers
        if path.startswith("/_sandbox/"):
            values = json.loads(body) if body else {}
            result = control.answer(self._stripe, method, path.removeprefix("/_sandbox/"), values, send)
            return 200, "application/json", encoded_json(result), {}
        query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
        return self._page(method, path, dict(parse_qsl(body)), query)

    def _ask_payconiq(
        self, method: str, path: str, body: bytes, authorization: str
    ) -> tuple[int, str, str, dict[str, str]]:
        kind, _, payment_id = path.strip("/").partition("/")
        row = self.payconiq.payments.get(payment_id)
        if kind == "pay" and row is not None:
            if method == "POST":
                self.payconiq.end(payment_id, dict(parse_qsl(body.decode())).get("status", ""), send_callback)
                return 303, "text/plain", "", {"Location": row["_return"]}
            return (
                200,
                "text/html",
                pages.render("payconiq.html", payment=row, total=pages.money(row["amount"], "eur")),
                {},
            )
        status, result = self.payconiq.answer(method, path, body, authorization)
        return status, "application/json", encoded_json(result), {}

    def _page(
        self, method: str, path: str, form: dict[str, str], query: dict[str, str]
    ) -> tuple[int, str, str, dict[str, str]]:
        parts = path.strip("/").split("/")
        if path in FILES:
            kind, text = FILES[path]
            return 200, kind, text, {}
        target, page = self._act(parts, form) if method == "POST" else ("", self._look(parts, query))
        if target:
            return 303, "text/plain", "", {"Location": target}
        return (200, "text/html", page, {}) if page else (404, "text/plain", "There is no such page here.", {})

    def _look(self, parts: list[str], query: dict[str, str]) -> str:
        """The page at an address; empty when there is none."""
        page = ""
        match parts:
            case [""]:
                page = pages.control_page(self._stripe)
            case ["c", "pay", session_id]:
                page = pages.checkout_page(self._stripe, session_id)
            case ["p", "session", portal_id]:
                page = pages.portal_page(self._stripe, portal_id)
            case ["invoices", invoice_id, *_]:
                page = pages.invoice_page(self._stripe, invoice_id)
            case ["bank", payment_intent_id]:
                page = pages.bank_page(self._stripe, payment_intent_id, query.get("back", "/"))
            case ["receipts", charge_id]:
                page = pages.receipt_page(self._stripe, charge_id)
        return page

    def _act(self, parts: list[str], form: dict[str, str]) -> tuple[str, str]:
        """Do what a form asks for: where to go next, or the page again."""
        target = "/"
        match parts:
            case ["clock"]:
                self._stripe.advance(int(form["days"]) * 86_400)
            case ["resend", event_id]:
                events.resend(self._stripe, event_id)
            case ["c", "pay", session_id]:
                return pages.pay(self._stripe, session_id, form)
            case ["p", "session", portal_id, subscription_id]:
                portal.act(self._stripe, portal_id, subscription_id, form["action"], form.get("price", ""))
                target = f"/p/session/{portal_id}"
            case ["invoices", invoice_id, "pay"]:
                invoice_collection.pay_on_page(self._stripe, invoice_id)
                target = f"/invoices/{invoice_id}"
            case ["bank", payment_intent_id]:
                target = pages.answer_bank(self._stripe, payment_intent_id, form)
            case ["v3", "confirm", payment_intent_id]:
                target = pages.confirm(self._stripe, payment_intent_id, form)
            case _:
                target = ""
        return target, ""


def serve(stripe: LocalStripe, *, port: int) -> None:
    """Answer on loopback until the process is stopped, and deliver webhooks meanwhile."""
    threading.Thread(target=_deliver_forever, args=[stripe], daemon=True).start()
    with Listening(stripe, port=port) as server:
        server.serve_forever()


def send(url: str, body: str, signature: str) -> int:
    """POST a webhook; the HTTP status, or 0 when nobody answered."""
    headers = {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": signature}
    return _post(urllib.request.Request(url, body.encode(), headers, method="POST"))  # noqa: S310 - our own endpoint


def _post(request: urllib.request.Request) -> int:
    try:
        with urllib.request.urlopen(request, timeout=SEND_TIMEOUT_S) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def send_callback(url: str, body: bytes, signature: str) -> int:
    """POST a callback of Payconiq's; the HTTP status, or 0 when nobody answered."""
    headers = {"Content-Type": "application/json", "Signature": signature}
    return _post(urllib.request.Request(url, body, headers, method="POST"))  # noqa: S310 - our own endpoint


def _deliver_forever(stripe: LocalStripe) -> None:
    while True:
        try:
            stripe.run_due()
            events.deliver_due(stripe, send)
        except Exception:  # noqa: BLE001 - one event or timer that fails must not stop all that follow
            traceback.print_exc()
        time.sleep(TICK_S)


class Listening(ThreadingMixIn, WSGIServer):
    """A socket on loopback with a local Stripe behind it; port 0 is any that is free."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, stripe: LocalStripe, *, port: int) -> None:
        super().__init__(("127.0.0.1", port), _QuietHandler)
        self.set_app(Application(stripe))

    def server_bind(self) -> None:
        """Without the look-up of the machine's name, which can take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]
        self.setup_environ()


class _QuietHandler(WSGIRequestHandler):
    """wsgiref ends the connection of an aborted request without an answer."""

    def log_message(self, *_args: object) -> None:
        """The events page shows more than an access log would."""
