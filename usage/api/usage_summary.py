"""`/usage/summary`: what was used, by day, feature, key or AI model."""

from dataclasses import asdict
from datetime import date, timedelta
from zoneinfo import ZoneInfo, available_timezones

from django.conf import settings
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from api.authentication import account_of, caller_of
from api.fields import ACCOUNT_PARAMETER, AccountField, DayField, checked
from api.serializers import Serializer
from common import clock
from common.errors import FieldProblem, InvalidRequestError
from common.json_types import JsonObject
from common.sides import Side
from credits.calendar import first_instant
from usage import usage_summary

DEFAULT_DAYS = 30
MAX_DAYS = 366


class SummaryRequest(Serializer):
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
        if set(names) - usage_summary.GROUPS.keys() or len(names) != len(set(names)):
            self.fail("group")
        return names


class UsedSerializer(Serializer):
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
        """What was used over some days, in groups and in all. A service key that names no account: by all of them."""
        now = clock.now()
        fields = checked(SummaryRequest, request.query_params.dict(), others=("account", "format"))
        caller = caller_of(request)
        is_for_all = caller.side == Side.SELLER and not request.query_params.get("account")
        account = None if is_for_all else account_of(request, now=now)
        zone = fields.get("tz") or (account.time_zone if account else settings.DEFAULT_ACCOUNT_TIME_ZONE)
        first, last = _days(fields, now.astimezone(ZoneInfo(zone)).date())
        period: JsonObject = {
            "account_id": account.pk if account else None,
            "since": first_instant(first, zone),
            "until": first_instant(last + timedelta(days=1), zone),
            "zone": zone,
        }
        groups = usage_summary.summarize(**period, group_by=fields["group_by"])
        (total,) = usage_summary.summarize(**period)
        return Response(
            {
                "from": first,
                "to": last,
                "tz": zone,
                "data": [asdict(used) for used in groups],
                "total": asdict(total),
            }
        )


def _days(fields: JsonObject, today: date) -> tuple[date, date]:
    last = fields.get("to") or today
    first = fields.get("from") or last - timedelta(days=DEFAULT_DAYS - 1)
    problem = "order" if first > last else "long" if (last - first).days >= MAX_DAYS else ""
    if problem:
        detail = str(SummaryRequest.default_error_messages[problem])
        raise InvalidRequestError(FieldProblem(pointer="/from", code=problem, detail=detail))
    return first, last


urlpatterns = [
    path("usage/summary", UsageSummaryView.as_view()),
]
