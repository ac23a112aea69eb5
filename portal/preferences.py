"""The customer's settings: name, language, time zone, and when the balance counts as low."""

from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

from accounts.models import Account
from credits import limits
from portal.views import own_account

MOST_THRESHOLD = 1_000_000_000


class PreferencesForm(forms.ModelForm):  # type: ignore[type-arg]
    low_threshold = forms.IntegerField(
        label=_("Tell me when so many credits are left"),
        required=False,
        min_value=0,
        max_value=MOST_THRESHOLD,
        help_text=_("Empty: at a fifth of a month's credits."),
    )

    class Meta:
        model = Account
        fields = ("name", "language", "time_zone")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        zones = [(zone, zone.replace("_", " ")) for zone in sorted(available_timezones()) if "/" in zone]
        self.fields["time_zone"] = forms.ChoiceField(
            label=_("Time zone"),
            choices=zones,
            help_text=_("Its midnight starts the day of your free credits. A move gives no second day."),
        )


@never_cache
@login_required
def preferences(request: HttpRequest) -> HttpResponse:
    """Change them; the language counts from this very page on."""
    account = own_account(request)
    initial = {"low_threshold": limits.low_threshold(account_id=account.pk)}
    form = PreferencesForm(request.POST or None, instance=account, initial=initial)
    if request.method == "POST" and form.is_valid():
        form.save()
        limits.set_low_threshold(account_id=account.pk, threshold=form.cleaned_data["low_threshold"])
        with translation.override(account.language):
            messages.info(request, str(_("Saved.")))
        answer = redirect("settings")
        answer.set_cookie(settings.LANGUAGE_COOKIE_NAME, account.language, samesite="Lax", secure=settings.USES_TLS)
        return answer
    return render(request, "portal/settings.html", {"form": form})
