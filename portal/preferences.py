"""The customer's settings: name, language, time zone; which e-mails they want; their data."""

from functools import cache
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts.models import Account
from credits import limits
from portal.current_account import admins_only, current_account, owners_only

MOST_THRESHOLD = 1_000_000_000


@cache
def _zones() -> list[tuple[str, str]]:
    """Every zone that a place is named for; read from the system once."""
    return [(zone, zone.replace("_", " ")) for zone in sorted(available_timezones()) if "/" in zone]


class PreferencesForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for the type checker only
    class Meta:
        model = Account
        fields = ("name", "language", "time_zone")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["time_zone"] = forms.ChoiceField(
            label=_("Time zone"),
            choices=_zones(),
            help_text=_("Its midnight starts the day of your free credits. A move gives no second day."),
        )


@never_cache
@admins_only
def preferences(request: HttpRequest) -> HttpResponse:
    """Change them; the language counts from this very page on."""
    account = current_account(request)
    form = PreferencesForm(request.POST or None, instance=account)
    if request.method == "POST" and form.is_valid():
        form.save()
        with translation.override(account.language):
            messages.info(request, str(_("Saved.")))
        answer = redirect("settings")
        answer.set_cookie(settings.LANGUAGE_COOKIE_NAME, account.language, samesite="Lax", secure=settings.USES_TLS)
        return answer
    return render(request, "portal/settings.html", {"form": form, "zones": _zones(), "zone": form["time_zone"].value()})


@never_cache
@admins_only
def notifications(request: HttpRequest) -> HttpResponse:
    """Which e-mails the account wants, and when its balance counts as low."""
    account = current_account(request)
    if request.method == "POST":
        wanted = set(request.POST.getlist("notices"))
        account.muted = [value for value in Account.Notice.values if value not in wanted]
        account.save(update_fields=["muted"])
        threshold = request.POST.get("low_threshold", "").strip()[:12]
        limits.set_low_threshold(
            account_id=account.pk,
            threshold=min(int(threshold), MOST_THRESHOLD) if threshold.isascii() and threshold.isdigit() else None,
        )
        messages.info(request, str(_("Saved.")))
        return redirect("notifications")
    shown = {
        "notices": Account.Notice.choices,
        "muted": account.muted,
        "low_threshold": limits.low_threshold(account_id=account.pk),
    }
    return render(request, "portal/notifications.html", shown)


@require_GET
@owners_only
def your_data(request: HttpRequest) -> HttpResponse:
    """Taking it along, and closing the account."""
    return render(request, "portal/your_data.html")
