"""Coupons, and the codes that customers type to get them."""

from common.json_types import JsonObject
from sandbox.local_stripe.core import LocalStripe, route
from sandbox.local_stripe.errors import StripeApiError, invalid

Row = JsonObject


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


@route("GET", "/v1/coupons", "CouponListParams")
def list_coupons(stripe: LocalStripe, values: Row) -> Row:
    return stripe.listed("coupon", values)


@route("GET", "/v1/coupons/{coupon_id}")
def coupon(stripe: LocalStripe, values: Row, coupon_id: str) -> Row:
    return stripe.get("coupon", coupon_id)


@route("DELETE", "/v1/coupons/{coupon_id}")
def delete_coupon(stripe: LocalStripe, values: Row, coupon_id: str) -> Row:
    """No new discounts of it; those that there are stay (docs.stripe.com/api/coupons/delete)."""
    row = stripe.get("coupon", coupon_id)
    row["valid"] = False
    stripe.emit("coupon.deleted", row)
    return {"id": coupon_id, "object": "coupon", "deleted": True}


@route("POST", "/v1/promotion_codes", "PromotionCodeCreateParams")
def create_promotion_code(stripe: LocalStripe, values: Row) -> Row:
    promotion = values.pop("promotion", {})
    stripe.get("coupon", promotion.get("coupon", ""))
    restrictions = {"first_time_transaction": False, "minimum_amount": None, "minimum_amount_currency": None}
    restrictions |= values.pop("restrictions", {})
    values = {"active": True, "metadata": {}, "max_redemptions": None, "expires_at": None} | values
    row = stripe.new(
        "promotion_code",
        "promo",
        **values,
        promotion={"type": "coupon", "coupon": promotion["coupon"]},
        times_redeemed=0,
        restrictions=restrictions,
    )
    stripe.emit("promotion_code.created", row)
    return row


@route("GET", "/v1/promotion_codes", "PromotionCodeListParams")
def list_promotion_codes(stripe: LocalStripe, values: Row) -> Row:
    return stripe.listed("promotion_code", values, by=("code", "active"))


@route("GET", "/v1/promotion_codes/{code_id}")
def promotion_code(stripe: LocalStripe, values: Row, code_id: str) -> Row:
    return stripe.get("promotion_code", code_id)


@route("POST", "/v1/promotion_codes/{code_id}", "PromotionCodeModifyParams")
def update_promotion_code(stripe: LocalStripe, values: Row, code_id: str) -> Row:
    row = stripe.get("promotion_code", code_id) | values
    stripe.changed("promotion_code", row)
    stripe.emit("promotion_code.updated", row)
    return row


def discount(stripe: LocalStripe, code: str, total: int, product: str) -> tuple[Row, int]:
    """The promotion code that a customer typed for a product, and what it takes off. Raises the page's error."""
    row = next((row for row in stripe.store.all("promotion_code") if row["code"].upper() == code.strip().upper()), None)
    if row is None or not row["active"] or row["times_redeemed"] == row["max_redemptions"]:
        raise StripeApiError(400, "invalid_request_error", "This promotion code is invalid.", param="promotion_code")
    coupon = stripe.get("coupon", row["promotion"]["coupon"])
    if (row.get("expires_at") or stripe.timestamp() + 1) <= stripe.timestamp():
        raise StripeApiError(400, "invalid_request_error", "This promotion code has expired.", param="promotion_code")
    if product not in (coupon.get("applies_to") or {"products": [product]})["products"]:
        said = "This promotion code cannot be redeemed because the associated promotion does not apply to this item."
        raise StripeApiError(400, "invalid_request_error", said, param="promotion_code")
    return row, _off(coupon, total)


def redeem(stripe: LocalStripe, row: Row) -> None:
    """Count a use of a code."""
    row["times_redeemed"] += 1
    stripe.changed("promotion_code", row)


def attach(stripe: LocalStripe, row: Row, wanted: list[Row] | None) -> None:
    """Put discounts on a subscription: its ids are what other objects show (`discounts` of the API's objects)."""
    row["discounts"] = [_discount(stripe, row, each) for each in wanted or []]


def take_off(stripe: LocalStripe, row: Row, lines: list[Row]) -> list[Row]:
    """Take a subscription's discounts off an invoice's lines; the totals. Coupons that count once are used up."""
    totals = []
    for discount_id in row["discounts"]:
        result = stripe.get("discount", discount_id)
        coupon = stripe.get("coupon", result["source"]["coupon"])
        payable = [line for line in lines if line["discountable"] and line["amount"] > 0]
        whole = sum(line["amount"] for line in payable)
        off = _off(coupon, whole)
        left = off
        for number, line in enumerate(payable):
            share = left if number == len(payable) - 1 else off * line["amount"] // whole
            left -= share
            line["discount_amounts"].append({"amount": share, "discount": discount_id})
            line["discounts"].append(discount_id)
        if payable:
            totals.append({"amount": off, "discount": discount_id})
            if coupon["duration"] == "once":
                row["discounts"] = [other for other in row["discounts"] if other != discount_id]
    return totals


def _discount(stripe: LocalStripe, row: Row, wanted: Row) -> str:
    if known := wanted.get("discount"):
        return str(stripe.get("discount", known)["id"])
    code = stripe.get("promotion_code", wanted["promotion_code"]) if wanted.get("promotion_code") else None
    coupon = stripe.get("coupon", code["promotion"]["coupon"] if code else wanted["coupon"])
    created = stripe.new(
        "discount",
        "di",
        customer=row["customer"],
        subscription=row["id"],
        promotion_code=code["id"] if code else None,
        source={"type": "coupon", "coupon": coupon["id"]},
        start=stripe.timestamp(),
    )
    return str(created["id"])


def _off(coupon: Row, total: int) -> int:
    if coupon["percent_off"]:
        return int(total * round(coupon["percent_off"] * 100) // 10_000)
    return int(min(total, coupon["amount_off"]))
