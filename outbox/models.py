"""Events on their way to subscribers, and alerts that wait for an operator."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from common.public_ids import new_id, public_id


class OutboxEvent(models.Model):
    """Something that happened, written in the transaction in which it did. PostgreSQL is the queue; Redis rings."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(_("name"), max_length=64)
    key = models.CharField(_("key"), max_length=255, unique=True, help_text=_("What happens once has one key."))
    account = models.ForeignKey(
        "accounts.Account", on_delete=models.CASCADE, null=True, blank=True, related_name="outbox_events"
    )
    data = models.JSONField(_("data"), default=dict)
    happened_at = models.DateTimeField(_("happened"))
    created_at = models.DateTimeField(_("kept"))
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    error = models.TextField(_("error"), blank=True)
    handled_by = ArrayField(models.CharField(max_length=32), default=list, verbose_name=_("told"))
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True, blank=True)

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        indexes = [
            models.Index(name="outbox_due", fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False)),
            models.Index(name="outbox_of_account", fields=["account", "-id"]),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.key}"

    @property
    def public_id(self) -> str:
        return public_id("evt", self.id)


class Alert(models.Model):
    """Something that an operator should look at: one row an incident, however often it is noticed."""

    class Kind(models.TextChoices):
        PAYMENT_FAILED = "payment_failed", _("Payment failed")
        DISPUTE = "dispute", _("Dispute")
        PROVIDER = "provider", _("The payment provider refuses us")
        MIRROR = "mirror", _("An object of Stripe could not be copied")
        REVIEW = "review", _("Paid, but not as ordered")
        UNPLACED = "unplaced", _("Paid, but not placed")  # an object of Stripe's that fits nothing of ours
        WEBHOOK_DEAD = "webhook_dead", _("Webhook given up")
        NO_WEBHOOKS = "no_webhooks", _("No webhooks come in")
        TWO_PLANS = "two_plans", _("Two plans at once")
        TOP_UP_FAILED = "top_up_failed", _("Top-up failed")
        TRANSFER_DUE = "transfer_due", _("A refund to be transferred")
        RECONCILIATION = "reconciliation", _("Stripe and the ledger disagree")
        LEDGER = "ledger", _("The ledger disagrees with itself")
        WEBHOOK_OFF = "webhook_off", _("An outgoing webhook was switched off")
        QUEUE_AGE = "queue_age", _("Events wait too long")
        WEBHOOK_LAG = "webhook_lag", _("Webhooks are worked off too slowly")
        PAYMENTS_FAILING = "payments_failing", _("Many payments fail")
        LOW_MARGIN = "low_margin", _("A feature earns too little")
        SPIKE = "spike", _("An account spends far more than usual")

    kind = models.CharField(_("kind"), max_length=20, choices=Kind.choices)
    subject = models.CharField(_("about"), max_length=255, help_text=_("What the incident is about, by its id."))
    detail = models.TextField(_("what"), blank=True)
    account = models.ForeignKey(
        "accounts.Account", on_delete=models.SET_NULL, null=True, blank=True, related_name="alerts"
    )
    opened_at = models.DateTimeField(_("opened"))
    seen_at = models.DateTimeField(_("last seen"))
    times = models.PositiveIntegerField(_("times"), default=1)
    resolved_at = models.DateTimeField(_("resolved"), null=True, blank=True)
    note = models.CharField(_("note"), max_length=255, blank=True)

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        constraints = [
            models.UniqueConstraint(
                name="one_open_alert_per_incident", fields=["kind", "subject"], condition=Q(resolved_at=None)
            ),
        ]
        indexes = [models.Index(name="alert_latest", fields=["-opened_at"])]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.subject}"


class WebhookEndpoint(models.Model):
    """An address that receives events: of one account's, or (an app's own backend) of everybody's."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    account = models.ForeignKey(
        "accounts.Account", on_delete=models.CASCADE, null=True, blank=True, related_name="webhook_endpoints"
    )
    url = models.CharField(_("address"), max_length=500)
    # Somebody is sending to it until then: one at a time, so that a slow receiver holds one worker at most.
    busy_until = models.DateTimeField(null=True, blank=True, editable=False)
    description = models.CharField(_("description"), max_length=120, blank=True)
    events = ArrayField(
        models.CharField(max_length=64), default=list, blank=True, verbose_name=_("events"), help_text=_("Empty: all.")
    )
    # What signs, encrypted; and the one before it, which signs as well for a while.
    secret = models.TextField(editable=False)
    old_secret = models.TextField(blank=True, editable=False)
    old_secret_until = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"))
    created_by = models.CharField(_("by"), max_length=64, blank=True)
    # When it last failed for the first time since it worked; it is switched off after days of that.
    failing_since = models.DateTimeField(_("failing since"), null=True, blank=True)
    disabled_at = models.DateTimeField(_("switched off"), null=True, blank=True)
    disabled_why = models.CharField(_("why"), max_length=120, blank=True)

    class Meta:
        verbose_name = _("webhook endpoint")
        verbose_name_plural = _("webhook endpoints")
        indexes = [models.Index(name="endpoint_listening", fields=["account"], condition=Q(disabled_at=None))]

    def __str__(self) -> str:
        return self.url

    @property
    def public_id(self) -> str:
        return public_id("whk", self.id)


class WebhookDelivery(models.Model):
    """One event on its way to one endpoint, and how the last try went."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries")
    event = models.ForeignKey(OutboxEvent, on_delete=models.CASCADE, related_name="deliveries")
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True, blank=True)
    delivered_at = models.DateTimeField(_("delivered"), null=True, blank=True)
    status_code = models.PositiveSmallIntegerField(_("answer"), null=True, blank=True)
    answer = models.TextField(_("what it said"), blank=True)
    duration_ms = models.PositiveIntegerField(_("took (ms)"), null=True, blank=True)
    resent_at = models.DateTimeField(_("sent again"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"))

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        constraints = [models.UniqueConstraint(name="delivery_once_per_endpoint", fields=["endpoint", "event"])]
        indexes = [
            models.Index(name="delivery_due", fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False)),
            models.Index(name="delivery_log", fields=["endpoint", "-id"]),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} ({self.status_code or '–'})"

    @property
    def public_id(self) -> str:
        return public_id("dlv", self.id)

    @property
    def state(self) -> str:
        """`delivered`, `waiting` for its next try, or `failed` for good."""
        if self.delivered_at is not None:
            return "delivered"
        return "failed" if self.next_attempt_at is None else "waiting"
