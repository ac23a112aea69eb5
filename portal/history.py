"""The ledger in plain words: narrowed down, as a file, and why the balance is what it is."""

from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.models import Account
from common import clock
from common.json_types import JsonObject
from common.public_ids import MalformedIdError, parse_id
from credits import explanations, selectors
from credits.api.transactions import as_csv
from credits.models import Transaction
from portal import periods
from portal.current_account import current_account, current_balance

PAGE = 50
FILTERS = {"type": "kind", "feature": "feature", "key": "actor"}
# `model` is inside what a spend says of its usage.
MODEL = "usage__model"


@require_GET
@login_required
def transactions(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """A page at a time, by where the last one ended: as quick at any depth."""
    account, now = current_account(request), clock.now()
    selectors.settled_wallet(account_id=account.pk, now=now)
    filters = {name: request.GET[name] for name in (*FILTERS, "model") if request.GET.get(name)}
    rows = _narrowed(account, filters)
    if request.GET.get("from"):
        period = periods.chosen(request.GET, account, now=now)
        rows = rows.filter(created_at__gte=period.since, created_at__lt=period.until)
        filters |= {"from": period.first.isoformat(), "to": period.last.isoformat()}
    if request.GET.get("format") == "csv":
        return as_csv(account, rows)
    if before := request.GET.get("before"):
        try:
            rows = rows.filter(pk__lt=parse_id("txn", before))
        except MalformedIdError:
            raise Http404 from None
    result = list(rows[: PAGE + 1])
    shown = {
        "rows": result[:PAGE],
        "has_more": len(result) > PAGE,
        "is_first": not before,
        "filters": filters,
        "query": urlencode(filters),
        "kinds": Transaction.Kind.choices,
    }
    return render(request, "portal/transactions.html", shown)


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
    if any("\x00" in value for value in filters.values()):
        raise Http404
    return selectors.transactions(account.pk).filter(**fields)
