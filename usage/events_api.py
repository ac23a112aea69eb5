"""The API's side of what was used: the events, and their sums by day, feature, key and AI model."""

from dataclasses import asdict
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import clock
from accounts.api_parts import (
    ACCOUNT_PARAMETER,
    PAGE_PARAMETERS,
    account_of,
    checked,
    list_of,
    listing,
    page,
    timestamp,
)
from accounts.api_requests import AccountField, DayField
from accounts.errors import FieldProblem, InvalidRequestError
from accounts.models import Scope
from credits.api import UsageSerializer
from credits.calendar import first_instant
from credits.history_api import FILTER_PARAMETERS, filtered
from credits.models import Transaction
from usage import events

DEFAULT_DAYS = 30
MAX_DAYS = 366


class UsageEventSerializer(serializers.Serializer[Any]):
    """One use of a feature: a spend, named by its transaction."""

    id = serializers.CharField()
    feature = serializers.CharField(allow_null=True)
    quantity = serializers.IntegerField(allow_null=True)
    credits = serializers.IntegerField()
    key = serializers.CharField(allow_null=True, help_text="The API key, or user, that spent.")
    usage = UsageSerializer(allow_null=True)
    description = serializers.CharField()
    metadata = serializers.DictField()
    created = serializers.DateTimeField()


class SummaryRequest(serializers.Serializer[Any]):
    vars()["from"] = DayField(required=False)
    to = DayField(required=False)
    tz = serializers.ChoiceField(choices=sorted(available_timezones()), required=False)
    group_by = serializers.CharField(required=False, default="day")
    account = AccountField()

    default_error_messages = {
        "group": "Group by any of day, feature, key, model, separated by commas.",
        "order": "`from` comes before `to`.",
        "long": f"At most {MAX_DAYS} days at a time.",
    }

    def validate_group_by(self, value: str) -> tuple[str, ...]:
        names = tuple(name for name in value.split(",") if name)
        if set(names) - events.GROUPS.keys() or len(names) != len(set(names)):
            self.fail("group")
        return names


class UsedSerializer(serializers.Serializer[Any]):
    day = serializers.DateField(allow_null=True, help_text="Null where it is not grouped by; so are the next three.")
    feature = serializers.CharField(allow_null=True)
    key = serializers.CharField(allow_null=True)
    model = serializers.CharField(allow_null=True)
    uses = serializers.IntegerField()
    quantity = serializers.IntegerField()
    credits = serializers.IntegerField(help_text="Credits spent.")
    returned = serializers.IntegerField(help_text="Of those, credits that were given back since.")
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    provider_cost_micros = serializers.IntegerField()


# (`from` is no name that a class body can have.)
SummarySerializer = type(
    "SummarySerializer",
    (serializers.Serializer,),
    {
        "from": serializers.DateField(),
        "to": serializers.DateField(help_text="The last day, included."),
        "tz": serializers.CharField(),
        "data": UsedSerializer(many=True),
        "total": UsedSerializer(),
    },
)


class UsageEventsView(APIView):
    required_scope = Scope.USAGE_READ

    @extend_schema(
        operation_id="list_usage_events",
        parameters=[*PAGE_PARAMETERS, *FILTER_PARAMETERS],
        responses=list_of(UsageEventSerializer),
    )
    def get(self, request: Request) -> Response:
        """Each use, latest first: what was spent on what, and what the AI behind it used."""
        now = clock.now()
        account = account_of(request, now=now)
        rows, following = page(request, filtered(request, account, now=now).filter(kind=Transaction.Kind.SPEND), "txn")
        return Response(listing([event_data(row) for row in rows], following))


class UsageSummaryView(APIView):
    required_scope = Scope.USAGE_READ

    @extend_schema(
        operation_id="get_usage_summary",
        parameters=[
            ACCOUNT_PARAMETER,
            OpenApiParameter("from", date, description=f"The first day; {DEFAULT_DAYS} days ago by default."),
            OpenApiParameter("to", date, description="The last day, included; today by default."),
            OpenApiParameter("tz", str, description="Whose midnight parts the days; the account's own by default."),
            OpenApiParameter("group_by", str, description="Any of day, feature, key, model, separated by commas."),
        ],
        responses=SummarySerializer,
    )
    def get(self, request: Request) -> Response:
        """What was used over some days, in groups and in all."""
        now = clock.now()
        asked = checked(SummaryRequest, request.query_params.dict())
        account = account_of(request, now=now)
        zone = asked.get("tz") or account.time_zone
        first, last = _days(asked, now.astimezone(ZoneInfo(zone)).date())
        period: dict[str, Any] = {
            "account_id": account.pk,
            "since": first_instant(first, zone),
            "until": first_instant(last + timedelta(days=1), zone),
            "zone": zone,
        }
        groups = events.summary(**period, group_by=asked["group_by"])
        (total,) = events.summary(**period)
        return Response(
            {
                "from": first,
                "to": last,
                "tz": zone,
                "data": [asdict(used) for used in groups],
                "total": asdict(total),
            }
        )


def event_data(row: Transaction) -> dict[str, Any]:
    """What the API says of a use."""
    return {
        "id": row.public_id,
        "feature": row.feature or None,
        "quantity": row.quantity,
        "credits": -row.amount,
        "key": row.actor or None,
        "usage": row.usage,
        "description": row.description,
        "metadata": row.metadata,
        "created": timestamp(row.created_at),
    }


def _days(asked: dict[str, Any], today: date) -> tuple[date, date]:
    last = asked.get("to") or today
    first = asked.get("from") or last - timedelta(days=DEFAULT_DAYS - 1)
    problem = "order" if first > last else "long" if (last - first).days >= MAX_DAYS else ""
    if problem:
        detail = str(SummaryRequest.default_error_messages[problem])
        raise InvalidRequestError(FieldProblem(pointer="/from", code=problem, detail=detail))
    return first, last
