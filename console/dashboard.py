"""The console's front page: is the business healthy this morning? And the simulator, and both as CSV."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, cast

from django import forms
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as later

from accounts.models import User
from billing.models import Plan, Price
from billing.payments.books import Books
from common import charts, clock, csv_export
from common.admin import money
from common.json_types import JsonObject
from console import reports, work_queue
from console.models import AlertThreshold, Approval
from outbox.models import Alert
from usage import periods, simulation
from usage.periods import Period
from usage.simulation import Assumptions

PERIODS_DAYS = (7, 30, 90, 365)
KEPT_S = 60  # a report is made at most once a minute, whoever looks
NEEDS = "console.see_reports"


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that the page shows of a period."""

    period: Period
    made_at: datetime
    credits: dict[str, int]
    revenue: list[Books]
    plans: list[reports.Row]
    payments: reports.Row
    webhooks: reports.Row
    margins: list[reports.Margin]
    by_day: list[reports.Row]
    money_by_day: list[reports.Row]
    top: list[Any]
    oddities: list[reports.Oddity]


def front_page(request: HttpRequest, context: JsonObject) -> JsonObject:
    """What unfold's index shows (UNFOLD's DASHBOARD_CALLBACK)."""
    now = clock.now()
    context |= {
        "alerts": Alert.objects.filter(resolved_at=None).select_related("account").order_by("-opened_at")[:10],
        "approvals": Approval.objects.filter(state=Approval.State.PENDING).select_related("account", "asked_by")[:10],
        "queues": reports.queues(now=now),
        "steps": _first_steps(),
        "queue": work_queue.of(cast(User, request.user), now=now),
    }
    if request.user.has_perm(NEEDS):
        period = _period(request, now=now)
        report = _report(period, now=now)
        context |= {"report": report, "period": period, "periods": PERIODS_DAYS, "charts": _charts(report)}
        context |= {
            "yesterday": periods.yesterday(settings.DEFAULT_ACCOUNT_TIME_ZONE, now=now),
            "today": periods.today(settings.DEFAULT_ACCOUNT_TIME_ZONE, now=now),
        }
    return context


def as_csv(request: HttpRequest) -> StreamingHttpResponse:
    """The period's figures and days as one file."""
    if not request.user.has_perm(NEEDS):
        raise PermissionDenied
    now = clock.now()
    period = _period(request, now=now)
    rows = _lines(_report(period, now=now))
    name = f"report-{period.first}-{period.last}"
    return csv_export.download(name, ("section", "what", "value", "currency"), rows)


def _report(period: Period, *, now: datetime) -> Report:
    key = f"console.report.{period.first}.{period.last}.{int(now.timestamp()) // KEPT_S}"
    if (known := cache.get(key)) is not None:
        return known  # type: ignore[no-any-return]  # what the cache gives back
    requested = {"since": period.since, "until": min(period.until, now)}
    thresholds = AlertThreshold.objects.first() or AlertThreshold()
    created = Report(
        period=period,
        made_at=now,
        credits=reports.credits_moved(**requested),
        revenue=reports.revenue(**requested),
        plans=reports.plans(**requested),
        payments=reports.payments(**requested),
        webhooks=reports.webhooks(**requested),
        margins=reports.margins(**requested),
        by_day=reports.by_day(**requested, zone=period.zone),
        money_by_day=reports.money_by_day(**requested, zone=period.zone),
        top=reports.top_customers(**requested),
        oddities=list(reports.oddities(now=now, factor=thresholds.spike_factor, least=thresholds.spike_credits)),
    )
    cache.set(key, created, KEPT_S)
    return created


def _charts(report: Report) -> list[tuple[str, charts.BarChart]]:
    """Bars of what was paid, by currency, and of credits sold and spent: a bar a day, or a week of a long period."""
    days = report.period.dates
    step = 7 if len(days) > 90 else 1  # noqa: PLR2004 - a bar must be seen

    def bars(values: Mapping[date, int], *, words: Callable[[int], str] = str) -> charts.BarChart:
        sums = [(days[at], sum(values.get(day, 0) for day in days[at : at + step])) for at in range(0, len(days), step)]
        named = [(date_format(day, "MONTH_DAY_FORMAT"), max(0, value)) for day, value in sums]
        return charts.bar_chart(named, words=words)

    result = []
    for currency in sorted({row["currency"] for row in report.money_by_day}):
        paid = {row["day"]: row["paid"] for row in report.money_by_day if row["currency"] == currency}
        result.append((_("Paid, %s") % currency.upper(), bars(paid, words=partial(money, currency=currency))))
    for title, name in ((_("Credits sold"), "sold"), (_("Credits spent"), "spent")):
        result.append((title, bars({row["day"]: row[name] for row in report.by_day})))
    return result


def _lines(report: Report) -> Iterator[tuple[Any, ...]]:
    """Section, what, value, currency."""
    yield from (("credits", name, value, "") for name, value in report.credits.items())
    yield from _of(
        "revenue",
        report.revenue,
        ("paid", "recognised", "owed", "owed_to_come", "owed_credits", "refunded", "taxes", "difference"),
    )
    yield from _of("plans", report.plans, ("mrr", "net_new", "fresh", "churned", "payers", "arpu", "churn_percent"))
    yield from _of("orders", report.payments["orders"], ("orders", "paid", "refunded"))
    yield from _of("payments", [report.payments], ("failed", "recovered", "recovery_percent"))
    yield from (("webhooks", name, value, "") for name, value in report.webhooks.items())
    for margin in report.margins:
        names = ("uses", "credits", "revenue_micros", "cost_micros", "margin_micros")
        yield from _of(f"feature {margin.feature or '-'}", [margin], names)
    for day in report.by_day:
        yield from _of(str(day["day"]), [day], ("sold", "given", "spent", "expired"))
    for day in report.money_by_day:
        yield from _of(str(day["day"]), [day], ("paid", "refunded"))


def _of(section: str, rows: Iterable[Any], names: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """Some figures of each row, which is a dictionary or an object."""
    for row in rows:
        known = row if isinstance(row, dict) else {name: getattr(row, name) for name in names}
        currency = row.get("currency", "") if isinstance(row, dict) else getattr(row, "currency", "")
        yield from ((section, name, known[name], currency) for name in names)


def _period(request: HttpRequest, *, now: datetime) -> Period:
    zone = settings.DEFAULT_ACCOUNT_TIME_ZONE
    if request.GET.get("days") == "1":
        return periods.today(zone, now=now)
    return periods.chosen(request.GET, zone, now=now, choices=PERIODS_DAYS)


def _first_steps() -> list[tuple[str, bool]]:
    """What a fresh installation still lacks; nothing once it sells."""
    steps = [
        (
            _("Plans and packs: manage.py stripe_bootstrap, or sync_prices"),
            Price.objects.filter(is_active=True).exists(),
        ),
        (_("A plan that every new account starts on"), Plan.objects.filter(is_default=True).exists()),
        (_("Who is told of alerts: OPERATOR_EMAILS"), bool(settings.OPERATOR_EMAILS) or settings.SANDBOX),
    ]
    return [] if all(done for _text, done in steps) else steps


class SimulatorForm(forms.Form):
    """The assumptions, as people say them: per cent and currency's units."""

    active = forms.DecimalField(label=later("Active on a day (% of users)"), min_value=0, max_value=100)
    using_ai = forms.DecimalField(label=later("Of those, use AI (%)"), min_value=0, max_value=100)
    requests = forms.IntegerField(label=later("Requests a day, each"), min_value=0, max_value=10_000)
    cost = forms.DecimalField(label=later("Cost of a request"), min_value=0, max_value=1_000, decimal_places=6)
    free = forms.IntegerField(label=later("Free credits a day"), min_value=0, max_value=10_000)
    pack_credits = forms.IntegerField(label=later("Credits in a pack"), min_value=1, max_value=1_000_000)
    pack_price = forms.DecimalField(label=later("Price of a pack"), min_value=0, max_value=100_000, decimal_places=2)
    buying = forms.DecimalField(label=later("Buy in a month (% of users)"), min_value=0, max_value=100)
    packs = forms.IntegerField(label=later("Packs each of them buys"), min_value=1, max_value=1_000)

    def assumptions(self) -> Assumptions:
        given = self.cleaned_data
        return Assumptions(
            active_per_mille=int(given["active"] * 10),
            using_ai_per_mille=int(given["using_ai"] * 10),
            requests_a_day=given["requests"],
            cost_micros=int(given["cost"] * simulation.MICROS),
            free_a_day=given["free"],
            pack_credits=given["pack_credits"],
            pack_micros=int(given["pack_price"] * simulation.MICROS),
            buying_per_mille=int(given["buying"] * 10),
            packs_each=given["packs"],
        )


USUAL = {
    "active": 30, "using_ai": 100, "requests": 3, "cost": "0.015", "free": 3, "pack_credits": 20, "pack_price": "5.00",
    "buying": 5, "packs": 1,
}  # fmt: skip


def simulator(site: Any) -> Callable[[HttpRequest], HttpResponseBase]:
    """What if? On assumptions, or on what was really used in the last thirty days with another free allowance."""

    def view(request: HttpRequest) -> HttpResponseBase:
        if not request.user.has_perm(NEEDS):
            raise PermissionDenied
        form = SimulatorForm(request.GET if "active" in request.GET else USUAL)
        results = simulation.table(form.assumptions()) if form.is_valid() else []
        free = request.GET.get("what_if", "")
        what_if = None
        if free.isascii() and free.isdigit():
            now = clock.now()
            what_if = reports.what_if(since=now - timedelta(days=30), until=now, free_a_day=min(int(free[:6]), 10_000))
        shown = {
            **site.each_context(request),
            "title": _("Pricing simulator"),
            "form": form,
            "results": results,
            "free": free,
            "what_if": what_if,
        }
        if request.GET.get("format") == "csv":
            names = [field.name for field in fields(simulation.Result)]
            return csv_export.download("simulation", names, (list(asdict(row).values()) for row in results))
        return TemplateResponse(request, "console/simulator.html", shown)

    return view
