"""The addresses of the apps that this replaces, answered by the same views. No logic: other names for what there is.

`API_COMPAT_PATHS` switches them off. Each answer names its successor (`Link: rel="successor-version"`).
"""

from typing import Any, ClassVar, cast

from django.conf import settings
from django.urls import path
from django.utils.crypto import constant_time_compare
from drf_spectacular.utils import extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.keys import SERVICE_KEY_SCOPES
from api.authentication import Caller
from billing.api import catalogue, portal_sessions, provider_webhooks
from billing.api import checkouts as billing_api
from billing.catalogue import price_list
from billing.errors import PriceNotSellableError
from common.errors import FieldProblem, InvalidRequestError
from common.json_types import JsonObject
from common.public_ids import new_id
from credits.api import balance as credits_api
from credits.api import grants
from usage.api import checks
from usage.api import spends as usage_api

Body = JsonObject

KEY_HEADER = "HTTP_IDEMPOTENCY_KEY"


class AdminKey(BaseAuthentication):
    """`x-admin-key`, as the replaced apps send it: a service key, where `ADMIN_API_KEY` is set."""

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        sent = request.headers.get("x-admin-key", "")
        if not settings.ADMIN_API_KEY or not constant_time_compare(sent, settings.ADMIN_API_KEY):
            return None
        return Caller(account=None, scopes=frozenset(SERVICE_KEY_SCOPES), actor="admin-key"), None


class Compat:
    """Takes a request of the old kind, has the view answer it, and adds what the old answer had."""

    successor: ClassVar[str]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Once it is known who asks, and that they may: read the body, and name things as the view does."""
        super().initial(request, *args, **kwargs)  # type: ignore[misc]  # a mixin of views
        # A call without a key of its own gets one: sending it again is then another call.
        request.META.setdefault(KEY_HEADER, f"made-{new_id()}")
        body = request.data
        if not isinstance(body, dict):
            return  # refused by the view, as everywhere
        if key := body.get("idempotencyKey"):
            request.META[KEY_HEADER] = str(key)
        if request.method == "POST":
            request._full_data = self.mapped(dict(body))  # type: ignore[attr-defined]  # DRF's own

    def mapped(self, body: Body) -> Body:
        """The body as the view wants it."""
        return _only(body, "account", "amount", "feature", "description")

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        if response.status_code < 400 and isinstance(response.data, dict):  # noqa: PLR2004 - HTTP
            response.data = {**response.data, **self.added(response.data)}
        response["Link"] = f'<{settings.BASE_URL}/api/v1/{self.successor}>; rel="successor-version"'
        response["Deprecation"] = "true"
        answer: Response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]  # a mixin of views
        return answer

    def added(self, data: Body) -> Body:
        """What the old answer had beside the new one."""
        return {}


@extend_schema(exclude=True)
class Balance(Compat, credits_api.BalanceView):
    successor = "credits/balance"

    def added(self, data: Body) -> Body:
        today = data.get("free_today") or {}
        return {
            "credits": data["available"],
            "free_used_today": today.get("used", 0),
            "free_remaining": today.get("remaining", 0),
        }


@extend_schema(exclude=True)
class Check(Compat, checks.CheckView):
    successor = "credits/check"

    def get(self, request: Request) -> Response:
        """As a POST without a body."""
        request._full_data = {"amount": 1}  # type: ignore[attr-defined]  # DRF's own
        return self.post(request)

    def added(self, data: Body) -> Body:
        return {"hasCredits": data["allowed"], "credits": data["available"]}


@extend_schema(exclude=True)
class Spend(Compat, usage_api.SpendView):
    successor = "credits/spend"

    def mapped(self, body: Body) -> Body:
        result = super().mapped(body)
        return result if "feature" in result else {"amount": 1, **result}

    def added(self, data: Body) -> Body:
        return {"success": True, "credits_remaining": data["balance_after"]}


@extend_schema(exclude=True)
class UseOne(Spend):
    """One credit, whatever the body says: a customer does not say what something costs."""

    def mapped(self, body: Body) -> Body:
        return {**_only(body, "account", "description"), "amount": 1}


@extend_schema(exclude=True)
class Grant(Compat, grants.GrantsView):
    successor = "credits/grants"
    authentication_classes = [AdminKey, *grants.GrantsView.authentication_classes]

    def mapped(self, body: Body) -> Body:
        result = _only(body, "account", "amount", "reason", "kind")
        if "userId" in body and "account" not in result:
            result["account"] = f"ext:{body['userId']}"
        return {"reason": "Granted", **result}

    def added(self, data: Body) -> Body:
        return {"success": True, "credits": data["balance_after"]}


class _Checkout(Compat, billing_api.CheckoutsView):
    successor = "billing/checkouts"
    ui: ClassVar[str]

    def mapped(self, body: Body) -> Body:
        """The item by any of its old names; what else the body says of it is for `post` to compare."""
        named = body.get("item") or body.get("pack") or body.get("plan") or body.get("packId") or body.get("planId")
        if not isinstance(named, str):
            named = ""
        fields = _only(body, "account", "interval", "quantity", "currency")
        return {
            **fields,
            "item": named,
            "ui": self.ui,
            "_said": {name: body.get(name) for name in ("amount", "credits")},
        }

    def post(self, request: Request) -> Response:
        fields = cast(Body, request.data)
        said = fields.pop("_said")
        if not fields["item"]:
            raise InvalidRequestError(FieldProblem(pointer="/item", code="required", detail="Name a pack or a plan."))
        price = price_list.find_price(item=fields["item"], interval=str(fields.get("interval") or ""))
        gives = price.pack.credits if price.pack else price.plan.monthly_credits if price.plan else 0
        for name, own in (("amount", price.amount_minor), ("credits", gives)):
            if said[name] is not None and said[name] != own:
                raise PriceNotSellableError(f"{name} is not {said[name]!r} for {fields['item']}: it is {own}.")
        return super().post(request)

    def added(self, data: Body) -> Body:
        return {"sessionId": data["session_id"], "clientSecret": data.get("client_secret")}


@extend_schema(exclude=True)
class CheckoutPage(_Checkout):
    ui = "redirect"


@extend_schema(exclude=True)
class CheckoutCode(_Checkout):
    ui = "qr"


@extend_schema(exclude=True)
class CheckoutForm(_Checkout):
    ui = "elements"


@extend_schema(exclude=True)
class PortalLink(Compat, portal_sessions.PortalSessionsView):
    successor = "billing/portal-sessions"

    def get(self, request: Request) -> Response:
        """JSON with the address, no redirect."""
        return self.post(request)


@extend_schema(exclude=True)
class SyncPrices(Compat, catalogue.SyncPricesView):
    successor = "billing/sync-prices"
    authentication_classes = [AdminKey, *catalogue.SyncPricesView.authentication_classes]


def _only(body: Body, *names: str) -> Body:
    return {name: body[name] for name in names if name in body}


urlpatterns = [
    path("credits/balance", Balance.as_view()),
    path("credits/status", Balance.as_view()),
    path("credits/check", Check.as_view()),
    path("credits/use", UseOne.as_view()),
    path("credits/deduct", UseOne.as_view()),
    path("example/use-credits", UseOne.as_view()),
    path("credits/spend", Spend.as_view()),
    path("credits/grant", Grant.as_view()),
    path("credits/add", Grant.as_view()),
    path("billing/checkout-session", CheckoutPage.as_view()),
    path("billing/checkout", CheckoutPage.as_view()),
    path("billing/portal-link", PortalLink.as_view()),
    path("billing/sync-prices", SyncPrices.as_view()),
    path("payments/create", CheckoutCode.as_view()),
    path("payments/create-intent", CheckoutForm.as_view()),
    path("billing/webhook", provider_webhooks.stripe_webhook),
    path("payments/webhook", provider_webhooks.stripe_webhook),
]
