"""Staff who look at the customers' pages: announced on each of them, and let to look, nothing more."""

from collections.abc import Callable

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts import impersonation

GetResponse = Callable[[HttpRequest], HttpResponse]

READING = ("GET", "HEAD", "OPTIONS")
# What is no customer's page: the console itself, signing out, and the way back.
FREE = ("/admin/", "/accounts/logout/", "/stop-looking")
# Pages that are the looker's own, and not the customer's.
OWN = ("/accounts/", "/invitations/", "/settings/export", "/api/")


def refuse_changes_while_impersonating(get_response: GetResponse) -> GetResponse:
    """Refuses every change while somebody of the staff looks as a customer."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.session.get(impersonation.KEY) or request.path_info.startswith(FREE):
            return get_response(request)
        if impersonation.impersonated_account(request) is None:
            impersonation.stop(request)
            return get_response(request)
        if request.method not in READING or request.path_info.startswith(OWN):
            return render(request, "portal/only_looking.html", status=403)
        return get_response(request)

    return middleware


@require_POST
@login_required
def stop_impersonating(request: HttpRequest) -> HttpResponse:
    """Back to the account in the console."""
    account = impersonation.impersonated_account(request)
    impersonation.stop(request)
    return redirect("admin:accounts_account_change", account.pk) if account else redirect("dashboard")
