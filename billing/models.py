"""What is for sale, what was bought, and what Stripe sent us.

Stripe is right about money: names of prices, amounts, states of subscriptions. We are right about credits: how many
a plan or a pack gives is set here, and frozen on an Order when its checkout starts.
"""

from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from common import currencies
from common.json_types import JsonObject
from common.public_ids import new_id, public_id
from common.sides import Side
from common.translated_texts import TranslatedTexts

# A stolen key or a loop that ran wild spends no more than this of what was paid for before somebody looks.
DEFAULT_DAILY_CAP = 100


class Rollover(models.TextChoices):
    """What becomes of a plan's credits that are not used (as the ledger's allowances have it)."""

    NONE = "none", _("Expire")
    CAPPED = "capped", _("Roll over up to a limit")
    ALL = "all", _("Roll over")


class Plan(TranslatedTexts):
    """A subscription on offer, or (the default one) what every account has without paying."""

    TRANSLATED = ("name", "description", "features")

    code = models.SlugField(_("code"), max_length=64, unique=True)
    name = models.CharField(_("name"), max_length=80)
    description = models.CharField(_("description"), max_length=255, blank=True)
    features = models.TextField(_("features"), blank=True, help_text=_("One a line, as shown on the pricing page."))
    daily_credits = models.PositiveIntegerField(
        _("credits a day"), default=0, help_text=_("Gone at the end of the day if they are not used.")
    )
    monthly_credits = models.PositiveIntegerField(_("credits a month"), default=0)
    # As they were made, or as an administrator set them last: twice as many, at the same price, is half the price.
    agreed_credits = models.PositiveIntegerField(null=True, blank=True, editable=False)
    rollover = models.CharField(
        _("what is not used by the end of the month"),
        max_length=6,
        choices=Rollover.choices,
        default=Rollover.NONE,
        help_text=_("Rolls over as long as the plan goes on."),
    )
    rollover_limit = models.PositiveIntegerField(_("rolls over at most"), null=True, blank=True)
    daily_cap = models.PositiveIntegerField(
        _("paid credits a day, at most"),
        null=True,
        blank=True,
        default=DEFAULT_DAILY_CAP,
        help_text=_("Empty for no limit. An account may have its own."),
    )
    trial_days = models.PositiveSmallIntegerField(
        _("days on trial"), default=0, help_text=_("Before the first payment; once for each person and card.")
    )
    trial_credits = models.PositiveIntegerField(
        _("credits in the trial"), null=True, blank=True, help_text=_("Empty for as many as in a month.")
    )
    seats = models.PositiveSmallIntegerField(
        _("seats"), default=1, help_text=_("How many people a team on this plan may have.")
    )
    is_default = models.BooleanField(_("for everybody"), default=False, help_text=_("New accounts start on it."))
    is_active = models.BooleanField(_("on sale"), default=True)
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    stripe_product_id = models.CharField(_("Stripe product"), max_length=255, unique=True, null=True, blank=True)

    class Meta:
        verbose_name = _("plan")
        verbose_name_plural = _("plans")
        constraints = [
            models.UniqueConstraint(name="one_default_plan", fields=["is_default"], condition=Q(is_default=True)),
            models.CheckConstraint(
                name="plan_capped_rollover_has_a_limit",
                condition=Q(rollover="capped", rollover_limit__isnull=False)
                | (~Q(rollover="capped") & Q(rollover_limit__isnull=True)),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def local_description(self) -> str:
        return self.text("description")

    def feature_list(self, language: str | None = None) -> list[str]:
        """The lines of its card in a language: the page's, if none is named."""
        return [line.strip() for line in self.text("features", language).splitlines() if line.strip()]


class Pack(TranslatedTexts):
    """Credits on offer for one payment."""

    TRANSLATED = ("name",)

    code = models.SlugField(_("code"), max_length=64, unique=True)
    name = models.CharField(_("name"), max_length=80)
    credits = models.PositiveIntegerField(_("credits"))
    bonus_credits = models.PositiveIntegerField(_("bonus credits"), default=0)
    # (As for plans; with the bonus.)
    agreed_credits = models.PositiveIntegerField(null=True, blank=True, editable=False)
    is_active = models.BooleanField(_("on sale"), default=True)
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    stripe_product_id = models.CharField(_("Stripe product"), max_length=255, unique=True, null=True, blank=True)

    class Meta:
        verbose_name = _("pack")
        verbose_name_plural = _("packs")
        constraints = [
            models.CheckConstraint(name="pack_has_credits", condition=Q(credits__gt=0)),
        ]

    def __str__(self) -> str:
        return self.name


class Price(models.Model):
    """What a plan or a pack costs in one currency: our view of a Stripe price."""

    class Interval(models.TextChoices):
        ONCE = "once", _("once")
        MONTH = "month", _("a month")
        YEAR = "year", _("a year")

    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, null=True, blank=True, related_name="prices")
    pack = models.ForeignKey(Pack, on_delete=models.PROTECT, null=True, blank=True, related_name="prices")
    interval = models.CharField(_("interval"), max_length=5, choices=Interval.choices)
    currency = models.CharField(_("currency"), max_length=3)
    amount_minor = models.PositiveBigIntegerField(_("amount"), help_text=_("In minor units: 500 is EUR 5.00."))
    is_active = models.BooleanField(_("on sale"), default=True)
    stripe_price_id = models.CharField(_("Stripe price"), max_length=255, unique=True)
    # Off sale for good, also while Stripe still bills running plans by it.
    replaced_by = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="replaces", verbose_name=_("replaced by")
    )

    class Meta:
        verbose_name = _("price")
        verbose_name_plural = _("prices")
        constraints = [
            models.CheckConstraint(
                name="price_of_a_plan_or_a_pack",
                condition=Q(plan__isnull=False, pack__isnull=True) & ~Q(interval="once")
                | Q(plan__isnull=True, pack__isnull=False, interval="once"),
            ),
        ]

    def __str__(self) -> str:
        amount = currencies.major(self.amount_minor, self.currency)
        return f"{amount} {self.currency.upper()} {self.get_interval_display()}"

    @property
    def months(self) -> int:
        """How many months one payment is for; none for a pack."""
        return {self.Interval.MONTH: 1, self.Interval.YEAR: 12}.get(self.Interval(self.interval), 0)

    def frozen(self, quantity: int) -> JsonObject:
        """What an order of so many is, whatever becomes of the catalogue: the fields of an Order that say so."""
        facts: JsonObject = {"amount_minor": self.amount_minor * quantity, "currency": self.currency}
        if self.pack is not None:
            return facts | {
                "credits": self.pack.credits * quantity,
                "bonus_credits": self.pack.bonus_credits * quantity,
                "description": f"{quantity} x {self.pack.name}" if quantity > 1 else self.pack.name,
            }
        if self.plan is not None:
            facts |= {"credits": self.plan.monthly_credits * quantity, "description": self.plan.name}
        return facts


class PriceMove(models.Model):
    """Running plans go from a price that was replaced to the one in its place, each at the end of a paid period.

    The first period that ends `notice_days` or more after the move began is the last one at the old price.
    """

    from_price = models.ForeignKey(Price, on_delete=models.PROTECT, related_name="moves_away")
    to_price = models.ForeignKey(Price, on_delete=models.PROTECT, related_name="moves_here")
    notice_days = models.PositiveSmallIntegerField(_("days of notice"))
    actor = models.CharField(_("by"), max_length=64)
    created_at = models.DateTimeField(_("begun"))
    announced_at = models.DateTimeField(_("announced"), null=True, blank=True)
    ended_at = models.DateTimeField(_("done"), null=True, blank=True)
    problem = models.TextField(_("last problem"), blank=True)

    class Meta:
        verbose_name = _("move of running plans")
        verbose_name_plural = _("moves of running plans")
        constraints = [
            models.CheckConstraint(name="price_move_goes_elsewhere", condition=~Q(from_price=models.F("to_price"))),
            models.UniqueConstraint(
                name="one_open_move_from_a_price", fields=["from_price"], condition=Q(ended_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.from_price} → {self.to_price}"


class DiscountCode(models.Model):
    """A code that takes a part off a payment page: a coupon and its promotion code at Stripe, which counts its uses."""

    class Duration(models.TextChoices):
        ONCE = "once", _("the first payment")
        REPEATING = "repeating", _("some months")
        FOREVER = "forever", _("every payment")

    code = models.CharField(_("code"), max_length=40, unique=True)
    name = models.CharField(_("name"), max_length=40, help_text=_("As customers read it."))
    percent = models.PositiveSmallIntegerField(_("percent off"))
    duration = models.CharField(_("on plans, for"), max_length=9, choices=Duration.choices, default=Duration.ONCE)
    months = models.PositiveSmallIntegerField(_("months"), null=True, blank=True)
    plans = models.ManyToManyField(Plan, blank=True, verbose_name=_("plans"), related_name="discount_codes")
    packs = models.ManyToManyField(Pack, blank=True, verbose_name=_("packs"), related_name="discount_codes")
    is_first_purchase = models.BooleanField(_("on the first purchase only"), default=False)
    max_uses = models.PositiveIntegerField(_("uses, at most"), null=True, blank=True)
    ends_at = models.DateTimeField(_("until"), null=True, blank=True)
    is_active = models.BooleanField(_("active"), default=True)
    stripe_coupon_id = models.CharField(_("Stripe coupon"), max_length=255)
    stripe_promotion_code_id = models.CharField(_("Stripe promotion code"), max_length=255, unique=True)

    class Meta:
        verbose_name = _("discount code")
        verbose_name_plural = _("discount codes")
        constraints = [
            models.CheckConstraint(name="discount_is_a_part", condition=Q(percent__gte=1) & Q(percent__lte=100)),
            models.CheckConstraint(
                name="discount_months_where_it_repeats",
                condition=Q(duration="repeating", months__isnull=False) | (~Q(duration="repeating") & Q(months=None)),
            ),
        ]

    def __str__(self) -> str:
        return self.code


class Promotion(models.Model):
    """Bonus credits on packs, for some time, for some customers, so many times."""

    code = models.SlugField(_("code"), max_length=64, unique=True)
    name = models.CharField(_("name"), max_length=80, help_text=_("As customers read it."))
    pack = models.ForeignKey(
        Pack,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="promotions",
        help_text=_("Empty for every pack."),
    )
    bonus_credits = models.PositiveIntegerField(_("bonus credits"))
    is_per_pack = models.BooleanField(_("for each pack of an order"), default=True)
    is_first_purchase = models.BooleanField(_("on the first purchase only"), default=False)
    starts_at = models.DateTimeField(_("from"), null=True, blank=True)
    ends_at = models.DateTimeField(_("until"), null=True, blank=True)
    max_uses = models.PositiveIntegerField(_("orders, at most"), null=True, blank=True)
    max_uses_per_account = models.PositiveIntegerField(_("orders of one account, at most"), null=True, blank=True)
    is_active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("promotion")
        verbose_name_plural = _("promotions")
        constraints = [
            models.CheckConstraint(name="promotion_gives_credits", condition=Q(bonus_credits__gt=0)),
            models.CheckConstraint(
                name="promotion_ends_after_it_starts",
                condition=Q(starts_at=None) | Q(ends_at=None) | Q(ends_at__gt=models.F("starts_at")),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class StripeCustomer(models.Model):
    """Whose a customer at Stripe is, as we made or learnt it. Without an account it is another product's, in the same
    Stripe account: none of our business."""

    customer_id = models.CharField(_("Stripe customer"), max_length=255, primary_key=True)
    account = models.ForeignKey(
        "accounts.Account", on_delete=models.PROTECT, null=True, blank=True, related_name="stripe_customers"
    )
    created_at = models.DateTimeField(_("known since"))
    deleted_at = models.DateTimeField(_("deleted at Stripe"), null=True, blank=True)
    # It was another account's, which was merged into this one: nothing new is bought with it.
    merged_at = models.DateTimeField(_("merged"), null=True, blank=True)
    # The billing address as last sent to Stripe: where it is another one, `address_sync` updates it.
    email = models.EmailField(_("address at Stripe"), blank=True)
    # As well; empty where the name at Stripe is another one, such as a billing profile's.
    name = models.CharField(_("name at Stripe"), max_length=150, blank=True)

    class Meta:
        verbose_name = _("Stripe customer")
        verbose_name_plural = _("Stripe customers")

    def __str__(self) -> str:
        return self.customer_id


class StoreFailure(models.Model):
    """An object of Stripe's that dj-stripe could not store: tried again by itself, in the way of no payment."""

    kind = models.CharField(_("kind"), max_length=40)
    object_id = models.CharField(_("object"), max_length=255, unique=True)
    error = models.TextField(_("error"))
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"))

    class Meta:
        verbose_name = _("object that could not be copied")
        verbose_name_plural = _("objects that could not be copied")
        indexes = [models.Index(name="store_failure_due", fields=["next_attempt_at"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_id}"


class BenefitUse(models.Model):
    """What a person gets once, and had: by their user, mailbox, card or account (billing.catalogue)."""

    class Kind(models.TextChoices):
        FIRST_PURCHASE = "first", _("Bonus on the first purchase")
        TRIAL = "trial", _("Free trial")

    kind = models.CharField(_("what"), max_length=5, choices=Kind.choices)
    subject = models.CharField(_("whose"), max_length=128, help_text=_("user:, mailbox:, card: or account:"))
    cause = models.CharField(_("for"), max_length=255, help_text=_("The order or subscription that had it."))
    used_at = models.DateTimeField(_("when"))

    class Meta:
        verbose_name = _("benefit that was used")
        verbose_name_plural = _("benefits that were used")
        constraints = [models.UniqueConstraint(name="benefit_once_per_subject", fields=["kind", "subject"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"


class OrderQuerySet(models.QuerySet["Order"]):
    def bought(self) -> "OrderQuerySet":
        """Without those that were left or refused: they cost nothing."""
        nothing_paid = Q(paid_minor=None) | Q(paid_minor=0)
        return self.exclude(status__in=["open", "expired"]).exclude(nothing_paid, status="failed")

    def with_related(self) -> "OrderQuerySet":
        """With all that fulfilling and showing an order reads, in one query."""
        return self.select_related("price__plan", "price__pack", "account", "promotion")


class Order(models.Model):
    """One checkout: the purchase of a pack, or the start of a plan. The API names it `co_...`."""

    class Status(models.TextChoices):
        OPEN = "open", _("Not paid yet")  # the checkout page can be finished
        PROCESSING = "processing", _("Payment on its way")  # a delayed method: the bank has yet to answer
        COMPLETED = "completed", _("Paid")  # the credits are there
        EXPIRED = "expired", _("Abandoned")  # nothing was charged
        FAILED = "failed", _("Payment failed")  # nothing was charged
        REVIEW = "review", _("Being looked at")  # paid, but not as ordered: a person decides
        SETTLED = "settled", _("Settled by hand")  # and has decided: nothing more comes of it by itself

    class Ui(models.TextChoices):
        REDIRECT = "redirect", _("Payment page")
        QR = "qr", _("QR code")  # the payment page, opened on a phone
        ELEMENTS = "elements", _("Card form")  # on our own page
        OFF_SESSION = "off_session", _("Automatic")  # with the saved card, nobody there

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="orders")
    price = models.ForeignKey(Price, on_delete=models.PROTECT, related_name="orders")
    quantity = models.PositiveIntegerField(_("quantity"), default=1)
    # Frozen at checkout: what is changed in the catalogue afterwards changes nothing here.
    description = models.CharField(_("what"), max_length=120)
    credits = models.PositiveBigIntegerField(_("credits"))
    bonus_credits = models.PositiveBigIntegerField(_("bonus credits"), default=0)
    promotion = models.ForeignKey(
        Promotion, on_delete=models.PROTECT, null=True, blank=True, related_name="orders", verbose_name=_("promotion")
    )
    promotion_credits = models.PositiveBigIntegerField(_("of the promotion"), default=0)
    amount_minor = models.PositiveBigIntegerField(_("amount"), help_text=_("As listed."))
    discount_minor = models.PositiveBigIntegerField(_("discount"), default=0)
    tax_minor = models.PositiveBigIntegerField(_("tax"), default=0)
    paid_minor = models.PositiveBigIntegerField(_("paid"), null=True, blank=True)
    currency = models.CharField(_("currency"), max_length=3)
    provider = models.CharField(_("paid through"), max_length=16, default="stripe")
    payment_id = models.CharField(_("payment"), max_length=255, unique=True, null=True, blank=True)
    ui = models.CharField(_("paid on"), max_length=11, choices=Ui.choices, default=Ui.REDIRECT)
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.OPEN)
    problem = models.CharField(_("problem"), max_length=255, blank=True)
    # Whose idempotency key it is: the app's, the customer's own, or ours.
    side = models.CharField(_("side"), max_length=8, choices=Side.choices, default=Side.INTERNAL)
    idempotency_key = models.CharField(_("idempotency key"), max_length=255)
    stripe_session_id = models.CharField(_("Stripe session"), max_length=255, unique=True, null=True, blank=True)
    stripe_subscription_id = models.CharField(_("Stripe subscription"), max_length=255, blank=True, db_index=True)
    refunded_minor = models.PositiveBigIntegerField(_("refunded"), default=0)
    is_disputed = models.BooleanField(_("disputed"), default=False)
    receipt_url = models.URLField(_("receipt"), max_length=2000, blank=True)
    checkout_url = models.URLField(_("checkout page"), max_length=2000, blank=True)
    success_url = models.URLField(max_length=2000, blank=True)
    cancel_url = models.URLField(max_length=2000, blank=True)
    actor = models.CharField(_("by"), max_length=64, blank=True)
    created_at = models.DateTimeField(_("created"))
    # When an automatic top-up was last tried again.
    attempted_at = models.DateTimeField(null=True, blank=True, editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    completed_at = models.DateTimeField(_("completed"), null=True, blank=True)

    objects = OrderQuerySet.as_manager()

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        constraints = [
            models.UniqueConstraint(name="order_once_per_key", fields=["account", "side", "idempotency_key"]),
            models.CheckConstraint(
                name="order_completed_has_a_moment",
                condition=~Q(status="completed") | Q(completed_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index(name="order_history", fields=["account", "-id"]),
            models.Index(name="order_open", fields=["created_at"], condition=Q(status__in=["open", "processing"])),
            models.Index(name="order_in_review", fields=["created_at"], condition=Q(status="review")),
        ]

    def __str__(self) -> str:
        return f"{self.public_id}: {self.description}"

    @property
    def public_id(self) -> str:
        return public_id("co", self.id)

    @property
    def title(self) -> str:
        """What was bought, in the language of the page; `description` is what it was called then."""
        item = self.price.plan or self.price.pack
        name = item.local_name if item else ""
        if item is None or name == item.name:
            return self.description
        return f"{self.quantity} x {name}" if self.quantity > 1 else name

    @property
    def is_for_a_plan(self) -> bool:
        return self.price.plan_id is not None

    @property
    def is_waiting(self) -> bool:
        return self.status in (self.Status.OPEN, self.Status.PROCESSING)

    @property
    def grant_source_key(self) -> str:
        """Under which the ledger keeps what the order bought."""
        if self.stripe_session_id:
            return f"stripe:session:{self.stripe_session_id}"
        kind = "payment_intent" if self.provider == "stripe" else "payment"
        return f"{self.provider}:{kind}:{self.payment_id}"

    @property
    def origin_id(self) -> str:
        """The provider's id of what it was paid with."""
        return self.stripe_session_id or self.payment_id or ""

    @property
    def charged_minor(self) -> int:
        """What was paid, with tax and less a discount; as listed where that is not known."""
        return self.amount_minor if self.paid_minor is None else self.paid_minor

    @property
    def all_credits(self) -> int:
        """What it gives, with every bonus."""
        return self.credits + self.bonus_credits + self.promotion_credits


class Subscription(models.Model):
    """One Stripe subscription as we last saw it, and which plan that makes."""

    class Status(models.TextChoices):
        # Stripe's own words (docs.stripe.com/billing/subscriptions/overview).
        INCOMPLETE = "incomplete", _("First payment pending")
        INCOMPLETE_EXPIRED = "incomplete_expired", _("Never paid")
        TRIALING = "trialing", _("On trial")
        ACTIVE = "active", _("Active")
        PAST_DUE = "past_due", _("Payment failed")
        UNPAID = "unpaid", _("Unpaid")
        PAUSED = "paused", _("Paused")
        CANCELED = "canceled", _("Ended")

    PAYMENT_FAILED = (Status.PAST_DUE, Status.UNPAID)

    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="subscriptions")
    price = models.ForeignKey(Price, on_delete=models.PROTECT, related_name="subscriptions")
    stripe_subscription_id = models.CharField(_("Stripe subscription"), max_length=255, unique=True)
    status = models.CharField(_("status"), max_length=20, choices=Status.choices)
    current_period_end = models.DateTimeField(_("paid until"))
    cancel_at_period_end = models.BooleanField(_("ends then"), default=False)
    next_price = models.ForeignKey(
        Price, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("changes then to")
    )
    # A dearer plan that waits for the customer to approve its payment at their bank.
    pending_price = models.ForeignKey(
        Price, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("waits for approval")
    )
    pending_until = models.DateTimeField(_("waits until"), null=True, blank=True)
    pending_invoice_id = models.CharField(max_length=255, blank=True)
    is_paused = models.BooleanField(_("paused"), default=False, help_text=_("Not billed, and no new credits."))
    resumes_at = models.DateTimeField(_("resumes"), null=True, blank=True)
    trial_ends_at = models.DateTimeField(_("on trial until"), null=True, blank=True)
    # While it is on the trial that it began with. (Free days given later are one to Stripe, and to nobody else.)
    first_trial_ends_at = models.DateTimeField(null=True, blank=True, editable=False)
    stripe_schedule_id = models.CharField(max_length=255, blank=True)
    started_at = models.DateTimeField(_("started"))
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("subscription")
        verbose_name_plural = _("subscriptions")
        indexes = [
            models.Index(
                name="subscription_payment_failed",
                fields=["current_period_end"],
                condition=Q(status__in=["past_due", "unpaid"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.stripe_subscription_id}: {self.status}"

    @property
    def is_price_change(self) -> bool:
        """Whether what comes next is the same plan at another price: the shop's decision, not the customer's."""
        following = self.next_price
        same = following is not None and following.plan_id == self.price.plan_id
        return same and following is not None and following.interval == self.price.interval

    @property
    def is_payment_failed(self) -> bool:
        """Whether its last renewal was refused, so that it goes on unpaid for now."""
        return self.status in self.PAYMENT_FAILED

    @property
    def is_running(self) -> bool:
        return self.status in RUNNING


RUNNING = (Subscription.Status.TRIALING, Subscription.Status.ACTIVE, Subscription.Status.PAST_DUE)


def series_of(stripe_subscription_id: str) -> str:
    """Under which name the ledger keeps the allowances of a subscription together."""
    return f"stripe:subscription:{stripe_subscription_id}"


class PaidInvoice(models.Model):
    """A paid invoice of a plan whose credits were seen to, also where that came to none."""

    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="paid_invoices")
    stripe_invoice_id = models.CharField(_("Stripe invoice"), max_length=255, unique=True)
    fulfilled_at = models.DateTimeField(_("seen to"))
    # Of a change within a period: which one, and what the change cost, or (below zero) was credited.
    changed_period = models.CharField(max_length=300, blank=True, db_index=True)
    change_minor = models.BigIntegerField(default=0)
    # Credits a month that it pays for (of a change: on top), and how many of them are kept back in months to come.
    monthly_credits = models.PositiveIntegerField(default=0, editable=False)
    withheld = models.PositiveIntegerField(default=0, editable=False)
    # The allowance of the ledger that it made, or changed.
    promise = models.CharField(max_length=300, blank=True, db_index=True, editable=False)

    class Meta:
        verbose_name = _("paid invoice")
        verbose_name_plural = _("paid invoices")

    def __str__(self) -> str:
        return self.stripe_invoice_id


class TopUp(models.Model):
    """Below so many credits, buy this pack with the saved card: only while its owner wants it."""

    account = models.OneToOneField("accounts.Account", on_delete=models.PROTECT, related_name="top_up")
    price = models.ForeignKey(Price, on_delete=models.PROTECT, related_name="+", verbose_name=_("buys"))
    below = models.PositiveBigIntegerField(_("when fewer credits are left than"))
    max_per_month = models.PositiveSmallIntegerField(_("times a month, at most"))
    is_on = models.BooleanField(_("on"), default=True)
    problem = models.CharField(_("why it is off"), max_length=255, blank=True)
    agreed_at = models.DateTimeField(_("agreed"), help_text=_("When the customer said so."))

    class Meta:
        verbose_name = _("automatic top-up")
        verbose_name_plural = _("automatic top-ups")
        constraints = [
            models.CheckConstraint(name="top_up_has_limits", condition=Q(below__gt=0, max_per_month__gt=0)),
        ]
        indexes = [models.Index(name="top_up_on", fields=["account"], condition=Q(is_on=True))]

    def __str__(self) -> str:
        return f"{self.account}: {self.price.pack} below {self.below}"


class Clawback(models.Model):
    """What should be, and was, taken back of one grant because its money went back: a target, reached step by step."""

    class Cause(models.TextChoices):
        REFUND = "refund", _("Refund")  # takes what is left
        DISPUTE = "dispute", _("Dispute")  # takes all of it once it is lost; what was spent is owed
        CHANGE = "change", _("Upgrade taken back")  # an upgrade that was credited; what was spent is owed

    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="clawbacks")
    grant_source_key = models.CharField(_("grant"), max_length=255)
    cause = models.CharField(_("cause"), max_length=7, choices=Cause.choices)
    charge_id = models.CharField(_("charge"), max_length=255, db_index=True, help_text=_("The provider's payment."))
    target = models.PositiveBigIntegerField(_("to take back"), default=0)
    taken = models.PositiveBigIntegerField(_("taken"), default=0)
    owed = models.PositiveBigIntegerField(_("became debt"), default=0)
    steps = models.PositiveIntegerField(default=0, editable=False)
    updated_at = models.DateTimeField(_("updated"))

    class Meta:
        verbose_name = _("clawback")
        verbose_name_plural = _("clawbacks")
        constraints = [
            models.UniqueConstraint(
                name="clawback_once_per_grant_and_cause", fields=["account", "grant_source_key", "cause"]
            ),
        ]

    def __str__(self) -> str:
        return f"{self.cause} of {self.grant_source_key}: {self.taken + self.owed} of {self.target}"


class PaymentRecord(models.Model):
    """What was paid at once for credits, and how much of that money is still here: the standing target of its credits.

    One row for each checkout, card form or invoice, in minor units. An invoice may bill other things as well: of
    `total_minor`, `net_minor` and `tax_minor` are what its credits cost. `priced_minor` of that is the price of lots
    and allowances in the ledger; what gave nothing any more is earned as it is paid.
    """

    class State(models.TextChoices):
        """What became of the money, as customers and support read it."""

        PAID = "paid", _("Paid")
        PARTLY_REFUNDED = "partly_refunded", _("Partly refunded")
        REFUNDED = "refunded", _("Refunded")
        DISPUTED = "disputed", _("Disputed")  # the bank has yet to decide
        LOST = "lost", _("Dispute lost")

    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="payment_records")
    origin_id = models.CharField(
        _("paid as"), max_length=255, unique=True, help_text=_("The provider's checkout, payment or invoice.")
    )
    currency = models.CharField(_("currency"), max_length=3)
    total_minor = models.BigIntegerField(_("total"))
    net_minor = models.BigIntegerField(_("for credits"), help_text=_("Without tax."))
    tax_minor = models.BigIntegerField(_("tax on it"), default=0)
    priced_minor = models.BigIntegerField(_("in the ledger"), default=0)
    refunded_minor = models.BigIntegerField(_("refunded"), default=0, help_text=_("With what credit notes took off."))
    credited_minor = models.BigIntegerField(
        _("credited"), default=0, help_text=_("Of that: by credit notes, to a balance or outside of the provider.")
    )
    disputed_minor = models.BigIntegerField(_("disputed"), default=0, help_text=_("Open, or lost."))
    is_lost = models.BooleanField(_("dispute lost"), default=False)
    # A second plan by mistake: what was spent of it is owed when its money goes back.
    is_mistake = models.BooleanField(_("by mistake"), default=False)
    paid_at = models.DateTimeField(_("paid"))

    class Meta:
        verbose_name = _("payment")
        verbose_name_plural = _("payments")
        constraints = [
            models.CheckConstraint(
                name="payment_gives_back_no_more_than_it_was",
                condition=Q(refunded_minor__gte=0, disputed_minor__gte=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.origin_id}: {self.total_minor} {self.currency}"

    @property
    def state(self) -> State:
        if self.disputed_minor:
            return self.State.LOST if self.is_lost else self.State.DISPUTED
        if self.refunded_minor:
            return self.State.REFUNDED if self.refunded_minor >= self.total_minor else self.State.PARTLY_REFUNDED
        return self.State.PAID

    @property
    def gone_minor(self) -> int:
        """What of the total is not here any more, or is disputed."""
        return min(self.refunded_minor + self.disputed_minor, self.total_minor)


class MoneyStep(models.Model):
    """How the money of a payment came and went, step by step: what reports add up. Minor units; below zero: it went."""

    payment = models.ForeignKey(PaymentRecord, on_delete=models.PROTECT, related_name="steps")
    net_minor = models.BigIntegerField(_("for credits"))
    tax_minor = models.BigIntegerField(_("tax"), default=0)
    is_payment = models.BooleanField(_("paid"), default=False)
    at = models.DateTimeField(_("at"), db_index=True)

    class Meta:
        verbose_name = _("step of a payment")
        verbose_name_plural = _("steps of payments")
        constraints = [
            models.UniqueConstraint(name="payment_comes_once", fields=["payment"], condition=Q(is_payment=True)),
        ]

    def __str__(self) -> str:
        return f"{self.net_minor:+d} {self.tax_minor:+d}"


class SettledCharge(models.Model):
    """A charge whose money went back, in part or whole, as it stood when credits were last synced with it."""

    charge_id = models.CharField(_("charge"), max_length=255, unique=True)
    seen = models.CharField(_("seen"), max_length=120)
    settled_at = models.DateTimeField(_("settled"))

    class Meta:
        verbose_name = _("settled charge")
        verbose_name_plural = _("settled charges")

    def __str__(self) -> str:
        return f"{self.charge_id}: {self.seen}"


class KnownDifference(models.Model):
    """What Stripe and the ledger did not agree about when they were compared last, or what a person has settled.

    One that is settled is none any more, as long as it stays as it was then.
    """

    kind = models.CharField(_("kind"), max_length=40)
    object_id = models.CharField(_("object"), max_length=255)
    account = models.ForeignKey(
        "accounts.Account", on_delete=models.PROTECT, null=True, blank=True, related_name="differences"
    )
    problem = models.TextField(_("what differs"), blank=True)
    found_at = models.DateTimeField(_("found"))
    settled_at = models.DateTimeField(_("settled"), null=True, blank=True)
    reason = models.CharField(_("how it was settled"), max_length=400, blank=True)
    actor = models.CharField(_("by"), max_length=64, blank=True)

    class Meta:
        verbose_name = _("difference from Stripe")
        verbose_name_plural = _("differences from Stripe")
        constraints = [models.UniqueConstraint(name="difference_once_per_object", fields=["kind", "object_id"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_id}: {self.problem}"


class InboxEvent(models.Model):
    """One webhook as it came in, and what became of it. PostgreSQL is the queue; Redis only rings."""

    class State(models.TextChoices):
        RECEIVED = "received", _("Waiting")
        PROCESSED = "processed", _("Done")
        IGNORED = "ignored", _("Not for us")  # a type we do not act on, another mode, another account
        FAILED = "failed", _("Will be tried again")
        DEAD = "dead", _("Given up")  # an operator replays it once the cause is mended

    UNFINISHED = (State.RECEIVED, State.FAILED)  # still to be tried

    event_id = models.CharField(_("event"), max_length=255, unique=True)
    type = models.CharField(_("type"), max_length=120)
    object_id = models.CharField(_("about"), max_length=255, blank=True, db_index=True)
    customer_id = models.CharField(_("Stripe customer"), max_length=255, blank=True)
    payload = models.JSONField(_("payload"))
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.RECEIVED)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    error = models.TextField(_("error"), blank=True)
    created_at = models.DateTimeField(_("happened"))
    received_at = models.DateTimeField(_("received"))
    processed_at = models.DateTimeField(_("done"), null=True, blank=True)
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True, blank=True)

    class Meta:
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")
        constraints = [
            models.CheckConstraint(
                name="inbox_event_waits_only_while_it_is_not_done",
                condition=Q(state__in=["received", "failed"], next_attempt_at__isnull=False)
                | Q(state__in=["processed", "ignored", "dead"], next_attempt_at__isnull=True),
            ),
        ]
        indexes = [
            models.Index(name="inbox_due", fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False)),
            models.Index(name="inbox_latest", fields=["-received_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.event_id}: {self.type}"

    def is_waiting(self, now: datetime) -> bool:
        return self.next_attempt_at is not None and self.next_attempt_at <= now
