"""The rate card: what one unit of each feature costs."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Feature(models.Model):
    """A line of the rate card."""

    code = models.SlugField(_("code"), max_length=64, unique=True, help_text=_("What API clients name it by."))
    name = models.CharField(_("name"), max_length=80)
    unit = models.CharField(_("unit"), max_length=40, default="use", help_text=_("One of these costs the credits."))
    credits = models.PositiveIntegerField(_("credits per unit"), default=1)
    is_active = models.BooleanField(_("on offer"), default=True)

    class Meta:
        verbose_name = _("feature")
        verbose_name_plural = _("features")
        constraints = [
            models.CheckConstraint(name="feature_costs_something", condition=Q(credits__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.credits} per {self.unit})"
