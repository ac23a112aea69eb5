"""Where payment providers send their webhooks: stored or queued, answered, and acted on by a worker."""

import structlog
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing.checkout.providers import payconiq
from billing.models import Order
from billing.webhooks import receiving
from common import clock
from common.queue import enqueue

logger = structlog.get_logger(__name__)


@csrf_exempt
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """Stripe's events come in here: stored and answered, acted on by a worker."""
    try:
        receiving.check_size(request.headers.get("Content-Length", ""))
        receiving.receive(body=request.body, signature=request.headers.get("Stripe-Signature", ""), now=clock.now())
    except receiving.RefusedWebhookError as refusal:
        logger.warning("webhook_refused", reason=str(refusal), status=refusal.status)
        return HttpResponse(f"{refusal}\n", status=refusal.status, content_type="text/plain")
    return HttpResponse("kept\n", content_type="text/plain")


@csrf_exempt
@require_POST
def payconiq_callback(request: HttpRequest) -> HttpResponse:
    """Payconiq reports that a payment has changed: a worker fetches it."""
    try:
        receiving.check_size(request.headers.get("Content-Length", ""))
        payment_id = payconiq.payment_of_callback(
            body=request.body, signature=request.headers.get("Signature", ""), now=clock.now()
        )
    except (receiving.RefusedWebhookError, payconiq.ForgedCallbackError) as refusal:
        logger.warning("callback_refused", reason=str(refusal))
        return HttpResponse(f"{refusal}\n", status=getattr(refusal, "status", 400), content_type="text/plain")
    order = Order.objects.filter(provider="payconiq", payment_id=payment_id).first()
    if order is not None:
        enqueue("billing.tasks.refresh_order", order_id=str(order.pk))
    return HttpResponse("heard\n", content_type="text/plain")
