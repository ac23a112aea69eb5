"""E-mails to customers: one for each kind of event that they are notified of, in their language, as text and HTML.

The words are in templates/mails, one paragraph after another; both forms are made of them. The outbox sees to it
that each is sent once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from babel.dates import format_date
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import timezone, translation
from django.utils.translation import get_language, gettext_noop
from django.utils.translation import gettext as _

from accounts import teams
from accounts.models import Account
from billing.models import Order, Plan
from billing.money import amount_in_words
from branding import brand
from branding.mails import attach_html
from common import clock
from common.json_types import JsonObject
from common.public_ids import MalformedIdError, parse_id
from common.urls import absolute_url
from outbox.models import OutboxEvent

Data = JsonObject

# Whoever rebuilds a ledger from Stripe, or was down for a week, sends no old news.
NEWS = timedelta(days=3)


@dataclass(frozen=True)
class Mail:
    """What is sent for an event: a subject, a template, and where its button leads."""

    subject: str
    template: str
    button: str
    target: Callable[[Data], str]
    notice: str = ""  # of which kind it is, if the account may do without it (Account.Notice)


# What is of no use to a user of an app: they were welcomed there, and have no keys here.
OF_LOGINS = ("account.opened", "key.created")


def send(event: OutboxEvent) -> None:
    """Mail the event's account about it; nothing when there is nothing to say, or nobody to say it to."""
    mail, account = _mail_for(event), event.account
    if mail is None or account is None or mail.notice in account.muted or clock.now() - event.happened_at > NEWS:
        return
    if account.kind == Account.Kind.EXTERNAL and event.name in OF_LOGINS:
        return
    to = event.data.get("mail_to") or account.email
    if not to:
        return
    _send(mail, event, account, to)


def send_again(event: OutboxEvent) -> str:
    """Mail it once more, however old it is and whatever the account does without; answers to whom."""
    mail, account = _mail_for(event), event.account
    to = str(event.data.get("mail_to") or (account.email if account else ""))
    if mail is None or account is None or not to:
        raise LookupError(f"{event} is told by no e-mail.")
    _send(mail, event, account, to)
    return to


def _send(mail: Mail, event: OutboxEvent, account: Account, to: str) -> None:
    with translation.override(account.language), timezone.override(ZoneInfo(account.time_zone)):
        has_login = account.kind != Account.Kind.EXTERNAL
        message = render(mail, _in_language(event.data), to=to, name=account.name, has_login=has_login)
        message.extra_headers["X-Entity-Ref-ID"] = event.public_id  # mail programs then do not fold them together
        message.send()


def subject_of(event: OutboxEvent) -> str:
    """What the event's e-mail is called, in the language that is active; empty when none is sent."""
    mail = _mail_for(event) if event.data else None
    if mail is None:
        return ""
    data = _in_language(event.data)
    return _(mail.subject) % {**data, **_in_words(data), "site_name": brand.current().name}


def render(mail: Mail, data: Data, *, to: str, name: str, has_login: bool = True) -> EmailMultiAlternatives:
    """The message in the language that is active. Who has no login here is led to the app that they know (APP_URL)."""
    facts = {**data, **_in_words(data)}
    url, button = mail.target(data), _(mail.button)
    if not has_login and url.startswith(settings.BASE_URL):
        url, button = settings.APP_URL, _("Open the app")
    look = brand.current()
    shared = {"site_name": look.name, "support_email": look.support_email, "name": name, "url": url, "button": button}
    text = render_to_string(f"mails/{mail.template}.txt", {**facts, **shared}).strip()
    paragraphs = [paragraph.strip() for paragraph in text.split("\n\n") if paragraph.strip()]
    settings_url = absolute_url("notifications") if mail.notice and has_login else ""
    plain = "\n\n".join([*paragraphs, *([f"{button}: {url}"] if url else []), look.name])
    subject = " ".join((_(mail.subject) % {**facts, "site_name": look.name}).split())
    message = EmailMultiAlternatives(subject, plain, to=[to])
    attach_html(message, paragraphs, url=url, button=button, settings_url=settings_url)
    return message


def _mail_for(event: OutboxEvent) -> Mail | None:
    variant = VARIANTS.get(event.name)
    return MAILS.get(f"{event.name}.{variant(event.data)}" if variant else event.name)


def _in_language(data: Data) -> Data:
    """The same with plans, and what was bought, called as the language that is active has them."""
    parts = {"": data, **{side: data[side] for side in ("from", "to") if isinstance(data.get(side), dict)}}
    codes = {part["plan_code"] for part in parts.values() if part.get("plan_code")}
    plans = {plan.code: plan.local_name for plan in Plan.objects.filter(code__in=codes)} if codes else {}
    local = {side: part | {"plan": plans[part["plan_code"]]} for side, part in parts.items()
             if part.get("plan_code") in plans}  # fmt: skip
    result = {**data, **local.pop("", {}), **local}
    if "description" in data and (order := _order(data)) is not None:
        result["description"] = order.title
    return result


def _order(data: Data) -> Order | None:
    try:
        key = parse_id("co", str(data.get("order", "")))
    except MalformedIdError:
        return None
    return Order.objects.select_related("price__plan", "price__pack").filter(pk=key).first()


LOCALES = {"nl": "nl"}  # whose dates a language of the pages has; others write 28 December 2026


def _in_words(data: Data) -> Data:
    """Amounts and days as the reader knows them."""
    words: Data = {}
    names = (("amount", "amount_minor"), ("refunded", "refunded_minor"), ("first_charge", "first_charge_minor"))
    for word, name in names:
        if name in data:
            words[word] = amount_in_words(data[name], data["currency"])
    for word, side in (("old_price", "from"), ("new_price", "to")):
        if "amount_minor" in (priced := data.get(side) or {}):
            words[word] = amount_in_words(priced["amount_minor"], priced["currency"])
            words["plan"] = priced["plan"]
    if "from_minor" in data:
        words["old_price"] = amount_in_words(data["from_minor"], data["currency"])
    for word, name in (
        ("when", "at"), ("when", "ends_at"), ("next_try", "next_try_at"), ("trial_ends", "trial_ends_at"),
        ("renews", "renews_at"),
    ):  # fmt: skip
        if data.get(name):
            local = timezone.localtime(datetime.fromisoformat(data[name]))
            words[word] = format_date(local, "long", locale=LOCALES.get(get_language() or "", "en_GB"))
    return words


def _page(name: str, *path: str) -> Callable[[Data], str]:
    def target(data: Data) -> str:
        return absolute_url(name, *(data[part] for part in path))

    return target


def _payment_page(data: Data) -> str:
    """Where a refused invoice can be paid at once."""
    return str(data["url"] or _page("billing")(data))


def _limit_page(data: Data) -> str:
    """Where a key's or a member's limit is seen and changed."""
    return absolute_url("team" if str(data["subject"]).startswith("user:") else "keys")


def example() -> Data:
    """What an event of this kind may hold: for previews and tests."""
    plan = {
        "plan": "Pro", "plan_code": "pro", "interval": "month", "credits": 100, "amount_minor": 2000, "currency": "eur",
    }  # fmt: skip
    moment = datetime(2026, 11, 21, 11, tzinfo=UTC).isoformat()
    money = {"amount_minor": 2000, "refunded_minor": 500, "first_charge_minor": 2000, "currency": "eur"}
    return {
        **plan, **money, "name": "Ada", "order": "co_1", "description": "20 credits", "url": "", "receipt_url": "",
        "from": plan, "to": {**plan, "plan": "Team", "credits": 400}, "at": moment, "ends_at": moment,
        "next_try_at": moment, "trial_ends_at": moment, "is_trial": False, "is_team": False, "may_differ": True,
        "pack": "20 credits", "from_minor": 500,
        "brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2026, "left": 4,
        "why": "Your card was declined.", "team": "Analytical Engines", "by": "Ada", "invitation": "inv_1",
        "whose": "My laptop", "subject": "key_1", "period": "day", "percent": 80, "limit": 100, "used": 80,
        "is_hard": True,
        "key_name": "My laptop", "key_shown": "tg_live_Ab12…xY9z",
    }  # fmt: skip


def _is_same_plan(data: Data) -> bool:
    """Whether a change is one of the price alone."""
    names = ("plan_code", "interval")
    return all(data["from"].get(name) == data["to"].get(name) for name in names)


# Events that are worded in different ways, and by what.
VARIANTS: dict[str, Callable[[Data], str]] = {
    "order.paid": lambda data: "trial" if data.get("is_trial") else "plan" if data["is_plan"] else "pack",
    # (Down to nothing, the other mail says so: two within a second would say one thing.)
    "credits.low": lambda data: "some" if data["left"] else "none",
    "subscription.changed": lambda data: "now" if data["is_now"] else "price" if _is_same_plan(data) else "later",
    "top_up.stopped": lambda data: "price" if data.get("why") == "price" else "money_back",
    "subscription.cancelled": lambda data: "over" if data["is_over"] else "planned",
    "spending_limit.reached": lambda data: "near" if data["used"] < data["limit"] else "gone",
    "payment.failed": lambda data: "owner" if data["needs_owner"] else "card",
}

MAILS = {
    "account.opened": Mail(
        gettext_noop("Welcome to %(site_name)s"), "welcome", gettext_noop("Start"), _page("dashboard")
    ),
    "team.invited": Mail(
        gettext_noop("Join %(team)s"), "invitation", gettext_noop("See the invitation"),
        lambda data: absolute_url("invitation", teams.link_of(data["invitation"])),
    ),
    "order.paid.pack": Mail(
        gettext_noop("Your credits are here: %(description)s"), "purchase", gettext_noop("See your credits"),
        _page("checkout", "order"), "receipts",
    ),
    "order.paid.plan": Mail(
        gettext_noop("Your plan has started: %(description)s"), "plan_started", gettext_noop("See your plan"),
        _page("billing"), "receipts",
    ),
    "order.paid.trial": Mail(
        gettext_noop("Your free trial of %(plan)s has started"), "trial_started", gettext_noop("See your plan"),
        _page("billing"), "receipts",
    ),
    "subscription.trial_ending": Mail(
        gettext_noop("Your free trial of %(plan)s ends on %(trial_ends)s"), "trial_ending",
        gettext_noop("See your plan"), _page("billing"),
    ),
    "subscription.renewed": Mail(
        gettext_noop("%(plan)s is renewed"), "renewal", gettext_noop("See your invoices"),
        _page("billing"), "receipts",
    ),
    "subscription.changed.now": Mail(
        gettext_noop("Your plan has changed"), "plan_changed", gettext_noop("See your plan"), _page("billing"), "plan",
    ),
    "subscription.changed.later": Mail(
        gettext_noop("Your plan will change"), "plan_will_change", gettext_noop("See your plan"),
        _page("billing"), "plan",
    ),
    "subscription.changed.price": Mail(
        gettext_noop("The price of %(plan)s changes on %(when)s"), "price_will_change", gettext_noop("See your plan"),
        _page("billing"),
    ),
    "subscription.price_announced": Mail(
        gettext_noop("The price of %(plan)s changes on %(when)s"), "price_will_change", gettext_noop("See your plan"),
        _page("billing"),
    ),
    "subscription.price_stays": Mail(
        gettext_noop("The price of %(plan)s stays as it is"), "price_stays", gettext_noop("See your plan"),
        _page("billing"),
    ),
    "subscription.cancelled.planned": Mail(
        gettext_noop("%(plan)s will end"), "will_end", gettext_noop("Keep it after all"), _page("billing")
    ),
    "subscription.cancelled.over": Mail(
        gettext_noop("%(plan)s has ended"), "ended", gettext_noop("See the plans"), _page("credits")
    ),
    "payment.failed.card": Mail(
        gettext_noop("Your payment for %(plan)s failed"), "payment_failed", gettext_noop("Pay now"), _payment_page
    ),
    "payment.failed.owner": Mail(
        gettext_noop("Your bank wants you to confirm the payment for %(plan)s"), "payment_owner",
        gettext_noop("Confirm the payment"), _payment_page,
    ),
    "payment.refunded": Mail(
        gettext_noop("You have a refund"), "refund", gettext_noop("See your purchases"), _page("billing")
    ),
    "card.expiring": Mail(
        gettext_noop("Your card ends soon"), "card_expiring", gettext_noop("Change your card"), _page("billing")
    ),
    "credits.low.some": Mail(
        gettext_noop("You have few credits left"), "credits_low", gettext_noop("Buy credits"),
        _page("credits"), "credits",
    ),
    "credits.exhausted": Mail(
        gettext_noop("Your credits are used up"), "credits_gone", gettext_noop("Buy credits"),
        _page("credits"), "credits",
    ),
    "spending_limit.reached.near": Mail(
        gettext_noop("%(whose)s has used %(percent)s%% of its spending limit"), "spending_limit",
        gettext_noop("See the limit"), _limit_page, "credits",
    ),
    "spending_limit.reached.gone": Mail(
        gettext_noop("%(whose)s has reached its spending limit"), "spending_limit",
        gettext_noop("See the limit"), _limit_page, "credits",
    ),
    "key.created": Mail(
        gettext_noop("A new API key for your account"), "key_created", gettext_noop("See your keys"), _page("keys")
    ),
    "top_up.stopped.price": Mail(
        gettext_noop("Your auto top-up is off: %(pack)s costs more"), "top_up_dearer",
        gettext_noop("See your top-up"), _page("credits"),
    ),
    "top_up.stopped.money_back": Mail(
        gettext_noop("Your auto top-up is off"), "top_up_stopped", gettext_noop("See your top-up"),
        _page("credits"),
    ),
    "top_up.failed": Mail(
        gettext_noop("Your auto top-up is off"), "top_up_failed", gettext_noop("Buy credits"), _page("credits")
    ),
}  # fmt: skip
