"""A stand-in for Payconiq's merchant API: payments, the account number for a refund, and signed callbacks.

As much as the application uses of the public description (developer.payconiq.com); a page instead of the app lets a
customer confirm, refuse or cancel.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from common.json_types import JsonObject
from sandbox.clock import SandboxClock

Row = JsonObject
Send = Callable[[str, bytes, str], int]  # an address, a body and its signature; the status that it is answered with

VALID_FOR = timedelta(minutes=20)
KEY_ID = "es.signature.sandbox"
PROFILE_ID = "sandbox-profile"
REFUND_ACCOUNT = "BE68539007547034"
CLAIM = "https://payconiq.com/"
ENDINGS = ("SUCCEEDED", "FAILED", "CANCELLED", "AUTHORIZED", "EXPIRED")


@dataclass
class LocalPayconiq:
    """One merchant's payments."""

    clock: SandboxClock
    public_url: str
    payments: dict[str, Row] = field(default_factory=dict)
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def answer(self, method: str, path: str, body: bytes, authorization: str) -> tuple[int, Row]:
        """One call of the API: status and JSON."""
        if path == "/certificates":
            return 200, {"keys": [self._public_key()]}
        if not authorization.startswith("Bearer "):
            return 401, {"code": "UNAUTHORIZED", "message": "The merchant's credentials are missing."}
        match [method, *path.strip("/").split("/")]:
            case ["POST", "v3", "payments"]:
                return self._create(json.loads(body))
            case ["GET", "v3", "payments", payment_id, *what] if row := self.payments.get(payment_id):
                self._expire(row)
                return self._refund_account(row) if what == ["debtor", "refundIban"] else (200, row)
        return 404, {"code": "PAYMENT_NOT_FOUND", "message": "There is no such payment."}

    def end(self, payment_id: str, status: str, send: Send, *, copies: int = 1) -> list[int]:
        """What the customer did in the app: the payment ends so, and the merchant is called back."""
        if status not in ENDINGS:
            raise ValueError(f"status must be one of {', '.join(ENDINGS)}")
        row = self.payments[payment_id]
        row["status"] = status
        reported = {name: value for name, value in row.items() if name not in ("_links", "_callback", "_return")}
        body = json.dumps(reported | {"totalAmount": row["amount"], "tippingAmount": 0, "transferAmount": 0}).encode()
        return [send(row["_callback"], body, self.signature(body, row["_callback"])) for _ in range(copies)]

    def signature(self, body: bytes, callback_url: str, **changed: Any) -> str:
        """The detached signature of a callback, by this merchant's key; `changed` for what should not be believed."""
        claims = {
            "sub": PROFILE_ID,
            "iss": "Payconiq",
            "iat": self.clock.now().isoformat(),
            "jti": secrets.token_hex(8),
            "path": callback_url,
        } | changed
        header: Row = {f"{CLAIM}{name}": value for name, value in claims.items()}
        header |= {"typ": "jose+json", "kid": KEY_ID, "crit": list(header)}
        whole = _Signature().encode(body, self._key, algorithm="ES256", headers=header)
        head, _, tail = whole.split(".")
        return f"{head}..{tail}"

    def _create(self, asked: Row) -> tuple[int, Row]:
        if asked.get("currency") != "EUR" or not 0 < asked.get("amount", 0) <= 999_999:  # noqa: PLR2004 - theirs
            return 400, {"code": "BODY_INVALID", "message": "amount must be 1 to 999999, currency EUR."}
        if urlsplit(asked.get("callbackUrl", "")).scheme not in ("http", "https"):
            return 400, {"code": "FIELD_IS_INVALID", "message": "callbackUrl must be an address."}
        payment_id, now = secrets.token_hex(12), self.clock.now()
        row = {
            "paymentId": payment_id,
            "status": "PENDING",
            "createdAt": now.isoformat(),
            "expiresAt": (now + VALID_FOR).isoformat(),
            "description": asked.get("description", ""),
            "reference": asked.get("reference", ""),
            "amount": asked["amount"],
            "currency": "EUR",
            "creditor": {"profileId": PROFILE_ID, "name": "Tegoed sandbox"},
            "_links": {
                "self": {"href": f"{self.public_url}/v3/payments/{payment_id}"},
                "deeplink": {"href": f"{self.public_url}/pay/{payment_id}"},
                "qrcode": {"href": f"{self.public_url}/qrcode/{payment_id}"},
                "cancel": {"href": f"{self.public_url}/v3/payments/{payment_id}"},
            },
            "_callback": asked["callbackUrl"],
            "_return": asked.get("returnUrl", ""),
        }
        self.payments[payment_id] = row
        return 201, row

    def _refund_account(self, row: Row) -> tuple[int, Row]:
        if row["status"] != "SUCCEEDED":
            return 422, {"code": "UNPROCESSABLE", "message": "Only a payment that succeeded can be refunded."}
        return 200, {"iban": REFUND_ACCOUNT}

    def _expire(self, row: Row) -> None:
        if row["status"] == "PENDING" and row["expiresAt"] < self.clock.now().isoformat():
            row["status"] = "EXPIRED"

    def _public_key(self) -> Row:
        created: Row = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return created | {"kid": KEY_ID, "use": "sig", "alg": "ES256"}


class _Signature(jwt.PyJWS):
    """A signature whose header holds claims of Payconiq's own."""

    _supported_crit = {f"{CLAIM}{name}" for name in ("sub", "iss", "iat", "jti", "path")}
