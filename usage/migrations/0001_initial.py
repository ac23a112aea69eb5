import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """The rate card, and sums of use."""

    initial = True

    # What databases of before the first release had applied.
    replaces = [
        ("usage", "0001_features"),
        ("usage", "0002_feature_prices"),
        ("usage", "0003_slots"),
    ]

    dependencies = [
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Feature",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "code",
                    models.SlugField(
                        help_text="What API clients name it by.", max_length=64, unique=True, verbose_name="code"
                    ),
                ),
                ("name", models.CharField(max_length=80, verbose_name="name")),
                (
                    "unit",
                    models.CharField(
                        default="use",
                        help_text="What is counted: a message, an image.",
                        max_length=40,
                        verbose_name="unit",
                    ),
                ),
                ("is_active", models.BooleanField(default=True, verbose_name="on offer")),
            ],
            options={
                "verbose_name": "feature",
                "verbose_name_plural": "features",
            },
        ),
        migrations.CreateModel(
            name="UsageMark",
            fields=[
                (
                    "account",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="accounts.account",
                    ),
                ),
                ("rolled_to", models.UUIDField()),
                ("minute", models.PositiveSmallIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="FeaturePrice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "model",
                    models.CharField(
                        blank=True,
                        help_text="As the app names it in a spend; empty for every other.",
                        max_length=100,
                        verbose_name="AI model",
                    ),
                ),
                (
                    "basis",
                    models.CharField(
                        choices=[("unit", "Per unit"), ("1k_tokens", "Per 1,000 tokens")],
                        default="unit",
                        max_length=9,
                        verbose_name="basis",
                    ),
                ),
                (
                    "credits",
                    models.PositiveIntegerField(
                        default=1, help_text="Per unit, or per 1,000 tokens.", verbose_name="credits"
                    ),
                ),
                (
                    "output_credits",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Per 1,000 tokens of output, if they differ.",
                        null=True,
                        verbose_name="credits for output",
                    ),
                ),
                ("effective_from", models.DateTimeField(verbose_name="from")),
                (
                    "feature",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="prices", to="usage.feature"
                    ),
                ),
            ],
            options={
                "verbose_name": "price of a feature",
                "verbose_name_plural": "prices of features",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("credits__gt", 0)), name="feature_price_costs_something"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("output_credits__isnull", True),
                            models.Q(("basis", "1k_tokens"), ("output_credits__gt", 0)),
                            _connector="OR",
                        ),
                        name="feature_price_of_output_is_for_tokens",
                    ),
                    models.UniqueConstraint(
                        fields=("feature", "model", "effective_from"), name="feature_price_once_per_moment"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="UsageSlot",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("starts_at", models.DateTimeField(verbose_name="from")),
                ("feature", models.CharField(max_length=64, verbose_name="feature")),
                ("actor", models.CharField(max_length=64, verbose_name="by")),
                ("model", models.TextField(verbose_name="AI model")),
                ("uses", models.BigIntegerField(verbose_name="uses")),
                ("quantity", models.BigIntegerField(verbose_name="quantity")),
                ("credits", models.BigIntegerField(verbose_name="credits")),
                ("returned", models.BigIntegerField(verbose_name="given back")),
                ("input_tokens", models.BigIntegerField(verbose_name="tokens in")),
                ("output_tokens", models.BigIntegerField(verbose_name="tokens out")),
                ("provider_cost_micros", models.BigIntegerField(verbose_name="provider's cost")),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.account"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("account", "starts_at", "feature", "actor", "model"), name="usage_slot_once"
                    )
                ],
            },
        ),
    ]
