"""What a key or a member may spend in a day and in a month: seen, set, and taken away."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache

from accounts.models import ApiKey
from common import clock
from credits import spending_limits
from credits.errors import LARGEST_AMOUNT
from credits.models import SpendingLimit
from portal.current_account import admins_only, current_account
from portal.identifiers import identifier_or_404


class LimitForm(forms.Form):
    """Two numbers, and whether they refuse."""

    per_day = forms.IntegerField(
        label=gettext_lazy("Credits a day"), required=False, min_value=1, max_value=LARGEST_AMOUNT
    )
    per_month = forms.IntegerField(
        label=gettext_lazy("Credits a month"), required=False, min_value=1, max_value=LARGEST_AMOUNT
    )
    is_hard = forms.TypedChoiceField(
        label=gettext_lazy("At the limit"),
        choices=[("yes", gettext_lazy("refuse further spending")), ("no", gettext_lazy("only send a warning"))],
        widget=forms.RadioSelect,
        coerce=lambda value: value == "yes",
        initial="yes",
    )


@never_cache
@admins_only
def key_limit(request: HttpRequest, key_id: str) -> HttpResponse:
    """The limit of a key."""
    key = get_object_or_404(
        ApiKey, account=current_account(request), pk=identifier_or_404("key", key_id), revoked_at=None
    )
    limit = spending_limits.limit_of_key(key, now=clock.now())

    def save(**numbers: Any) -> None:
        spending_limits.set_key_limit(key, **numbers)

    return _limit(request, name=key.name, limit=limit, save=save, back="keys")


@never_cache
@admins_only
def member_limit(request: HttpRequest, membership_id: int) -> HttpResponse:
    """The limit of a member, and of the keys that they made."""
    account = current_account(request)
    member = get_object_or_404(account.memberships.select_related("user"), pk=membership_id)
    subject = spending_limits.member_subject(member.user_id)
    limit = spending_limits.of_account(account.pk, now=clock.now()).get(subject)

    def save(**numbers: Any) -> None:
        spending_limits.set_member_limit(account.pk, member.user_id, **numbers)

    return _limit(request, name=member.user.get_full_name(), limit=limit, save=save, back="team")


def _limit(
    request: HttpRequest, *, name: str, limit: SpendingLimit | None, save: Callable[..., None], back: str
) -> HttpResponse:
    known = {
        "per_day": limit.per_day,
        "per_month": limit.per_month,
        "is_hard": "yes" if limit.is_hard else "no",
    } if limit else None  # fmt: skip
    form = LimitForm(request.POST if request.method == "POST" else None, initial=known)
    if request.method == "POST" and form.is_valid():
        save(**form.cleaned_data, now=clock.now())
        is_gone = form.cleaned_data["per_day"] is None and form.cleaned_data["per_month"] is None
        text = _("%s has no spending limit any more.") if is_gone else _("The spending limit of %s is set.")
        messages.info(request, text % name)
        return redirect(back)
    shown = {"form": form, "name": name, "limit": limit, "back": back, "uses": _uses(limit)}
    return render(request, "portal/spending_limit.html", shown, status=400 if form.errors else 200)


def _uses(limit: SpendingLimit | None) -> list[spending_limits.LimitUse]:
    return spending_limits.uses_of(limit) if limit else []


def uses_by_key(keys: list[ApiKey], limits: dict[str, SpendingLimit]) -> dict[str, list[spending_limits.LimitUse]]:
    """What is used of the limits of these keys, by the id of each."""
    of_keys = [limit for limit in limits.values() if spending_limits.is_of_key(limit)]
    return {
        key.public_id: [use for limit in of_keys if key.public_id in limit.actors for use in _uses(limit)]
        for key in keys
    }


def uses_by_member(limits: dict[str, SpendingLimit], user_id: int) -> list[spending_limits.LimitUse]:
    """What is used of the limit of a member."""
    return _uses(limits.get(spending_limits.member_subject(user_id)))
