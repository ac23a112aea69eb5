"""Money back, plans changed and stopped, payments tried again, Stripe asked anew."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as later
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
)

from accounts import currencies
from accounts.admin_parts import money
from accounts.models import Account
from accounts.public_ids import parse_id
from billing import catalogue, collecting, mirror, plan_changes, previews, refunding
from billing.errors import BillingError
from billing.models import Order, Price, Subscription
from console.operations.base import (
    Asked,
    Done,
    Effect,
    Given,
    Operation,
    OperationForm,
    OperationRefusedError,
    register,
)
from credits import selectors

DAYS_OF_A_MONTH = 28  # the shortest: more may begin than one thinks, not fewer


def _refundable(account: Account) -> list[Order]:
    rows = Order.objects.filter(account=account, status=Order.Status.COMPLETED).with_what_it_says().order_by("-id")
    return [order for order in rows[:50] if refunding.refundable(order).minor > 0]


class RefundForm(OperationForm):
    order = forms.ChoiceField(label=later("Order"), widget=UnfoldAdminSelectWidget)
    amount = forms.DecimalField(
        label=later("Amount"),
        required=False,
        min_value=Decimal(0),
        widget=UnfoldAdminDecimalFieldWidget,
        help_text=later("In the order's currency. Empty: all that is left of it."),
    )

    def prepare(self) -> None:
        self.fields["order"].choices = [  # type: ignore[attr-defined]
            (order.public_id, f"{order.description}, {money(order.charged_minor, order.currency)} ({order.public_id})")
            for order in _refundable(self.account)
        ]

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        if "order" in found:
            order = Order.objects.with_what_it_says().get(account=self.account, pk=parse_id("co", found["order"]))
            amount, scale = found.get("amount"), Decimal(10) ** currencies.digits(order.currency)
            if amount is not None and amount * scale != int(amount * scale):
                raise forms.ValidationError(_("This currency has no smaller part than that."))
            found["row"] = order
            found["minor"] = refunding.refundable(order).minor if amount is None else int(amount * scale)
        return found


@register
class Refund(Operation):
    code, label, icon, permission, form = "refund", later("Refund an order"), "payments", "refund_order", RefundForm
    is_grave = True
    is_for_closed_account = True
    place = 5

    def gives(self, asked: Asked) -> Given:
        return Given(amount=asked.data["minor"], to=asked.account, unit=asked.data["row"].currency)

    def is_offered(self, account: Account, now: datetime) -> bool:
        return bool(_refundable(account))

    def effects(self, asked: Asked) -> list[Effect]:
        order, minor = asked.data["row"], asked.data["minor"]
        known = refunding.refundable(order)
        if not 0 < minor <= known.minor:
            raise OperationRefusedError(_("%s can be refunded of this order.") % money(known.minor, order.currency))
        target = known.granted * (order.refunded_minor + minor) // order.charged_minor
        gone = known.granted * order.refunded_minor // order.charged_minor
        taken = min(known.left, target - gone)
        has = selectors.balance(account_id=asked.account.pk, now=asked.now)
        return [
            Effect(
                _("Given back of this order"),
                money(order.refunded_minor, order.currency),
                money(order.refunded_minor + minor, order.currency),
            ),
            Effect(_("Credits to spend"), str(has.available), str(has.available - taken)),
            Effect(
                _("Credits of it that were spent"), str(known.granted - known.left), _("stay spent; nothing is owed")
            ),
        ]

    def run(self, asked: Asked) -> Done:
        order, minor = asked.data["row"], asked.data["minor"]
        refunding.refund(
            order=order,
            amount_minor=minor,
            reason=asked.reason,
            actor=asked.operator.email,
            idempotency_key=asked.key,
            now=asked.now,
        )
        return Done(text=_("%s is on its way back.") % money(minor, order.currency))


class ChangePlanForm(OperationForm):
    price = forms.ChoiceField(label=later("Plan"), widget=UnfoldAdminSelectWidget)

    def prepare(self) -> None:
        current = plan_changes.find_running(self.account)
        self.fields["price"].choices = [  # type: ignore[attr-defined]
            (str(price.pk), f"{plan.name}, {money(price.amount_minor, price.currency)} {price.get_interval_display()}")
            for plan in catalogue.plans()
            for price in plan.prices.all()
            if current and price.currency == current.price.currency and price != current.price
        ]


@register
class ChangePlan(Operation):
    code, label, icon, permission, form = (
        "change-plan", later("Change the plan"), "swap_horiz", "change_plan", ChangePlanForm,
    )  # fmt: skip
    place = 6

    def is_offered(self, account: Account, now: datetime) -> bool:
        return plan_changes.find_running(account) is not None

    def effects(self, asked: Asked) -> list[Effect]:
        told = previews.of_change(account=asked.account, price=self._price(asked), now=asked.now)
        currency = told.price.currency
        when = _("now") if told.is_at_once else date_format(told.starts_at, "j M Y")
        return [
            Effect(_("Plan"), str(told.current.price.plan), f"{told.price.plan} ({when})"),
            Effect(_("Charged now"), money(0, currency), money(told.due_now_minor, currency)),
            Effect(_("Credits that come now"), "0", str(told.credits_now - told.credits_gone)),
        ]

    def run(self, asked: Asked) -> Done:
        before = plan_changes.running(asked.account).price
        current = plan_changes.change(account=asked.account, price=self._price(asked), now=asked.now)
        undo = {"operation": self.code, "price": str(before.pk)} if current.next_price is not None else None
        return Done(text=_("The plan is %s.") % (current.next_price or current.price).plan, undo=undo)

    def _price(self, asked: Asked) -> Price:
        return Price.objects.select_related("plan").get(pk=asked.data["price"])


class CancelForm(OperationForm):
    when = forms.ChoiceField(
        label=later("When"),
        choices=[
            ("end", later("At the end of what is paid for")),
            ("now", later("Now; what is paid for is still given")),
        ],
        initial="end",
        widget=UnfoldAdminRadioSelectWidget,
    )


@register
class CancelPlan(Operation):
    code, label, icon, permission, form = "cancel-plan", later("Stop the plan"), "cancel", "change_plan", CancelForm
    is_grave = True
    place = 8

    def is_offered(self, account: Account, now: datetime) -> bool:
        return plan_changes.find_running(account) is not None

    def effects(self, asked: Asked) -> list[Effect]:
        current = plan_changes.running(asked.account)
        ends = date_format(current.current_period_end, "j M Y")
        return [
            Effect(
                _("Plan"),
                f"{current.price.plan}, {current.get_status_display()}",
                _("ended") if asked.data["when"] == "now" else _("ends on %s") % ends,
            ),
            Effect(_("Charged after that"), money(current.price.amount_minor, current.price.currency), _("nothing")),
        ]

    def run(self, asked: Asked) -> Done:
        if asked.data["when"] == "now":
            plan_changes.cancel_now(account=asked.account, now=asked.now)
            return Done(text=_("The plan has ended."))
        current = plan_changes.cancel(account=asked.account, now=asked.now)
        return Done(
            text=_("The plan ends on %s.") % date_format(current.current_period_end, "j M Y"),
            undo={"operation": "resume-plan"},
        )


@register
class ResumePlan(Operation):
    code, label, icon, permission = "resume-plan", later("Resume the plan"), "play_arrow", "change_plan"
    place = 7

    def is_offered(self, account: Account, now: datetime) -> bool:
        current = plan_changes.find_running(account)
        return current is not None and (current.cancel_at_period_end or current.is_paused)

    def effects(self, asked: Asked) -> list[Effect]:
        current = plan_changes.running(asked.account)
        return [Effect(_("Plan"), _("paused") if current.is_paused else _("ends"), _("renews"))]

    def run(self, asked: Asked) -> Done:
        plan_changes.resume(account=asked.account, now=asked.now)
        return Done(text=_("The plan goes on."), undo={"operation": "cancel-plan", "when": "end"})


class ExtendForm(OperationForm):
    days = forms.IntegerField(label=later("Days"), min_value=1, max_value=366, help_text=later("Free of charge."))


@register
class ExtendPeriod(Operation):
    code, label, icon, permission, form = (
        "extend", later("Extend the paid period"), "more_time", "change_plan", ExtendForm,
    )  # fmt: skip
    place = 7

    def is_offered(self, account: Account, now: datetime) -> bool:
        current = plan_changes.find_running(account)
        return current is not None and current.status in (Subscription.Status.ACTIVE, Subscription.Status.TRIALING)

    def gives(self, asked: Asked) -> Given:
        """The credits of each month that may begin in those days."""
        plan = plan_changes.running(asked.account).price.plan
        months = -(-asked.data["days"] // DAYS_OF_A_MONTH)
        return Given(amount=months * (plan.monthly_credits if plan else 0), to=asked.account)

    def effects(self, asked: Asked) -> list[Effect]:
        current = plan_changes.running(asked.account)
        until = plan_changes.extended_until(current, days=asked.data["days"])
        return [
            Effect(_("Paid until"), date_format(current.current_period_end, "j M Y"), date_format(until, "j M Y")),
            Effect(_("Charged for that"), money(0, current.price.currency), money(0, current.price.currency)),
            Effect(_("Credits"), _("for the months that are paid"), _("for each month that begins until then as well")),
        ]

    def run(self, asked: Asked) -> Done:
        current = plan_changes.extend(account=asked.account, days=asked.data["days"], key=asked.key, now=asked.now)
        return Done(text=_("The plan is paid until %s.") % date_format(current.current_period_end, "j M Y"))


@register
class RetryPayment(Operation):
    code, label, icon, permission = "retry-payment", later("Try the payment again"), "credit_score", "change_plan"
    place = 0

    def is_offered(self, account: Account, now: datetime) -> bool:
        return bool(collecting.open_invoices(account))

    def effects(self, asked: Asked) -> list[Effect]:
        rows = collecting.open_invoices(asked.account)
        if not rows:
            raise OperationRefusedError(_("No invoice waits to be paid."))
        return [
            Effect(
                str(row.get("number") or row["id"]),
                _("not paid"),
                _("%s is tried") % money(row["amount_due"], row["currency"]),
            )
            for row in rows
        ]

    def run(self, asked: Asked) -> Done:
        paid = 0
        for row in collecting.open_invoices(asked.account):
            try:
                collecting.pay(row["id"], now=asked.now)
                paid += 1
            except BillingError as refusal:
                raise OperationRefusedError(_("The bank said no: %s") % refusal) from refusal
        return Done(text=_("%d invoices are paid.") % paid)


@register
class SyncStripe(Operation):
    code, label, icon, permission = "sync", later("Sync from Stripe"), "sync", "sync_stripe"
    is_for_own_account = is_for_closed_account = True
    place = 12

    def is_offered(self, account: Account, now: datetime) -> bool:
        return bool(mirror.customer_of_account(account.pk))

    def effects(self, asked: Asked) -> list[Effect]:
        rows = Subscription.objects.filter(account=asked.account).count()
        invoices = len(mirror.invoices_of(asked.account.pk, limit=collecting.LATEST))
        return [
            Effect(
                _("Asked anew"), "–",
                _("the customer, %(plans)d subscriptions, %(invoices)d invoices; what is missing is granted")
                % {"plans": rows, "invoices": invoices},
            )
        ]  # fmt: skip

    def run(self, asked: Asked) -> Done:
        before = selectors.balance(account_id=asked.account.pk, now=asked.now).available
        seen = collecting.ask_anew(asked.account, now=asked.now)
        after = selectors.balance(account_id=asked.account.pk, now=asked.now).available
        return Done(
            text=_("%(seen)d objects are as at Stripe; the balance went from %(before)d to %(after)d.")
            % {"seen": seen, "before": before, "after": after}
        )
