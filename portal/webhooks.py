"""Outgoing webhooks: where the account's app receives events, how the last deliveries went, sending again."""

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from common import clock
from common.errors import ApiError
from outbox import safe_http
from outbox import webhooks as outgoing
from outbox.models import WebhookDelivery, WebhookEndpoint
from portal.current_account import admins_only, current_account
from portal.identifiers import identifier_or_404

LATEST = 30
LONGEST_URL = 500
LONGEST_DESCRIPTION = 120


@never_cache
@admins_only
def webhooks(request: HttpRequest) -> HttpResponse:
    """The account's endpoints; a new one's secret is in the answer that makes it, and never again."""
    account, shown = current_account(request), {}
    if request.method == "POST":
        try:
            created, secret = outgoing.create_endpoint(
                account=account,
                url=request.POST.get("url", "").strip()[:LONGEST_URL],
                events=[name for name in request.POST.getlist("events") if name in outgoing.EVENTS],
                description=request.POST.get("description", "").strip()[:LONGEST_DESCRIPTION],
                actor=f"user:{request.user.pk}",
                now=clock.now(),
            )
        except (ApiError, safe_http.UnsafeUrlError) as refusal:
            messages.error(request, str(refusal))
        else:
            shown = {"made": created, "secret": secret}
    rows = WebhookEndpoint.objects.filter(account=account).order_by("-pk")
    return render(request, "portal/webhooks.html", {"endpoints": rows, "events": outgoing.EVENTS, **shown})


@never_cache
@require_GET
@admins_only
def endpoint(request: HttpRequest, endpoint_id: str) -> HttpResponse:
    """One endpoint and its latest deliveries."""
    row = _own(request, endpoint_id)
    latest = row.deliveries.select_related("event").order_by("-pk")[:LATEST]
    return render(request, "portal/webhook.html", {"endpoint": row, "deliveries": latest})


@require_POST
@admins_only
def change(request: HttpRequest, endpoint_id: str) -> HttpResponse:
    """What a button on the endpoint's page does."""
    row, now, action = _own(request, endpoint_id), clock.now(), request.POST.get("action", "")
    match action:
        case "test":
            _send(
                request,
                lambda: outgoing.send_test(row, now=now),
                _("A test is on its way. Load the page again to see how it went."),
            )
        case "on":
            outgoing.switch_on(row, now=now)
            messages.info(request, _("It listens again."))
        case "off":
            outgoing.switch_off(row, "Switched off by its owner.", now=now)
            messages.info(request, _("It is told nothing more."))
        case "rotate":
            secret = outgoing.rotate_secret(row, now=now)
            shown = {"endpoint": row, "secret": secret, "deliveries": row.deliveries.none()}
            return render(request, "portal/webhook.html", shown)
        case "remove":
            row.delete()
            messages.info(request, _("The webhook is removed."))
            return redirect("webhooks")
        case _:
            delivery = _delivery(row, action)
            _send(request, lambda: outgoing.resend(delivery, now=now), _("It is sent again."))
    return redirect("webhook", row.public_id)


def _send(request: HttpRequest, send: Callable[[], object], told: str) -> None:
    try:
        send()
    except ApiError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.info(request, told)


def _own(request: HttpRequest, endpoint_id: str) -> WebhookEndpoint:
    mine = WebhookEndpoint.objects.filter(account=current_account(request))
    return get_object_or_404(mine, pk=identifier_or_404("whk", endpoint_id))


def _delivery(row: WebhookEndpoint, delivery_id: str) -> WebhookDelivery:
    return get_object_or_404(row.deliveries, pk=identifier_or_404("dlv", delivery_id))
