"""What stands on the invoices: name, address, VAT number. Kept by Stripe, changed here."""

from dataclasses import asdict
from typing import Any

from babel import Locale
from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as later
from django.views.decorators.cache import never_cache

from billing.customers import billing_profile
from billing.customers.billing_profile import BillingProfile
from billing.errors import BillingError, TaxNumberRefusedError
from portal.current_account import admins_only, current_account

# Territories of CLDR that are no country: groups, and codes that are set aside.
COUNTRY_LETTERS = 2
NO_COUNTRIES = {"AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "TA", "UN", "XA", "XB", "ZZ", "QO"}


class DetailsForm(forms.Form):
    """As an invoice shows it."""

    name = forms.CharField(label=later("Name or company"), max_length=150)
    country = forms.ChoiceField(label=later("Country"))
    line1 = forms.CharField(label=later("Street and number"), max_length=200)
    line2 = forms.CharField(label=later("Addition"), max_length=200, required=False)
    postal_code = forms.CharField(label=later("Postal code"), max_length=20, required=False)
    city = forms.CharField(label=later("City"), max_length=100)
    tax_number = forms.CharField(
        label=later("VAT number"),
        max_length=30,
        required=False,
        help_text=later("For a company in the European Union or Great Britain. It stands on your invoices."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, autocomplete in {
            "name": "organization", "country": "country", "line1": "address-line1", "line2": "address-line2",
            "postal_code": "postal-code", "city": "address-level2",
        }.items():  # fmt: skip
            self.fields[name].widget.attrs["autocomplete"] = autocomplete
        self.fields["country"].choices = [("", "–"), *_countries()]  # type: ignore[attr-defined]  # a ChoiceField


@never_cache
@admins_only
def billing_details(request: HttpRequest) -> HttpResponse:
    """Read from Stripe, so that what was changed there is what is changed here."""
    account = current_account(request)
    if request.method == "POST":
        form = DetailsForm(request.POST)
        if form.is_valid():
            try:
                billing_profile.save(account, BillingProfile(**form.cleaned_data))
            except TaxNumberRefusedError as refusal:
                form.add_error("tax_number", _(str(refusal)))
            except BillingError as refusal:
                form.add_error(None, _(str(refusal)))
            else:
                messages.info(request, _("Saved. It stands on your next invoice."))
                return redirect("billing")
        return render(request, "portal/billing_details.html", {"form": form})
    try:
        known = billing_profile.fetch(account)
    except BillingError as refusal:
        messages.error(request, _(str(refusal)))
        return redirect("billing")
    shown = asdict(known)
    if shown["name"] == account.public_id:  # what Stripe has of somebody without a name
        shown["name"] = account.name
    return render(request, "portal/billing_details.html", {"form": DetailsForm(initial=shown)})


def _countries() -> list[tuple[str, str]]:
    """Every country by its name in the reader's language."""
    names = Locale.parse(get_language() or "en", sep="-").territories
    result = [
        (code, name)
        for code, name in names.items()
        if len(code) == COUNTRY_LETTERS and code.isalpha() and code not in NO_COUNTRIES
    ]
    return sorted(result, key=lambda row: row[1])
