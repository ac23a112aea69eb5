"""The catalogue in the console: plans, packs, prices, promotions and discount codes, pushed to Stripe from here."""

from collections.abc import Mapping
from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import path, reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst, format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import TabularInline
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from accounts.models import User
from billing import catalogue_changes
from billing.catalogue import price_sync, publishing
from billing.checkout import top_ups
from billing.errors import BillingError, CatalogueError
from billing.models import DiscountCode, Order, Pack, Plan, Price, PriceMove, Promotion
from billing.subscriptions import price_moves
from common import clock
from common.admin import Effect, OperatorAdmin, ReadOnlyAdmin, confirmation, money
from common.json_types import JsonObject
from common.translated_texts import OTHER_LANGUAGES, TranslatedTexts

MAX_TOLD = 20
SYNC = gettext_lazy(
    "Products and prices are read from Stripe. New ones appear here, changed prices change, and what is archived there "
    "is taken off sale. How many credits each gives stays as it is set here."
)


class PriceInline(TabularInline):
    """What it costs. A Stripe price is never edited: another one takes its place."""

    model = Price
    fields = ("amount", "interval", "is_active", "runs", "acts", "stripe_price_id")
    readonly_fields = ("amount", "interval", "is_active", "runs", "acts", "stripe_price_id")
    extra = 0
    can_delete = False

    @admin.display(description=gettext_lazy("running plans"))
    def runs(self, row: Price) -> str:
        return str(price_moves.plans_at(row).count()) if row.plan_id else "–"

    @admin.display(description=gettext_lazy("change"))
    def acts(self, row: Price) -> SafeString | str:
        if not row.is_active:
            move = PriceMove.objects.filter(from_price=row, ended_at=None).first()
            if move is None:
                return "–"
            done = price_moves.progress(move)
            return _("moving: %(planned)d planned, %(left)d to go") % {"planned": done.planned, "left": done.left}
        kind = "plan" if row.plan_id else "pack"
        return format_html_join(
            " · ",
            '<a href="{}">{}</a>',
            [
                (reverse(f"admin:billing_{kind}_replace_price", args=[row.pk]), _("Change the amount")),
                (reverse(f"admin:billing_{kind}_retire_price", args=[row.pk]), _("Take off sale")),
            ],
        )

    @admin.display(description=gettext_lazy("amount"))
    def amount(self, row: Price) -> str:
        return money(row.amount_minor, row.currency)

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


def translated(form: type[Any], model: type[TranslatedTexts]) -> type[Any]:
    """The form with a field for each text of the model in each other language of the site."""
    fields: dict[str, Any] = {}
    for language, name in OTHER_LANGUAGES.items():
        for text in model.TRANSLATED:
            column = cast("models.Field[Any, Any]", model._meta.get_field(text))
            is_long = isinstance(column, models.TextField)
            fields[f"{text}_{language}"] = forms.CharField(
                required=False,
                label=format_lazy("{} ({})", capfirst(str(column.verbose_name)), name),
                max_length=column.max_length,
                help_text=gettext_lazy("Empty: the first language's."),
                widget=UnfoldAdminTextareaWidget if is_long else UnfoldAdminTextInputWidget,
            )
    return type(f"Translated{form.__name__}", (form,), {**fields, "texts": model.TRANSLATED})


class GiftForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for the type checker only
    """What is given for nothing, to everybody: more of it than one person may give takes an administrator."""

    operator: Any = None
    texts: tuple[str, ...] = ()  # that are translated
    gifts = ("daily_credits", "trial_credits", "bonus_credits")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for language in OTHER_LANGUAGES:
            for text in self.texts:
                known = self.instance.translations.get(language, {}).get(text, "")
                self.initial[f"{text}_{language}"] = known

    def clean(self) -> JsonObject:
        result: JsonObject = super().clean() or {}
        for language in OTHER_LANGUAGES:
            texts = {text: result.get(f"{text}_{language}") for text in self.texts}
            if self.texts:
                self.instance.translations[language] = {text: value for text, value in texts.items() if value}
        gifts = [*self.gifts]
        if isinstance(self.instance, Plan) and not (self.instance.pk and self.instance.prices.exists()):
            gifts.append("monthly_credits")
        most = settings.APPROVAL_ABOVE_CREDITS
        if self.is_sold() and not getattr(self.operator, "is_superuser", False):
            given, agreed = self.credits_given(result), self.instance.agreed_credits or self.credits_given(self.initial)
            if given > self.credits_given(self.initial) and given >= agreed * catalogue_changes.STEEP:
                name = "credits" if isinstance(self.instance, Pack) else "monthly_credits"
                text = _("Twice the credits for the same price is half the price: an administrator sets this.")
                self.add_error(name if name in self.fields else None, text)
        for name in set(gifts) & set(self.changed_data):
            if (result.get(name) or 0) > most and not getattr(self.operator, "is_superuser", False):
                self.add_error(name, _("More than %d credits for nothing: an administrator sets this.") % most)
        return result

    def is_sold(self) -> bool:
        """Whether it is a plan or pack that has, or had, a price."""
        return isinstance(self.instance, (Plan, Pack)) and bool(self.instance.pk and self.instance.prices.exists())

    def credits_given(self, fields: Mapping[str, Any]) -> int:
        """How many credits a payment (of a plan: a month) gives, with every bonus."""
        names = ("monthly_credits",) if isinstance(self.instance, Plan) else ("credits", "bonus_credits")
        return sum(fields.get(name) or 0 for name in names)


class GiftAdmin(OperatorAdmin):
    form = GiftForm
    tells_values = True

    def get_form(self, request: HttpRequest, obj: object = None, change: bool = False, **named: Any) -> Any:
        form = super().get_form(request, obj, change=change, **named)
        form.operator = request.user  # (a class made for this request)
        return form


class SoldAdmin(GiftAdmin):
    """A plan or a pack: taken off sale rather than deleted."""

    inlines = [PriceInline]
    list_filter = ("is_active",)
    search_fields = ("code", "name", "stripe_product_id")
    ordering = ("position",)
    readonly_fields = ("stripe_product_id",)
    actions_list = ["make_item", "sync_prices"]
    actions_detail = ["add_price", "switch_sale"]
    kind = ""

    def has_sync_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("billing.change_price")

    def has_price_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self.has_sync_permission(request, object_id)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Whether it is on sale is Stripe's, once it is there: a button changes it in both places."""
        fixed = (*super().get_readonly_fields(request, obj), *(["code"] if obj else []))
        return (*fixed, "is_active") if obj is not None and obj.stripe_product_id else fixed

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if obj.agreed_credits is None or request.user.is_superuser:
            before = None if request.user.is_superuser else form.initial
            obj.agreed_credits = form.credits_given(before or form.cleaned_data)
        super().save_model(request, obj, form, change)
        if change and obj.stripe_product_id and {"name", "description", "features"} & set(form.changed_data):
            transaction.on_commit(lambda: self._rename(request, obj))

    def _rename(self, request: HttpRequest, obj: Plan | Pack) -> None:
        try:
            publishing.rename(obj)
        except BillingError as error:
            self.message_user(request, _("Stripe still has the old texts: %s") % error, messages.ERROR)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """What is sold is made with its price; a plan that is free has none, and its own form."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if "free" in request.GET or request.method == "POST":
            return cast(HttpResponse, super().add_view(request, form_url, extra_context))
        return redirect(f"{self._list()}make/")

    def get_urls(self) -> Any:
        name = f"billing_{self.opts.model_name}"
        view = self.admin_site.admin_view
        return [
            path("prices/<int:price_id>/replace", view(self.replace_price), name=f"{name}_replace_price"),
            path("prices/<int:price_id>/retire", view(self.retire_price), name=f"{name}_retire_price"),
            *super().get_urls(),
        ]

    @action(description=gettext_lazy("Make a new one"), url_path="make", permissions=["price"])
    def make_item(self, request: HttpRequest) -> HttpResponse:
        """A new plan or pack with its first price: here and at Stripe."""
        form = catalogue_changes.NewItemForm(request.POST or None, kind=self.kind)

        def do(filled: catalogue_changes.NewItemForm) -> str:
            fields = filled.cleaned_data
            item = publishing.make_item(
                self.kind, fields["code"], name=fields["name"], credits=fields["credits_each"],
                position=self.model._default_manager.count(), description=fields.get("description", ""),
                features=filled.feature_list(),
            )  # fmt: skip
            publishing.add_price(
                item, interval=filled.paid(), currency=filled.currency(), amount_minor=filled.amount_minor()
            )
            self._log(request, item, f"Made, at {money(filled.amount_minor(), filled.currency())}.")
            return _("%s is on sale.") % item.name

        step = catalogue_changes.Step(
            title=_("A new plan") if self.kind == "plan" else _("A new pack"),
            effects=catalogue_changes.effects_of_item,
            button=lambda filled: _("Put %s on sale") % filled.cleaned_data["name"],
            do=do,
            back=self._list(),
        )
        return catalogue_changes.confirmed(request, self.admin_site, form, step)

    @action(description=gettext_lazy("Add a price"), url_path="add-price", permissions=["price"])
    def add_price(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Another currency or interval."""
        item = get_object_or_404(self.model, pk=object_id)
        if not item.stripe_product_id:
            self.message_user(request, _("This one is free: it is not at Stripe."), messages.ERROR)
            return redirect(self._page(item))
        form = catalogue_changes.NewPriceForm(request.POST or None, item=item)

        def do(filled: catalogue_changes.NewPriceForm) -> str:
            amount = money(filled.amount_minor(), filled.currency())
            publishing.add_price(
                item, interval=filled.paid(), currency=filled.currency(), amount_minor=filled.amount_minor()
            )
            self._log(request, item, f"New price: {amount}.")
            return _("%(item)s has a price of %(amount)s now.") % {"item": item, "amount": amount}

        step = catalogue_changes.Step(
            title=_("A further price of %s") % item,
            effects=catalogue_changes.effects_of_price,
            button=lambda filled: _("Sell at %s") % money(filled.amount_minor(), filled.currency()),
            do=do,
            back=self._page(item),
        )
        return catalogue_changes.confirmed(request, self.admin_site, form, step)

    def replace_price(self, request: HttpRequest, price_id: int) -> HttpResponse:
        """Another amount: who is affected and when, and then a new price at Stripe."""
        price, item = self._price(request, price_id)
        now = clock.now()
        form = catalogue_changes.ReplacePriceForm(request.POST or None, price=price)

        def do(filled: catalogue_changes.ReplacePriceForm) -> str:
            new = publishing.replace_price(price, amount_minor=filled.amount_minor())
            amount = money(new.amount_minor, new.currency)
            self._log(request, item, f"Price {money(price.amount_minor, price.currency)} → {amount}.")
            if price.pack is not None:
                top_ups.follow_price(price, new, now=now)
            if filled.moves():
                price_moves.begin(
                    from_price=price, to_price=new, notice_days=filled.cleaned_data["notice_days"],
                    actor=f"user:{request.user.pk}", now=now,
                )  # fmt: skip
            elif not price_moves.is_needed(price):
                publishing.retire(Price.objects.get(pk=price.pk))
            return _("%(item)s costs %(amount)s now.") % {"item": item, "amount": amount}

        step = catalogue_changes.Step(
            title=_("Another price for %(item)s: %(price)s") % {"item": item, "price": price},
            effects=lambda filled: catalogue_changes.effects_of_replacing(filled, now=now),
            button=lambda filled: (
                (_("Sell at %s, and move running plans") if filled.moves() else _("Sell at %s"))
                % f"{money(filled.amount_minor(), filled.currency())} {price.get_interval_display()}"
            ),
            do=do,
            back=self._page(item),
        )
        return catalogue_changes.confirmed(request, self.admin_site, form, step)

    def retire_price(self, request: HttpRequest, price_id: int) -> HttpResponse:
        """Sell no longer in this currency or interval; running plans go on."""
        price, item = self._price(request, price_id)
        amount = money(price.amount_minor, price.currency)

        def do(_filled: Any) -> str:
            if PriceMove.objects.filter(to_price=price, ended_at=None).exists():
                raise CatalogueError(_("Running plans are moving to this price. Put another one in its place instead."))
            publishing.retire(price)
            self._log(request, item, f"Price {amount} is off sale.")
            return _("%(item)s is not sold at %(amount)s any more.") % {"item": item, "amount": amount}

        running = price_moves.plans_at(price).count() if price.plan_id else 0
        effects = [Effect(_("Price"), amount, _("off sale"))]
        if running:
            effects.append(Effect(_("Running plans"), str(running), _("keep paying %s") % amount))
        if others := item.prices.filter(is_active=True).exclude(pk=price.pk).count():
            effects.append(Effect(_("Other prices on sale"), str(others), str(others)))
        else:
            effects.append(Effect(_("Other prices on sale"), "0", _("it cannot be bought any more")))
        step = catalogue_changes.Step(
            title=_("Take a price of %s off sale") % item,
            effects=lambda _filled: effects,
            button=lambda _filled: _("Take %s off sale") % amount,
            do=do,
            back=self._page(item),
            is_grave=True,
        )
        return catalogue_changes.confirmed(request, self.admin_site, catalogue_changes.NoForm({}), step)

    @action(description=gettext_lazy("Take off sale, or put on"), url_path="sale", permissions=["price"])
    def switch_sale(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Offer it, or no longer; running plans go on."""
        item = get_object_or_404(self.model, pk=object_id)
        if not item.stripe_product_id:
            self.message_user(request, _("This one is free: it is not at Stripe."), messages.ERROR)
            return redirect(self._page(item))
        is_on = not item.is_active
        words = {True: _("on sale"), False: _("off sale")}
        effects = [Effect(item.name, words[item.is_active], words[is_on])]
        if isinstance(item, Plan):
            running = sum(price_moves.plans_at(price).count() for price in item.prices.all())
            effects.append(Effect(_("Running plans"), str(running), _("go on as they are")))

        def do(_filled: Any) -> str:
            publishing.put_on_sale(item, is_on=is_on)
            self._log(request, item, "On sale." if is_on else "Off sale.")
            return _("%(item)s is %(state)s.") % {"item": item, "state": words[is_on]}

        step = catalogue_changes.Step(
            title=_("Put %s on sale") % item if is_on else _("Take %s off sale") % item,
            effects=lambda _filled: effects,
            button=lambda _filled: _("Put %s on sale") % item if is_on else _("Take %s off sale") % item,
            do=do,
            back=self._page(item),
            is_grave=not is_on,
        )
        return catalogue_changes.confirmed(request, self.admin_site, catalogue_changes.NoForm({}), step)

    def _price(self, request: HttpRequest, price_id: int) -> tuple[Price, Plan | Pack]:
        if not self.has_price_permission(request):
            raise PermissionDenied
        price = get_object_or_404(
            Price.objects.select_related("plan", "pack"), pk=price_id, **{f"{self.kind}__isnull": False}
        )
        return price, publishing.item_of(price)

    def _log(self, request: HttpRequest, item: Plan | Pack, text: str) -> None:
        self.log_change(request, item, text)

    def _list(self) -> str:
        return reverse(f"admin:billing_{self.opts.model_name}_changelist")

    def _page(self, item: Plan | Pack) -> str:
        return reverse(f"admin:billing_{self.opts.model_name}_change", args=[item.pk])

    @action(description=gettext_lazy("Sync with Stripe"), url_path="sync", permissions=["sync"])
    def sync_prices(self, request: HttpRequest) -> HttpResponse:
        """Ask, then pull products and prices, and say what changed."""
        address = reverse(f"admin:billing_{self.opts.model_name}_changelist")
        if request.method != "POST":
            return confirmation(request, self.admin_site, str(_("Sync with Stripe")), str(SYNC), back=address)
        back = redirect(address)
        try:
            changes = price_sync.pull()
        except BillingError as error:
            self.message_user(request, str(error), messages.ERROR)
            return back
        LogEntry.objects.create(
            user=cast(User, request.user),
            content_type=ContentType.objects.get_for_model(self.model),
            object_repr="Catalogue",
            action_flag=CHANGE,
            change_message=f"Synced with Stripe: {len(changes)} changes.",
        )
        for line in changes[:MAX_TOLD]:
            self.message_user(request, line, messages.SUCCESS)
        if not changes:
            self.message_user(request, _("Everything is as Stripe has it already."), messages.INFO)
        elif len(changes) > MAX_TOLD:
            more = len(changes) - MAX_TOLD
            self.message_user(request, _("And %d more changes.") % more, messages.INFO)
        return back

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    @admin.display(description=gettext_lazy("prices"))
    def prices(self, row: Plan | Pack) -> str:
        shown = [
            f"{money(price.amount_minor, price.currency)} {price.interval}"
            for price in row.prices.all()
            if price.is_active
        ]
        return ", ".join(shown) or "–"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("prices")


@admin.register(Plan)
class PlanAdmin(SoldAdmin):
    kind = "plan"
    form = translated(GiftForm, Plan)
    exclude = ("translations",)
    list_display = (
        "name", "code", "monthly_credits", "daily_credits", "rollover", "daily_cap", "seats", "prices",
        "is_default", "is_active",
    )  # fmt: skip


@admin.register(Pack)
class PackAdmin(SoldAdmin):
    kind = "pack"
    form = translated(GiftForm, Pack)
    exclude = ("translations",)
    list_display = ("name", "code", "credits", "bonus_credits", "prices", "is_active")


@admin.register(Promotion)
class PromotionAdmin(GiftAdmin):
    list_display = (
        "name",
        "code",
        "pack",
        "bonus_credits",
        "is_first_purchase",
        "starts_at",
        "ends_at",
        "used",
        "is_active",
    )
    list_filter = ("is_active", "is_first_purchase")
    list_select_related = ("pack",)
    search_fields = ("code", "name")
    ordering = ("-pk",)

    def get_queryset(self, request: HttpRequest) -> Any:
        completed = Count("orders", filter=Q(orders__status=Order.Status.COMPLETED))
        return super().get_queryset(request).annotate(completed_orders=completed)

    @admin.display(description=gettext_lazy("paid orders"), ordering="completed_orders")
    def used(self, row: Any) -> str:
        return f"{row.completed_orders} / {row.max_uses}" if row.max_uses else str(row.completed_orders)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(DiscountCode)
class DiscountCodeAdmin(ReadOnlyAdmin):
    list_display = ("code", "name", "percent", "duration", "months", "max_uses", "ends_at", "is_active")
    list_filter = ("is_active", "duration")
    search_fields = ("code", "name", "=stripe_promotion_code_id")
    ordering = ("-pk",)
    fields = (
        ("code", "name"), ("percent", "duration", "months"), "plans", "packs",
        ("is_first_purchase", "max_uses", "used"), ("ends_at", "is_active"),
        ("stripe_coupon_id", "stripe_promotion_code_id"),
    )  # fmt: skip
    readonly_fields = ("used",)
    actions_list = ["make_code"]
    actions_detail = ["switch_code"]

    def has_price_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("billing.change_price")

    @admin.display(description=gettext_lazy("used"))
    def used(self, row: DiscountCode) -> str:
        try:
            return str(publishing.uses_of(row))
        except BillingError as error:
            return str(error)

    @action(description=gettext_lazy("Make a new one"), url_path="make", permissions=["price"])
    def make_code(self, request: HttpRequest) -> HttpResponse:
        """A code for payment pages, made at Stripe."""
        form = catalogue_changes.DiscountForm(request.POST or None)

        def do(filled: catalogue_changes.DiscountForm) -> str:
            discount = filled.discount()
            publishing.make_discount(
                discount, plans=list(filled.cleaned_data["plans"]), packs=list(filled.cleaned_data["packs"])
            )
            self.log_addition(request, discount, f"{discount.percent} % off.")
            return _("%s can be used on payment pages now.") % discount.code

        step = catalogue_changes.Step(
            title=_("A new discount code"),
            effects=lambda filled: filled.effects(),
            button=lambda filled: _("Launch %s") % filled.cleaned_data["code"],
            do=do,
            back=reverse("admin:billing_discountcode_changelist"),
        )
        return catalogue_changes.confirmed(request, self.admin_site, form, step)

    @action(description=gettext_lazy("Stop this code, or start it"), url_path="switch", permissions=["price"])
    def switch_code(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Take the code, or no longer."""
        row = get_object_or_404(DiscountCode, pk=object_id)
        is_on = not row.is_active
        words = {True: _("is taken"), False: _("is refused")}

        def do(_filled: Any) -> str:
            publishing.set_discount(row, is_on=is_on)
            self.log_change(request, row, "Switched on." if is_on else "Switched off.")
            return f"{row.code}: {words[is_on]}."

        step = catalogue_changes.Step(
            title=row.code,
            effects=lambda _filled: [
                Effect(_("On payment pages"), words[row.is_active], words[is_on]),
                Effect(_("Plans that have it"), "–", _("keep their discount")),
            ],
            button=lambda _filled: _("Switch %s on") % row.code if is_on else _("Switch %s off") % row.code,
            do=do,
            back=reverse("admin:billing_discountcode_change", args=[row.pk]),
            is_grave=not is_on,
        )
        return catalogue_changes.confirmed(request, self.admin_site, catalogue_changes.NoForm({}), step)


@admin.register(PriceMove)
class PriceMoveAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "from_price", "to_price", "notice_days", "how_far", "ended_at", "problem")
    list_select_related = ("from_price", "to_price")
    ordering = ("-created_at",)
    search_fields = ("=from_price__stripe_price_id", "=to_price__stripe_price_id")

    @admin.display(description=gettext_lazy("plans"))
    def how_far(self, row: PriceMove) -> str:
        done = price_moves.progress(row)
        return _("%(planned)d planned, %(left)d to go") % {"planned": done.planned, "left": done.left}
