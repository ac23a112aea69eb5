"""The customer's API keys: made with the rights they need, shown once, rotated, revoked."""

from datetime import timedelta
from typing import cast

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts import keys as api_keys
from accounts.models import ApiKey, Scope, User
from common import clock
from common.errors import ApiError
from credits.spending_limits import of_account as limits_of_account
from portal import spending_limits
from portal.current_account import admins_only, current_account
from portal.identifiers import identifier_or_404

LONGEST_NAME = 80
# For how many days a key may be made to work; none is for ever.
LIFETIMES_DAYS = (30, 90, 365)


@never_cache
@admins_only
def keys(request: HttpRequest) -> HttpResponse:
    """The account's keys; a new one's secret is shown in the answer that makes it, and never again."""
    if request.method != "POST":
        return _page(request)
    now = clock.now()
    days = request.POST.get("days", "")
    scopes = [scope for scope in api_keys.ACCOUNT_KEY_SCOPES if scope in request.POST.getlist("scopes")]
    if not scopes:
        messages.error(request, _("Choose at least one thing that the key may do."))
        return _page(request)
    try:
        created = api_keys.create_key(
            account=current_account(request),
            name=_name(request) or _("My key"),
            scopes=scopes,
            created_by=cast(User, request.user),
            expires_at=now + timedelta(days=int(days)) if days in map(str, LIFETIMES_DAYS) else None,
            now=now,
        )
    except ApiError as refusal:
        messages.error(request, str(refusal))
        return _page(request)
    return _page(request, new=created)


@never_cache
@require_POST
@admins_only
def rotate_key(request: HttpRequest, key_id: str) -> HttpResponse:
    """A new key in the place of one, which works for another day."""
    old = _own_key(request, key_id)
    try:
        created = api_keys.rotate_key(key=old, created_by=cast(User, request.user), now=clock.now())
    except ApiError as refusal:
        messages.error(request, str(refusal))
        return redirect("keys")
    return _page(request, new=created, rotated=old)


@never_cache
@admins_only
def revoke_key(request: HttpRequest, key_id: str) -> HttpResponse:
    """Ask whether a key is to be stopped, and stop it at once."""
    key = _own_key(request, key_id)
    if key.is_revoked:
        return redirect("keys")
    if request.method != "POST":
        return render(request, "portal/revoke_key.html", {"key": key})
    api_keys.revoke_key(key=key, now=clock.now())
    messages.info(request, _("The key %(name)s is revoked. It stopped working at once.") % {"name": key.name})
    return redirect("keys")


def _name(request: HttpRequest) -> str:
    letters = (letter for letter in request.POST.get("name", "") if letter.isprintable())
    return "".join(letters).strip()[:LONGEST_NAME]


def _own_key(request: HttpRequest, key_id: str) -> ApiKey:
    return get_object_or_404(ApiKey, account=current_account(request), pk=identifier_or_404("key", key_id))


def _page(request: HttpRequest, *, new: api_keys.NewKey | None = None, rotated: ApiKey | None = None) -> HttpResponse:
    account, now = current_account(request), clock.now()
    keys = list(account.api_keys.select_related("created_by").order_by("-created_at"))
    uses = spending_limits.uses_by_key(keys, limits_of_account(account.pk, now=now))
    shown = {
        "keys": [(key, uses[key.public_id]) for key in keys],
        "new": new,
        "rotated": rotated,
        "scopes": [scope for scope in Scope if scope in api_keys.ACCOUNT_KEY_SCOPES],
        "usual_scopes": (Scope.CREDITS_READ, Scope.CREDITS_SPEND),
        "lifetimes": LIFETIMES_DAYS,
        "base_url": settings.BASE_URL,
        "now": now,
    }
    return render(request, "portal/keys.html", shown)
