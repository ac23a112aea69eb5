"""The ledger's nouns. Entry is the truth; Wallet.balance and Grant.remaining are its cached sums.

Only `credits.ledger`, `credits.settling` and `credits.allowances` write these rows; the database refuses
changes to Transaction and Entry, and its constraints refuse impossible balances.
"""

from datetime import datetime
from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.public_ids import new_id, public_id


class Source(models.TextChoices):
    """Where a grant's credits come from."""

    FREE = "free", _("Free")  # a daily or monthly allowance that costs nothing
    PLAN = "plan", _("Plan")  # paid by a subscription
    PURCHASE = "purchase", _("Purchase")  # a pack
    BONUS = "bonus", _("Bonus")  # a promotion on a pack
    ADJUSTMENT = "adjustment", _("Adjustment")  # an operator's decision


# What a spend draws on first: what is free and soon gone before what was paid and stays.
PRIORITY = {
    Source.FREE: 10,
    Source.PLAN: 30,
    Source.BONUS: 40,
    Source.ADJUSTMENT: 40,
    Source.PURCHASE: 50,
}


class Wallet(models.Model):
    """One row per account: its cached balance, and the row that every change of it locks."""

    account: models.OneToOneField[Any, Any] = models.OneToOneField(
        "accounts.Account", on_delete=models.PROTECT, primary_key=True, related_name="wallet"
    )
    balance = models.BigIntegerField(_("available"), default=0)
    # The earliest moment at which time itself changes this wallet: an expiry or a refill.
    next_due_at = models.DateTimeField(_("next change"), null=True, blank=True)
    frozen_at = models.DateTimeField(_("spending stopped"), null=True, blank=True)

    class Meta:
        verbose_name = _("wallet")
        verbose_name_plural = _("wallets")
        constraints = [
            models.CheckConstraint(name="wallet_balance_not_negative", condition=Q(balance__gte=0)),
        ]
        indexes = [
            models.Index(name="wallet_due", fields=["next_due_at"], condition=Q(next_due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.account_id}: {self.balance}"


class Grant(models.Model):
    """A lot of credits with one source, one price and one expiry. Spending draws on grants."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    account: models.ForeignKey[Any, Any] = models.ForeignKey(
        "accounts.Account", on_delete=models.PROTECT, related_name="grants", db_index=False
    )
    source = models.CharField(_("source"), max_length=10, choices=Source.choices)
    # What caused it: at most one grant for one cause, e.g. `stripe:invoice:in_123`.
    source_key = models.CharField(_("source key"), max_length=255)
    amount = models.BigIntegerField(_("granted"))
    remaining = models.BigIntegerField(_("left"))
    # Apart from `remaining`, so that a spend which does not empty the grant changes no index.
    is_open = models.GeneratedField(
        expression=Q(remaining__gt=0),  # type: ignore[arg-type]
        output_field=models.BooleanField(),
        db_persist=True,
    )
    priority = models.SmallIntegerField(_("priority"), help_text=_("The lowest is spent first."))
    effective_at = models.DateTimeField(_("from"))
    expires_at = models.DateTimeField(_("until"), null=True, blank=True)
    # What the customer paid for it, in the currency's minor units; 0 and no currency when free.
    paid_minor = models.BigIntegerField(_("paid"), default=0)
    currency = models.CharField(_("currency"), max_length=3, blank=True)
    allowance = models.ForeignKey(
        "credits.Allowance", on_delete=models.PROTECT, null=True, blank=True, related_name="grants"
    )

    class Meta:
        verbose_name = _("grant")
        verbose_name_plural = _("grants")
        constraints = [
            models.CheckConstraint(name="grant_amount_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(
                name="grant_remaining_within_amount", condition=Q(remaining__gte=0, remaining__lte=F("amount"))
            ),
            models.CheckConstraint(
                name="grant_expires_after_it_starts",
                condition=Q(expires_at__isnull=True) | Q(expires_at__gt=F("effective_at")),
            ),
            models.CheckConstraint(
                name="grant_paid_has_a_currency",
                condition=Q(paid_minor=0, currency="") | (Q(paid_minor__gte=0) & ~Q(currency="")),
            ),
            models.UniqueConstraint(name="grant_once_per_source_key", fields=["account", "source_key"]),
        ]
        indexes = [
            # In the order in which a spend draws.
            models.Index(
                name="grant_open_in_order",
                fields=["account", "priority", "expires_at", "effective_at", "id"],
                condition=Q(is_open=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id}: {self.remaining} of {self.amount} ({self.source})"

    @property
    def public_id(self) -> str:
        return public_id("grt", self.id)


class Transaction(models.Model):
    """One operation on one account's credits. Append-only: the database refuses changes."""

    class Kind(models.TextChoices):
        GRANT = "grant", _("Credits added")
        SPEND = "spend", _("Credits spent")
        EXPIRE = "expire", _("Credits expired")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # No database foreign key: the function that writes the row holds the account's wallet row.
    account: models.ForeignKey[Any, Any] = models.ForeignKey(
        "accounts.Account",
        on_delete=models.PROTECT,
        related_name="transactions",
        db_index=False,
        db_constraint=False,
    )
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    amount = models.BigIntegerField(_("amount"), help_text=_("Credits; negative when they left."))
    balance_after = models.BigIntegerField(_("balance after"))
    # Null where there is none: the unique constraint lets any number of those be.
    idempotency_key = models.CharField(_("idempotency key"), max_length=255, null=True, blank=True)  # noqa: DJ001
    # Which request the key belongs to: SHA-256 of its meaning.
    fingerprint = models.BinaryField(max_length=32, null=True, editable=False)
    feature = models.CharField(_("feature"), max_length=64, blank=True)
    quantity = models.BigIntegerField(_("quantity"), null=True, blank=True)
    description = models.CharField(_("description"), max_length=255, blank=True)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    actor = models.CharField(_("by"), max_length=64, blank=True)
    created_at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("transaction")
        verbose_name_plural = _("transactions")
        constraints = [
            models.UniqueConstraint(
                name="transaction_once_per_key",
                fields=["account", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
            ),
            models.CheckConstraint(name="transaction_moves_something", condition=~Q(amount=0)),
            models.CheckConstraint(name="transaction_balance_not_negative", condition=Q(balance_after__gte=0)),
        ]
        indexes = [
            models.Index(name="transaction_history", fields=["account", "-id"]),
        ]

    def __str__(self) -> str:
        return f"{self.public_id}: {self.kind} {self.amount:+d}"

    @property
    def public_id(self) -> str:
        return public_id("txn", self.id)


class Entry(models.Model):
    """What one transaction did to one grant. Append-only: the database refuses changes."""

    pk = models.CompositePrimaryKey("transaction_id", "grant_id")
    transaction = models.ForeignKey(Transaction, on_delete=models.PROTECT, related_name="entries", db_index=False)
    grant = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="entries")
    account: models.ForeignKey[Any, Any] = models.ForeignKey(
        "accounts.Account", on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    amount = models.BigIntegerField(_("amount"))

    class Meta:
        verbose_name = _("entry")
        verbose_name_plural = _("entries")
        constraints = [
            models.CheckConstraint(name="entry_moves_something", condition=~Q(amount=0)),
        ]

    def __str__(self) -> str:
        return f"{self.amount:+d}"


class Allowance(models.Model):
    """A promise of `amount` credits each day or month until `paid_until` (for ever, if null)."""

    class Period(models.TextChoices):
        DAY = "day", _("Day")  # the account's own calendar day; what is not used is gone
        MONTH = "month", _("Month")  # from anniversary to anniversary

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    account: models.ForeignKey[Any, Any] = models.ForeignKey(
        "accounts.Account", on_delete=models.PROTECT, related_name="allowances", db_index=False
    )
    source = models.CharField(_("source"), max_length=10, choices=Source.choices)
    # What promised it: at most one allowance for one cause, e.g. `stripe:invoice:in_123`.
    source_key = models.CharField(_("source key"), max_length=200)
    amount = models.BigIntegerField(_("credits per period"))
    period = models.CharField(_("period"), max_length=5, choices=Period.choices)
    priority = models.SmallIntegerField(_("priority"))
    # Where months are counted from, as a calendar reads it: the 31st stays the 31st.
    anchor = models.DateTimeField(_("anchor"))
    zone = models.CharField(_("calendar"), max_length=64, blank=True, help_text=_("Empty: the account's own."))
    paid_until = models.DateTimeField(_("paid until"), null=True, blank=True)
    # What was paid for all of its periods together, and how many those are.
    paid_minor = models.BigIntegerField(_("paid"), default=0)
    currency = models.CharField(_("currency"), max_length=3, blank=True)
    periods = models.PositiveSmallIntegerField(_("periods paid"), null=True, blank=True)
    # The next period to give: counted from the anchor, so that no month is given twice or drifts.
    next_index = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(_("next refill"), null=True, blank=True)
    last_day_start = models.DateTimeField(null=True, blank=True, editable=False)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"))

    class Meta:
        verbose_name = _("allowance")
        verbose_name_plural = _("allowances")
        constraints = [
            models.CheckConstraint(name="allowance_amount_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(
                name="allowance_paid_has_a_currency",
                condition=Q(paid_minor=0, currency="") | (Q(paid_minor__gte=0, periods__gte=1) & ~Q(currency="")),
            ),
            models.UniqueConstraint(name="allowance_once_per_source_key", fields=["account", "source_key"]),
        ]
        indexes = [
            models.Index(name="allowance_due", fields=["period", "next_at"], condition=Q(next_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.amount} a {self.period} ({self.source})"

    #: how a refill's source key starts, when the allowance gives more than one
    REFILL: ClassVar[str] = "allowance"

    def refill_key(self, period_name: str) -> str:
        """The source key of the grant for one period: the same however often it is due."""
        return f"{self.REFILL}:{self.id}:{period_name}"

    def is_running(self, now: datetime) -> bool:
        return self.ended_at is None and (self.paid_until is None or self.paid_until > now)
