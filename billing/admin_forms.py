"""What an operator fills in before something is done."""

import uuid
from decimal import Decimal
from typing import Any

from babel.numbers import get_currency_precision
from django import forms
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextInputWidget

from billing.models import Order


class RefundForm(forms.Form):
    """How much, and why. The token makes a second click the same refund."""

    amount = forms.DecimalField(label=_("Amount"), widget=UnfoldAdminDecimalFieldWidget)
    reason = forms.CharField(
        label=_("Reason"),
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        help_text=_("Kept with the refund, at Stripe and here."),
    )
    token = forms.CharField(max_length=32, widget=forms.HiddenInput)

    def __init__(self, *args: Any, order: Order, most_minor: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        digits = get_currency_precision(order.currency.upper())
        self._scale = Decimal(10) ** digits
        self.fields["amount"].help_text = order.currency.upper()
        self.initial = {"amount": Decimal(most_minor).scaleb(-digits), "token": uuid.uuid4().hex}

    def clean_amount(self) -> Decimal:
        amount: Decimal = self.cleaned_data["amount"]
        if amount <= 0:
            raise forms.ValidationError(_("Give back more than nothing."))
        if amount * self._scale != int(amount * self._scale):
            raise forms.ValidationError(_("This currency has no smaller part than that."))
        return amount

    def amount_minor(self) -> int:
        """The amount in minor units."""
        return int(self.cleaned_data["amount"] * self._scale)
