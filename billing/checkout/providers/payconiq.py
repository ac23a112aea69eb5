"""Payconiq and Bancontact Pay: a customer scans a code or opens a link, and confirms in their bank's app.

Made to the public description of its merchant API, version 3 (developer.payconiq.com). A callback only says "look at
this payment": its signature is checked, and then the payment is asked for. Money goes back by a transfer to an account
number that the API gives, which the merchant makes: credits are taken back at once, and an alert says what to transfer.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import jwt
import requests
from django.conf import settings
from django.utils.dateparse import parse_datetime

from billing.checkout import return_addresses
from billing.checkout.providers import Opened
from billing.clawbacks import clawbacks
from billing.errors import PaymentProviderUnavailableError, PriceNotSellableError, RefundRefusedError
from billing.fulfilment import order_fulfilment
from billing.models import Order
from billing.payments.payment_status import Payment, PaymentStatus
from common.json_types import JsonObject
from common.urls import absolute_url
from outbox import alerts
from outbox.models import Alert

TIMEOUT_S = 10
CURRENCY = "eur"
MOST_MINOR = 999_999
LONGEST_DESCRIPTION = 140
LONGEST_REFERENCE = 35

STATUS = {
    "PENDING": PaymentStatus.OPEN,
    "IDENTIFIED": PaymentStatus.OPEN,  # scanned, and not confirmed yet
    "AUTHORIZED": PaymentStatus.PROCESSING,
    "SUCCEEDED": PaymentStatus.PAID,
    "AUTHORIZATION_FAILED": PaymentStatus.FAILED,
    "FAILED": PaymentStatus.FAILED,
    "CANCELLED": PaymentStatus.EXPIRED,
    "EXPIRED": PaymentStatus.EXPIRED,
}

# The protected header of a callback's signature: each of these must be understood.
CLAIM = "https://payconiq.com/"
CLAIMS = ("sub", "iss", "iat", "jti", "path")
ISSUER = "payconiq"


class ForgedCallbackError(Exception):
    """The request is no callback of Payconiq's to us."""


class PayconiqProvider:
    """Payconiq, by its REST API."""

    def open(self, order: Order) -> Opened:
        if order.currency != CURRENCY or not 0 < order.amount_minor <= MOST_MINOR:
            raise PriceNotSellableError("Payconiq takes euros, up to 9,999.99.")
        created = _call(
            "POST",
            "/v3/payments",
            {
                "amount": order.amount_minor,
                "currency": CURRENCY.upper(),
                "description": order.description[:LONGEST_DESCRIPTION],
                "reference": order.public_id[:LONGEST_REFERENCE],
                "callbackUrl": callback_url(),
                "returnUrl": return_addresses.after_payment(order),
            },
        )
        return Opened(
            payment_id=created["paymentId"],
            url=created["_links"]["deeplink"]["href"],
            expires_at=_moment(created.get("expiresAt") or created.get("expireAt")),
        )

    def refresh(self, order: Order, *, now: datetime) -> None:
        order_fulfilment.fulfil_payment(
            order, _payment(order, _call("GET", f"/v3/payments/{order.payment_id}")), now=now
        )

    def refund(self, order: Order, *, amount_minor: int, reason: str, idempotency_key: str, now: datetime) -> None:
        account_number = _call("GET", f"/v3/payments/{order.payment_id}/debtor/refundIban").get("iban")
        if not account_number:
            raise RefundRefusedError("Payconiq does not tell where the money of this payment came from.")
        total = order.refunded_minor + amount_minor
        clawbacks.claw_back_order(order, refunded_minor=total, now=now)
        euros = f"{amount_minor // 100}.{amount_minor % 100:02d}"
        alerts.raise_alert(
            Alert.Kind.TRANSFER_DUE,
            f"{order.public_id}:{total}",
            detail=f"Transfer EUR {euros} to {account_number}, reference {order.public_id}: {reason}",
            account_id=order.account_id,
            now=now,
        )


def callback_url() -> str:
    """Where Payconiq sends its callbacks; part of what it signs."""
    return absolute_url("payconiq-callback")


def payment_of_callback(*, body: bytes, signature: str, now: datetime) -> str:
    """The payment that a callback is about, once it is certain who sent it. Raises ForgedCallbackError."""
    head, _, tail = signature.partition("..")
    if not head or not tail or not signature.isascii():
        raise ForgedCallbackError("no detached signature")
    whole = f"{head}.{jwt.utils.base64url_encode(body).decode()}.{tail}"
    try:
        named = _CallbackSignature().get_unverified_header(whole).get("kid")
        key = _keys().get_signing_key(str(named)).key
        header = _CallbackSignature().decode_complete(whole, key, algorithms=["ES256"])["header"]
        reported = json.loads(body)
    except (jwt.PyJWTError, ValueError) as error:
        raise ForgedCallbackError(str(error)) from error
    _check_claims(header, now=now)
    payment_id = reported.get("paymentId") if isinstance(reported, dict) else None
    if not isinstance(payment_id, str) or not payment_id:
        raise ForgedCallbackError("names no payment")
    return payment_id


class _CallbackSignature(jwt.PyJWS):
    """A signature whose header must hold Payconiq's own claims."""

    _supported_crit = {f"{CLAIM}{name}" for name in CLAIMS}


def _check_claims(header: Mapping[str, Any], *, now: datetime) -> None:
    """Signed by them, for our profile and address, at about this time."""
    claims = {name: str(header.get(f"{CLAIM}{name}") or "") for name in CLAIMS}
    if set(header.get("crit") or ()) != {f"{CLAIM}{name}" for name in CLAIMS}:
        raise ForgedCallbackError("its header is not what it should be")
    if claims["iss"].lower() != ISSUER or claims["sub"] != settings.PAYCONIQ_PROFILE_ID:
        raise ForgedCallbackError("signed for somebody else")
    if claims["path"] != callback_url():
        raise ForgedCallbackError("signed for another address")
    signed_at = _moment(claims["iat"])
    if signed_at is None or abs((now - signed_at).total_seconds()) > settings.WEBHOOK_TOLERANCE_S:
        raise ForgedCallbackError("signed long ago, or in the future")


def _payment(order: Order, told: JsonObject) -> Payment:
    return Payment(
        source_key=f"payconiq:payment:{order.payment_id}",
        status=STATUS.get(told["status"], PaymentStatus.OPEN),
        currency=str(told["currency"]).lower(),
        listed_minor=told["amount"],
        total_minor=told["amount"],
    )


def _call(method: str, path: str, body: JsonObject | None = None) -> JsonObject:
    """Ask the API. Raises PaymentProviderUnavailableError, and PriceNotSellableError for what it refuses."""
    try:
        answer = requests.request(
            method,
            f"{settings.PAYCONIQ_API_BASE}{path}",
            json=body,
            headers={"Authorization": f"Bearer {settings.PAYCONIQ_API_KEY}", "Cache-Control": "no-cache"},
            timeout=TIMEOUT_S,
        )
    except requests.RequestException as error:
        raise PaymentProviderUnavailableError("Payconiq does not answer. Please try again in a minute.") from error
    if answer.status_code == requests.codes.too_many_requests or answer.status_code >= 500:  # noqa: PLR2004 - HTTP
        raise PaymentProviderUnavailableError("Payconiq has a problem. Please try again in a minute.")
    if not answer.ok:
        raise PriceNotSellableError(f"Payconiq refuses this payment ({answer.status_code}).")
    result: JsonObject = answer.json()
    return result


@cache
def _keys_at(url: str) -> jwt.PyJWKClient:
    return jwt.PyJWKClient(url, timeout=TIMEOUT_S, lifespan=12 * 3600)


def _keys() -> jwt.PyJWKClient:
    """Payconiq's public keys: fetched when an unknown one is named, kept for half a day."""
    return _keys_at(settings.PAYCONIQ_JWKS_URL)


def _moment(text: str | None) -> datetime | None:
    try:
        result = parse_datetime(text or "")
    except ValueError:
        return None
    return result if result is None or result.tzinfo else result.replace(tzinfo=UTC)
