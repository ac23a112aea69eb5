"""Users of the seller's app on the hosted pages: in by a link, for an hour, and to what is theirs here."""

from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts import customer_sessions
from accounts.models import Account
from common import clock
from portal.current_account import current_account

GetResponse = Callable[[HttpRequest], HttpResponse]

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
# Where a guest may go: what shows their credits, sells them more, and is open to every visitor. All else takes a login.
OPEN = (
    "/balance", "/billing", "/brand/", "/buy", "/credits", "/dashboard", "/embed/", "/enter/", "/favicon.ico", "/leave",
    "/live", "/manifest.webmanifest", "/pricing", "/robots.txt", "/static/", "/transactions", "/usage", "/api/",
)  # fmt: skip


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def enter(request: HttpRequest, token: str) -> HttpResponse:
    """Let the user of an app in. A browser that only fetches ahead does not use up the link.

    Somebody who is signed in is asked first: with a link of a stranger's, they would buy for the stranger.
    """
    if request.method == "HEAD" or "prefetch" in request.headers.get("Sec-Purpose", ""):
        return HttpResponse(status=204)
    if request.method == "GET" and (account := _account_of_somebody_else(request, token)) is not None:
        return render(request, "portal/enter.html", {"account": account})
    try:
        visit = customer_sessions.open_link(token, now=clock.now())
    except customer_sessions.LinkOverError:
        return render(request, "portal/session_over.html", status=410)
    login(request, visit.user, backend=BACKEND)
    request.session.set_expiry(int(customer_sessions.SESSION_FOR.total_seconds()))
    request.session[customer_sessions.RETURN_URL] = visit.return_url or settings.APP_URL
    answer = redirect(visit.page)
    answer.headers["Referrer-Policy"] = "no-referrer"
    language = visit.account.language
    answer.set_cookie(settings.LANGUAGE_COOKIE_NAME, language, samesite="Lax", secure=settings.USES_TLS)
    return answer


def _account_of_somebody_else(request: HttpRequest, token: str) -> Account | None:
    """The account of a link, where who is signed in here is not the guest that it lets in."""
    if not request.user.is_authenticated or (account := customer_sessions.account_of_link(token)) is None:
        return None
    is_theirs = customer_sessions.is_guest(request) and current_account(request).pk == account.pk
    return None if is_theirs else account


@require_POST
def leave(request: HttpRequest) -> HttpResponse:
    """Back to the app."""
    back = request.session.get(customer_sessions.RETURN_URL, "") if customer_sessions.is_guest(request) else ""
    logout(request)
    return redirect(back or "home")


def keep_guests_to_their_pages(get_response: GetResponse) -> GetResponse:
    """Refuses a guest what belongs to somebody with a login."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info != "/" and not request.path_info.startswith(OPEN) and customer_sessions.is_guest(request):
            return render(request, "portal/not_for_guests.html", status=403)
        return get_response(request)

    return middleware
