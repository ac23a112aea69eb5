import common.public_ids
import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

from credits.functions import InstallFunctions, MakeAppendOnly


class Migration(migrations.Migration):
    """The ledger: its tables, its functions, and that its facts are only added to."""

    initial = True

    # What databases of before the first release had applied.
    replaces = [
        ("credits", "0001_ledger"),
        ("credits", "0002_append_only"),
        ("credits", "0003_spend"),
        ("credits", "0004_ledger_complete"),
        ("credits", "0005_ledger_functions"),
        ("credits", "0006_restore_kind"),
        ("credits", "0007_usage"),
        ("credits", "0008_debts"),
        ("credits", "0009_sides"),
        ("credits", "0010_given_by_hand"),
        ("credits", "0011_seals"),
        ("credits", "0012_seals_append_only"),
        ("credits", "0013_grace_of_renewals"),
        ("credits", "0014_awaited"),
        ("credits", "0015_withheld"),
        ("credits", "0016_standing_targets"),
    ]

    dependencies = [
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Allowance",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=common.public_ids.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("free", "Free"),
                            ("plan", "Plan"),
                            ("purchase", "Purchase"),
                            ("bonus", "Bonus"),
                            ("adjustment", "Adjustment"),
                        ],
                        max_length=10,
                        verbose_name="source",
                    ),
                ),
                ("source_key", models.CharField(max_length=200, verbose_name="source key")),
                ("series", models.CharField(max_length=200, verbose_name="series")),
                ("amount", models.BigIntegerField(verbose_name="credits per period")),
                (
                    "next_amount",
                    models.BigIntegerField(blank=True, null=True, verbose_name="credits from the next period on"),
                ),
                (
                    "rollover",
                    models.CharField(
                        choices=[("none", "Nothing"), ("capped", "Up to a limit"), ("all", "Everything")],
                        default="none",
                        max_length=6,
                        verbose_name="rolls over",
                    ),
                ),
                ("rollover_limit", models.BigIntegerField(blank=True, null=True, verbose_name="at most")),
                (
                    "period",
                    models.CharField(choices=[("day", "Day"), ("month", "Month")], max_length=5, verbose_name="period"),
                ),
                ("priority", models.SmallIntegerField(verbose_name="priority")),
                ("anchor", models.DateTimeField(verbose_name="anchor")),
                (
                    "zone",
                    models.CharField(
                        blank=True, help_text="Empty: the account's own.", max_length=64, verbose_name="calendar"
                    ),
                ),
                ("paid_until", models.DateTimeField(blank=True, null=True, verbose_name="paid until")),
                ("paid_minor", models.BigIntegerField(default=0, verbose_name="paid")),
                ("currency", models.CharField(blank=True, max_length=3, verbose_name="currency")),
                ("periods", models.PositiveSmallIntegerField(blank=True, null=True, verbose_name="periods paid")),
                ("added_minor", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("carried_minor", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("handed_minor", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("handed_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("given_minor", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("next_index", models.PositiveIntegerField(default=0)),
                ("next_at", models.DateTimeField(blank=True, null=True, verbose_name="next refill")),
                ("last_day_start", models.DateTimeField(blank=True, editable=False, null=True)),
                ("grace_s", models.PositiveIntegerField(default=0, editable=False)),
                ("withheld", models.PositiveIntegerField(db_default=0, default=0, editable=False)),
                ("paused_at", models.DateTimeField(blank=True, null=True, verbose_name="paused")),
                ("ended_at", models.DateTimeField(blank=True, null=True, verbose_name="ended")),
                ("created_at", models.DateTimeField(verbose_name="created")),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="allowances",
                        to="accounts.account",
                    ),
                ),
            ],
            options={
                "verbose_name": "allowance",
                "verbose_name_plural": "allowances",
            },
        ),
        migrations.CreateModel(
            name="GivenInHour",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "subject", "unit", "hour", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("subject", models.CharField(max_length=96)),
                ("unit", models.CharField(max_length=8)),
                ("hour", models.DateTimeField()),
                ("amount", models.BigIntegerField(default=0)),
            ],
            options={
                "verbose_name": "given by hand in an hour",
                "verbose_name_plural": "given by hand, by the hour",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("amount__gte", 0)), name="given_is_positive")
                ],
            },
        ),
        migrations.CreateModel(
            name="Grant",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=common.public_ids.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("free", "Free"),
                            ("plan", "Plan"),
                            ("purchase", "Purchase"),
                            ("bonus", "Bonus"),
                            ("adjustment", "Adjustment"),
                        ],
                        max_length=10,
                        verbose_name="source",
                    ),
                ),
                ("source_key", models.CharField(max_length=255, verbose_name="source key")),
                ("amount", models.BigIntegerField(verbose_name="granted")),
                ("remaining", models.BigIntegerField(verbose_name="left")),
                (
                    "is_open",
                    models.GeneratedField(
                        db_persist=True, expression=models.Q(("remaining__gt", 0)), output_field=models.BooleanField()
                    ),
                ),
                ("priority", models.SmallIntegerField(help_text="The lowest is spent first.", verbose_name="priority")),
                ("effective_at", models.DateTimeField(verbose_name="from")),
                ("expires_at", models.DateTimeField(blank=True, null=True, verbose_name="until")),
                ("paid_minor", models.BigIntegerField(default=0, verbose_name="paid")),
                ("currency", models.CharField(blank=True, max_length=3, verbose_name="currency")),
                ("is_top_up", models.BooleanField(default=False, verbose_name="added by an upgrade")),
                ("awaited", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("withheld", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("deferred_minor", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("spent_before", models.BigIntegerField(db_default=0, default=0, editable=False)),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="grants",
                        to="accounts.account",
                    ),
                ),
                (
                    "allowance",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="grants",
                        to="credits.allowance",
                    ),
                ),
                (
                    "moved_from",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="credits.grant",
                    ),
                ),
            ],
            options={
                "verbose_name": "grant",
                "verbose_name_plural": "grants",
            },
        ),
        migrations.CreateModel(
            name="Hold",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=common.public_ids.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("captured", "Captured"),
                            ("released", "Released"),
                            ("lapsed", "Lapsed"),
                        ],
                        default="open",
                        max_length=8,
                        verbose_name="status",
                    ),
                ),
                ("amount", models.BigIntegerField(verbose_name="set aside")),
                ("balance_after", models.BigIntegerField(verbose_name="balance after")),
                ("asked", models.BigIntegerField(blank=True, null=True, verbose_name="cost")),
                ("captured", models.BigIntegerField(blank=True, null=True, verbose_name="captured")),
                (
                    "side",
                    models.CharField(
                        choices=[("buyer", "Buyer"), ("seller", "Seller"), ("internal", "Internal")],
                        db_default="internal",
                        default="internal",
                        max_length=8,
                        verbose_name="side",
                    ),
                ),
                ("idempotency_key", models.CharField(max_length=255, verbose_name="idempotency key")),
                ("fingerprint", models.BinaryField(max_length=32)),
                ("feature", models.CharField(blank=True, max_length=64, verbose_name="feature")),
                ("quantity", models.BigIntegerField(blank=True, null=True, verbose_name="quantity")),
                ("description", models.CharField(blank=True, max_length=255, verbose_name="description")),
                ("metadata", models.JSONField(blank=True, default=dict, verbose_name="metadata")),
                ("actor", models.CharField(blank=True, max_length=64, verbose_name="by")),
                ("created_at", models.DateTimeField(verbose_name="at")),
                ("expires_at", models.DateTimeField(verbose_name="lapses")),
                ("ended_at", models.DateTimeField(blank=True, null=True, verbose_name="ended")),
                (
                    "account",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="holds",
                        to="accounts.account",
                    ),
                ),
            ],
            options={
                "verbose_name": "hold",
                "verbose_name_plural": "holds",
            },
        ),
        migrations.CreateModel(
            name="HoldLot",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "hold_id", "grant_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("place", models.SmallIntegerField()),
                ("amount", models.BigIntegerField(verbose_name="amount")),
                ("captured", models.BigIntegerField(default=0, verbose_name="captured")),
                (
                    "account",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.account",
                    ),
                ),
                (
                    "grant",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="hold_lots",
                        to="credits.grant",
                    ),
                ),
                (
                    "hold",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="lots",
                        to="credits.hold",
                    ),
                ),
            ],
            options={
                "verbose_name": "part of a hold",
                "verbose_name_plural": "parts of holds",
            },
        ),
        migrations.CreateModel(
            name="Seal",
            fields=[
                ("number", models.PositiveBigIntegerField(primary_key=True, serialize=False, verbose_name="number")),
                ("transactions", models.PositiveBigIntegerField(verbose_name="transactions")),
                ("leaves", models.BinaryField()),
                ("previous", models.BinaryField(max_length=32)),
                ("head", models.BinaryField(max_length=32)),
                ("signature", models.BinaryField(max_length=32)),
                (
                    "sealed_at",
                    models.DateTimeField(help_text="By the server's own clock, as ids are.", verbose_name="sealed"),
                ),
                ("clock_at", models.DateTimeField(help_text="By the application's clock.", verbose_name="at")),
            ],
            options={
                "verbose_name": "seal",
                "verbose_name_plural": "seals",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("number__gte", 1)), name="seal_numbers_begin_at_one")
                ],
            },
        ),
        migrations.CreateModel(
            name="Transaction",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=common.public_ids.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("grant", "Credits added"),
                            ("spend", "Credits spent"),
                            ("expire", "Credits expired"),
                            ("reverse", "Credits given back"),
                            ("revoke", "Credits taken back"),
                            ("restore", "Credits restored"),
                            ("adjust", "Adjusted"),
                            ("debt", "Debt paid"),
                        ],
                        max_length=10,
                        verbose_name="kind",
                    ),
                ),
                (
                    "amount",
                    models.BigIntegerField(help_text="Credits; negative when they left.", verbose_name="amount"),
                ),
                ("balance_after", models.BigIntegerField(verbose_name="balance after")),
                (
                    "debt_change",
                    models.BigIntegerField(default=0, help_text="Positive when more is owed.", verbose_name="debt"),
                ),
                (
                    "side",
                    models.CharField(
                        choices=[("buyer", "Buyer"), ("seller", "Seller"), ("internal", "Internal")],
                        db_default="internal",
                        default="internal",
                        max_length=8,
                        verbose_name="side",
                    ),
                ),
                (
                    "idempotency_key",
                    models.CharField(blank=True, max_length=255, null=True, verbose_name="idempotency key"),
                ),
                ("fingerprint", models.BinaryField(max_length=32, null=True)),
                ("feature", models.CharField(blank=True, max_length=64, verbose_name="feature")),
                ("quantity", models.BigIntegerField(blank=True, null=True, verbose_name="quantity")),
                ("description", models.CharField(blank=True, max_length=255, verbose_name="description")),
                ("metadata", models.JSONField(blank=True, default=dict, verbose_name="metadata")),
                ("actor", models.CharField(blank=True, max_length=64, verbose_name="by")),
                ("created_at", models.DateTimeField(verbose_name="at")),
                ("usage", models.JSONField(blank=True, editable=False, null=True, verbose_name="usage")),
                ("due_at", models.DateTimeField(blank=True, null=True, verbose_name="due")),
                (
                    "account",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="transactions",
                        to="accounts.account",
                    ),
                ),
                (
                    "hold",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="transactions",
                        to="credits.hold",
                    ),
                ),
                (
                    "reverses",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="reversals",
                        to="credits.transaction",
                    ),
                ),
            ],
            options={
                "verbose_name": "transaction",
                "verbose_name_plural": "transactions",
            },
        ),
        migrations.CreateModel(
            name="Entry",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "transaction_id", "grant_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("amount", models.BigIntegerField(verbose_name="amount")),
                (
                    "account",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.account",
                    ),
                ),
                (
                    "grant",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="entries",
                        to="credits.grant",
                    ),
                ),
                (
                    "transaction",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="entries",
                        to="credits.transaction",
                    ),
                ),
            ],
            options={
                "verbose_name": "entry",
                "verbose_name_plural": "entries",
            },
        ),
        migrations.CreateModel(
            name="Wallet",
            fields=[
                (
                    "account",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="wallet",
                        serialize=False,
                        to="accounts.account",
                    ),
                ),
                ("balance", models.BigIntegerField(default=0, verbose_name="available")),
                (
                    "held",
                    models.BigIntegerField(
                        default=0, help_text="In open holds; not to be spent otherwise.", verbose_name="set aside"
                    ),
                ),
                ("debt", models.BigIntegerField(default=0, verbose_name="owed")),
                ("next_due_at", models.DateTimeField(blank=True, null=True, verbose_name="next change")),
                ("frozen_at", models.DateTimeField(blank=True, null=True, verbose_name="spending stopped")),
                ("closed_at", models.DateTimeField(blank=True, null=True, verbose_name="account closed")),
                ("daily_cap", models.BigIntegerField(blank=True, null=True, verbose_name="daily cap")),
                (
                    "daily_cap_override",
                    models.BigIntegerField(blank=True, null=True, verbose_name="daily cap of this account"),
                ),
                ("cap_date", models.DateField(blank=True, editable=False, null=True)),
                ("cap_day_started_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("cap_day_ends_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("cap_used", models.BigIntegerField(default=0, verbose_name="paid credits used today")),
                ("low_threshold", models.BigIntegerField(default=5, verbose_name="low at")),
                (
                    "low_threshold_override",
                    models.BigIntegerField(blank=True, null=True, verbose_name="low at, for this account"),
                ),
                ("touched_on", models.DateField(blank=True, null=True, verbose_name="last active")),
            ],
            options={
                "verbose_name": "wallet",
                "verbose_name_plural": "wallets",
                "indexes": [models.Index(fields=["touched_on", "next_due_at"], name="wallet_active")],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("balance__gte", 0)), name="wallet_balance_not_negative"),
                    models.CheckConstraint(condition=models.Q(("held__gte", 0)), name="wallet_held_not_negative"),
                    models.CheckConstraint(condition=models.Q(("debt__gte", 0)), name="wallet_debt_not_negative"),
                    models.CheckConstraint(
                        condition=models.Q(("cap_used__gte", 0)), name="wallet_cap_used_not_negative"
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="allowance",
            index=models.Index(
                condition=models.Q(("next_at__isnull", False)), fields=["period", "next_at"], name="allowance_due"
            ),
        ),
        migrations.AddIndex(
            model_name="allowance",
            index=models.Index(fields=["account", "series"], name="allowance_series"),
        ),
        migrations.AddConstraint(
            model_name="allowance",
            constraint=models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="allowance_amount_positive"),
        ),
        migrations.AddConstraint(
            model_name="allowance",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("currency", ""), ("paid_minor", 0)),
                    models.Q(("paid_minor__gte", 0), ("periods__gte", 1), models.Q(("currency", ""), _negated=True)),
                    _connector="OR",
                ),
                name="allowance_paid_has_a_currency",
            ),
        ),
        migrations.AddConstraint(
            model_name="allowance",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("rollover", "capped"), ("rollover_limit__gte", 0)),
                    models.Q(models.Q(("rollover", "capped"), _negated=True), ("rollover_limit__isnull", True)),
                    _connector="OR",
                ),
                name="allowance_capped_rollover_has_a_limit",
            ),
        ),
        migrations.AddConstraint(
            model_name="allowance",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ended_at__isnull", True), ("paused_at__isnull", True)),
                    ("next_at__isnull", True),
                    _connector="OR",
                ),
                name="allowance_at_rest_has_no_next",
            ),
        ),
        migrations.AddConstraint(
            model_name="allowance",
            constraint=models.UniqueConstraint(fields=("account", "source_key"), name="allowance_once_per_source_key"),
        ),
        migrations.AddIndex(
            model_name="grant",
            index=models.Index(
                condition=models.Q(("is_open", True)),
                fields=["account", "priority", "expires_at", "effective_at", "id"],
                name="grant_open_in_order",
            ),
        ),
        migrations.AddIndex(
            model_name="grant",
            index=models.Index(
                condition=models.Q(("is_open", True), models.Q(("source", "free"), _negated=True)),
                fields=["expires_at"],
                name="grant_expiring",
            ),
        ),
        migrations.AddIndex(
            model_name="grant",
            index=models.Index(
                condition=models.Q(("moved_from__isnull", False)), fields=["moved_from"], name="grant_moved"
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount__gt", 0), models.Q(("amount", 0), ("spent_before__gt", 0)), _connector="OR"
                ),
                name="grant_gave_something",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("awaited__gte", 0),
                    (
                        "awaited__lte",
                        django.db.models.expressions.CombinedExpression(
                            models.F("amount"), "+", models.F("spent_before")
                        ),
                    ),
                ),
                name="grant_awaits_no_more_than_it_gave",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=models.Q(("remaining__gte", 0), ("remaining__lte", models.F("amount"))),
                name="grant_remaining_within_amount",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("expires_at__isnull", True), ("expires_at__gt", models.F("effective_at")), _connector="OR"
                ),
                name="grant_expires_after_it_starts",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("currency", ""), ("paid_minor", 0)),
                    models.Q(("paid_minor__gte", 0), models.Q(("currency", ""), _negated=True)),
                    _connector="OR",
                ),
                name="grant_paid_has_a_currency",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.UniqueConstraint(fields=("account", "source_key"), name="grant_once_per_source_key"),
        ),
        migrations.AddIndex(
            model_name="hold",
            index=models.Index(
                condition=models.Q(("status", "open")), fields=["account", "expires_at"], name="hold_open"
            ),
        ),
        migrations.AddIndex(
            model_name="hold",
            index=models.Index(condition=models.Q(("status", "open")), fields=["expires_at"], name="hold_lapsing"),
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="hold_amount_positive"),
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.CheckConstraint(
                condition=models.Q(("expires_at__gt", models.F("created_at"))), name="hold_lapses_after_it_starts"
            ),
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ended_at__isnull", True), ("status", "open")),
                    models.Q(models.Q(("status", "open"), _negated=True), ("ended_at__isnull", False)),
                    _connector="OR",
                ),
                name="hold_is_open_or_has_ended",
            ),
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("captured__isnull", True),
                    models.Q(("captured__gt", 0), ("captured__lte", models.F("asked"))),
                    _connector="OR",
                ),
                name="hold_captured_within_cost",
            ),
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.UniqueConstraint(fields=("account", "side", "idempotency_key"), name="hold_once_per_key"),
        ),
        migrations.AddConstraint(
            model_name="holdlot",
            constraint=models.CheckConstraint(condition=models.Q(("amount__gt", 0)), name="hold_lot_amount_positive"),
        ),
        migrations.AddConstraint(
            model_name="holdlot",
            constraint=models.CheckConstraint(
                condition=models.Q(("captured__gte", 0), ("captured__lte", models.F("amount"))),
                name="hold_lot_captured_within_amount",
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(fields=["account", "-id"], name="transaction_history"),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(("reverses__isnull", False)),
                fields=["account", "reverses"],
                name="transaction_reversals",
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(("hold__isnull", False)), fields=["account", "hold"], name="transaction_captures"
            ),
        ),
        migrations.AddIndex(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(("debt_change", 0), _negated=True), fields=["account"], name="transaction_debts"
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.UniqueConstraint(
                condition=models.Q(("idempotency_key__isnull", False)),
                fields=("account", "side", "idempotency_key"),
                name="transaction_once_per_key",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("amount", 0), _negated=True), models.Q(("debt_change", 0), _negated=True), _connector="OR"
                ),
                name="transaction_moves_something",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.CheckConstraint(
                condition=models.Q(("balance_after__gte", 0)), name="transaction_balance_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount", 0), _negated=True), name="entry_moves_something"
            ),
        ),
        # Rows that are updated often keep room on their page for it.
        migrations.RunSQL(
            "ALTER TABLE credits_wallet SET (fillfactor = 50); ALTER TABLE credits_grant SET (fillfactor = 70)",
            "ALTER TABLE credits_wallet RESET (fillfactor); ALTER TABLE credits_grant RESET (fillfactor)",
        ),
        InstallFunctions(),
        MakeAppendOnly("transaction", name="transaction"),
        MakeAppendOnly("entry", name="entry"),
        MakeAppendOnly("seal", name="seal"),
    ]
