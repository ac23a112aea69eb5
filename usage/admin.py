"""The rate card."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline

from common import clock
from common.admin import OperatorAdmin
from usage import rate_card
from usage.models import Feature, FeaturePrice


class PriceForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for the type checker only
    """A price to come: those that have begun stay as they were."""

    class Meta:
        model = FeaturePrice
        fields = ("model", "basis", "credits", "output_credits", "effective_from")

    def clean_effective_from(self) -> Any:
        begins = self.cleaned_data["effective_from"]
        has_price = self.instance.feature_id and self.instance.feature.prices.exists()
        if has_price and begins < clock.now() + rate_card.NOTICE:
            raise forms.ValidationError(_("Every server has read a price after a minute: let it begin then or later."))
        return begins


class PriceInline(TabularInline):
    model = FeaturePrice
    form = PriceForm
    ordering = ("-effective_from",)
    extra = 0
    can_delete = False
    verbose_name_plural = _("prices (a new one follows the old; what was spent keeps its price)")

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Feature)
class FeatureAdmin(OperatorAdmin):
    tells_values = True
    list_display = ("code", "name", "unit", "price", "is_active")
    list_filter = ("is_active",)
    search_fields = ("code", "name")
    ordering = ("code",)
    inlines = [PriceInline]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("prices")

    @admin.display(description=_("price now"))
    def price(self, row: Feature) -> str:
        begun = [price for price in row.prices.all() if not price.model and price.effective_from <= clock.now()]
        return str(max(begun, key=lambda price: price.effective_from)) if begun else "–"

    def save_related(self, *arguments: Any) -> None:
        super().save_related(*arguments)
        rate_card.clear_cache()
