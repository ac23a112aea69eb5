"""Changing what is for sale, from the console: a form, who is affected and when, a confirmation, and then Stripe.

Whoever may change prices may do it; what is nearly given away (half of what it cost, or less) takes an administrator.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.signing import BadSignature, Signer
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing.catalogue import publishing
from billing.errors import BillingError
from billing.models import DiscountCode, Order, Pack, Plan, Price, TopUp
from billing.subscriptions import price_moves
from common import clock, currencies
from common.admin import Effect, money

_SEEN = Signer(salt="billing.catalogue")
CURRENCIES = ("eur", "usd", "gbp", "chf", "sek", "nok", "dkk", "pln", "czk", "aud", "cad", "jpy", "inr", "brl")
MOST_PERCENT = 50  # off, without an administrator
STEEP = 2  # so many times cheaper than before takes an administrator
MOST_MINOR = 99_999_999  # Stripe takes eight digits (docs.stripe.com/currencies, "Minimum and maximum charge amounts")


class AmountField(forms.CharField):
    """An amount of money as people write it: 5, 5.00 or 5,00. `in_minor` makes minor units of it."""

    def __init__(self, **named: Any) -> None:
        named.setdefault("help_text", gettext_lazy("Like 5.00, as customers see it on the price list."))
        super().__init__(max_length=16, widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}), **named)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            amount = Decimal(text.replace(",", "."))
        except InvalidOperation:
            raise forms.ValidationError(_("Type an amount, like 5.00.")) from None
        if not amount.is_finite() or amount <= 0:
            raise forms.ValidationError(_("Type an amount above zero."))
        return amount


class PricedForm(forms.Form):
    """What has an amount in a currency."""

    operator: Any = None

    def currency(self) -> str:
        return str(self.cleaned_data["currency"])

    def amount_minor(self) -> int:
        return int(self.cleaned_data["amount"].scaleb(currencies.digits(self.currency())))

    def clean(self) -> Any:
        fields = super().clean() or {}
        if "amount" in fields and not self.errors:
            minor = fields["amount"].scaleb(currencies.digits(self.currency()))
            if minor != minor.to_integral_value():
                self.add_error("amount", _("This currency has %d decimals.") % currencies.digits(self.currency()))
            elif minor > MOST_MINOR:
                self.add_error("amount", _("That is more than Stripe takes."))
            elif self.is_steep(int(minor)) and not getattr(self.operator, "is_superuser", False):
                self.add_error("amount", _("That is half of what it costs now, or less: an administrator sets this."))
        return fields

    def is_steep(self, amount_minor: int) -> bool:
        """Whether this is nearly given away."""
        raise NotImplementedError


class NewPriceForm(PricedForm):
    """A further price of an item."""

    amount = AmountField(label=gettext_lazy("Amount"))
    currency_code = forms.ChoiceField(
        label=gettext_lazy("Currency"),
        choices=[(code, code.upper()) for code in CURRENCIES],
        widget=UnfoldAdminSelectWidget,
    )
    interval = forms.ChoiceField(
        label=gettext_lazy("Paid"),
        choices=[(Price.Interval.MONTH, gettext_lazy("a month")), (Price.Interval.YEAR, gettext_lazy("a year"))],
        widget=UnfoldAdminSelectWidget,
    )

    def __init__(self, *args: Any, item: Plan | Pack | None = None, kind: str = "", **named: Any) -> None:
        super().__init__(*args, **named)
        self.item, self.kind = item, kind or (publishing.kind_of(item) if item else "")
        if self.kind == "pack":
            del self.fields["interval"]

    def currency(self) -> str:
        return str(self.cleaned_data["currency_code"])

    def paid(self) -> str:
        return str(self.cleaned_data.get("interval", Price.Interval.ONCE))

    def months(self) -> int:
        """For how many months one payment is; one for a pack, whose credits come once."""
        return 12 if self.paid() == Price.Interval.YEAR else 1

    def credits(self) -> int:
        """How many credits one payment buys."""
        if isinstance(self.item, Plan):
            return self.item.monthly_credits * self.months()
        return self.item.credits if self.item else 0

    def is_steep(self, amount_minor: int) -> bool:
        return is_cheap(amount_minor, self.currency(), self.credits())


class NewItemForm(NewPriceForm):
    """A new plan or pack, with its first price. What else a plan has is set on its page."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=80, widget=UnfoldAdminTextInputWidget)
    code = forms.SlugField(
        label=gettext_lazy("Code"),
        max_length=64,
        widget=UnfoldAdminTextInputWidget,
        help_text=gettext_lazy("By which apps know it; it cannot be changed. Letters, digits and hyphens: credits-50."),
        error_messages={"invalid": gettext_lazy("Only letters, digits and hyphens, without spaces.")},
    )
    credits_each = forms.IntegerField(
        label=gettext_lazy("Credits"), min_value=1, max_value=2_147_483_647, widget=UnfoldAdminIntegerFieldWidget
    )
    description = forms.CharField(
        label=gettext_lazy("Description"), max_length=255, required=False, widget=UnfoldAdminTextInputWidget
    )
    features = forms.CharField(
        label=gettext_lazy("Features"),
        required=False,
        max_length=2_000,
        widget=UnfoldAdminTextareaWidget,
        help_text=gettext_lazy("One a line, as shown on the pricing page."),
    )
    field_order = ("name", "code", "credits_each", "description", "features", "amount", "currency_code", "interval")

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        if self.kind == "pack":
            del self.fields["description"], self.fields["features"]
        else:
            self.fields["credits_each"].label = gettext_lazy("Credits a month")

    def credits(self) -> int:
        return int(self.cleaned_data.get("credits_each") or 0) * self.months()

    def feature_list(self) -> list[str]:
        return [line.strip() for line in self.cleaned_data.get("features", "").splitlines() if line.strip()]


class ReplacePriceForm(PricedForm):
    """Another amount in the place of a price, and what becomes of the plans that run at it."""

    amount = AmountField(label=gettext_lazy("New amount"))
    runs = forms.ChoiceField(
        label=gettext_lazy("Running plans"),
        choices=[
            ("stay", gettext_lazy("keep the old price")),
            ("move", gettext_lazy("move to the new price at a renewal")),
        ],
        widget=UnfoldAdminSelectWidget,
    )
    notice_days = forms.IntegerField(
        label=gettext_lazy("Days of notice"),
        min_value=0,
        max_value=365,
        initial=30,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=gettext_lazy(
            "Renewals before that are at the old price. Each customer is mailed once it is planned."
        ),
    )

    def __init__(self, *args: Any, price: Price, **named: Any) -> None:
        super().__init__(*args, **named)
        self.price = price
        if price.plan is None:
            del self.fields["runs"], self.fields["notice_days"]

    def currency(self) -> str:
        return self.price.currency

    def moves(self) -> bool:
        return bool(self.cleaned_data.get("runs") == "move")

    def is_steep(self, amount_minor: int) -> bool:
        return is_half_of_before(self.price, amount_minor)


class DiscountForm(forms.Form):
    """A code, what it takes off, of what, for how long and for whom."""

    operator: Any = None

    code = forms.RegexField(
        r"^[A-Za-z0-9-]{3,40}$",
        label=gettext_lazy("Code"),
        widget=UnfoldAdminTextInputWidget,
        help_text=gettext_lazy("As customers type it: letters, digits and dashes."),
    )
    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=40,
        widget=UnfoldAdminTextInputWidget,
        help_text=gettext_lazy("As customers read it on their invoice."),
    )
    percent = forms.IntegerField(
        label=gettext_lazy("Percent off"), min_value=1, max_value=100, widget=UnfoldAdminIntegerFieldWidget
    )
    duration = forms.ChoiceField(
        label=gettext_lazy("On plans, for"), choices=DiscountCode.Duration.choices, widget=UnfoldAdminSelectWidget
    )
    months = forms.IntegerField(
        label=gettext_lazy("Months"), required=False, min_value=1, max_value=36, widget=UnfoldAdminIntegerFieldWidget
    )
    plans = forms.ModelMultipleChoiceField(
        Plan.objects.none(), label=gettext_lazy("Plans"), required=False, widget=forms.CheckboxSelectMultiple
    )
    packs = forms.ModelMultipleChoiceField(
        Pack.objects.none(),
        label=gettext_lazy("Packs"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("Choose no plan and no pack for everything."),
    )
    is_first_purchase = forms.BooleanField(label=gettext_lazy("On the first purchase only"), required=False)
    max_uses = forms.IntegerField(
        label=gettext_lazy("Uses, at most"), required=False, min_value=1, widget=UnfoldAdminIntegerFieldWidget
    )
    ends_on = forms.DateField(
        label=gettext_lazy("Last day"), required=False, widget=UnfoldAdminTextInputWidget(attrs={"type": "date"})
    )

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        for name, model in (("plans", Plan), ("packs", Pack)):
            field = self.fields[name]
            assert isinstance(field, forms.ModelMultipleChoiceField)  # noqa: S101
            field.queryset = model._default_manager.exclude(stripe_product_id=None).order_by("position")

    def clean(self) -> Any:
        fields = super().clean() or {}
        if fields.get("duration") == DiscountCode.Duration.REPEATING and not fields.get("months"):
            self.add_error("months", _("For how many months?"))
        if fields.get("code") and DiscountCode.objects.filter(code__iexact=fields["code"]).exists():
            self.add_error("code", _("There is a code like this."))
        if (last := fields.get("ends_on")) and last < timezone.localdate(clock.now()):
            self.add_error("ends_on", _("That day is over."))
        if (fields.get("percent") or 0) > MOST_PERCENT and not getattr(self.operator, "is_superuser", False):
            self.add_error("percent", _("More than %d percent off: an administrator sets this.") % MOST_PERCENT)
        return fields

    def discount(self) -> DiscountCode:
        """The code that this describes, not kept yet."""
        fields = self.cleaned_data
        is_repeating = fields["duration"] == DiscountCode.Duration.REPEATING
        return DiscountCode(
            code=fields["code"].upper(),
            name=fields["name"],
            percent=fields["percent"],
            duration=fields["duration"],
            months=fields["months"] if is_repeating else None,
            is_first_purchase=fields["is_first_purchase"],
            max_uses=fields["max_uses"],
            ends_at=_end_of(fields["ends_on"]) if fields["ends_on"] else None,
        )

    def effects(self) -> list[Effect]:
        """What it takes off which prices, and until when."""
        discount, fields = self.discount(), self.cleaned_data
        items = [*fields["plans"], *fields["packs"]]
        prices = (
            Price.objects.filter(is_active=True).select_related("plan", "pack").order_by("currency", "amount_minor")
        )
        rows = [Effect(discount.code, "–", _("%d percent off") % discount.percent)]
        for price in prices:
            item = publishing.item_of(price)
            if not items or item in items:
                less = price.amount_minor * (100 - discount.percent) // 100
                before, after = money(price.amount_minor, price.currency), money(less, price.currency)
                rows.append(Effect(f"{item} {price.get_interval_display()}", before, after))
        if discount.ends_at:
            rows.append(Effect(_("Last day"), "–", str(fields["ends_on"])))
        rows.append(Effect(_("Uses, at most"), "–", str(discount.max_uses or _("no limit"))))
        return rows


def _end_of(day: date) -> datetime:
    following = datetime.combine(day + timedelta(days=1), datetime.min.time())
    return timezone.make_aware(following)


class NoForm(forms.Form):
    """Nothing to fill in: only to be confirmed."""

    operator: Any = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One act: what it is called, what it would change, what the button says, and doing it."""

    title: str
    effects: Callable[[Any], list[Effect]]
    button: Callable[[Any], str]
    do: Callable[[Any], str]  # answers what was done
    back: str
    is_grave: bool = False


def confirmed(request: HttpRequest, site: AdminSite, form: Any, step: Step) -> HttpResponse:
    """Fill in, see what it would do, confirm. What is confirmed is what was shown: a change meanwhile is shown anew."""
    shown = {**site.each_context(request), "title": step.title, "form": form, "back": step.back, "step": step}
    form.operator = request.user
    is_filled = (request.method == "POST" and "change" not in request.POST) or not form.fields
    if not is_filled or not form.is_valid():
        return TemplateResponse(request, "billing/catalogue_step.html", shown)
    effects = step.effects(form)
    # Of this person, at this address, with these fields: all that is done, not only what the table shows.
    named = {name: str(value) for name, value in sorted(form.cleaned_data.items())}
    confirmed_here = [request.path, str(request.user.pk), named, [vars(row) for row in effects]]
    mark = _SEEN.sign(hashlib.sha256(json.dumps(confirmed_here).encode()).hexdigest())
    if request.POST.get("seen", "") != mark or not _is_ours(request.POST.get("seen", "")):
        shown |= {"effects": effects, "seen": mark, "is_stale": "seen" in request.POST, "button": step.button(form)}
        return TemplateResponse(request, "billing/catalogue_step.html", shown)
    try:
        text = step.do(form)
    except BillingError as error:
        form.add_error(None, str(error))
        return TemplateResponse(request, "billing/catalogue_step.html", shown)
    messages.success(request, text)
    return redirect(step.back)


def _is_ours(mark: str) -> bool:
    try:
        _SEEN.unsign(mark)
    except BadSignature:
        return False
    return True


def is_cheap(amount_minor: int, currency: str, credits: int) -> bool:
    """Whether a credit would cost half, or less, of what the cheapest one ever on sale in this currency costs.

    Where there is nothing to compare with, it is as well: a first price in a currency takes an administrator.
    """
    costs = [
        Decimal(price.amount_minor) / given
        for price in Price.objects.filter(currency=currency).select_related("plan", "pack")
        if (given := _credits_of(price))
    ]
    return not costs or not credits or Decimal(amount_minor) / credits * STEEP <= min(costs)


def is_half_of_before(price: Price, amount_minor: int) -> bool:
    """Whether this is half, or less, of the most that the item has cost in this currency: also after several cuts."""
    same = Price.objects.filter(plan=price.plan, pack=price.pack, currency=price.currency, interval=price.interval)
    return amount_minor * STEEP <= max(same.values_list("amount_minor", flat=True))


def _credits_of(price: Price) -> int:
    """How many credits a payment buys, as they were when an administrator agreed to them."""
    if price.pack is not None:
        return price.pack.agreed_credits or price.pack.credits
    return (price.plan.agreed_credits or price.plan.monthly_credits) * price.months if price.plan else 0


def effects_of_item(form: NewItemForm) -> list[Effect]:
    """What a new plan or pack would be."""
    rows = [
        Effect(_("On the price list"), "–", form.cleaned_data["name"]),
        Effect(_("Code, for good"), "–", form.cleaned_data["code"]),
        Effect(
            _("Credits a month") if form.kind == "plan" else _("Credits"), "–", str(form.cleaned_data["credits_each"])
        ),
    ]
    return [*rows, *effects_of_price(form)]


def effects_of_price(form: NewPriceForm) -> list[Effect]:
    """What a further price would cost, in all and for a credit."""
    amount, credits = form.amount_minor(), form.credits()
    interval = dict(Price.Interval.choices).get(form.paid(), "")
    rows = [Effect(_("Price"), "–", f"{money(amount, form.currency())} {interval}")]
    if credits:
        each = currencies.major(amount, form.currency()) / credits
        rows.append(Effect(_("A credit costs"), "–", f"{each:.4f} {form.currency().upper()}"))
    return rows


def effects_of_replacing(form: ReplacePriceForm, *, now: datetime) -> list[Effect]:
    """What another amount changes, for whom and when."""
    price = form.price
    new = form.amount_minor()
    rows = [
        Effect(
            _("New customers pay, from now on"), money(price.amount_minor, price.currency), money(new, price.currency)
        )
    ]
    if price.plan is not None:
        rows += _effects_on_plans(form, price, new, now=now)
    else:
        rows += _effects_on_top_ups(price, new)
    open_pages = Order.objects.filter(price=price, status=Order.Status.OPEN).count()
    if open_pages:
        text = _("may still be paid at the old price")
        rows.append(Effect(_("Open payment pages"), str(open_pages), text))
    return rows


def _effects_on_plans(form: ReplacePriceForm, price: Price, new: int, *, now: datetime) -> list[Effect]:
    running = price_moves.plans_at(price).count()
    if not form.moves() or not running:
        return [
            Effect(_("Running plans"), str(running), _("keep paying %s") % money(price.amount_minor, price.currency))
        ]
    first = price_moves.moves_first(price, notice_days=form.cleaned_data["notice_days"], now=now)
    months = price.months or 1
    more = (new - price.amount_minor) * running // months
    return [
        Effect(_("Running plans"), str(running), _("pay %s from a renewal on") % money(new, price.currency)),
        Effect(_("The first of them pays it on"), "–", date_format(timezone.localtime(first)) if first else "–"),
        Effect(_("They are mailed"), "–", _("within the hour, each at their address")),
        Effect(
            _("Recurring revenue a month, if all stay"), "–", f"{'+' if more > 0 else ''}{money(more, price.currency)}"
        ),
    ]


def _effects_on_top_ups(price: Price, new: int) -> list[Effect]:
    count = TopUp.objects.filter(price=price, is_on=True).count()
    if not count:
        return []
    kept = _("go on at the new price") if new <= price.amount_minor else _("are switched off, and their owners mailed")
    return [Effect(_("Automatic top-ups of this pack"), str(count), kept)]
