"""What an operator fills in to make a key."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextInputWidget

from accounts import opening
from accounts.keys import ACCOUNT_KEY_SCOPES
from accounts.models import Account, Scope
from common import clock
from common.json_types import JsonObject
from common.public_ids import MalformedIdError, parse_id


class NewKeyForm(forms.Form):
    """A key for an app's backend, which names the account with each call; or for one account."""

    name = forms.CharField(label=_("Name"), max_length=80, widget=UnfoldAdminTextInputWidget)
    account = forms.CharField(
        label=_("Account"),
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text=_("acc_… of the one account that it acts for. Empty: a service key, for every account."),
    )
    scopes = forms.MultipleChoiceField(
        label=_("May"),
        choices=Scope.choices,
        widget=forms.CheckboxSelectMultiple,
        initial=[scope.value for scope in Scope if scope != Scope.CREDITS_GRANT],
        help_text=_("A key that grants credits waits until a second person has approved it."),
    )
    grants_per_day = forms.IntegerField(
        label=_("Grants a day, at most"),
        required=False,
        min_value=0,
        max_value=2**53,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=_("Credits. Empty: the shop's usual limit."),
    )
    expires_at = forms.SplitDateTimeField(
        label=_("Expires"), required=False, widget=UnfoldAdminSplitDateTimeWidget, help_text=_("Empty: never.")
    )

    def clean_account(self) -> Account | None:
        named = self.cleaned_data["account"].strip()
        if not named:
            return None
        try:
            result = opening.find_account(parse_id("acc", named))
        except MalformedIdError:
            result = None
        if result is None:
            raise forms.ValidationError(_("There is no such account."))
        return result

    def clean_expires_at(self) -> Any:
        ends = self.cleaned_data["expires_at"]
        if ends is not None and ends <= clock.now():
            raise forms.ValidationError(_("A key expires in the future."))
        return ends

    def clean(self) -> JsonObject:
        result: JsonObject = super().clean() or {}
        if result.get("account") and set(result.get("scopes", ())) - set(ACCOUNT_KEY_SCOPES):
            self.add_error("scopes", _("The key of one account grants nothing and opens no accounts."))
        return result
