"""Which of an account's plans is one too many (billing.fulfilment.duplicate_subscriptions ends it)."""

from django.conf import settings
from django.db.models import Q

from billing.models import Subscription

NEVER_BEGAN = (Subscription.Status.INCOMPLETE, Subscription.Status.INCOMPLETE_EXPIRED)


def is_duplicate(subscription_id: str) -> bool:
    """Whether a plan is ended as one too many: another one of its account was running when it started."""
    extra = Subscription.objects.filter(stripe_subscription_id=subscription_id).first()
    if not settings.END_DUPLICATE_SUBSCRIPTIONS or extra is None:
        return False
    others = Subscription.objects.filter(account=extra.account_id).exclude(pk=extra.pk).exclude(status__in=NEVER_BEGAN)
    before = others.filter(Q(started_at__lt=extra.started_at) | Q(started_at=extra.started_at, pk__lt=extra.pk))
    return before.filter(Q(ended_at=None) | Q(ended_at__gt=extra.started_at)).exists()
