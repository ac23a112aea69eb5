"""What is for sale, as a page shows it: packs with this customer's promotion, plans by the month or by the year."""

import uuid
from dataclasses import dataclass

from django.http import HttpRequest

from accounts.models import Account
from billing.catalogue import one_time_benefits, plan_texts, price_list, promotions
from billing.models import Pack, Plan, Price, Subscription
from billing.subscriptions import plan_changes
from common import clock
from common.json_types import JsonObject

INTERVALS = (Price.Interval.MONTH, Price.Interval.YEAR)


@dataclass(frozen=True, kw_only=True)
class PlanOffer:
    """One plan at the interval that is looked at; `price` is none for the free one."""

    plan: Plan
    price: Price | None
    saved_percent: int  # by the year, of twelve months by the month
    is_current: bool
    is_chosen: bool  # before they signed up
    trial_days: int
    daily_credits: int  # its own, or the free ones, which go on beside it
    free_monthly: int  # that go on beside every plan
    has_free: bool  # whether this account gets free credits

    @property
    def bullets(self) -> list[str]:
        return plan_texts.bullets(self.plan, has_free=self.has_free)

    @property
    def monthly_minor(self) -> int:
        """What a month comes to, in minor units, rounded."""
        months = self.price.months or 1 if self.price else 1
        return (2 * self.price.amount_minor + months) // (2 * months) if self.price else 0


def shown(request: HttpRequest, account: Account | None = None) -> JsonObject:
    """The template variables of packs and plans."""
    now, packs = clock.now(), list(price_list.packs())
    own_currency = price_list.currency_of(account)
    currency = own_currency or request.GET.get("currency", "")
    for pack in packs:
        pack.price = price_list.shown_price(pack.prices.all(), currency)  # type: ignore[attr-defined]  # for the template
        pack.offer = promotions.best_offer(account=account, pack=pack, quantity=1, now=now)  # type: ignore[attr-defined]  # for the template
    subscription = plan_changes.find_running(account) if account else None
    plans = list(price_list.plans())
    on_sale = {price.interval for plan in plans for price in plan.prices.all()}
    items: list[Plan | Pack] = [*packs, *plans]
    currencies = sorted({price.currency for item in items for price in item.prices.all()})
    # A team has no free credits of its own.
    has_free = account is None or account.kind != Account.Kind.TEAM
    free_daily = max((plan.daily_credits for plan in plans if plan.is_default and has_free), default=0)
    free_monthly = max((plan.monthly_credits for plan in plans if plan.is_default and has_free), default=0)
    interval, chosen = _interval(request, subscription), request.GET.get("plan", "")
    plan_offers = [
        _offer(
            plan,
            interval,
            subscription,
            account,
            currency=currency,
            chosen=chosen,
            free_daily=free_daily,
            free_monthly=free_monthly,
            has_free=has_free,
        )
        for plan in plans
    ]
    return {
        # One key a page: two clicks on it, or on two of its tabs, are one purchase of one thing.
        "purchase_key": uuid.uuid4().hex,
        "packs": packs,
        # (A plan that is not sold, or not in the currency that they pay in, is not free for that.)
        "plans": [offer for offer in plan_offers if offer.price or offer.plan.is_default],
        "interval": interval,
        "intervals": [choice for choice in INTERVALS if choice in on_sale] if len(on_sale) > 1 else [],
        "subscription": subscription,
        # Whoever has paid pays on in the same currency.
        "currencies": currencies if len(currencies) > 1 and not own_currency else [],
        "currency": next((pack.price.currency for pack in packs if pack.price), ""),  # type: ignore[attr-defined]
    }


def _interval(request: HttpRequest, subscription: Subscription | None) -> Price.Interval:
    fields = request.GET.get("interval", "")
    if fields in INTERVALS:
        return Price.Interval(fields)
    return Price.Interval(subscription.price.interval) if subscription else Price.Interval.MONTH


def _offer(
    plan: Plan,
    interval: Price.Interval,
    subscription: Subscription | None,
    account: Account | None,
    *,
    currency: str,
    chosen: str,
    free_daily: int,
    free_monthly: int,
    has_free: bool,
) -> PlanOffer:
    running = subscription.price if subscription else None
    prices = [price for price in plan.prices.all() if not running or price.currency == running.currency]
    at = {
        choice: price_list.shown_price([price for price in prices if price.interval == choice], currency)
        for choice in INTERVALS
    }
    if running is not None and running.plan_id == plan.pk:
        at[Price.Interval(running.interval)] = running  # what they pay, whatever others pay by now
    price = at[interval] or next((price for price in at.values() if price), None)
    month, year = at[Price.Interval.MONTH], at[Price.Interval.YEAR]
    saved = 0
    if price is not None and price == year and month is not None and month.amount_minor:
        saved = 100 - year.amount_minor * 100 // (month.amount_minor * 12)
    is_current = account is not None and (price == running if running else plan.is_default)
    return PlanOffer(
        plan=plan,
        price=price,
        saved_percent=max(0, saved),
        is_current=is_current,
        is_chosen=plan.code == chosen and not is_current,
        trial_days=one_time_benefits.trial_days(plan, account) if price else 0,
        daily_credits=(plan.daily_credits if has_free or not plan.is_default else 0) or free_daily,
        free_monthly=free_monthly,
        has_free=has_free,
    )
