"""Changing, stopping and resuming a plan, and topping up by itself."""

from collections.abc import Callable

from csp.decorators import csp_update
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from billing.catalogue import price_list
from billing.checkout import top_ups
from billing.errors import BillingError, PaymentActionRequiredError
from billing.models import Subscription
from billing.subscriptions import plan_changes, previews
from common import clock
from common.urls import absolute_url
from credits import selectors
from portal.checkout import CARD_FORM_CSP
from portal.current_account import admins_only, current_account


@never_cache
@require_GET
@admins_only
def preview_plan(request: HttpRequest) -> HttpResponse:
    """What a change would cost now, and what becomes of the credits. Nothing is changed."""
    try:
        account = current_account(request)
        price = price_list.find_price_for(
            account, item=request.GET.get("item", ""), interval=request.GET.get("interval", "")
        )
        preview = previews.preview_change(account=current_account(request), price=price, now=clock.now())
    except BillingError as refusal:
        messages.error(request, _(str(refusal)))
        return redirect("credits")
    return render(request, "portal/preview_plan.html", {"preview": preview})


@require_POST
@admins_only
def change_plan(request: HttpRequest) -> HttpResponse:
    """Go on with another plan, now or when the running period ends."""

    def change() -> str:
        item, interval = request.POST.get("item", ""), request.POST.get("interval", "")
        account = current_account(request)
        price = price_list.find_price_for(account, item=item, interval=interval)
        current = plan_changes.change(account=account, price=price, now=clock.now())
        if current.next_price is not None:
            return _("Your plan changes to %(plan)s on %(when)s. Until then nothing changes.") % {
                "plan": current.next_price.plan,
                "when": _end(current),
            }
        return _("Your plan is %(plan)s now.") % {"plan": current.price.plan}

    try:
        return _done(request, change)
    except PaymentActionRequiredError:
        return redirect("approve-plan")


@csp_update(CARD_FORM_CSP)
@never_cache
@admins_only
def approve_plan(request: HttpRequest) -> HttpResponse:
    """The bank wants the customer to approve a dearer plan's payment: to its page, and back here; or leave it."""
    account, now = current_account(request), clock.now()
    if request.method == "POST":

        def drop() -> str:
            current = plan_changes.drop_pending(account=account, now=now)
            return _("Nothing changes: your plan is %(plan)s.") % {"plan": current.price.plan}

        return _done(request, drop)
    try:
        waited = plan_changes.running(account).pending_price
        current = plan_changes.refresh_pending(account=account, now=now)
        if current.pending_price is None:
            if waited is None or waited == current.price:
                messages.info(request, _("Your plan is %(plan)s now.") % {"plan": current.price.plan})
            else:
                messages.error(
                    request,
                    _("The payment was not approved in time. Your plan is still %(plan)s.")
                    % {"plan": current.price.plan},
                )
            return redirect("billing")
        return _approval_page(request, current)
    except BillingError as error:
        messages.error(request, _(str(error)))
        return redirect("billing")


def _approval_page(request: HttpRequest, current: Subscription) -> HttpResponse:
    """Stripe's script brings the customer to their bank and back; without its key, the invoice's own page does."""
    approval = plan_changes.approval(current)
    if "answered" in request.GET and not approval.is_on_its_way:
        messages.error(request, _("Your bank still waits for your approval."))
    shown = {
        "subscription": current,
        "approval": approval,
        "publishable_key": settings.STRIPE_PUBLISHABLE_KEY,
        "script_url": settings.STRIPE_JS_URL,
        "return_url": absolute_url("approve-plan"),
    }
    return render(request, "portal/approve_plan.html", shown)


@never_cache
@admins_only
def cancel_plan(request: HttpRequest) -> HttpResponse:
    """Let the plan end with the period that is paid for; what is kept and until when is said first."""
    account, now = current_account(request), clock.now()
    if request.method == "POST":

        def cancel() -> str:
            current = plan_changes.cancel(account=account, now=now)
            return _("Your plan ends on %(when)s. Your credits stay until then.") % {"when": _end(current)}

        return _done(request, cancel)
    current = plan_changes.find_running(account)
    if current is None or current.cancel_at_period_end:
        return redirect("billing")
    left = {bucket.kind: bucket.remaining for bucket in selectors.balance(account_id=account.pk, now=now).buckets}
    shown = {"subscription": current, "plan_credits": left.get("plan", 0), "bought": left.get("purchased", 0)}
    return render(request, "portal/cancel_plan.html", shown)


@require_POST
@admins_only
def resume_plan(request: HttpRequest) -> HttpResponse:
    """Go on after all."""

    def resume() -> str:
        current = plan_changes.resume(account=current_account(request), now=clock.now())
        return _("Your plan goes on. It renews on %(when)s.") % {"when": _end(current)}

    return _done(request, resume)


@require_POST
@admins_only
def top_up(request: HttpRequest) -> HttpResponse:
    """Switch the automatic top-up on, as agreed in the form, or off."""
    account = current_account(request)

    def switch() -> str:
        if request.POST.get("action") == "off":
            top_ups.switch_off(account=account)
            return _("Auto top-up is off.")
        below, times = (request.POST.get(name, "")[:12] for name in ("below", "max_per_month"))
        row = top_ups.switch_on(
            account=account,
            price=price_list.find_price_for(account, item=request.POST.get("item", "")),
            below=int(below) if below.isdecimal() else 0,
            max_per_month=int(times) if times.isdecimal() else 0,
            now=clock.now(),
        )
        return _("Below %(below)d credits we buy %(pack)s with your saved card.") % {
            "below": row.below,
            "pack": row.price.pack,
        }

    return _done(request, switch, back="credits")


def _done(request: HttpRequest, what: Callable[[], str], *, back: str = "billing") -> HttpResponse:
    """Do it, and say what became of it where it was asked for. Raises PaymentActionRequiredError."""
    try:
        messages.info(request, what())
    except PaymentActionRequiredError:
        raise
    except BillingError as error:
        messages.error(request, _(str(error)))
    return redirect(back)


def _end(subscription: Subscription) -> str:
    return date_format(subscription.current_period_end, "DATE_FORMAT")
