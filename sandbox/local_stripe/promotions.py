"""Coupons, and the codes that customers type to get them."""

from typing import Any

from sandbox.local_stripe.core import LocalStripe, route
from sandbox.local_stripe.errors import StripeApiError, invalid

Row = dict[str, Any]


@route("POST", "/v1/coupons", "CouponCreateParams")
def create_coupon(stripe: LocalStripe, values: Row) -> Row:
    if not values.get("percent_off") and not values.get("amount_off"):
        raise invalid("You must pass either percent_off or amount_off.", param="percent_off")
    unset: Row = {"duration": "once", "metadata": {}, "percent_off": None, "amount_off": None}
    values = unset | values
    if values["percent_off"]:
        values |= {"percent_off": float(values["percent_off"])}
    coupon = stripe.new("coupon", "coupon", **values, valid=True, times_redeemed=0)
    stripe.emit("coupon.created", coupon)
    return coupon


@route("GET", "/v1/coupons/{coupon_id}")
def coupon(stripe: LocalStripe, values: Row, coupon_id: str) -> Row:
    return stripe.get("coupon", coupon_id)


@route("POST", "/v1/promotion_codes", "PromotionCodeCreateParams")
def create_promotion_code(stripe: LocalStripe, values: Row) -> Row:
    promotion = values.pop("promotion", {})
    stripe.get("coupon", promotion.get("coupon", ""))
    values = {"active": True, "metadata": {}, "max_redemptions": None} | values
    row = stripe.new(
        "promotion_code",
        "promo",
        **values,
        promotion={"type": "coupon", "coupon": promotion["coupon"]},
        times_redeemed=0,
        restrictions={"first_time_transaction": False, "minimum_amount": None, "minimum_amount_currency": None},
    )
    stripe.emit("promotion_code.created", row)
    return row


@route("GET", "/v1/promotion_codes", "PromotionCodeListParams")
def list_promotion_codes(stripe: LocalStripe, values: Row) -> Row:
    return stripe.listed("promotion_code", values, by=("code", "active"))


@route("GET", "/v1/promotion_codes/{code_id}")
def promotion_code(stripe: LocalStripe, values: Row, code_id: str) -> Row:
    return stripe.get("promotion_code", code_id)


def discount(stripe: LocalStripe, code: str, total: int) -> tuple[Row, int]:
    """The promotion code that a customer typed, and what it takes off. Raises the error that the page shows."""
    row = next((row for row in stripe.store.all("promotion_code") if row["code"].upper() == code.strip().upper()), None)
    if row is None or not row["active"] or row["times_redeemed"] == row["max_redemptions"]:
        raise StripeApiError(400, "invalid_request_error", "This promotion code is invalid.", param="promotion_code")
    found = stripe.get("coupon", row["promotion"]["coupon"])
    if found["percent_off"]:
        return row, total * round(found["percent_off"] * 100) // 10_000
    return row, min(total, found["amount_off"])


def redeem(stripe: LocalStripe, row: Row) -> None:
    """Count a use of a code."""
    row["times_redeemed"] += 1
    stripe.changed("promotion_code", row)
