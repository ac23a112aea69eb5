"""What a change of plan would come to, before anybody agrees to it: money as Stripe would bill it, and credits."""

from dataclasses import dataclass
from datetime import datetime

from accounts.models import Account
from billing.models import Price, Subscription, series_of
from billing.stripe import payloads, stripe_client
from billing.subscriptions import plan_changes
from credits import allowances


@dataclass(frozen=True, kw_only=True)
class ChangePreview:
    """What is charged at once and what becomes of the credits. Amounts in minor units of the price's currency."""

    current: Subscription
    price: Price
    is_at_once: bool
    is_on_trial: bool
    due_now_minor: int
    credited_minor: int  # what comes back for the rest of the running period; it is in `due_now_minor` already
    credits_now: int  # that come with the change
    credits_gone: int  # that make way for them
    credits_monthly: int
    starts_at: datetime


def preview_change(*, account: Account, price: Price, now: datetime) -> ChangePreview:
    """What `plan_changes.change` would do now. Asks Stripe, and changes nothing.

    Raises what it would raise, and PaymentProviderUnavailableError.
    """
    current = plan_changes.running(account)
    price = plan_changes.own_price(current, price)
    plan_changes.check(current, price)
    plan = price.plan
    assert plan is not None  # noqa: S101 - `check` saw to it
    is_on_trial = plan_changes.begins_on_trial(current)
    is_at_once = plan_changes.takes_effect_now(current, price, on_trial=is_on_trial)
    is_billed = is_at_once and not is_on_trial and price != current.price
    bill = (
        stripe_client.preview_change(
            current.stripe_subscription_id,
            old_price_id=current.price.stripe_price_id,
            price_id=price.stripe_price_id,
            begins_anew=price.months != current.price.months,
        )
        if is_billed
        else {}
    )
    running = allowances.running(account_id=account.pk, series=series_of(current.stripe_subscription_id), now=now)
    begins_anew = is_billed and price.months != current.price.months
    lines = bill["lines"]["data"] if bill else []
    if is_billed and not begins_anew:
        added = allowances.added_by_change(
            account_id=account.pk,
            series=series_of(current.stripe_subscription_id),
            amount=plan.monthly_credits,
            since=payloads.moment(lines[0]["period"]["start"]) if lines else now,
            now=now,
        )
    else:
        added = plan.monthly_credits
    return ChangePreview(
        current=current,
        price=price,
        is_at_once=is_at_once,
        is_on_trial=is_on_trial,
        due_now_minor=bill["amount_due"] if bill else 0,
        credited_minor=-sum(line["amount"] for line in lines if line["amount"] < 0),
        credits_now=max(0, added) if is_billed else 0,
        credits_gone=running.left if running and begins_anew else 0,
        credits_monthly=plan.monthly_credits,
        starts_at=now if is_at_once else current.current_period_end,
    )
