"""The ledger's models. Entry is the truth; Wallet.balance and Grant.remaining are its cached sums.

Only the ledger's own modules write these rows; the database refuses changes to Transaction and Entry, and its
constraints refuse impossible balances. At any moment, per account: balance + held = the sum of its entries.
"""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from common.public_ids import new_id, public_id
from common.sides import Side
from credits import spending_order


class Source(models.TextChoices):
    """Where a grant's credits come from."""

    FREE = "free", _("Free")  # a daily or monthly allowance that costs nothing
    PLAN = "plan", _("Plan")  # paid by a subscription
    PURCHASE = "purchase", _("Purchase")  # a pack
    BONUS = "bonus", _("Bonus")  # a promotion on a pack
    ADJUSTMENT = "adjustment", _("Adjustment")  # an operator's decision


# What is given for money. Only these count towards a daily cap, and only these pay a debt.
PAID = (Source.PLAN, Source.PURCHASE)

# A balance is low at 5 credits, until a refill says better (credits.limits).
DEFAULT_LOW_THRESHOLD = 5


class Wallet(models.Model):
    """One row per account: its cached balance, and the row that every change of it locks."""

    account = models.OneToOneField(
        "accounts.Account", on_delete=models.PROTECT, primary_key=True, related_name="wallet"
    )
    balance = models.BigIntegerField(_("available"), default=0)
    held = models.BigIntegerField(_("set aside"), default=0, help_text=_("In open holds; not to be spent otherwise."))
    # What was clawed back after it had been spent. While there is any, nothing is spent.
    debt = models.BigIntegerField(_("owed"), default=0)
    # The earliest moment at which time itself changes this wallet: an expiry, a refill, a hold that lapses.
    next_due_at = models.DateTimeField(_("next change"), null=True, blank=True)
    frozen_at = models.DateTimeField(_("spending stopped"), null=True, blank=True)
    # Kept here as well as on the account, so that a spend looks at no second row.
    closed_at = models.DateTimeField(_("account closed"), null=True, blank=True)
    # At most so many paid credits a day: the plan's number, and an operator's for this account.
    daily_cap = models.BigIntegerField(_("daily cap"), null=True, blank=True)
    daily_cap_override = models.BigIntegerField(_("daily cap of this account"), null=True, blank=True)
    cap_date = models.DateField(null=True, blank=True, editable=False)
    cap_day_started_at = models.DateTimeField(null=True, blank=True, editable=False)
    cap_day_ends_at = models.DateTimeField(null=True, blank=True, editable=False)
    cap_used = models.BigIntegerField(_("paid credits used today"), default=0)
    # At or below this many credits the balance is low; set by the last refill, unless the account has its own.
    low_threshold = models.BigIntegerField(_("low at"), default=DEFAULT_LOW_THRESHOLD)
    low_threshold_override = models.BigIntegerField(_("low at, for this account"), null=True, blank=True)
    # Whether any of its keys or members has a limit of its own: most have none, and their spends look at no second row.
    has_spending_limits = models.BooleanField(default=False, db_default=False, editable=False)
    # The day (UTC) of the last spend, hold or grant: jobs leave the idle alone until they come back.
    touched_on = models.DateField(_("last active"), null=True, blank=True)

    class Meta:
        verbose_name = _("wallet")
        verbose_name_plural = _("wallets")
        constraints = [
            models.CheckConstraint(name="wallet_balance_not_negative", condition=Q(balance__gte=0)),
            models.CheckConstraint(name="wallet_held_not_negative", condition=Q(held__gte=0)),
            models.CheckConstraint(name="wallet_debt_not_negative", condition=Q(debt__gte=0)),
            models.CheckConstraint(name="wallet_cap_used_not_negative", condition=Q(cap_used__gte=0)),
        ]
        indexes = [
            # Neither column changes more than once a day, so that a spend touches no index.
            models.Index(name="wallet_active", fields=["touched_on", "next_due_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.account_id}: {self.balance}"

    @property
    def posted(self) -> int:
        """All credits of the account: those that can be spent and those set aside."""
        return self.balance + self.held

    @property
    def low_at(self) -> int:
        """At or below this many credits the balance is low."""
        return self.low_threshold if self.low_threshold_override is None else self.low_threshold_override

    @property
    def cap(self) -> int | None:
        """How many paid credits may be spent in a day; None when there is no limit."""
        return self.daily_cap if self.daily_cap_override is None else self.daily_cap_override


class SpendingLimit(models.Model):
    """How many credits one API key, or one member with the keys they made, may spend in a day and in a month.

    Days and months are the account's calendar. Written under the wallet's lock, like every count of the ledger.
    """

    account = models.ForeignKey(
        "accounts.Account", on_delete=models.PROTECT, related_name="spending_limits", db_index=False
    )
    # Whose it is (`key_…` or `user:…`), and the ledger's actors that count: a rotated key, and the keys of a member.
    subject = models.CharField(_("whose"), max_length=64)
    actors = ArrayField(models.CharField(max_length=64), verbose_name=_("counts"))
    per_day = models.BigIntegerField(_("a day"), null=True, blank=True)
    per_month = models.BigIntegerField(_("a month"), null=True, blank=True)
    # A hard limit refuses; the other kind only warns, as both do at WARN_AT.
    is_hard = models.BooleanField(_("refuses"), default=True)
    day_used = models.BigIntegerField(_("used today"), default=0)
    month_used = models.BigIntegerField(_("used this month"), default=0)
    day_started_at = models.DateTimeField(null=True, blank=True, editable=False)
    day_ends_at = models.DateTimeField(null=True, blank=True, editable=False)
    month_started_at = models.DateTimeField(null=True, blank=True, editable=False)
    month_ends_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("spending limit")
        verbose_name_plural = _("spending limits")
        constraints = [
            models.UniqueConstraint(name="spending_limit_once_per_subject", fields=["account", "subject"]),
            models.CheckConstraint(
                name="spending_limit_is_positive",
                condition=(Q(per_day__gt=0) | Q(per_day=None)) & (Q(per_month__gt=0) | Q(per_month=None)),
            ),
            models.CheckConstraint(
                name="spending_limit_use_not_negative", condition=Q(day_used__gte=0) & Q(month_used__gte=0)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subject}: {self.per_day or '-'} a day, {self.per_month or '-'} a month"


class Grant(models.Model):
    """A lot of credits with one source, one price and one expiry. Spending draws on grants."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="grants", db_index=False)
    source = models.CharField(_("source"), max_length=10, choices=Source.choices)
    # What caused it: at most one grant for one cause, e.g. `stripe:invoice:in_123`.
    source_key = models.CharField(_("source key"), max_length=255)
    amount = models.BigIntegerField(_("granted"))
    remaining = models.BigIntegerField(_("left"))
    # Apart from `remaining`, so that a spend which does not empty the grant changes no index.
    is_open = models.GeneratedField(
        expression=Q(remaining__gt=0),  # type: ignore[arg-type]  # Django takes conditions here
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
    is_top_up = models.BooleanField(_("added by an upgrade"), default=False)  # to a period that had its grant already
    # Its money went back when so many were spent or held: they are taken as soon as they come back.
    awaited = models.BigIntegerField(default=0, db_default=0, editable=False)
    # So many were taken as it was given: their money had gone back before.
    withheld = models.BigIntegerField(default=0, db_default=0, editable=False)
    # Of what was paid for an upgrade, the part that pays for later months of its allowance.
    deferred_minor = models.BigIntegerField(default=0, db_default=0, editable=False)
    # Where an account was merged into this one: the lot that it was there, and how many of that were used there.
    moved_from = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, editable=False, db_index=False, related_name="+"
    )
    spent_before = models.BigIntegerField(default=0, db_default=0, editable=False)

    class Meta:
        verbose_name = _("grant")
        verbose_name_plural = _("grants")
        constraints = [
            # (What was moved here when all of it was used is kept, for money that may still go back.)
            models.CheckConstraint(
                name="grant_gave_something", condition=Q(amount__gt=0) | Q(amount=0, spent_before__gt=0)
            ),
            models.CheckConstraint(
                name="grant_awaits_no_more_than_it_gave",
                condition=Q(awaited__gte=0, awaited__lte=F("amount") + F("spent_before")),
            ),
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
                fields=["account", *spending_order.COLUMNS],
                condition=Q(is_open=True),
            ),
            # What the books must show as expired on time: not the free credits of those who stay away.
            models.Index(
                name="grant_expiring", fields=["expires_at"], condition=Q(is_open=True) & ~Q(source=Source.FREE)
            ),
            models.Index(name="grant_moved", fields=["moved_from"], condition=Q(moved_from__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.public_id}: {self.remaining} of {self.amount} ({self.source})"

    @property
    def public_id(self) -> str:
        return public_id("grt", self.id)

    @property
    def whole(self) -> int:
        """What its payment brought, with what was used of it in an account that was merged into this one."""
        return self.amount + self.spent_before


class Transaction(models.Model):
    """One operation on one account's credits. Append-only: the database refuses changes."""

    class Kind(models.TextChoices):
        GRANT = "grant", _("Credits added")
        SPEND = "spend", _("Credits spent")
        EXPIRE = "expire", _("Credits expired")
        REVERSE = "reverse", _("Credits given back")  # a spend undone, whole or in part
        REVOKE = "revoke", _("Credits taken back")  # the money behind them went back
        RESTORE = "restore", _("Credits restored")  # and came again: a dispute was won
        ADJUST = "adjust", _("Adjusted")  # by an operator
        DEBT = "debt", _("Debt paid")  # by credits that were paid for

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # No database foreign key: the function that writes the row holds the account's wallet row.
    account = models.ForeignKey(
        "accounts.Account",
        on_delete=models.PROTECT,
        related_name="transactions",
        db_index=False,
        db_constraint=False,
    )
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    amount = models.BigIntegerField(_("amount"), help_text=_("Credits; negative when they left."))
    balance_after = models.BigIntegerField(_("balance after"))
    debt_change = models.BigIntegerField(_("debt"), default=0, help_text=_("Positive when more is owed."))
    # The spend that a reversal gives back, and the hold that a spend captured. (No foreign keys, as for the account.)
    reverses = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="reversals",
        db_index=False,
        db_constraint=False,
    )
    hold = models.ForeignKey(
        "credits.Hold",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="transactions",
        db_index=False,
        db_constraint=False,
    )
    # Whose idempotency key it is: a customer's key never meets the app's, nor one of ours.
    side = models.CharField(
        _("side"), max_length=8, choices=Side.choices, default=Side.INTERNAL, db_default=Side.INTERNAL
    )
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
    # What the AI behind a spend used, as its app reported it: model, tokens, the provider's cost. Read by `usage`.
    usage = models.JSONField(_("usage"), null=True, blank=True, editable=False)
    # When time brought it, where it was posted later than that: nobody had looked at the wallet meanwhile.
    due_at = models.DateTimeField(_("due"), null=True, blank=True)

    class Meta:
        verbose_name = _("transaction")
        verbose_name_plural = _("transactions")
        constraints = [
            models.UniqueConstraint(
                name="transaction_once_per_key",
                fields=["account", "side", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
            ),
            models.CheckConstraint(name="transaction_moves_something", condition=~Q(amount=0) | ~Q(debt_change=0)),
            models.CheckConstraint(name="transaction_balance_not_negative", condition=Q(balance_after__gte=0)),
        ]
        indexes = [
            models.Index(name="transaction_history", fields=["account", "-id"]),
            models.Index(
                name="transaction_reversals", fields=["account", "reverses"], condition=Q(reverses__isnull=False)
            ),
            models.Index(name="transaction_captures", fields=["account", "hold"], condition=Q(hold__isnull=False)),
            # Debts are rare: a spend touches this as little as the two above.
            models.Index(name="transaction_debts", fields=["account"], condition=~Q(debt_change=0)),
        ]

    def __str__(self) -> str:
        return f"{self.public_id}: {self.kind} {self.amount:+d}"

    @property
    def public_id(self) -> str:
        return public_id("txn", self.id)


class Entry(models.Model):
    """What one transaction did to one grant. Append-only: the database refuses changes."""

    pk = models.CompositePrimaryKey("transaction_id", "grant_id")
    # No database foreign keys: the function has just written or locked both rows, neither is ever deleted, and checking
    # them again costs a third of a spend. The audit looks whether both are there.
    transaction = models.ForeignKey(
        Transaction, on_delete=models.PROTECT, related_name="entries", db_index=False, db_constraint=False
    )
    grant = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="entries", db_constraint=False)
    account = models.ForeignKey(
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


class Hold(models.Model):
    """Credits set aside before a piece of work whose cost is known only afterwards."""

    class Status(models.TextChoices):
        OPEN = "open", _("Open")
        CAPTURED = "captured", _("Captured")  # its cost was spent, the rest given back
        RELEASED = "released", _("Released")  # all of it was given back
        LAPSED = "lapsed", _("Lapsed")  # nobody said what became of the work, and its time ran out

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    account = models.ForeignKey(
        "accounts.Account", on_delete=models.PROTECT, related_name="holds", db_index=False, db_constraint=False
    )
    status = models.CharField(_("status"), max_length=8, choices=Status.choices, default=Status.OPEN)
    amount = models.BigIntegerField(_("set aside"))
    balance_after = models.BigIntegerField(_("balance after"))
    # What the capture asked for, and how much of it there was.
    asked = models.BigIntegerField(_("cost"), null=True, blank=True)
    captured = models.BigIntegerField(_("captured"), null=True, blank=True)
    side = models.CharField(
        _("side"), max_length=8, choices=Side.choices, default=Side.INTERNAL, db_default=Side.INTERNAL
    )
    idempotency_key = models.CharField(_("idempotency key"), max_length=255)
    fingerprint = models.BinaryField(max_length=32, editable=False)
    feature = models.CharField(_("feature"), max_length=64, blank=True)
    quantity = models.BigIntegerField(_("quantity"), null=True, blank=True)
    description = models.CharField(_("description"), max_length=255, blank=True)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    actor = models.CharField(_("by"), max_length=64, blank=True)
    created_at = models.DateTimeField(_("at"))
    expires_at = models.DateTimeField(_("lapses"))
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("hold")
        verbose_name_plural = _("holds")
        constraints = [
            models.CheckConstraint(name="hold_amount_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(name="hold_lapses_after_it_starts", condition=Q(expires_at__gt=F("created_at"))),
            models.CheckConstraint(
                name="hold_is_open_or_has_ended",
                condition=Q(status="open", ended_at__isnull=True) | (~Q(status="open") & Q(ended_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="hold_captured_within_cost",
                condition=Q(captured__isnull=True) | Q(captured__gt=0, captured__lte=F("asked")),
            ),
            models.UniqueConstraint(name="hold_once_per_key", fields=["account", "side", "idempotency_key"]),
        ]
        indexes = [
            models.Index(name="hold_open", fields=["account", "expires_at"], condition=Q(status="open")),
            models.Index(name="hold_lapsing", fields=["expires_at"], condition=Q(status="open")),
        ]

    def __str__(self) -> str:
        return f"{self.public_id}: {self.amount} ({self.status})"

    @property
    def public_id(self) -> str:
        return public_id("hold", self.id)


class HoldLot(models.Model):
    """What one hold took from one grant, and how much of that was captured in the end."""

    pk = models.CompositePrimaryKey("hold_id", "grant_id")
    # (As for entries.)
    hold = models.ForeignKey(Hold, on_delete=models.PROTECT, related_name="lots", db_index=False, db_constraint=False)
    grant = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="hold_lots", db_constraint=False)
    account = models.ForeignKey(
        "accounts.Account", on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    place = models.SmallIntegerField()  # in the order of drawing
    amount = models.BigIntegerField(_("amount"))
    captured = models.BigIntegerField(_("captured"), default=0)

    class Meta:
        verbose_name = _("part of a hold")
        verbose_name_plural = _("parts of holds")
        constraints = [
            models.CheckConstraint(name="hold_lot_amount_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(
                name="hold_lot_captured_within_amount", condition=Q(captured__gte=0, captured__lte=F("amount"))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.captured} of {self.amount}"


class Allowance(models.Model):
    """A recurring allowance of `amount` credits each day or month until `paid_until` (for ever, if null)."""

    class Period(models.TextChoices):
        DAY = "day", _("Day")  # the account's own calendar day; what is not used is gone
        MONTH = "month", _("Month")  # from anniversary to anniversary

    class Rollover(models.TextChoices):
        NONE = "none", _("Nothing")  # what is not used by the end of its period is gone
        CAPPED = "capped", _("Up to a limit")
        ALL = "all", _("Everything")  # as long as the plan goes on

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="allowances", db_index=False)
    source = models.CharField(_("source"), max_length=10, choices=Source.choices)
    # What caused it: at most one allowance for one cause, e.g. `stripe:invoice:in_123`.
    source_key = models.CharField(_("source key"), max_length=200)
    # The allowances of one subscription, an invoice each, are one series: unused credits roll over within it.
    series = models.CharField(_("series"), max_length=200)
    amount = models.BigIntegerField(_("credits per period"))
    next_amount = models.BigIntegerField(_("credits from the next period on"), null=True, blank=True)
    rollover = models.CharField(_("rolls over"), max_length=6, choices=Rollover.choices, default=Rollover.NONE)
    rollover_limit = models.BigIntegerField(_("at most"), null=True, blank=True)
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
    # What upgrades paid for later periods; what an allowance that it took over carried, and what it handed on; and
    # what the periods that were given cost. What is left of the sum is owed to the customer in months to come.
    added_minor = models.BigIntegerField(default=0, db_default=0, editable=False)
    carried_minor = models.BigIntegerField(default=0, db_default=0, editable=False)
    handed_minor = models.BigIntegerField(default=0, db_default=0, editable=False)
    handed_at = models.DateTimeField(null=True, blank=True, editable=False)
    given_minor = models.BigIntegerField(default=0, db_default=0, editable=False)
    # The next period to give: counted from the anchor, so that no month is given twice or drifts.
    next_index = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(_("next refill"), null=True, blank=True)
    last_day_start = models.DateTimeField(null=True, blank=True, editable=False)
    # For so long after `paid_until` the last period's credits live on, while the next one is being paid for.
    grace_s = models.PositiveIntegerField(default=0, editable=False)
    # Credits of each period that are not given: their money went back, or is disputed.
    withheld = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    paused_at = models.DateTimeField(_("paused"), null=True, blank=True)
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
            models.CheckConstraint(
                name="allowance_capped_rollover_has_a_limit",
                condition=Q(rollover="capped", rollover_limit__gte=0)
                | (~Q(rollover="capped") & Q(rollover_limit__isnull=True)),
            ),
            models.CheckConstraint(
                name="allowance_at_rest_has_no_next",
                condition=Q(paused_at__isnull=True, ended_at__isnull=True) | Q(next_at__isnull=True),
            ),
            models.UniqueConstraint(name="allowance_once_per_source_key", fields=["account", "source_key"]),
        ]
        indexes = [
            models.Index(name="allowance_due", fields=["period", "next_at"], condition=Q(next_at__isnull=False)),
            models.Index(name="allowance_series", fields=["account", "series"]),
        ]

    def __str__(self) -> str:
        return f"{self.amount} a {self.period} ({self.source})"

    @property
    def undelivered_minor(self) -> int:
        """What was paid for periods that are still to be given, in minor units."""
        return self.paid_minor + self.added_minor + self.carried_minor - self.handed_minor - self.given_minor

    #: how a refill's source key starts, when the allowance gives more than one
    REFILL: ClassVar[str] = "allowance"

    def refill_key(self, period_name: str) -> str:
        """The source key of the grant for one period: the same however often it is due."""
        return f"{self.REFILL}:{self.id}:{period_name}"


class GivenInHour(models.Model):
    """How much one giver gave, or one account was given, by hand in one hour (credits.manual_grant_counts)."""

    pk = models.CompositePrimaryKey("subject", "unit", "hour")
    subject = models.CharField(max_length=96)  # giver:user:5, giver:key_..., account:<uuid>
    unit = models.CharField(max_length=8)  # credits, or a currency in minor units
    hour = models.DateTimeField()
    amount = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = _("given by hand in an hour")
        verbose_name_plural = _("given by hand, by the hour")
        constraints = [models.CheckConstraint(name="given_is_positive", condition=Q(amount__gte=0))]

    def __str__(self) -> str:
        return f"{self.subject}: {self.amount} {self.unit}"


class Seal(models.Model):
    """A link of the hash chain over the ledger (credits.seals). Append-only: the database refuses changes."""

    number = models.PositiveBigIntegerField(_("number"), primary_key=True)
    transactions = models.PositiveBigIntegerField(_("transactions"))
    # The id of each transaction and the digest of it and its entries, in the order of the ids.
    leaves = models.BinaryField(editable=False)
    previous = models.BinaryField(max_length=32, editable=False)
    head = models.BinaryField(max_length=32, editable=False)
    signature = models.BinaryField(max_length=32, editable=False)
    sealed_at = models.DateTimeField(_("sealed"), help_text=_("By the server's own clock, as ids are."))
    clock_at = models.DateTimeField(_("at"), help_text=_("By the application's clock."))

    class Meta:
        verbose_name = _("seal")
        verbose_name_plural = _("seals")
        constraints = [models.CheckConstraint(name="seal_numbers_begin_at_one", condition=Q(number__gte=1))]

    def __str__(self) -> str:
        return f"{self.number}: {bytes(self.head).hex()}"
