"""Which of Stripe's events are followed, and what kind of object each is about. Said here alone.

The webhook endpoint is registered with `EVENTS`; the inbox finds the kind of an event by `kind_of`. What
comes of each kind is in `billing.webhooks.sync`.
"""

# By the beginning of an event's type, the longer ones first: the kind of its object, and the events to register for. An
# endpoint that gets more than these (`*`) is served too.
FOLLOWED: dict[str, tuple[str, tuple[str, ...]]] = {
    "checkout.session.": (
        "checkout.session",
        ("completed", "async_payment_succeeded", "async_payment_failed", "expired"),
    ),
    "customer.subscription.": (
        "subscription",
        ("created", "updated", "deleted", "paused", "resumed", "trial_will_end", "pending_update_applied",
         "pending_update_expired"),
    ),
    "customer.": ("customer", ("created", "updated", "deleted")),
    "subscription_schedule.": ("subscription_schedule", ("updated", "released", "canceled")),
    "credit_note.": ("credit_note", ("created", "updated", "voided")),
    "invoice.": (
        "invoice",
        ("created", "paid", "payment_failed", "payment_action_required", "finalized", "voided", "marked_uncollectible",
         "finalization_failed"),
    ),
    "payment_intent.": ("payment_intent", ("succeeded", "processing", "payment_failed", "canceled")),
    "charge.dispute.": ("dispute", ("created", "updated", "closed", "funds_withdrawn", "funds_reinstated")),
    "charge.refund.": ("refund", ()),  # by its older name
    "charge.": ("charge", ("refunded",)),
    "refund.": ("refund", ("created", "updated", "failed")),
    "payment_method.": ("payment_method", ("attached", "updated", "automatically_updated", "detached")),
    "product.": ("product", ("created", "updated", "deleted")),
    "price.": ("price", ("created", "updated", "deleted")),
}  # fmt: skip

EVENTS = [beginning + name for beginning, (_, names) in FOLLOWED.items() for name in names]
KINDS = frozenset(kind for kind, _ in FOLLOWED.values())

# What money came in by: the object that these name must be at Stripe.
PAID = (
    "checkout.session.completed", "checkout.session.async_payment_succeeded", "invoice.paid",
    "payment_intent.succeeded",
)  # fmt: skip


def kind_of(event_type: str) -> str:
    """The kind of object that an event of this type is about; empty for what is not followed."""
    return next((kind for beginning, (kind, _) in FOLLOWED.items() if event_type.startswith(beginning)), "")
