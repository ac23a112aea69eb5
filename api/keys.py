"""`/api-keys`: an account's keys, made, rotated and revoked by who is signed in, or by the app's backend."""

from collections.abc import Iterable
from datetime import datetime

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import keys
from accounts.errors import AccountHasLoginError, InsufficientScopeError
from accounts.models import Account, ApiKey, Scope, User
from api.authentication import Caller, IsCaller, account_of, caller_of
from api.fields import ACCOUNT_PARAMETER, MomentField, PrintableField, checked, identifier_of, timestamp
from api.pagination import list_of, listing
from api.schema import refuses
from api.serializers import Serializer
from common import clock
from common.errors import FieldProblem, InvalidRequestError, NotFoundError
from common.json_types import JsonObject
from common.sides import Side


class KeyRequest(Serializer):
    name = PrintableField(max_length=80)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=[scope.value for scope in keys.ACCOUNT_KEY_SCOPES]),
        required=False,
        allow_empty=False,
        help_text="If not given, all that an account's key may have; by a service key, of its own.",
    )
    expires_at = MomentField(required=False, allow_null=True, default=None)


class KeySerializer(Serializer):
    id = serializers.CharField()
    name = serializers.CharField()
    prefix = serializers.CharField()
    last4 = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField())
    created = serializers.DateTimeField()
    last_used_on = serializers.DateField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)


class NewKeySerializer(KeySerializer):
    secret = serializers.CharField(help_text="The key itself, this once.")


class MayManageKeys(IsCaller):
    """Somebody who has signed in, or a service key that looks after accounts. An account's key makes no other keys."""

    def has_permission(self, request: Request, view: object) -> bool:
        super().has_permission(request, view)
        caller = caller_of(request)
        if caller.actor.startswith("user:"):
            return True
        if caller.side == Side.SELLER and Scope.ACCOUNTS_WRITE in caller.scopes:
            return True
        detail = "Keys are made by who has signed in, or by a service key with accounts:write."
        raise InsufficientScopeError(detail, required_scope=Scope.ACCOUNTS_WRITE)


class _KeysView(APIView):
    permission_classes = [MayManageKeys]


class ApiKeysView(_KeysView):
    @refuses(AccountHasLoginError)
    @extend_schema(operation_id="list_api_keys", parameters=[ACCOUNT_PARAMETER], responses=list_of(KeySerializer))
    def get(self, request: Request) -> Response:
        """Your account's keys, latest first; never their secrets."""
        account = _account(request, now=clock.now())
        return Response(listing([key_data(key) for key in account.api_keys.order_by("-id")], ""))

    @refuses(keys.TooManyKeysError, AccountHasLoginError)
    @extend_schema(
        operation_id="create_api_key",
        parameters=[ACCOUNT_PARAMETER],
        request=KeyRequest,
        responses={201: NewKeySerializer},
    )
    def post(self, request: Request) -> Response:
        """Make a key. Its secret is in this answer and nowhere else."""
        fields, now = checked(KeyRequest, request.data), clock.now()
        if fields["expires_at"] is not None and fields["expires_at"] <= now:
            detail = "A key expires in the future."
            raise InvalidRequestError(FieldProblem(pointer="/expires_at", code="past", detail=detail))
        caller, account = caller_of(request), _account(request, now=now)
        own = [scope for scope in keys.ACCOUNT_KEY_SCOPES if scope in caller.scopes]
        scopes = fields.get("scopes", own)
        _check_within(caller, scopes)
        created = keys.create_key(
            account=account,
            name=fields["name"],
            scopes=scopes,
            created_by=_user(request),
            expires_at=fields["expires_at"],
            now=now,
        )
        return _new_key(created)


class ApiKeyView(_KeysView):
    @refuses(AccountHasLoginError)
    @extend_schema(operation_id="revoke_api_key", parameters=[ACCOUNT_PARAMETER], responses={204: None})
    def delete(self, request: Request, key_id: str) -> Response:
        """Revoke a key: it stops working at once."""
        now = clock.now()
        keys.revoke_key(key=_own_key(request, key_id, now=now), now=now)
        return Response(status=204)


class RotateKeyView(_KeysView):
    @refuses(keys.TooManyKeysError, keys.KeyNotWorkingError, AccountHasLoginError)
    @extend_schema(
        operation_id="rotate_api_key", parameters=[ACCOUNT_PARAMETER], request=None, responses={201: NewKeySerializer}
    )
    def post(self, request: Request, key_id: str) -> Response:
        """A new key with the same rights. The old one works for another 24 hours."""
        now = clock.now()
        old = _own_key(request, key_id, now=now)
        _check_within(caller_of(request), old.scopes)
        return _new_key(keys.rotate_key(key=old, created_by=_user(request), now=now))


def key_data(key: ApiKey) -> JsonObject:
    """What the API says of a key."""
    return {
        "id": key.public_id,
        "name": key.name,
        "prefix": key.prefix,
        "last4": key.last4,
        "scopes": key.scopes,
        "created": timestamp(key.created_at),
        "last_used_on": key.last_used_on,
        "expires_at": timestamp(key.expires_at) if key.expires_at else None,
        "revoked_at": timestamp(key.revoked_at) if key.revoked_at else None,
    }


def _new_key(made: keys.NewKey) -> Response:
    return Response({**key_data(made.key), "secret": made.secret}, status=201, headers={"Cache-Control": "no-store"})


def _account(request: Request, *, now: datetime) -> Account:
    """Whose keys. A service key looks after users of its app: who has a login makes their keys themselves.

    Raises AccountHasLoginError.
    """
    account = account_of(request, now=now)
    if caller_of(request).side == Side.SELLER and account.kind != Account.Kind.EXTERNAL:
        raise AccountHasLoginError("Whoever owns it makes its keys: on the keys page, signed in.")
    return account


def _check_within(caller: Caller, scopes: Iterable[str]) -> None:
    """Nobody gives what they do not have. Raises InsufficientScopeError."""
    for scope in scopes:
        if scope not in caller.scopes:
            raise InsufficientScopeError(f"You cannot give {scope}: you do not have it.", required_scope=scope)


def _own_key(request: Request, key_id: str, *, now: datetime) -> ApiKey:
    account = _account(request, now=now)
    result = account.api_keys.filter(pk=identifier_of("key", key_id, "key")).first()
    if result is None:
        raise NotFoundError("There is no such key.")
    return result


def _user(request: Request) -> User | None:
    user = request._request.user
    return user if isinstance(user, User) else None


urlpatterns = [
    path("api-keys", ApiKeysView.as_view()),
    path("api-keys/<str:key_id>", ApiKeyView.as_view()),
    path("api-keys/<str:key_id>/rotate", RotateKeyView.as_view()),
]
