"""What the webhook of each event holds, as JSON Schema: for the API's description, in the API's names."""

from common.json_types import JsonObject
from outbox.webhooks import TEST_EVENT

MINOR = "In the currency's minor units."


def _text(about: str = "", *choices: str) -> JsonObject:
    return {"type": "string", **({"description": about} if about else {}), **({"enum": [*choices]} if choices else {})}


def _number(about: str = "") -> JsonObject:
    return {"type": "integer", **({"description": about} if about else {})}


def _flag(about: str = "") -> JsonObject:
    return {"type": "boolean", **({"description": about} if about else {})}


def _moment(about: str = "") -> JsonObject:
    return {**_text(about), "format": "date-time"}


def _or_null(field: JsonObject) -> JsonObject:
    return {**field, "type": [field["type"], "null"]}


PLAN = {
    "plan": _text("Its code."), "plan_name": _text(), "interval": _text("", "month", "year"),
    "credits": _number("A month."), "amount": _number(MINOR), "currency": _text(),
}  # fmt: skip
FIRST_CHARGE = {
    "plan": _text("Its code."), "plan_name": _text(), "trial_ends_at": _moment(), "first_charge": _number(MINOR),
    "may_differ": _flag("Tax or a discount may change it."), "currency": _text(),
}  # fmt: skip
# By event: the fields of its `data` beside `account` and `external_id`.
PAYLOADS: dict[str, dict[str, JsonObject]] = {
    "account.opened": {"name": _text(), "is_team": _flag()},
    "card.expiring": {"brand": _text(), "last4": _text(), "exp_month": _number(), "exp_year": _number()},
    "credits.exhausted": {"left": _number("Credits: none.")},
    "credits.low": {"left": _number("Credits.")},
    "order.paid": {
        "order": _text("co_…"), "description": _text(), "credits": _number("With every bonus."),
        "amount": _number(f"As paid. {MINOR}"), "currency": _text(), "receipt_url": _or_null(_text()),
        "is_plan": _flag("The first payment of a plan."), "interval": _text("", "once", "month", "year"),
        "renews_at": _or_null(_moment("Of a plan: when it is paid next.")), "is_trial": _flag(),
        **FIRST_CHARGE,
    },
    "payment.failed": {
        **PLAN, "invoice": _text("The provider's."), "url": _or_null(_text("Where it can be paid.")),
        "needs_owner": _flag("The bank wants its owner to confirm."), "next_try_at": _or_null(_moment()),
    },
    "payment.refunded": {
        "description": _text(), "refunded": _number(f"In all. {MINOR}"), "currency": _text(),
        "credits": _number("Taken back in all."),
    },
    "spending_limit.reached": {
        "name": _text("Of the key or member."), "subject": _text("key_… or user:…"),
        "period": _text("", "day", "month"),
        "percent": _number("50, 80 or 100."), "limit": _number("Credits."), "used": _number("Credits."),
        "is_hard": _flag("Spends beyond it are refused."), "at": _moment("When its count begins anew."),
    },
    "subscription.cancelled": {**PLAN, "ends_at": _moment(), "is_over": _flag("It has ended.")},
    "subscription.trial_ending": FIRST_CHARGE,
    "subscription.changed": {
        "from": {"type": "object", "properties": PLAN, "required": [*PLAN]},
        "to": {"type": "object", "properties": PLAN, "required": [*PLAN]},
        "at": _moment("Counts from then."), "is_now": _flag(),
    },
    "subscription.renewed": PLAN,
    "top_up.failed": {"order": _text("co_…"), "description": _text(), "why": _text()},
    "top_up.stopped": {
        "why": _text("Money went back, or the pack costs more now.", "money_back", "price"), "pack": _text(),
        "from_amount": _number(MINOR), "amount": _number(MINOR), "currency": _text(),
    },
    "webhook.test": {"message": _text()},
}  # fmt: skip
# What is there only in some: the trial of an order, the price of a top-up, the account of an endpoint that is one's.
OPTIONAL = {
    "order.paid": set(FIRST_CHARGE) - {"currency"},
    "top_up.stopped": {"pack", "from_amount", "amount", "currency"},
    "webhook.test": {"account", "external_id"},
}


def webhooks() -> dict[str, JsonObject]:
    """Every event's webhook, as OpenAPI 3.1 describes them."""
    return {event: {"post": _operation(event, fields)} for event, fields in PAYLOADS.items()}


def _operation(event: str, fields: dict[str, JsonObject]) -> JsonObject:
    data = {
        "account": _text("acc_…"),
        "external_id": {"type": ["string", "null"], "description": "Your own user id."},
        **fields,
    }
    required = [name for name in data if name not in OPTIONAL.get(event, ())]
    message: JsonObject = {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": [event]},
            "timestamp": _moment("When it happened."),
            "data": {"type": "object", "properties": data, "required": required},
        },
        "required": ["type", "timestamp", "data"],
    }
    when = "when they are tested" if event == TEST_EVENT else f"that listen to `{event}`"
    about = f"Sent to endpoints {when}. Verify `webhook-signature`, and see each `webhook-id` once."
    return {
        "operationId": f"on_{event.replace('.', '_')}",
        "summary": event,
        "description": about,
        "tags": ["webhooks"],
        "requestBody": {"required": True, "content": {"application/json": {"schema": message}}},
        "responses": {"200": {"description": "Taken. Every other answer is tried again for three days."}},
        "security": [],
    }
