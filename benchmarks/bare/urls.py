"""What the API's spend is measured against: the same SQL in a bare view, and a balance as most projects write it."""

import json
import uuid

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from psycopg.types.json import Jsonb

from benchmarks.usual import models as usual
from common import clock
from common.public_ids import new_id
from credits.ledger import sql


@csrf_exempt
def same_sql(request: HttpRequest) -> HttpResponse:
    """The ledger's function, called with what the body says."""
    fields = json.loads(request.body)
    account, key = uuid.UUID(fields["account"]), request.headers["Idempotency-Key"]
    print_of = sql.fingerprint("spend", {"amount": fields["amount"]}, "", {})
    arguments = [
        account,
        new_id(),
        fields["amount"],
        key,
        print_of,
        "",
        None,
        "",
        Jsonb({}),
        "bare",
        clock.now(),
        None,
        "seller",
    ]
    row = sql._call_once("credits_spend", arguments)  # the driver's own call: that is what is measured
    shown = {"id": str(row["transaction_id"]), "amount": row["amount"], "balance_after": row["balance_after"]}
    return _made(shown)


@csrf_exempt
def orm_loop(request: HttpRequest) -> HttpResponse:
    """A counter, its lots and its changes, by the ORM."""
    fields = json.loads(request.body)
    change = usual.spend(
        account=uuid.UUID(fields["account"]), amount=fields["amount"], key=request.headers["Idempotency-Key"]
    )
    return _made({"id": change.pk, "amount": change.amount, "balance_after": change.balance_after})


def _made(data: dict[str, object]) -> JsonResponse:
    answer = JsonResponse(data, status=201)
    answer["Content-Length"] = len(answer.content)  # Django has a middleware for that
    return answer


urlpatterns = [path("same-sql", same_sql), path("orm-loop", orm_loop)]
