"""`/auth/tokens`: short-lived tokens, made from a key."""

from datetime import timedelta

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import keys, tokens
from accounts.errors import InsufficientScopeError
from accounts.models import Scope
from api.authentication import IsCaller, account_of, caller_of
from api.fields import AccountField, checked, timestamp
from api.schema import refuses
from api.serializers import Serializer
from common import clock
from common.errors import ApiError

SCOPES = [scope.value for scope in Scope]


class TokenFromTokenError(ApiError):
    code = "token_from_token"
    title = "A token makes no token"
    status_code = 403


class TokenRequest(Serializer):
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=SCOPES),
        required=False,
        help_text="Reading only, if not given. Buying and spending are asked for by name; the key must have them.",
    )
    ttl = serializers.IntegerField(min_value=1, max_value=tokens.LONGEST_S, required=False, default=tokens.LONGEST_S)
    account = AccountField(help_text="With a service key: a token that acts for this account only, to hand to its app.")


class TokenSerializer(Serializer):
    token = serializers.CharField()
    expires_at = serializers.DateTimeField()
    scopes = serializers.ListField(child=serializers.CharField())


class TokensView(APIView):
    permission_classes = [IsCaller]

    @refuses(TokenFromTokenError)
    @extend_schema(operation_id="create_token", request=TokenRequest, responses={201: TokenSerializer})
    def post(self, request: Request) -> Response:
        """Exchange a key for a token of at most ten minutes, fit for a phone or a browser. Whoever made it, it is the
        buyer's: it reads, and it buys and spends where that was asked for."""
        fields, now, caller = checked(TokenRequest, request.data), clock.now(), caller_of(request)
        if caller.is_token:
            raise TokenFromTokenError("Make tokens with a key. A token that renews itself would never end.")
        account = account_of(request, now=now) if caller.account or fields.get("account") else None
        allowed = caller.scopes & set(keys.ACCOUNT_KEY_SCOPES)
        scopes = set(fields.get("scopes", allowed & set(keys.TOKEN_SCOPES)))
        if missing := scopes - allowed:
            raise InsufficientScopeError(
                f"This token may not have {', '.join(sorted(missing))}.", required_scope=min(missing)
            )
        created = tokens.issue(
            account_id=account.pk if account else None,
            scopes=sorted(scopes),
            actor=caller.actor,
            lasts=timedelta(seconds=fields["ttl"]),
            now=now,
        )
        shown = {"token": created.text, "expires_at": timestamp(created.expires_at), "scopes": sorted(scopes)}
        return Response(shown, status=201, headers={"Cache-Control": "no-store"})


urlpatterns = [
    path("auth/tokens", TokensView.as_view()),
]
