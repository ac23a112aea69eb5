"""The rate card: what one unit of each feature costs, from which moment on."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Feature(models.Model):
    """A line of the rate card. What it costs is in its prices."""

    code = models.SlugField(_("code"), max_length=64, unique=True, help_text=_("What API clients name it by."))
    name = models.CharField(_("name"), max_length=80)
    unit = models.CharField(
        _("unit"), max_length=40, default="use", help_text=_("What is counted: a message, an image.")
    )
    is_active = models.BooleanField(_("on offer"), default=True)

    class Meta:
        verbose_name = _("feature")
        verbose_name_plural = _("features")

    def __str__(self) -> str:
        return self.name


class FeaturePrice(models.Model):
    """What a feature costs from a moment on, for every model or for one. Never changed: a new price follows it."""

    class Basis(models.TextChoices):
        UNIT = "unit", _("Per unit")
        THOUSAND_TOKENS = "1k_tokens", _("Per 1,000 tokens")  # rounded up, at least one credit

    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, related_name="prices")
    model = models.CharField(
        _("AI model"), max_length=100, blank=True, help_text=_("As the app names it in a spend; empty for every other.")
    )
    basis = models.CharField(_("basis"), max_length=9, choices=Basis.choices, default=Basis.UNIT)
    credits = models.PositiveIntegerField(_("credits"), default=1, help_text=_("Per unit, or per 1,000 tokens."))
    output_credits = models.PositiveIntegerField(
        _("credits for output"), null=True, blank=True, help_text=_("Per 1,000 tokens of output, if they differ.")
    )
    effective_from = models.DateTimeField(_("from"))

    class Meta:
        verbose_name = _("price of a feature")
        verbose_name_plural = _("prices of features")
        constraints = [
            models.CheckConstraint(name="feature_price_costs_something", condition=Q(credits__gt=0)),
            models.CheckConstraint(
                name="feature_price_of_output_is_for_tokens",
                condition=Q(output_credits__isnull=True) | Q(basis="1k_tokens", output_credits__gt=0),
            ),
            models.UniqueConstraint(
                name="feature_price_once_per_moment", fields=["feature", "model", "effective_from"]
            ),
        ]

    def __str__(self) -> str:
        return f"{self.credits} {self.get_basis_display()}"


class UsageSlot(models.Model):
    """What an account used in an hour, by feature, key and AI model: a sum of ledger rows up to its mark.

    Its hours begin when its days do: at half past in India, at a quarter past in Nepal.
    """

    account = models.ForeignKey("accounts.Account", on_delete=models.CASCADE, related_name="+")
    starts_at = models.DateTimeField(_("from"))
    feature = models.CharField(_("feature"), max_length=64)
    actor = models.CharField(_("by"), max_length=64)
    model = models.TextField(_("AI model"))
    uses = models.BigIntegerField(_("uses"))
    quantity = models.BigIntegerField(_("quantity"))
    credits = models.BigIntegerField(_("credits"))
    returned = models.BigIntegerField(_("given back"))
    input_tokens = models.BigIntegerField(_("tokens in"))
    output_tokens = models.BigIntegerField(_("tokens out"))
    provider_cost_micros = models.BigIntegerField(_("provider's cost"))

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="usage_slot_once", fields=["account", "starts_at", "feature", "actor", "model"]
            ),
        ]

    def __str__(self) -> str:
        return f"{self.starts_at} {self.feature}"


class UsageMark(models.Model):
    """Up to which of its transactions an account's slots are summed, and at which minute its hours begin (in UTC)."""

    account = models.OneToOneField("accounts.Account", on_delete=models.CASCADE, primary_key=True, related_name="+")
    rolled_to = models.UUIDField()
    minute = models.PositiveSmallIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.account_id}"
