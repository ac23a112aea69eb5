"""The API's side of keys and tokens; and the door for webhooks of identity providers."""

import json
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import clock, identities, issuers, keys, tokens, webhook_signatures
from accounts.api_auth import BrowserSessionAuthentication, IsCaller
from accounts.api_parts import account_of, caller_of, checked, identifier_of, list_of, listing, timestamp
from accounts.api_requests import AccountField, MomentField, PrintableField
from accounts.errors import (
    ApiError,
    FieldProblem,
    InsufficientScopeError,
    InvalidRequestError,
    NotFoundError,
    UnauthenticatedError,
)
from accounts.models import ApiKey, Scope, User

logger = structlog.get_logger(__name__)

SCOPES = [scope.value for scope in Scope]


class TokenFromTokenError(ApiError):
    code = "token_from_token"
    title = "A token makes no token"
    status_code = 403


class TokenRequest(serializers.Serializer[Any]):
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=SCOPES),
        required=False,
        help_text="Reading only, if not given. Buying and spending are asked for by name; the key must have them.",
    )
    ttl = serializers.IntegerField(min_value=1, max_value=tokens.LONGEST_S, required=False, default=tokens.LONGEST_S)
    account = AccountField(help_text="With a service key: a token that acts for this account only, to hand to its app.")


class TokenSerializer(serializers.Serializer[Any]):
    token = serializers.CharField()
    expires_at = serializers.DateTimeField()
    scopes = serializers.ListField(child=serializers.CharField())


class TokensView(APIView):
    permission_classes = [IsCaller]

    @extend_schema(operation_id="create_token", request=TokenRequest, responses={201: TokenSerializer})
    def post(self, request: Request) -> Response:
        """Exchange a key for a token of at most ten minutes, fit for a phone or a browser. Whoever made it, it is the
        buyer's: it reads, and it buys and spends where that was asked for."""
        asked, now, caller = checked(TokenRequest, request.data), clock.now(), caller_of(request)
        if caller.is_token:
            raise TokenFromTokenError("Make tokens with a key. A token that renews itself would never end.")
        account = account_of(request, now=now) if caller.account or asked.get("account") else None
        allowed = caller.scopes & set(keys.ACCOUNT_KEY_SCOPES)
        scopes = set(asked.get("scopes", allowed & set(keys.TOKEN_SCOPES)))
        if missing := scopes - allowed:
            raise InsufficientScopeError(
                f"This token may not have {', '.join(sorted(missing))}.", required_scope=min(missing)
            )
        made = tokens.issue(
            account_id=account.pk if account else None,
            scopes=sorted(scopes),
            actor=caller.actor,
            lasts=timedelta(seconds=asked["ttl"]),
            now=now,
        )
        shown = {"token": made.text, "expires_at": timestamp(made.expires_at), "scopes": sorted(scopes)}
        return Response(shown, status=201, headers={"Cache-Control": "no-store"})


class KeyRequest(serializers.Serializer[Any]):
    name = PrintableField(max_length=80)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=[scope.value for scope in keys.ACCOUNT_KEY_SCOPES]),
        required=False,
        allow_empty=False,
        help_text="All that an account's key may have, if not given.",
    )
    expires_at = MomentField(required=False, allow_null=True, default=None)


class KeySerializer(serializers.Serializer[Any]):
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


class _SessionView(APIView):
    """What only somebody who has signed in may do: a key that leaked makes no other keys."""

    authentication_classes = [BrowserSessionAuthentication]
    permission_classes = [IsCaller]


class ApiKeysView(_SessionView):
    @extend_schema(operation_id="list_api_keys", responses=list_of(KeySerializer))
    def get(self, request: Request) -> Response:
        """Your account's keys, latest first; never their secrets."""
        account = account_of(request, now=clock.now())
        return Response(listing([key_data(key) for key in account.api_keys.order_by("-id")], ""))

    @extend_schema(operation_id="create_api_key", request=KeyRequest, responses={201: NewKeySerializer})
    def post(self, request: Request) -> Response:
        """Make a key. Its secret is in this answer and nowhere else."""
        asked, now = checked(KeyRequest, request.data), clock.now()
        if asked["expires_at"] is not None and asked["expires_at"] <= now:
            detail = "A key expires in the future."
            raise InvalidRequestError(FieldProblem(pointer="/expires_at", code="past", detail=detail))
        made = keys.create_key(
            account=account_of(request, now=now),
            name=asked["name"],
            scopes=asked.get("scopes", keys.ACCOUNT_KEY_SCOPES),
            created_by=_user(request),
            expires_at=asked["expires_at"],
            now=now,
        )
        return _new_key(made)


class ApiKeyView(_SessionView):
    @extend_schema(operation_id="revoke_api_key", responses={204: None})
    def delete(self, request: Request, key_id: str) -> Response:
        """Revoke a key: it stops working at once."""
        now = clock.now()
        keys.revoke_key(key=_own_key(request, key_id, now=now), now=now)
        return Response(status=204)


class RotateKeyView(_SessionView):
    @extend_schema(operation_id="rotate_api_key", request=None, responses={201: NewKeySerializer})
    def post(self, request: Request, key_id: str) -> Response:
        """A new key with the same rights. The old one works for another 24 hours."""
        now = clock.now()
        old = _own_key(request, key_id, now=now)
        return _new_key(keys.rotate_key(key=old, created_by=_user(request), now=now))


@csrf_exempt
@require_POST
def identity_webhook(request: HttpRequest, name: str) -> HttpResponse:
    """A provider that TOKEN_ISSUERS names tells of its users: created, changed, deleted. (Stack Auth, by Svix.)"""
    issuer, now = issuers.find(name), clock.now()
    if issuer is None or not issuer.webhook_secrets:
        return HttpResponse("nobody of this name\n", status=404, content_type="text/plain")
    try:
        if int(request.headers.get("Content-Length") or 0) > settings.WEBHOOK_MAX_BYTES:
            return HttpResponse("too large\n", status=413, content_type="text/plain")
        told_at = webhook_signatures.verify(
            secrets=issuer.webhook_secrets,
            headers=request.headers,
            body=request.body,
            tolerance_s=settings.WEBHOOK_TOLERANCE_S,
            now=now,
        )
        kind, data = _event(request.body)
    except (webhook_signatures.ForgedWebhookError, ValueError, KeyError, TypeError, RecursionError) as refusal:
        logger.warning("identity_webhook_refused", issuer=name, reason=str(refusal))
        return HttpResponse("refused\n", status=400, content_type="text/plain")
    try:
        _follow(issuer, kind, data, told_at=told_at, now=now)
    except UnauthenticatedError as refusal:
        logger.warning("identity_webhook_refused", issuer=name, reason=str(refusal))
        return HttpResponse(f"{refusal}\n", status=400, content_type="text/plain")
    return HttpResponse("heard\n", content_type="text/plain")


def key_data(key: ApiKey) -> dict[str, Any]:
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


def _own_key(request: Request, key_id: str, *, now: datetime) -> ApiKey:
    account = account_of(request, now=now)
    found = account.api_keys.filter(pk=identifier_of("key", key_id, "key")).first()
    if found is None:
        raise NotFoundError("There is no such key.")
    return found


def _user(request: Request) -> User | None:
    user = request._request.user
    return user if isinstance(user, User) else None


def _event(body: bytes) -> tuple[str, dict[str, Any]]:
    """What happened, and to which user. Raises ValueError, KeyError or TypeError for what is no such event."""
    event = json.loads(body)
    kind, data = event["type"], event["data"]
    if not isinstance(data["id"], str) or "\\u0000" in json.dumps(event):
        raise ValueError("names no user")
    return kind, data


def _follow(issuer: issuers.Issuer, kind: str, data: dict[str, Any], *, told_at: datetime, now: datetime) -> None:
    """Act on what a provider tells; other kinds of events are none of ours."""
    person = issuers.person(
        issuer,
        {
            "email": data.get("primary_email"),
            "email_verified": data.get("primary_email_verified"),
            "name": data.get("display_name"),
        },
        subject=data["id"],
    )
    if kind in ("user.created", "user.updated"):
        identities.keep_in_step(person, told_at=told_at)
    elif kind == "user.deleted":
        identities.end(person, told_at=told_at, now=now)
