"""For the templates of apps in the same Django project: {% load tegoed %}."""

from typing import Any

from django import template
from django.http import HttpRequest

from accounts.models import User
from common.json_types import JsonObject
from portal.current_account import current_balance

register = template.Library()


@register.simple_tag(takes_context=True)
def credits_left(context: Any) -> int | None:
    """How many credits who is signed in can spend now; None for a visitor: `{% credits_left as left %}`."""
    request: HttpRequest = context["request"]
    return current_balance(request).spendable if isinstance(request.user, User) else None


@register.inclusion_tag("portal/parts/credits_pill.html", takes_context=True)
def credits_pill(context: Any) -> JsonObject:
    """The balance as our own header shows it, leading to where there are more."""
    request: HttpRequest = context["request"]
    return {"balance": current_balance(request) if isinstance(request.user, User) else None}
