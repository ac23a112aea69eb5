"""Closing one's account: what is lost and what is kept is said before it is done."""

from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache

from accounts import teams
from accounts.models import User
from billing.customers import closing
from billing.errors import BillingError
from billing.subscriptions import plan_changes
from common import clock
from common.json_types import JsonObject
from credits import selectors
from portal.current_account import account_context, current_account, owners_only


@never_cache
@owners_only
def close_account(request: HttpRequest) -> HttpResponse:
    """Typing one's own address is the confirmation."""
    account, now = current_account(request), clock.now()
    assert isinstance(request.user, User)  # noqa: S101 - login_required
    shown: JsonObject = {
        "balance": selectors.balance(account_id=account.pk, now=now),
        "subscription": plan_changes.find_running(account),
        "email": request.user.email,
        "teams_owned": [] if account_context(request).is_team else teams.owned_alone(request.user),
    }
    if request.method == "POST":
        if shown["teams_owned"]:
            return render(request, "portal/close_account.html", shown)
        if request.POST.get("email", "").strip().lower() != request.user.email:
            messages.error(request, _("That is not your e-mail address. Nothing was done."))
            return render(request, "portal/close_account.html", shown)
        try:
            closing.close_account(account=account, user=request.user, now=now)
        except BillingError as refusal:
            messages.error(request, _(str(refusal)))
            return render(request, "portal/close_account.html", shown)
        if account_context(request).is_team:
            messages.info(request, _("The team is closed. Nothing more is charged."))
            return redirect("dashboard")
        logout(request)
        messages.info(request, _("Your account is closed. Nothing more is charged."))
        return redirect("home")
    return render(request, "portal/close_account.html", shown)
