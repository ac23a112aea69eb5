import common.public_ids
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from credits.functions import MakeAppendOnly


class Migration(migrations.Migration):
    """The audit log, approvals, bulk grants and alert thresholds."""

    initial = True

    # What databases of before the first release had applied.
    replaces = [
        ("console", "0001_console"),
        ("console", "0002_append_only"),
    ]

    dependencies = [
        ("accounts", "0001_initial"),
        ("credits", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AlertThreshold",
            fields=[
                ("is_only", models.BooleanField(default=True, editable=False, primary_key=True, serialize=False)),
                (
                    "queue_age_minutes",
                    models.PositiveIntegerField(
                        default=15, verbose_name="the oldest waiting event is older than (minutes)"
                    ),
                ),
                (
                    "webhook_lag_seconds",
                    models.PositiveIntegerField(
                        default=300, verbose_name="a webhook of the last hour took longer than (seconds)"
                    ),
                ),
                (
                    "failed_payments_a_day",
                    models.PositiveIntegerField(default=20, verbose_name="failed payments a day"),
                ),
                (
                    "margin_percent",
                    models.IntegerField(
                        default=20, verbose_name="a feature's margin of the last seven days is below (percent)"
                    ),
                ),
                (
                    "spike_factor",
                    models.PositiveIntegerField(
                        default=10, verbose_name="an account spends so many times its usual day"
                    ),
                ),
                (
                    "spike_credits",
                    models.PositiveIntegerField(default=500, verbose_name="and at least so many credits"),
                ),
                (
                    "emails",
                    models.TextField(
                        blank=True,
                        help_text="One a line, beside those of OPERATOR_EMAILS.",
                        verbose_name="e-mail addresses",
                    ),
                ),
                (
                    "webhook_url",
                    models.CharField(
                        blank=True,
                        help_text="Told of each alert, as JSON; for a chat or a pager.",
                        max_length=500,
                        verbose_name="webhook",
                    ),
                ),
            ],
            options={
                "verbose_name": "when to alert",
                "verbose_name_plural": "when to alert",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("is_only", True)), name="one_row_of_thresholds")
                ],
            },
        ),
        migrations.CreateModel(
            name="BulkGrant",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=common.public_ids.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=120, verbose_name="file")),
                ("rows", models.JSONField(verbose_name="rows")),
                ("reason", models.CharField(max_length=500, verbose_name="why")),
                (
                    "state",
                    models.CharField(
                        choices=[("checked", "Looked over"), ("running", "Running"), ("done", "Done")],
                        default="checked",
                        max_length=8,
                        verbose_name="state",
                    ),
                ),
                ("done", models.PositiveIntegerField(default=0, verbose_name="granted")),
                ("failures", models.JSONField(default=list, verbose_name="failures")),
                ("made_at", models.DateTimeField(verbose_name="uploaded")),
                (
                    "made_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="by",
                    ),
                ),
            ],
            options={
                "verbose_name": "bulk grant",
                "verbose_name_plural": "bulk grants",
            },
        ),
        migrations.CreateModel(
            name="Approval",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=common.public_ids.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("key", models.CharField(editable=False, max_length=120, unique=True)),
                ("operation", models.CharField(max_length=60, verbose_name="what")),
                ("form", models.JSONField(verbose_name="as filled in")),
                ("effects", models.JSONField(default=list, verbose_name="effects")),
                ("reason", models.CharField(max_length=500, verbose_name="why")),
                ("asked_at", models.DateTimeField(verbose_name="asked")),
                (
                    "state",
                    models.CharField(
                        choices=[("pending", "Waits"), ("approved", "Approved"), ("refused", "Refused")],
                        default="pending",
                        max_length=8,
                        verbose_name="state",
                    ),
                ),
                ("decided_at", models.DateTimeField(blank=True, null=True, verbose_name="decided")),
                ("result", models.TextField(blank=True, verbose_name="result")),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="approvals", to="accounts.account"
                    ),
                ),
                (
                    "asked_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="asked by",
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "approval",
                "verbose_name_plural": "approvals",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("decided_by", None),
                            models.Q(("decided_by", models.F("asked_by")), _negated=True),
                            ("state", "refused"),
                            _connector="OR",
                        ),
                        name="approval_is_by_somebody_else",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=common.public_ids.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("key", models.CharField(max_length=120, unique=True, verbose_name="key")),
                ("at", models.DateTimeField(verbose_name="when")),
                ("action", models.CharField(max_length=60, verbose_name="what")),
                ("subject", models.CharField(blank=True, max_length=255, verbose_name="about")),
                ("reason", models.CharField(blank=True, max_length=500, verbose_name="why")),
                ("effects", models.JSONField(default=list, help_text="What, before, after.", verbose_name="effects")),
                ("result", models.TextField(blank=True, verbose_name="result")),
                ("undo", models.JSONField(blank=True, null=True, verbose_name="undo")),
                ("undo_until", models.DateTimeField(blank=True, null=True, verbose_name="can be undone until")),
                ("ip", models.GenericIPAddressField(blank=True, null=True, verbose_name="IP address")),
                ("request_id", models.CharField(blank=True, max_length=64, verbose_name="request")),
                (
                    "account",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="audit_events",
                        to="accounts.account",
                    ),
                ),
                (
                    "operator",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="who",
                    ),
                ),
            ],
            options={
                "verbose_name": "audit event",
                "verbose_name_plural": "audit events",
                "permissions": [
                    ("grant_credits", "Grant credits, up to the limit"),
                    ("grant_without_limit", "Grant credits beyond the limit"),
                    ("take_credits", "Take credits, forgive debt, revoke grants"),
                    ("reverse_spend", "Give back a spend"),
                    ("freeze_account", "Stop and allow spending"),
                    ("refund_order", "Refund orders"),
                    ("change_plan", "Change, extend, stop plans, retry payments"),
                    ("sync_stripe", "Sync an account from Stripe, replay webhooks, resend e-mails"),
                    ("view_as_customer", "See the customer's pages as they do"),
                    ("write_note", "Write notes"),
                    ("export_person", "Export a customer's data"),
                    ("erase_person", "Erase a customer"),
                    ("merge_accounts", "Merge accounts"),
                    ("approve", "Approve what needs a second person"),
                    ("see_reports", "See the dashboard and the simulator"),
                ],
                "indexes": [
                    models.Index(fields=["-at"], name="audit_latest"),
                    models.Index(fields=["account", "-at"], name="audit_of_account"),
                    models.Index(fields=["operator", "action", "-at"], name="audit_of_operator"),
                ],
            },
        ),
        MakeAppendOnly("auditevent", name="audit_event"),
    ]
