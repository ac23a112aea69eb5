import common.public_ids
import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Domain events, deliveries, webhook endpoints and alerts."""

    initial = True

    # What databases of before the first release had applied.
    replaces = [
        ("outbox", "0001_outbox"),
        ("outbox", "0002_outgoing_webhooks"),
        ("outbox", "0003_alert_kinds"),
        ("outbox", "0004_one_delivery_at_a_time"),
        ("outbox", "0005_alerts_of_providers"),
        ("outbox", "0006_no_credit_note_alerts"),
    ]

    dependencies = [
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="OutboxEvent",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=common.public_ids.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=64, verbose_name="name")),
                (
                    "key",
                    models.CharField(
                        help_text="What happens once has one key.", max_length=255, unique=True, verbose_name="key"
                    ),
                ),
                ("data", models.JSONField(default=dict, verbose_name="data")),
                ("happened_at", models.DateTimeField(verbose_name="happened")),
                ("created_at", models.DateTimeField(verbose_name="kept")),
                ("attempts", models.PositiveSmallIntegerField(default=0, verbose_name="attempts")),
                ("error", models.TextField(blank=True, verbose_name="error")),
                (
                    "handled_by",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=32), default=list, size=None, verbose_name="told"
                    ),
                ),
                ("next_attempt_at", models.DateTimeField(blank=True, null=True, verbose_name="next attempt")),
                (
                    "account",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="outbox_events",
                        to="accounts.account",
                    ),
                ),
            ],
            options={
                "verbose_name": "event",
                "verbose_name_plural": "events",
            },
        ),
        migrations.CreateModel(
            name="WebhookEndpoint",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=common.public_ids.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("url", models.CharField(max_length=500, verbose_name="address")),
                ("busy_until", models.DateTimeField(blank=True, editable=False, null=True)),
                ("description", models.CharField(blank=True, max_length=120, verbose_name="description")),
                (
                    "events",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=64),
                        blank=True,
                        default=list,
                        help_text="Empty: all.",
                        size=None,
                        verbose_name="events",
                    ),
                ),
                ("secret", models.TextField(editable=False)),
                ("old_secret", models.TextField(blank=True, editable=False)),
                ("old_secret_until", models.DateTimeField(blank=True, editable=False, null=True)),
                ("created_at", models.DateTimeField(verbose_name="created")),
                ("created_by", models.CharField(blank=True, max_length=64, verbose_name="by")),
                ("failing_since", models.DateTimeField(blank=True, null=True, verbose_name="failing since")),
                ("disabled_at", models.DateTimeField(blank=True, null=True, verbose_name="switched off")),
                ("disabled_why", models.CharField(blank=True, max_length=120, verbose_name="why")),
                (
                    "account",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="webhook_endpoints",
                        to="accounts.account",
                    ),
                ),
            ],
            options={
                "verbose_name": "webhook endpoint",
                "verbose_name_plural": "webhook endpoints",
            },
        ),
        migrations.CreateModel(
            name="WebhookDelivery",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=common.public_ids.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0, verbose_name="attempts")),
                ("next_attempt_at", models.DateTimeField(blank=True, null=True, verbose_name="next attempt")),
                ("delivered_at", models.DateTimeField(blank=True, null=True, verbose_name="delivered")),
                ("status_code", models.PositiveSmallIntegerField(blank=True, null=True, verbose_name="answer")),
                ("answer", models.TextField(blank=True, verbose_name="what it said")),
                ("duration_ms", models.PositiveIntegerField(blank=True, null=True, verbose_name="took (ms)")),
                ("resent_at", models.DateTimeField(blank=True, null=True, verbose_name="sent again")),
                ("created_at", models.DateTimeField(verbose_name="created")),
                (
                    "event",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="deliveries", to="outbox.outboxevent"
                    ),
                ),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="outbox.webhookendpoint",
                    ),
                ),
            ],
            options={
                "verbose_name": "webhook delivery",
                "verbose_name_plural": "webhook deliveries",
            },
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("payment_failed", "Payment failed"),
                            ("dispute", "Dispute"),
                            ("provider", "The payment provider refuses us"),
                            ("mirror", "An object of Stripe could not be copied"),
                            ("review", "Paid, but not as ordered"),
                            ("unplaced", "Paid, but not placed"),
                            ("webhook_dead", "Webhook given up"),
                            ("no_webhooks", "No webhooks come in"),
                            ("two_plans", "Two plans at once"),
                            ("top_up_failed", "Top-up failed"),
                            ("transfer_due", "A refund to be transferred"),
                            ("reconciliation", "Stripe and the ledger disagree"),
                            ("ledger", "The ledger disagrees with itself"),
                            ("webhook_off", "An outgoing webhook was switched off"),
                            ("queue_age", "Events wait too long"),
                            ("webhook_lag", "Webhooks are worked off too slowly"),
                            ("payments_failing", "Many payments fail"),
                            ("low_margin", "A feature earns too little"),
                            ("spike", "An account spends far more than usual"),
                        ],
                        max_length=20,
                        verbose_name="kind",
                    ),
                ),
                (
                    "subject",
                    models.CharField(
                        help_text="What the incident is about, by its id.", max_length=255, verbose_name="about"
                    ),
                ),
                ("detail", models.TextField(blank=True, verbose_name="what")),
                ("opened_at", models.DateTimeField(verbose_name="opened")),
                ("seen_at", models.DateTimeField(verbose_name="last seen")),
                ("times", models.PositiveIntegerField(default=1, verbose_name="times")),
                ("resolved_at", models.DateTimeField(blank=True, null=True, verbose_name="resolved")),
                ("note", models.CharField(blank=True, max_length=255, verbose_name="note")),
                (
                    "account",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="alerts",
                        to="accounts.account",
                    ),
                ),
            ],
            options={
                "verbose_name": "alert",
                "verbose_name_plural": "alerts",
                "indexes": [models.Index(fields=["-opened_at"], name="alert_latest")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("resolved_at", None)),
                        fields=("kind", "subject"),
                        name="one_open_alert_per_incident",
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="outboxevent",
            index=models.Index(
                condition=models.Q(("next_attempt_at__isnull", False)), fields=["next_attempt_at"], name="outbox_due"
            ),
        ),
        migrations.AddIndex(
            model_name="outboxevent",
            index=models.Index(fields=["account", "-id"], name="outbox_of_account"),
        ),
        migrations.AddIndex(
            model_name="webhookendpoint",
            index=models.Index(
                condition=models.Q(("disabled_at", None)), fields=["account"], name="endpoint_listening"
            ),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(
                condition=models.Q(("next_attempt_at__isnull", False)), fields=["next_attempt_at"], name="delivery_due"
            ),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(fields=["endpoint", "-id"], name="delivery_log"),
        ),
        migrations.AddConstraint(
            model_name="webhookdelivery",
            constraint=models.UniqueConstraint(fields=("endpoint", "event"), name="delivery_once_per_endpoint"),
        ),
    ]
