import common.public_ids
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """What is for sale, what was bought, and Stripe's webhooks."""

    initial = True

    # What databases of before the first release had applied.
    replaces = [
        ("billing", "0001_billing"),
        ("billing", "0002_plan_limits"),
        ("billing", "0003_money_back"),
        ("billing", "0004_ways_to_pay"),
        ("billing", "0005_seats"),
        ("billing", "0006_sides_of_orders"),
        ("billing", "0007_benefits_once"),
        ("billing", "0008_customers_and_copies"),
        ("billing", "0009_pending_changes"),
        ("billing", "0010_settled_charges"),
        ("billing", "0011_paid_months"),
        ("billing", "0012_payment_records"),
        ("billing", "0013_addresses_at_stripe"),
        ("billing", "0014_known_differences"),
    ]

    dependencies = [
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="SettledCharge",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("charge_id", models.CharField(max_length=255, unique=True, verbose_name="charge")),
                ("seen", models.CharField(max_length=120, verbose_name="seen")),
                ("settled_at", models.DateTimeField(verbose_name="settled")),
            ],
            options={
                "verbose_name": "settled charge",
                "verbose_name_plural": "settled charges",
            },
        ),
        migrations.CreateModel(
            name="BenefitUse",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("first", "Bonus on the first purchase"), ("trial", "Free trial")],
                        max_length=5,
                        verbose_name="what",
                    ),
                ),
                (
                    "subject",
                    models.CharField(
                        help_text="user:, mailbox:, card: or account:", max_length=128, verbose_name="whose"
                    ),
                ),
                (
                    "cause",
                    models.CharField(
                        help_text="The order or subscription that had it.", max_length=255, verbose_name="for"
                    ),
                ),
                ("used_at", models.DateTimeField(verbose_name="when")),
            ],
            options={
                "verbose_name": "benefit that was used",
                "verbose_name_plural": "benefits that were used",
                "constraints": [models.UniqueConstraint(fields=("kind", "subject"), name="benefit_once_per_subject")],
            },
        ),
        migrations.CreateModel(
            name="InboxEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("event_id", models.CharField(max_length=255, unique=True, verbose_name="event")),
                ("type", models.CharField(max_length=120, verbose_name="type")),
                ("object_id", models.CharField(blank=True, db_index=True, max_length=255, verbose_name="about")),
                ("customer_id", models.CharField(blank=True, max_length=255, verbose_name="Stripe customer")),
                ("payload", models.JSONField(verbose_name="payload")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("received", "Waiting"),
                            ("processed", "Done"),
                            ("ignored", "Not for us"),
                            ("failed", "Will be tried again"),
                            ("dead", "Given up"),
                        ],
                        default="received",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0, verbose_name="attempts")),
                ("error", models.TextField(blank=True, verbose_name="error")),
                ("created_at", models.DateTimeField(verbose_name="happened")),
                ("received_at", models.DateTimeField(verbose_name="received")),
                ("processed_at", models.DateTimeField(blank=True, null=True, verbose_name="done")),
                ("next_attempt_at", models.DateTimeField(blank=True, null=True, verbose_name="next attempt")),
            ],
            options={
                "verbose_name": "webhook",
                "verbose_name_plural": "webhooks",
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_attempt_at__isnull", False)),
                        fields=["next_attempt_at"],
                        name="inbox_due",
                    ),
                    models.Index(fields=["-received_at"], name="inbox_latest"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("next_attempt_at__isnull", False), ("state__in", ["received", "failed"])),
                            models.Q(
                                ("next_attempt_at__isnull", True), ("state__in", ["processed", "ignored", "dead"])
                            ),
                            _connector="OR",
                        ),
                        name="inbox_event_waits_only_while_it_is_not_done",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="MirrorFailure",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=40, verbose_name="kind")),
                ("object_id", models.CharField(max_length=255, unique=True, verbose_name="object")),
                ("error", models.TextField(verbose_name="error")),
                ("attempts", models.PositiveIntegerField(default=0, verbose_name="attempts")),
                ("next_attempt_at", models.DateTimeField(verbose_name="next attempt")),
            ],
            options={
                "verbose_name": "object that could not be copied",
                "verbose_name_plural": "objects that could not be copied",
                "indexes": [models.Index(fields=["next_attempt_at"], name="mirror_failure_due")],
            },
        ),
        migrations.CreateModel(
            name="Pack",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.SlugField(max_length=64, unique=True, verbose_name="code")),
                ("name", models.CharField(max_length=80, verbose_name="name")),
                ("credits", models.PositiveIntegerField(verbose_name="credits")),
                ("bonus_credits", models.PositiveIntegerField(default=0, verbose_name="bonus credits")),
                ("is_active", models.BooleanField(default=True, verbose_name="on sale")),
                ("position", models.PositiveSmallIntegerField(default=0, verbose_name="position")),
                (
                    "stripe_product_id",
                    models.CharField(blank=True, max_length=255, null=True, unique=True, verbose_name="Stripe product"),
                ),
            ],
            options={
                "verbose_name": "pack",
                "verbose_name_plural": "packs",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("credits__gt", 0)), name="pack_has_credits")
                ],
            },
        ),
        migrations.CreateModel(
            name="PaidInvoice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("stripe_invoice_id", models.CharField(max_length=255, unique=True, verbose_name="Stripe invoice")),
                ("fulfilled_at", models.DateTimeField(verbose_name="seen to")),
                ("changed_period", models.CharField(blank=True, db_index=True, max_length=300)),
                ("change_minor", models.BigIntegerField(default=0)),
                ("monthly_credits", models.PositiveIntegerField(default=0, editable=False)),
                ("withheld", models.PositiveIntegerField(default=0, editable=False)),
                ("promise", models.CharField(blank=True, db_index=True, editable=False, max_length=300)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="paid_invoices", to="accounts.account"
                    ),
                ),
            ],
            options={
                "verbose_name": "paid invoice",
                "verbose_name_plural": "paid invoices",
            },
        ),
        migrations.CreateModel(
            name="PaymentRecord",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "origin_id",
                    models.CharField(
                        help_text="The provider's checkout, payment or invoice.",
                        max_length=255,
                        unique=True,
                        verbose_name="paid as",
                    ),
                ),
                ("currency", models.CharField(max_length=3, verbose_name="currency")),
                ("total_minor", models.BigIntegerField(verbose_name="total")),
                ("net_minor", models.BigIntegerField(help_text="Without tax.", verbose_name="for credits")),
                ("tax_minor", models.BigIntegerField(default=0, verbose_name="tax on it")),
                ("priced_minor", models.BigIntegerField(default=0, verbose_name="in the ledger")),
                (
                    "refunded_minor",
                    models.BigIntegerField(
                        default=0, help_text="With what credit notes took off.", verbose_name="refunded"
                    ),
                ),
                (
                    "credited_minor",
                    models.BigIntegerField(
                        default=0,
                        help_text="Of that: by credit notes, to a balance or outside of the provider.",
                        verbose_name="credited",
                    ),
                ),
                (
                    "disputed_minor",
                    models.BigIntegerField(default=0, help_text="Open, or lost.", verbose_name="disputed"),
                ),
                ("is_lost", models.BooleanField(default=False, verbose_name="dispute lost")),
                ("is_mistake", models.BooleanField(default=False, verbose_name="by mistake")),
                ("paid_at", models.DateTimeField(verbose_name="paid")),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payment_records",
                        to="accounts.account",
                    ),
                ),
            ],
            options={
                "verbose_name": "payment",
                "verbose_name_plural": "payments",
            },
        ),
        migrations.CreateModel(
            name="MoneyStep",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("net_minor", models.BigIntegerField(verbose_name="for credits")),
                ("tax_minor", models.BigIntegerField(default=0, verbose_name="tax")),
                ("is_payment", models.BooleanField(default=False, verbose_name="paid")),
                ("at", models.DateTimeField(db_index=True, verbose_name="at")),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="steps", to="billing.paymentrecord"
                    ),
                ),
            ],
            options={
                "verbose_name": "step of a payment",
                "verbose_name_plural": "steps of payments",
            },
        ),
        migrations.CreateModel(
            name="Plan",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.SlugField(max_length=64, unique=True, verbose_name="code")),
                ("name", models.CharField(max_length=80, verbose_name="name")),
                ("description", models.CharField(blank=True, max_length=255, verbose_name="description")),
                (
                    "features",
                    models.TextField(
                        blank=True, help_text="One a line, as shown on the pricing page.", verbose_name="features"
                    ),
                ),
                (
                    "daily_credits",
                    models.PositiveIntegerField(
                        default=0,
                        help_text="Gone at the end of the day if they are not used.",
                        verbose_name="credits a day",
                    ),
                ),
                ("monthly_credits", models.PositiveIntegerField(default=0, verbose_name="credits a month")),
                (
                    "rollover",
                    models.CharField(
                        choices=[("none", "Is gone"), ("capped", "Rolls over up to a limit"), ("all", "Rolls over")],
                        default="none",
                        help_text="Rolls over as long as the plan goes on.",
                        max_length=6,
                        verbose_name="what is not used by the end of the month",
                    ),
                ),
                (
                    "rollover_limit",
                    models.PositiveIntegerField(blank=True, null=True, verbose_name="rolls over at most"),
                ),
                (
                    "daily_cap",
                    models.PositiveIntegerField(
                        blank=True,
                        default=100,
                        help_text="Empty for no limit. An account may have its own.",
                        null=True,
                        verbose_name="paid credits a day, at most",
                    ),
                ),
                (
                    "trial_days",
                    models.PositiveSmallIntegerField(
                        default=0,
                        help_text="Before the first payment; once for each person and card.",
                        verbose_name="days on trial",
                    ),
                ),
                (
                    "trial_credits",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Empty for as many as in a month.",
                        null=True,
                        verbose_name="credits in the trial",
                    ),
                ),
                (
                    "seats",
                    models.PositiveSmallIntegerField(
                        default=1, help_text="How many people a team on this plan may have.", verbose_name="seats"
                    ),
                ),
                (
                    "is_default",
                    models.BooleanField(
                        default=False, help_text="New accounts start on it.", verbose_name="for everybody"
                    ),
                ),
                ("is_active", models.BooleanField(default=True, verbose_name="on sale")),
                ("position", models.PositiveSmallIntegerField(default=0, verbose_name="position")),
                (
                    "stripe_product_id",
                    models.CharField(blank=True, max_length=255, null=True, unique=True, verbose_name="Stripe product"),
                ),
            ],
            options={
                "verbose_name": "plan",
                "verbose_name_plural": "plans",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_default", True)), fields=("is_default",), name="one_default_plan"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("rollover", "capped"), ("rollover_limit__isnull", False)),
                            models.Q(models.Q(("rollover", "capped"), _negated=True), ("rollover_limit__isnull", True)),
                            _connector="OR",
                        ),
                        name="plan_capped_rollover_has_a_limit",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Price",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "interval",
                    models.CharField(
                        choices=[("once", "once"), ("month", "a month"), ("year", "a year")],
                        max_length=5,
                        verbose_name="interval",
                    ),
                ),
                ("currency", models.CharField(max_length=3, verbose_name="currency")),
                (
                    "amount_minor",
                    models.PositiveBigIntegerField(help_text="In minor units: 500 is EUR 5.00.", verbose_name="amount"),
                ),
                ("is_active", models.BooleanField(default=True, verbose_name="on sale")),
                ("stripe_price_id", models.CharField(max_length=255, unique=True, verbose_name="Stripe price")),
                (
                    "pack",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="prices",
                        to="billing.pack",
                    ),
                ),
                (
                    "plan",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="prices",
                        to="billing.plan",
                    ),
                ),
            ],
            options={
                "verbose_name": "price",
                "verbose_name_plural": "prices",
            },
        ),
        migrations.CreateModel(
            name="Promotion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.SlugField(max_length=64, unique=True, verbose_name="code")),
                ("name", models.CharField(help_text="As customers read it.", max_length=80, verbose_name="name")),
                ("bonus_credits", models.PositiveIntegerField(verbose_name="bonus credits")),
                ("is_per_pack", models.BooleanField(default=True, verbose_name="for each pack of an order")),
                ("is_first_purchase", models.BooleanField(default=False, verbose_name="on the first purchase only")),
                ("starts_at", models.DateTimeField(blank=True, null=True, verbose_name="from")),
                ("ends_at", models.DateTimeField(blank=True, null=True, verbose_name="until")),
                ("max_uses", models.PositiveIntegerField(blank=True, null=True, verbose_name="orders, at most")),
                (
                    "max_uses_per_account",
                    models.PositiveIntegerField(blank=True, null=True, verbose_name="orders of one account, at most"),
                ),
                ("is_active", models.BooleanField(default=True, verbose_name="active")),
                (
                    "pack",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty for every pack.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="promotions",
                        to="billing.pack",
                    ),
                ),
            ],
            options={
                "verbose_name": "promotion",
                "verbose_name_plural": "promotions",
            },
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=common.public_ids.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("quantity", models.PositiveIntegerField(default=1, verbose_name="quantity")),
                ("description", models.CharField(max_length=120, verbose_name="what")),
                ("credits", models.PositiveBigIntegerField(verbose_name="credits")),
                ("bonus_credits", models.PositiveBigIntegerField(default=0, verbose_name="bonus credits")),
                ("promotion_credits", models.PositiveBigIntegerField(default=0, verbose_name="of the promotion")),
                ("amount_minor", models.PositiveBigIntegerField(help_text="As listed.", verbose_name="amount")),
                ("discount_minor", models.PositiveBigIntegerField(default=0, verbose_name="discount")),
                ("tax_minor", models.PositiveBigIntegerField(default=0, verbose_name="tax")),
                ("paid_minor", models.PositiveBigIntegerField(blank=True, null=True, verbose_name="paid")),
                ("currency", models.CharField(max_length=3, verbose_name="currency")),
                ("provider", models.CharField(default="stripe", max_length=16, verbose_name="paid through")),
                (
                    "payment_id",
                    models.CharField(blank=True, max_length=255, null=True, unique=True, verbose_name="payment"),
                ),
                (
                    "ui",
                    models.CharField(
                        choices=[
                            ("redirect", "Payment page"),
                            ("qr", "QR code"),
                            ("elements", "Card form"),
                            ("off_session", "Automatic"),
                        ],
                        default="redirect",
                        max_length=11,
                        verbose_name="paid on",
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("open", "Not paid yet"),
                            ("processing", "Payment on its way"),
                            ("completed", "Paid"),
                            ("expired", "Abandoned"),
                            ("failed", "Payment failed"),
                            ("review", "Being looked at"),
                            ("settled", "Settled by hand"),
                        ],
                        default="open",
                        max_length=10,
                        verbose_name="status",
                    ),
                ),
                ("problem", models.CharField(blank=True, max_length=255, verbose_name="problem")),
                (
                    "side",
                    models.CharField(
                        choices=[("buyer", "Buyer"), ("seller", "Seller"), ("internal", "Internal")],
                        default="internal",
                        max_length=8,
                        verbose_name="side",
                    ),
                ),
                ("idempotency_key", models.CharField(max_length=255, verbose_name="idempotency key")),
                (
                    "stripe_session_id",
                    models.CharField(blank=True, max_length=255, null=True, unique=True, verbose_name="Stripe session"),
                ),
                (
                    "stripe_subscription_id",
                    models.CharField(blank=True, db_index=True, max_length=255, verbose_name="Stripe subscription"),
                ),
                ("refunded_minor", models.PositiveBigIntegerField(default=0, verbose_name="refunded")),
                ("is_disputed", models.BooleanField(default=False, verbose_name="disputed")),
                ("receipt_url", models.URLField(blank=True, max_length=2000, verbose_name="receipt")),
                ("checkout_url", models.URLField(blank=True, max_length=2000, verbose_name="checkout page")),
                ("success_url", models.URLField(blank=True, max_length=2000)),
                ("cancel_url", models.URLField(blank=True, max_length=2000)),
                ("actor", models.CharField(blank=True, max_length=64, verbose_name="by")),
                ("created_at", models.DateTimeField(verbose_name="created")),
                ("attempted_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("expires_at", models.DateTimeField(blank=True, null=True, verbose_name="expires")),
                ("completed_at", models.DateTimeField(blank=True, null=True, verbose_name="completed")),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="orders", to="accounts.account"
                    ),
                ),
                (
                    "price",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="orders", to="billing.price"
                    ),
                ),
                (
                    "promotion",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="orders",
                        to="billing.promotion",
                        verbose_name="promotion",
                    ),
                ),
            ],
            options={
                "verbose_name": "order",
                "verbose_name_plural": "orders",
            },
        ),
        migrations.CreateModel(
            name="StripeCustomer",
            fields=[
                (
                    "customer_id",
                    models.CharField(max_length=255, primary_key=True, serialize=False, verbose_name="Stripe customer"),
                ),
                ("created_at", models.DateTimeField(verbose_name="known since")),
                ("deleted_at", models.DateTimeField(blank=True, null=True, verbose_name="deleted at Stripe")),
                ("merged_at", models.DateTimeField(blank=True, null=True, verbose_name="merged")),
                ("email", models.EmailField(blank=True, max_length=254, verbose_name="address at Stripe")),
                (
                    "account",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="stripe_customers",
                        to="accounts.account",
                    ),
                ),
            ],
            options={
                "verbose_name": "Stripe customer",
                "verbose_name_plural": "Stripe customers",
            },
        ),
        migrations.CreateModel(
            name="Subscription",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "stripe_subscription_id",
                    models.CharField(max_length=255, unique=True, verbose_name="Stripe subscription"),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("incomplete", "First payment pending"),
                            ("incomplete_expired", "Never paid"),
                            ("trialing", "On trial"),
                            ("active", "Active"),
                            ("past_due", "Payment failed"),
                            ("unpaid", "Unpaid"),
                            ("paused", "Paused"),
                            ("canceled", "Ended"),
                        ],
                        max_length=20,
                        verbose_name="status",
                    ),
                ),
                ("current_period_end", models.DateTimeField(verbose_name="paid until")),
                ("cancel_at_period_end", models.BooleanField(default=False, verbose_name="ends then")),
                ("pending_until", models.DateTimeField(blank=True, null=True, verbose_name="waits until")),
                ("pending_invoice_id", models.CharField(blank=True, max_length=255)),
                (
                    "is_paused",
                    models.BooleanField(
                        default=False, help_text="Not billed, and no new credits.", verbose_name="paused"
                    ),
                ),
                ("resumes_at", models.DateTimeField(blank=True, null=True, verbose_name="resumes")),
                ("trial_ends_at", models.DateTimeField(blank=True, null=True, verbose_name="on trial until")),
                ("stripe_schedule_id", models.CharField(blank=True, max_length=255)),
                ("started_at", models.DateTimeField(verbose_name="started")),
                ("ended_at", models.DateTimeField(blank=True, null=True, verbose_name="ended")),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="subscriptions", to="accounts.account"
                    ),
                ),
                (
                    "next_price",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.price",
                        verbose_name="changes then to",
                    ),
                ),
                (
                    "pending_price",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.price",
                        verbose_name="waits for approval",
                    ),
                ),
                (
                    "price",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="subscriptions", to="billing.price"
                    ),
                ),
            ],
            options={
                "verbose_name": "subscription",
                "verbose_name_plural": "subscriptions",
            },
        ),
        migrations.CreateModel(
            name="TopUp",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("below", models.PositiveBigIntegerField(verbose_name="when fewer credits are left than")),
                ("max_per_month", models.PositiveSmallIntegerField(verbose_name="times a month, at most")),
                ("is_on", models.BooleanField(default=True, verbose_name="on")),
                ("problem", models.CharField(blank=True, max_length=255, verbose_name="why it is off")),
                ("agreed_at", models.DateTimeField(help_text="When the customer said so.", verbose_name="agreed")),
                (
                    "account",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="top_up", to="accounts.account"
                    ),
                ),
                (
                    "price",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.price",
                        verbose_name="buys",
                    ),
                ),
            ],
            options={
                "verbose_name": "automatic top-up",
                "verbose_name_plural": "automatic top-ups",
            },
        ),
        migrations.CreateModel(
            name="Clawback",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("grant_source_key", models.CharField(max_length=255, verbose_name="grant")),
                (
                    "cause",
                    models.CharField(
                        choices=[("refund", "Refund"), ("dispute", "Dispute"), ("change", "Upgrade taken back")],
                        max_length=7,
                        verbose_name="cause",
                    ),
                ),
                (
                    "charge_id",
                    models.CharField(
                        db_index=True, help_text="The provider's payment.", max_length=255, verbose_name="charge"
                    ),
                ),
                ("target", models.PositiveBigIntegerField(default=0, verbose_name="to take back")),
                ("taken", models.PositiveBigIntegerField(default=0, verbose_name="taken")),
                ("owed", models.PositiveBigIntegerField(default=0, verbose_name="became debt")),
                ("steps", models.PositiveIntegerField(default=0, editable=False)),
                ("updated_at", models.DateTimeField(verbose_name="updated")),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="clawbacks", to="accounts.account"
                    ),
                ),
            ],
            options={
                "verbose_name": "clawback",
                "verbose_name_plural": "clawbacks",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("account", "grant_source_key", "cause"), name="clawback_once_per_grant_and_cause"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="KnownDifference",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=40, verbose_name="kind")),
                ("object_id", models.CharField(max_length=255, verbose_name="object")),
                ("problem", models.TextField(blank=True, verbose_name="what differs")),
                ("found_at", models.DateTimeField(verbose_name="found")),
                ("settled_at", models.DateTimeField(blank=True, null=True, verbose_name="settled")),
                ("reason", models.CharField(blank=True, max_length=400, verbose_name="how it was settled")),
                ("actor", models.CharField(blank=True, max_length=64, verbose_name="by")),
                (
                    "account",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="differences",
                        to="accounts.account",
                    ),
                ),
            ],
            options={
                "verbose_name": "difference from Stripe",
                "verbose_name_plural": "differences from Stripe",
                "constraints": [
                    models.UniqueConstraint(fields=("kind", "object_id"), name="difference_once_per_object")
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="paymentrecord",
            constraint=models.CheckConstraint(
                condition=models.Q(("disputed_minor__gte", 0), ("refunded_minor__gte", 0)),
                name="payment_gives_back_no_more_than_it_was",
            ),
        ),
        migrations.AddConstraint(
            model_name="moneystep",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_payment", True)), fields=("payment",), name="payment_comes_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="price",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("pack__isnull", True), ("plan__isnull", False), models.Q(("interval", "once"), _negated=True)
                    ),
                    models.Q(("interval", "once"), ("pack__isnull", False), ("plan__isnull", True)),
                    _connector="OR",
                ),
                name="price_of_a_plan_or_a_pack",
            ),
        ),
        migrations.AddConstraint(
            model_name="promotion",
            constraint=models.CheckConstraint(
                condition=models.Q(("bonus_credits__gt", 0)), name="promotion_gives_credits"
            ),
        ),
        migrations.AddConstraint(
            model_name="promotion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("starts_at", None), ("ends_at", None), ("ends_at__gt", models.F("starts_at")), _connector="OR"
                ),
                name="promotion_ends_after_it_starts",
            ),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["account", "-id"], name="order_history"),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(
                condition=models.Q(("status__in", ["open", "processing"])), fields=["created_at"], name="order_open"
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(
                fields=("account", "side", "idempotency_key"), name="order_once_per_key"
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "completed"), _negated=True), ("completed_at__isnull", False), _connector="OR"
                ),
                name="order_completed_has_a_moment",
            ),
        ),
        migrations.AddIndex(
            model_name="topup",
            index=models.Index(condition=models.Q(("is_on", True)), fields=["account"], name="top_up_on"),
        ),
        migrations.AddConstraint(
            model_name="topup",
            constraint=models.CheckConstraint(
                condition=models.Q(("below__gt", 0), ("max_per_month__gt", 0)), name="top_up_has_limits"
            ),
        ),
    ]
