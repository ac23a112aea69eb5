"""What operators did and are about to do: an audit log that only grows, approvals, bulk grants, and when to alert."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from common.public_ids import new_id, public_id


class AuditEvent(models.Model):
    """One thing that somebody of the staff did: who, what, why, what it changed. The database refuses to change it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # What happens once has one key: a second click on a form finds it taken.
    key = models.CharField(_("key"), max_length=120, unique=True)
    at = models.DateTimeField(_("when"))
    operator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("who")
    )
    action = models.CharField(_("what"), max_length=60)
    account = models.ForeignKey(
        "accounts.Account", on_delete=models.PROTECT, null=True, blank=True, related_name="audit_events"
    )
    subject = models.CharField(_("about"), max_length=255, blank=True)
    reason = models.CharField(_("why"), max_length=500, blank=True)
    effects = models.JSONField(_("effects"), default=list, help_text=_("What, before, after."))
    result = models.TextField(_("result"), blank=True)
    undo = models.JSONField(_("undo"), null=True, blank=True)
    undo_until = models.DateTimeField(_("can be undone until"), null=True, blank=True)
    ip = models.GenericIPAddressField(_("IP address"), null=True, blank=True)
    request_id = models.CharField(_("request"), max_length=64, blank=True)

    class Meta:
        verbose_name = _("audit event")
        verbose_name_plural = _("audit events")
        indexes = [
            models.Index(name="audit_latest", fields=["-at"]),
            models.Index(name="audit_of_account", fields=["account", "-at"]),
            models.Index(name="audit_of_operator", fields=["operator", "action", "-at"]),
        ]
        permissions = [
            ("grant_credits", _("Grant credits, up to the limit")),
            ("grant_without_limit", _("Grant credits beyond the limit")),
            ("take_credits", _("Take credits, forgive debt, revoke grants")),
            ("reverse_spend", _("Give back a spend")),
            ("freeze_account", _("Stop and allow spending")),
            ("refund_order", _("Refund orders")),
            ("change_plan", _("Change, extend, stop plans, retry payments")),
            ("sync_stripe", _("Sync an account from Stripe, replay webhooks, resend e-mails")),
            ("view_as_customer", _("See the customer's pages as they do")),
            ("write_note", _("Write notes")),
            ("export_person", _("Export a customer's data")),
            ("erase_person", _("Erase a customer")),
            ("merge_accounts", _("Merge accounts")),
            ("approve", _("Approve what needs a second person")),
            ("see_reports", _("See the dashboard and the simulator")),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}".strip()

    @property
    def public_id(self) -> str:
        return public_id("aud", self.id)


class Approval(models.Model):
    """Something that an operator asked for and that takes a second person."""

    class State(models.TextChoices):
        PENDING = "pending", _("Waiting")
        APPROVED = "approved", _("Approved")
        REFUSED = "refused", _("Refused")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    key = models.CharField(max_length=120, unique=True, editable=False)
    operation = models.CharField(_("what"), max_length=60)
    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="approvals")
    form = models.JSONField(_("as filled in"))
    effects = models.JSONField(_("effects"), default=list)
    reason = models.CharField(_("why"), max_length=500)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("asked by")
    )
    asked_at = models.DateTimeField(_("asked"))
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.PENDING)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)
    result = models.TextField(_("result"), blank=True)

    class Meta:
        verbose_name = _("approval")
        verbose_name_plural = _("approvals")
        constraints = [
            models.CheckConstraint(
                name="approval_is_by_somebody_else",
                condition=models.Q(decided_by=None)
                | ~models.Q(decided_by=models.F("asked_by"))
                | models.Q(state="refused"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.operation}: {self.reason}"


class BulkGrant(models.Model):
    """Credits for many accounts, from a file: looked over first, then granted row by row by the worker."""

    class State(models.TextChoices):
        CHECKED = "checked", _("Looked over")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(_("file"), max_length=120)
    rows = models.JSONField(_("rows"))
    reason = models.CharField(_("why"), max_length=500)
    state = models.CharField(_("state"), max_length=8, choices=State.choices, default=State.CHECKED)
    done = models.PositiveIntegerField(_("granted"), default=0)
    failures = models.JSONField(_("failures"), default=list)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("by")
    )
    made_at = models.DateTimeField(_("uploaded"))

    class Meta:
        verbose_name = _("bulk grant")
        verbose_name_plural = _("bulk grants")

    def __str__(self) -> str:
        return self.name


class AlertThreshold(models.Model):
    """When something is worth an alert, and who is mailed. One row; the numbers count from the next look on."""

    is_only = models.BooleanField(primary_key=True, default=True, editable=False)
    queue_age_minutes = models.PositiveIntegerField(_("the oldest waiting event is older than (minutes)"), default=15)
    webhook_lag_seconds = models.PositiveIntegerField(
        _("a webhook of the last hour took longer than (seconds)"), default=300
    )
    failed_payments_a_day = models.PositiveIntegerField(_("failed payments a day"), default=20)
    margin_percent = models.IntegerField(_("a feature's margin of the last seven days is below (percent)"), default=20)
    spike_factor = models.PositiveIntegerField(_("an account spends so many times its usual day"), default=10)
    spike_credits = models.PositiveIntegerField(_("and at least so many credits"), default=500)
    emails = models.TextField(
        _("e-mail addresses"), blank=True, help_text=_("One a line, beside those of OPERATOR_EMAILS.")
    )
    webhook_url = models.CharField(
        _("webhook"), max_length=500, blank=True, help_text=_("Told of each alert, as JSON; for a chat or a pager.")
    )

    class Meta:
        verbose_name = _("when to alert")
        verbose_name_plural = _("when to alert")
        constraints = [models.CheckConstraint(name="one_row_of_thresholds", condition=models.Q(is_only=True))]

    def __str__(self) -> str:
        return str(_("When to alert"))
