"""What was used: by day, feature, key and AI model, on a page and as a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import formats
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from accounts.models import Account, ApiKey
from common import clock, csv_export
from common.charts import StackedChart, stacked_chart
from common.public_ids import MalformedIdError, parse_id
from credits import selectors
from portal import members
from portal.current_account import current_account
from usage import forecast, periods, usage_summary

GROUPS = {"feature": _("Feature"), "model": _("AI model"), "key": _("API key"), "member": _("Member")}
MOST_SERIES = 5  # of a chart, beside the rest
COLUMNS = (
    "day", "feature", "key", "model", "uses", "quantity", "credits", "returned", "input_tokens", "output_tokens",
    "provider_cost_micros",
)  # fmt: skip


@require_GET
@login_required
def usage(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """A bar a day, and a table by feature, model or key; each row leads to its transactions."""
    account, now = current_account(request), clock.now()
    period = periods.chosen(request.GET, account.time_zone, now=now)
    fields: Mapping[str, Any] = {
        "account_id": account.pk, "since": period.since, "until": period.until, "zone": period.zone,
    }  # fmt: skip
    if request.GET.get("format") == "csv":
        rows = usage_summary.summarize(**fields, group_by=tuple(usage_summary.GROUPS))
        cells = ([getattr(row, column) for column in COLUMNS] for row in rows)
        return csv_export.download(f"usage-{period.first}-{period.last}", COLUMNS, cells)
    group = request.GET.get("by", "feature")
    group = group if group in GROUPS else "feature"
    detailed = usage_summary.summarize(**fields, group_by=("day", group if group != "member" else "feature"))
    days = [(day, usage_summary.total_of(row for row in detailed if row.day == day)) for day in period.dates]
    total = usage_summary.total_of(detailed)
    table = _rows(account, period, group, fields, total)
    return render(
        request,
        "portal/usage.html",
        {
            "period": period,
            "choices": periods.CHOICES_DAYS,
            "groups": GROUPS,
            "group": group,
            "group_label": GROUPS[group],
            "days": days,
            "chart": _chart(period, group, detailed, table),
            "rows": table,
            "total": total,
            "change": _change(account, period, total),
            "yesterday": periods.yesterday(account.time_zone, now=now),
            "lasts_days": _lasts_days(account, total, len(days), now=now),
        },
    )


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table; `value` is what its transactions can be found by."""

    name: str
    value: str
    used: usage_summary.UsageTotals
    share: int  # percent of all credits

    @property
    def each(self) -> str:
        """What one use came to, in credits."""
        return formats.localize(round(self.used.credits / self.used.uses, 1)) if self.used.uses else ""


def _chart(
    period: periods.Period, group: str, detailed: list[usage_summary.UsageTotals], rows: list[Row]
) -> StackedChart:
    """A bar a day, of the groups that used most and the rest; by member it is one series."""
    labels = [date_format(day, "MONTH_DAY_FORMAT") for day in period.dates]
    named = {row.value: row.name or gettext("not told") for row in rows[:MOST_SERIES]}
    if group == "member" or len(rows) < 2:  # noqa: PLR2004 - one series needs no legend
        named = {}
    places = {day: number for number, day in enumerate(period.dates)}
    series = {name: [0] * len(labels) for name in named.values()}
    others = [0] * len(labels)
    for row in detailed:
        value = getattr(row, group, None) or ""
        values = series[named[value]] if value in named else others
        if row.day is not None:
            values[places[row.day]] += row.credits - row.returned
    rest = {gettext("Others") if series else gettext("Credits"): others}
    return stacked_chart(labels, series | (rest if any(others) or not series else {}))


def _change(account: Account, period: periods.Period, total: usage_summary.UsageTotals) -> int | None:
    """By how many percent more was used than in as many days before; None where nothing was."""
    before = period.before
    (earlier,) = usage_summary.summarize(
        account_id=account.pk, since=before.since, until=before.until, zone=before.zone
    )
    return round(100 * (total.credits - earlier.credits) / earlier.credits) if earlier.credits else None


def _rows(
    account: Account, period: periods.Period, group: str, asked: Mapping[str, Any], total: usage_summary.UsageTotals
) -> list[Row]:
    if group == "member":
        result = [
            (row.name or gettext("Apps, and people who left"), "", row.used) for row in members.used(account, period)
        ]
    else:
        groups = usage_summary.summarize(**asked, group_by=(group,))
        names = _key_names(groups, account) if group == "key" else {}
        result = [
            (str(names.get(value, value) or ""), value or "", row) for row in groups for value in [getattr(row, group)]
        ]
    rows = [
        Row(name=name, value=value, used=used, share=round(100 * used.credits / total.credits) if total.credits else 0)
        for name, value, used in result
    ]
    return sorted(rows, key=lambda row: -row.used.credits)


def _lasts_days(account: Account, total: usage_summary.UsageTotals, days: int, *, now: datetime) -> int:
    """For how many days the balance lasts at the pace of these; none where nothing was spent."""
    spent = total.credits - total.returned
    if spent <= 0:
        return 0
    buckets = selectors.balance(account_id=account.pk, now=now).buckets
    return forecast.lasting_days([(row.remaining, row.expires_at) for row in buckets], spent, days, now=now)


def _key_names(groups: list[usage_summary.UsageTotals], account: Account) -> dict[str | None, str]:
    """What the keys that spent are called: the account's own by their names, a service's as the app that it is."""
    identifiers = {}
    for row in groups:
        try:
            identifiers[parse_id("key", row.key or "")] = row.key
        except MalformedIdError:
            continue
    own = {key.pk: f"{key.name} ({key})" for key in ApiKey.objects.filter(account=account, pk__in=identifiers)}
    return {named: own.get(identifier, gettext("The app")) for identifier, named in identifiers.items()}
