"""`/accounts`: the accounts that an app's backend looks after, found, described and erased."""

from functools import cache
from zoneinfo import available_timezones

from django.db.models import Q, QuerySet
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import app_accounts, opening
from accounts.errors import AccountClosedError, AccountExistsError, AccountHasLoginError, SellerOnlyError
from accounts.models import Account, Scope
from api.authentication import EXTERNAL_PREFIX, LONGEST_SUBJECT, caller_of
from api.fields import ExactField, MetadataField, PrintableField, checked, identifier_of, timestamp
from api.pagination import PAGE_NAMES, PAGE_PARAMETERS, InvalidCursorError, list_of, listing, page
from api.schema import refuses
from api.serializers import Serializer
from billing.customers import closing
from billing.errors import PaymentProviderUnavailableError
from common import clock
from common.errors import NotFoundError
from common.json_types import JsonObject

ACCOUNT_IN_PATH = OpenApiParameter("account", str, OpenApiParameter.PATH, description="acc_… or ext:<your user id>.")


@cache
def _zones() -> set[str]:
    """Read from the system once."""
    return available_timezones()


class ZoneField(serializers.CharField):
    """A zone of the tz database, such as Europe/Amsterdam."""

    default_error_messages = {"zone": "Send a name of the tz database, such as Europe/Amsterdam."}

    def to_internal_value(self, data: object) -> str:
        if not isinstance(data, str) or data not in _zones():
            self.fail("zone")
        return data


class AccountFields(Serializer):
    name = PrintableField(max_length=opening.LONGEST_NAME, required=False, help_text="As on invoices and in e-mails.")
    email = serializers.EmailField(
        required=False, allow_blank=True, help_text="Receipts, warnings and failed renewals are mailed there."
    )
    language = serializers.ChoiceField(
        choices=Account.Language.choices, required=False, help_text="Of its e-mails and pages."
    )
    time_zone = ZoneField(required=False, help_text="Whose midnight starts its day.")
    metadata = MetadataField(required=False, help_text="Yours: up to 4 kB of JSON. It replaces what was there.")


class NewAccountRequest(AccountFields):
    external_id = ExactField(max_length=LONGEST_SUBJECT, help_text="Your own user id: the account is ext:<this>.")


class AccountFilters(Serializer):
    q = PrintableField(required=False, max_length=254, help_text="How a name or an e-mail address begins.")
    email = PrintableField(required=False, max_length=254, help_text="The whole address.")
    external_id = ExactField(required=False, max_length=LONGEST_SUBJECT, help_text="Your own user id.")
    kind = serializers.ChoiceField(choices=Account.Kind.choices, required=False)


class AccountSerializer(Serializer):
    id = serializers.CharField()
    external_id = serializers.CharField(allow_null=True, help_text="Your own user id, if it is your app's.")
    kind = serializers.ChoiceField(choices=Account.Kind.choices)
    name = serializers.CharField()
    email = serializers.CharField()
    language = serializers.ChoiceField(choices=Account.Language.choices)
    time_zone = serializers.CharField()
    metadata = serializers.DictField()
    created = serializers.DateTimeField()
    closed = serializers.DateTimeField(allow_null=True)


class _AccountsView(APIView):
    """For service keys: a customer's own key sees its own account alone, elsewhere."""

    required_scope = Scope.ACCOUNTS_WRITE
    is_seller_only = True


class AccountsView(_AccountsView):
    @refuses(InvalidCursorError, SellerOnlyError)
    @extend_schema(
        operation_id="list_accounts",
        parameters=[AccountFilters, *(row for row in PAGE_PARAMETERS if row.name != "account")],
        responses=list_of(AccountSerializer),
    )
    def get(self, request: Request) -> Response:
        """Accounts, latest first."""
        others = [name for name in PAGE_NAMES if name != "account"]
        asked = checked(AccountFilters, request.query_params.dict(), others=others)
        rows, following = page(request, _filtered(asked).order_by("-id"), "acc")
        return Response(listing([account_data(row) for row in rows], following))

    @refuses(AccountExistsError, SellerOnlyError)
    @extend_schema(operation_id="create_account", request=NewAccountRequest, responses={201: AccountSerializer})
    def post(self, request: Request) -> Response:
        """Open the account of a user of yours, with what you know of them. (A first use opens one, too: without.)"""
        fields = checked(NewAccountRequest, request.data, others=())
        created = app_accounts.create(subject=fields.pop("external_id"), fields=fields, now=clock.now())
        return Response(account_data(created), status=201)


class AccountView(_AccountsView):
    @refuses(SellerOnlyError)
    @extend_schema(operation_id="get_account", parameters=[ACCOUNT_IN_PATH], responses=AccountSerializer)
    def get(self, request: Request, account: str) -> Response:
        """One account."""
        return Response(account_data(_known(account)))

    @refuses(AccountHasLoginError, AccountClosedError, SellerOnlyError)
    @extend_schema(
        operation_id="update_account", parameters=[ACCOUNT_IN_PATH], request=AccountFields, responses=AccountSerializer
    )
    def patch(self, request: Request, account: str) -> Response:
        """Change what is known of an account; ext:… is opened, if it is new. What is not sent stays."""
        fields = checked(AccountFields, request.data, others=())
        if not account.startswith(EXTERNAL_PREFIX):
            identifier_of("acc", account, "account")
        row = caller_of(request).account_for(account, now=clock.now())
        return Response(account_data(app_accounts.update(account=row, fields=fields)))

    @refuses(AccountHasLoginError, PaymentProviderUnavailableError, SellerOnlyError)
    @extend_schema(operation_id="erase_account", parameters=[ACCOUNT_IN_PATH], request=None, responses={204: None})
    def delete(self, request: Request, account: str) -> Response:
        """Erase who a user of yours was: plans end, credits go, name and address are forgotten. The ledger stays."""
        row = _known(account)
        if row.kind != Account.Kind.EXTERNAL:
            raise AccountHasLoginError("Its owner closes it on the settings page, or an operator in the console.")
        if row.closed_at is None:
            closing.close_account(account=row, user=None, actor=caller_of(request).actor, now=clock.now())
        return Response(status=204)


def account_data(row: Account) -> JsonObject:
    """What the API says of an account."""
    subjects = [identity.subject for identity in row.external_identities.all() if not identity.issuer]
    return {
        "id": row.public_id,
        "external_id": subjects[0] if subjects else None,
        "kind": row.kind,
        "name": row.name,
        "email": row.email,
        "language": row.language,
        "time_zone": row.time_zone,
        "metadata": row.metadata,
        "created": timestamp(row.created_at),
        "closed": timestamp(row.closed_at) if row.closed_at else None,
    }


def _known(named: str) -> Account:
    """The account of that name, also one that was closed; none is opened. Raises NotFoundError."""
    if named.startswith(EXTERNAL_PREFIX):
        account = opening.find_external_account(named.removeprefix(EXTERNAL_PREFIX))
    else:
        account = opening.find_account(identifier_of("acc", named, "account"))
    if account is None:
        raise NotFoundError("There is no such account.")
    return account


def _filtered(asked: JsonObject) -> QuerySet[Account]:
    rows = Account.objects.prefetch_related("external_identities")
    if begins := asked.get("q", ""):
        rows = rows.filter(Q(name__istartswith=begins) | Q(email__istartswith=begins))
    if email := asked.get("email", ""):
        rows = rows.filter(email__iexact=email)
    if subject := asked.get("external_id", ""):
        known = opening.find_external_account(subject)
        rows = rows.filter(pk=known.pk) if known else rows.none()
    if kind := asked.get("kind", ""):
        rows = rows.filter(kind=kind)
    return rows


urlpatterns = [
    path("accounts", AccountsView.as_view()),
    path("accounts/<path:account>", AccountView.as_view()),
]
