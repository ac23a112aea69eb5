"""Money back, plans changed and stopped, payments tried again, resynced with Stripe."""

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

from accounts.models import Account
from billing.catalogue import price_list
from billing.errors import BillingError
from billing.models import Order, PaymentRecord, Price, Subscription
from billing.payments import manual_settlement, payment_records
from billing.refunds import refunds
from billing.stripe import djstripe_store
from billing.subscriptions import invoice_retry, plan_changes, previews
from common import currencies
from common.admin import Effect, money
from common.json_types import JsonObject
from common.public_ids import parse_id
from console.operations.base import (
    Gift,
    Operation,
    OperationForm,
    OperationRefusedError,
    OperationRequest,
    OperationResult,
    register,
)
from credits import selectors

DAYS_OF_A_MONTH = 28  # the shortest: more may begin than one thinks, not fewer


def _refundable(account: Account) -> list[Order]:
    rows = Order.objects.filter(account=account, status=Order.Status.COMPLETED).with_related().order_by("-id")
    return [order for order in rows[:50] if refunds.refundable(order).minor > 0]


def _invoices(account: Account) -> list[PaymentRecord]:
    return refunds.refundable_invoices(account)[:50]


class RefundForm(OperationForm):
    order = forms.ChoiceField(label=later("Order or invoice"), widget=UnfoldAdminSelectWidget)
    amount = forms.DecimalField(
        label=later("Amount"),
        required=False,
        min_value=Decimal(0),
        widget=UnfoldAdminDecimalFieldWidget,
        help_text=later("In its currency, VAT included. Empty: all that is left of it."),
    )

    def prepare(self) -> None:
        self.choice_field("order").choices = [
            (order.public_id, f"{order.description}, {money(order.charged_minor, order.currency)} ({order.public_id})")
            for order in _refundable(self.account)
        ] + [
            (
                row.origin_id,
                _("Invoice of %(day)s, %(total)s (%(name)s)")
                % {
                    "day": date_format(row.paid_at, "DATE_FORMAT"),
                    "total": money(row.total_minor, row.currency),
                    "name": row.origin_id,
                },
            )
            for row in _invoices(self.account)
        ]

    def clean(self) -> JsonObject:
        result: JsonObject = super().clean() or {}
        if "order" not in result:
            return result
        chosen: Order | PaymentRecord
        if result["order"].startswith("co_"):
            chosen = Order.objects.with_related().get(account=self.account, pk=parse_id("co", result["order"]))
            left = refunds.refundable(chosen).minor
        else:
            chosen = PaymentRecord.objects.get(account=self.account, origin_id=result["order"])
            left = chosen.total_minor - chosen.refunded_minor
        amount, scale = result.get("amount"), Decimal(10) ** currencies.digits(chosen.currency)
        if amount is not None and amount * scale != int(amount * scale):
            raise forms.ValidationError(_("This currency has no smaller part than that."))
        result["row"], result["left"] = chosen, left
        result["minor"] = left if amount is None else int(amount * scale)
        return result


@register
class Refund(Operation):
    code, label, icon, permission, form = "refund", later("Refund"), "payments", "refund_order", RefundForm
    is_grave = True
    is_for_closed_account = True
    place = 5

    def act(self, request: OperationRequest) -> str:
        return _("Refund %s") % money(request.data["minor"], request.data["row"].currency)

    def gives(self, request: OperationRequest) -> Gift:
        return Gift(amount=request.data["minor"], to=request.account, unit=request.data["row"].currency)

    def is_offered(self, account: Account, now: datetime) -> bool:
        return bool(_refundable(account) or _invoices(account))

    def effects(self, request: OperationRequest) -> list[Effect]:
        row, minor, left = request.data["row"], request.data["minor"], request.data["left"]
        if not 0 < minor <= left:
            raise OperationRefusedError(_("%s can be refunded of this.") % money(left, row.currency))
        reported = self._preview(row, minor, request.now)
        has = selectors.balance(account_id=request.account.pk, now=request.now)
        effects = [
            Effect(
                _("Given back of this"),
                money(row.refunded_minor, row.currency),
                money(row.refunded_minor + minor, row.currency),
            ),
            Effect(_("Credits to spend"), str(has.available), str(has.available - reported.taken_now)),
            Effect(_("Credits of it that were spent"), str(reported.spent), _("stay spent; nothing is owed")),
        ]
        if reported.months and reported.a_month:
            less = _("%(credits)d fewer in each of %(months)d months") % {
                "credits": reported.a_month, "months": reported.months,
            }  # fmt: skip
            effects.append(Effect(_("Credits of months to come"), _("as they are"), less))
        if isinstance(row, PaymentRecord) and (plan := plan_changes.find_running(request.account)):
            effects.append(Effect(_("Plan"), str(plan.price.plan), _("goes on and renews, unless you stop it")))
        return effects

    def run(self, request: OperationRequest) -> OperationResult:
        row, minor = request.data["row"], request.data["minor"]
        about: Any = {
            "amount_minor": minor, "reason": request.reason, "actor": request.operator.email,
            "idempotency_key": request.key, "now": request.now,
        }  # fmt: skip
        if isinstance(row, PaymentRecord):
            refunds.refund_invoice(payment=row, **about)
        else:
            refunds.refund(order=row, **about)
        return OperationResult(text=_("%s is on its way back.") % money(minor, row.currency))

    def _preview(self, row: Order | PaymentRecord, minor: int, now: datetime) -> refunds.Preview:
        if isinstance(row, PaymentRecord):
            return refunds.preview(row, amount_minor=minor, source_key=f"stripe:invoice:{row.origin_id}")
        payment = payment_records.for_order(row, now=now)
        if payment is None:
            return refunds.Preview(taken_now=0, a_month=0, months=0, spent=0)
        return refunds.preview(payment, amount_minor=minor, source_key=row.grant_source_key)


class SettleForm(OperationForm):
    what = forms.ChoiceField(label=later("What"), widget=UnfoldAdminSelectWidget)

    def prepare(self) -> None:
        self.choice_field("what").choices = [
            (f"{row.kind}:{row.object_id}", f"{row.object_id}: {row.problem}"[:160])
            for row in manual_settlement.open_items(self.account)
        ]


@register
class Settle(Operation):
    """For what no webhook and no job can bring in order: a payment that was not as ordered, and cash on the counter."""

    is_here_only = True
    code, label, icon, permission, form = (
        "settle", later("Settle by hand"), "handshake", "refund_order", SettleForm,
    )  # fmt: skip
    is_for_closed_account = True
    place = 5

    def is_offered(self, account: Account, now: datetime) -> bool:
        return bool(manual_settlement.open_items(account))

    def effects(self, request: OperationRequest) -> list[Effect]:
        chosen = self._chosen(request)
        has = selectors.balance(account_id=request.account.pk, now=request.now).available
        return [
            Effect(chosen.object_id, chosen.problem[:160], _("settled outside: %s") % request.reason),
            Effect(_("Credits to spend"), str(has), str(has)),
            Effect(_("Money"), "–", _("none moves: what is owed was seen to elsewhere")),
        ]

    def run(self, request: OperationRequest) -> OperationResult:
        chosen = self._chosen(request)
        manual_settlement.settle(
            kind=chosen.kind,
            object_id=chosen.object_id,
            problem=chosen.problem,
            account_id=request.account.pk,
            reason=request.reason,
            actor=request.actor,
            now=request.now,
        )
        return OperationResult(text=_("%s is settled: nothing asks for it any more.") % chosen.object_id)

    def _chosen(self, request: OperationRequest) -> manual_settlement.OpenItem:
        result = [
            row
            for row in manual_settlement.open_items(request.account)
            if f"{row.kind}:{row.object_id}" == request.data["what"]
        ]
        if not result:
            raise OperationRefusedError(_("This is in order meanwhile."))
        return result[0]


class ChangePlanForm(OperationForm):
    price = forms.ChoiceField(label=later("Plan"), widget=UnfoldAdminSelectWidget)

    def prepare(self) -> None:
        current = plan_changes.find_running(self.account)
        self.choice_field("price").choices = [
            (str(price.pk), f"{plan.name}, {money(price.amount_minor, price.currency)} {price.get_interval_display()}")
            for plan in price_list.plans()
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

    def effects(self, request: OperationRequest) -> list[Effect]:
        reported = previews.preview_change(account=request.account, price=self._price(request), now=request.now)
        currency = reported.price.currency
        when = _("now") if reported.is_at_once else date_format(reported.starts_at, "DATE_FORMAT")
        return [
            Effect(_("Plan"), str(reported.current.price.plan), f"{reported.price.plan} ({when})"),
            Effect(_("Charged now"), money(0, currency), money(reported.due_now_minor, currency)),
            Effect(_("Credits that come now"), "0", str(reported.credits_now - reported.credits_gone)),
        ]

    def run(self, request: OperationRequest) -> OperationResult:
        before = plan_changes.running(request.account).price
        current = plan_changes.change(account=request.account, price=self._price(request), now=request.now)
        undo = {"operation": self.code, "price": str(before.pk)} if current.next_price is not None else None
        return OperationResult(text=_("The plan is %s.") % (current.next_price or current.price).plan, undo=undo)

    def _price(self, request: OperationRequest) -> Price:
        return Price.objects.select_related("plan").get(pk=request.data["price"])


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

    def effects(self, request: OperationRequest) -> list[Effect]:
        current = plan_changes.running(request.account)
        ends = date_format(current.current_period_end, "DATE_FORMAT")
        return [
            Effect(
                _("Plan"),
                f"{current.price.plan}, {current.get_status_display()}",
                _("ended") if request.data["when"] == "now" else _("ends on %s") % ends,
            ),
            Effect(_("Charged after that"), money(current.price.amount_minor, current.price.currency), _("nothing")),
        ]

    def run(self, request: OperationRequest) -> OperationResult:
        if request.data["when"] == "now":
            plan_changes.cancel_now(account=request.account, now=request.now)
            return OperationResult(text=_("The plan has ended."))
        current = plan_changes.cancel(account=request.account, now=request.now)
        return OperationResult(
            text=_("The plan ends on %s.") % date_format(current.current_period_end, "DATE_FORMAT"),
            undo={"operation": "resume-plan"},
        )


@register
class ResumePlan(Operation):
    code, label, icon, permission = "resume-plan", later("Resume the plan"), "play_arrow", "change_plan"
    place = 7

    def is_offered(self, account: Account, now: datetime) -> bool:
        current = plan_changes.find_running(account)
        return current is not None and (current.cancel_at_period_end or current.is_paused)

    def effects(self, request: OperationRequest) -> list[Effect]:
        current = plan_changes.running(request.account)
        return [Effect(_("Plan"), _("paused") if current.is_paused else _("ends"), _("renews"))]

    def run(self, request: OperationRequest) -> OperationResult:
        plan_changes.resume(account=request.account, now=request.now)
        return OperationResult(text=_("The plan goes on."), undo={"operation": "cancel-plan", "when": "end"})


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

    def gives(self, request: OperationRequest) -> Gift:
        """The credits of each month that may begin in those days."""
        plan = plan_changes.running(request.account).price.plan
        months = -(-request.data["days"] // DAYS_OF_A_MONTH)
        return Gift(amount=months * (plan.monthly_credits if plan else 0), to=request.account)

    def effects(self, request: OperationRequest) -> list[Effect]:
        current = plan_changes.running(request.account)
        until = plan_changes.extended_until(current, days=request.data["days"])
        return [
            Effect(
                _("Paid until"),
                date_format(current.current_period_end, "DATE_FORMAT"),
                date_format(until, "DATE_FORMAT"),
            ),
            Effect(_("Charged for that"), money(0, current.price.currency), money(0, current.price.currency)),
            Effect(_("Credits"), _("for the months that are paid"), _("for each month that begins until then as well")),
        ]

    def run(self, request: OperationRequest) -> OperationResult:
        current = plan_changes.extend_period(
            account=request.account, days=request.data["days"], key=request.key, now=request.now
        )
        return OperationResult(
            text=_("The plan is paid until %s.") % date_format(current.current_period_end, "DATE_FORMAT")
        )


@register
class RetryPayment(Operation):
    code, label, icon, permission = "retry-payment", later("Try the payment again"), "credit_score", "change_plan"
    place = 0

    def is_offered(self, account: Account, now: datetime) -> bool:
        return bool(invoice_retry.open_invoices(account))

    def effects(self, request: OperationRequest) -> list[Effect]:
        rows = invoice_retry.open_invoices(request.account)
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

    def run(self, request: OperationRequest) -> OperationResult:
        paid = 0
        for row in invoice_retry.open_invoices(request.account):
            try:
                invoice_retry.retry_invoice(row["id"], now=request.now)
                paid += 1
            except BillingError as refusal:
                raise OperationRefusedError(_("The bank said no: %s") % refusal) from refusal
        return OperationResult(text=_("%d invoices are paid.") % paid)


@register
class SyncStripe(Operation):
    code, label, icon, permission = "sync", later("Sync from Stripe"), "sync", "sync_stripe"
    is_for_own_account = is_for_closed_account = True
    place = 12

    def is_offered(self, account: Account, now: datetime) -> bool:
        return bool(djstripe_store.customer_of_account(account.pk))

    def effects(self, request: OperationRequest) -> list[Effect]:
        rows = Subscription.objects.filter(account=request.account).count()
        invoices = len(djstripe_store.invoices_of(request.account.pk, limit=invoice_retry.LATEST))
        return [
            Effect(
                _("Asked anew"), "–",
                _("the customer, %(plans)d subscriptions, %(invoices)d invoices; what is missing is granted")
                % {"plans": rows, "invoices": invoices},
            )
        ]  # fmt: skip

    def run(self, request: OperationRequest) -> OperationResult:
        before = selectors.balance(account_id=request.account.pk, now=request.now).available
        seen = invoice_retry.resync_account(request.account, now=request.now)
        after = selectors.balance(account_id=request.account.pk, now=request.now).available
        return OperationResult(
            text=_("%(seen)d objects are as at Stripe; the balance went from %(before)d to %(after)d.")
            % {"seen": seen, "before": before, "after": after}
        )
