"""The ledger in plain words: narrowed down, as a file, and why the balance is what it is."""

from contextlib import suppress
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from accounts.models import Account
from common import clock
from common.json_types import JsonObject
from common.public_ids import MalformedIdError, parse_id
from credits import explanations, selectors
from credits.api.transactions import as_csv
from credits.models import Transaction
from portal import activity
from portal.current_account import current_account, current_balance
from portal.identifiers import identifier_or_404
from usage import periods

PAGE = 50
MOST_GROUPED = 500  # transactions that the lines of a page are made of
FILTERS = {"type": "kind", "feature": "feature", "key": "actor"}
# `model` is inside what a spend says of its usage.
MODEL = "usage__model"
LONGEST_SEARCH = 80


@require_GET
@login_required
def transactions(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """A page at a time, by where the last one ended: as quick at any depth."""
    account, now = current_account(request), clock.now()
    selectors.settled_wallet(account_id=account.pk, now=now)
    filters = {name: request.GET[name] for name in (*FILTERS, "model", "q") if request.GET.get(name)}
    rows = _narrowed(account, filters)
    if request.GET.get("from"):
        period = periods.chosen(request.GET, account.time_zone, now=now)
        rows = rows.filter(created_at__gte=period.since, created_at__lt=period.until)
        filters |= {"from": period.first.isoformat(), "to": period.last.isoformat()}
    if request.GET.get("format") == "csv":
        return as_csv(account, rows)
    if before := request.GET.get("before"):
        try:
            rows = rows.filter(pk__lt=parse_id("txn", before))
        except MalformedIdError:
            raise Http404 from None
    if "each" in request.GET or "q" in filters:
        result = list(rows[: PAGE + 1])
        lines = [activity.Line(first=row, last=row, count=1, amount=row.amount) for row in result[:PAGE]]
        last = lines[-1].last if lines else None
    else:
        result = list(rows[: MOST_GROUPED + 1])
        lines, last = activity.grouped(result[:MOST_GROUPED], account.time_zone, most=PAGE)
    shown = {
        "lines": lines,
        "last": last,
        "has_more": bool(result) and result[-1] != last,
        "is_each": "each" in request.GET,
        "is_first": not before,
        "filters": filters,
        "query": urlencode(filters),
        "kinds": Transaction.Kind.choices,
    }
    return render(request, "portal/transactions.html", shown)


@require_GET
@login_required
def transaction(request: HttpRequest, transaction_id: str) -> HttpResponse:
    """All there is to know of one transaction, and what became of it."""
    account = current_account(request)
    rows = selectors.with_returned(selectors.transactions(account.pk))
    row = get_object_or_404(rows, pk=identifier_or_404("txn", transaction_id))
    shown = {
        "row": row,
        "who": activity.who(account, row.actor),
        "parts": activity.parts_of(row),
        "reversals": selectors.transactions(account.pk).filter(reverses=row),
        "metadata": row.metadata if row.kind == Transaction.Kind.SPEND else {},
    }
    return render(request, "portal/transaction.html", shown)


@require_GET
@login_required
def why(request: HttpRequest) -> HttpResponse:
    """Lot by lot, what came, what went and what is left: the last adds up to the balance."""
    account, now = current_account(request), clock.now()
    reported = explanations.explain_balance(account_id=account.pk, now=now)
    return render(request, "portal/why.html", {"told": reported, "balance": current_balance(request)})


def _narrowed(account: Account, filters: dict[str, str]) -> QuerySet[Transaction]:
    fields: JsonObject = {FILTERS[name]: value for name, value in filters.items() if name in FILTERS}
    if "model" in filters:
        fields[MODEL] = filters["model"]
    found = selectors.transactions(account.pk)
    if text := filters.get("q", "").strip()[:LONGEST_SEARCH]:
        named = Q(description__icontains=text) | Q(feature__icontains=text) | Q(idempotency_key=text)
        with suppress(MalformedIdError):
            named |= Q(pk=parse_id("txn", text))
        found = found.filter(named)
    if any("\x00" in value for value in filters.values()):
        raise Http404
    return found.filter(**fields)
