"""Many spends in one call, each with its own key and its own answer."""

from django.conf import settings
from django.db import transaction
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Account, Scope
from api.authentication import caller_of
from api.fields import checked
from api.idempotency import KeyField
from api.problems import status_of
from api.serializers import Serializer
from common import clock
from common.errors import FieldProblem, InvalidRequestError, Refusal
from common.json_types import JsonObject
from credits.api.serializers import TransactionSerializer
from credits.errors import CreditsError
from usage import spending
from usage.api.spends import SpendRequest, work_data, work_of


class BatchItem(SpendRequest):
    """One spend of a batch."""

    idempotency_key = KeyField()


class BatchRequest(Serializer):
    spends = serializers.ListField(child=serializers.DictField(), allow_empty=False, min_length=1)


class BatchProblem(Serializer):
    code = serializers.CharField()
    title = serializers.CharField()
    detail = serializers.CharField()


class BatchAnswer(Serializer):
    """In the order asked: a transaction, or a problem."""

    status = serializers.IntegerField(help_text="What the spend would have been answered with: 201, 402, ...")
    replayed = serializers.BooleanField()
    transaction = TransactionSerializer(allow_null=True)
    problem = BatchProblem(allow_null=True)


class BatchSerializer(Serializer):
    data = BatchAnswer(many=True)  # type: ignore[assignment]  # the field hides a property of DRF's


class SpendBatchView(APIView):
    required_scope = Scope.CREDITS_SPEND

    @extend_schema(operation_id="spend_batch", request=BatchRequest, responses=BatchSerializer)
    def post(self, request: Request) -> Response:
        """Up to 500 spends, committed together. One that is refused leaves the others alone; each may be sent again."""
        fields = checked(BatchRequest, request.data)["spends"]
        if len(fields) > settings.MAX_SPENDS_PER_BATCH:
            detail = f"At most {settings.MAX_SPENDS_PER_BATCH} at a time."
            raise InvalidRequestError(FieldProblem(pointer="/spends", code="too_many", detail=detail))
        now, caller = clock.now(), caller_of(request)
        answers: list[JsonObject | None] = [None] * len(fields)
        ready: list[tuple[Account, int, JsonObject]] = []
        for number, item in enumerate(fields):
            try:
                entry = checked(BatchItem, item)
                account = caller.account_for(entry.get("account", ""), now=now, is_checked_later=True)
                ready.append((account, number, entry))
            except Refusal as error:
                answers[number] = _refused(error)
        with transaction.atomic():
            # In the order of accounts, so that two batches never wait for each other.
            for account, number, item in sorted(ready, key=lambda row: (row[0].pk, row[1])):
                work = work_of(item, side=caller.side)
                try:
                    spent = spending.spend(
                        account=account,
                        work=work,
                        idempotency_key=item["idempotency_key"],
                        actor=caller.actor,
                        side=caller.side,
                        now=now,
                    )
                except CreditsError as error:
                    answers[number] = _refused(error)
                else:
                    created = work_data(spent, work)
                    answers[number] = {
                        "status": 201, "replayed": spent.is_replayed, "transaction": created, "problem": None,
                    }  # fmt: skip
        return Response({"data": answers})


def _refused(error: Refusal) -> JsonObject:
    problem = {"code": error.code, "title": error.title, "detail": str(error), **error.extra}
    return {"status": status_of(type(error)), "replayed": False, "transaction": None, "problem": problem}


urlpatterns = [
    path("credits/spend/batch", SpendBatchView.as_view()),
]
