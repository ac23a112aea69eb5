"""What a plan's card lists: its numbers, as they are now, and then the lines that an operator wrote."""

import re

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.models import Plan

# A number of credits that somebody wrote by hand would contradict the plan as soon as its number is changed.
NUMBER_BY_HAND = re.compile(
    r"\d[\d.,]* (free |gratis )?credits? (every|a|per|each|elke) (day|month|dag|maand)\.?", re.IGNORECASE
)


def bullets(plan: Plan, *, has_free: bool = True) -> list[str]:
    """The lines of a plan's card, in the language that is active; those about numbers are made from the numbers.

    A team has no free credits (`has_free`): the free plan's card says so.
    """
    lines = []
    if plan.is_default and not has_free and (plan.daily_credits or plan.monthly_credits):
        return [_("Free credits are personal: a team buys its own")]
    if n := plan.daily_credits:
        lines.append(ngettext("%(n)s free credit every day", "%(n)s free credits every day", n) % {"n": n})
    if n := plan.monthly_credits:
        if plan.is_default:
            lines.append(ngettext("%(n)s free credit every month", "%(n)s free credits every month", n) % {"n": n})
        else:
            lines.append(ngettext("%(n)s credit every month", "%(n)s credits every month", n) % {"n": n})
    if plan.seats > 1:
        lines.append(_("Shared by up to %(n)s people") % {"n": plan.seats})
    return lines + [line for line in plan.feature_list() if not NUMBER_BY_HAND.fullmatch(line)]
