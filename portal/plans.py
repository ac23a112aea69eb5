"""Changing, stopping and resuming a plan, and topping up by itself."""

from collections.abc import Callable

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts import clock
from billing import catalogue, plan_changes, top_ups
from billing.errors import BillingError
from billing.models import Subscription
from portal.views import own_account


@require_POST
@login_required
def change_plan(request: HttpRequest) -> HttpResponse:
    """Go on with another plan, now or when the running period ends."""

    def change() -> str:
        item, interval = request.POST.get("item", ""), request.POST.get("interval", "")
        price = catalogue.find_price(item=item, interval=interval)
        current = plan_changes.change(account=own_account(request), price=price, now=clock.now())
        if current.next_price is not None:
            return _("Your plan changes to %(plan)s on %(when)s. Until then nothing changes.") % {
                "plan": current.next_price.plan,
                "when": _end(current),
            }
        return _("Your plan is %(plan)s now.") % {"plan": current.price.plan}

    return _done(request, change)


@require_POST
@login_required
def cancel_plan(request: HttpRequest) -> HttpResponse:
    """Let the plan end with the period that is paid for."""

    def cancel() -> str:
        current = plan_changes.cancel(account=own_account(request), now=clock.now())
        return _("Your plan ends on %(when)s. Your credits stay until then.") % {"when": _end(current)}

    return _done(request, cancel)


@require_POST
@login_required
def resume_plan(request: HttpRequest) -> HttpResponse:
    """Go on after all."""

    def resume() -> str:
        current = plan_changes.resume(account=own_account(request), now=clock.now())
        return _("Your plan goes on. It renews on %(when)s.") % {"when": _end(current)}

    return _done(request, resume)


@require_POST
@login_required
def top_up(request: HttpRequest) -> HttpResponse:
    """Switch the automatic top-up on, as agreed in the form, or off."""
    account = own_account(request)

    def switch() -> str:
        if request.POST.get("action") == "off":
            top_ups.switch_off(account=account)
            return _("The automatic top-up is off.")
        below, times = (request.POST.get(name, "")[:12] for name in ("below", "max_per_month"))
        row = top_ups.switch_on(
            account=account,
            price=catalogue.find_price(item=request.POST.get("item", "")),
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
    """Do it, and say what became of it where it was asked for."""
    try:
        messages.info(request, what())
    except BillingError as error:
        messages.error(request, str(error))
    return redirect(back)


def _end(subscription: Subscription) -> str:
    return date_format(subscription.current_period_end, "j M Y")
