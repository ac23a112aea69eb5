"""The operator's console: every page opens, nobody sees or does more than their role, the ledger stays as it is."""

import re
from datetime import datetime

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from accounts import keys
from accounts.models import Account, ApiKey, User
from billing.models import InboxEvent, Order
from billing.tests.conftest import Shop
from common import clock
from console.djstripe_admin import SAFE_ACTIONS
from credits.models import Transaction


@pytest.fixture
def busy(shop: Shop, customer: Account) -> Account:
    """A customer who bought, subscribed and spent."""
    shop.pay(shop.checkout(customer, key="pack"))
    shop.pay(shop.checkout(customer, item="pro", key="plan"))
    shop.deliver()
    keys.create_key(account=customer, name="App", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=None, now=clock.now())
    return customer


def test_every_page_of_the_console_opens_for_an_operator(client: Client, operator: User, busy: Account) -> None:
    client.force_login(operator)
    for model, model_admin in admin.site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        assert client.get(reverse(f"{name}_changelist")).status_code == 200, name
        assert client.get(reverse(f"{name}_changelist"), {"q": "x"}).status_code == 200, name
        row = model_admin.model._default_manager.first()
        if row is not None:
            assert client.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200, name


def test_a_customer_sees_nothing_of_the_console(client: Client, ada: User) -> None:
    client.force_login(ada)

    answer = client.get(reverse("admin:index"))

    assert answer.status_code in (302, 403)
    assert b"Operator console" not in answer.content


def test_support_looks_and_does_not_touch(client: Client, support: User, busy: Account) -> None:
    client.force_login(support)
    for label, kinds in {
        "accounts": ["account", "user", "apikey"],
        "credits": ["transaction", "grant", "allowance"],
        "billing": ["plan", "pack", "order", "subscription", "inboxevent"],
        "usage": ["feature"],
    }.items():
        for kind in kinds:
            name = f"admin:{label}_{kind}"
            assert client.get(reverse(f"{name}_changelist")).status_code == 200, name
            assert client.get(reverse(f"{name}_add")).status_code == 403, name
            row = apps.get_model(label, kind)._default_manager.first()
            if row is not None:
                assert client.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200, name
                assert client.post(reverse(f"{name}_change", args=[row.pk]), {}).status_code == 403, name
                assert client.post(reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403, name


def test_support_makes_nobody_an_operator(client: Client, support: User) -> None:
    client.force_login(support)

    answer = client.post(
        reverse("admin:accounts_user_change", args=[support.pk]), {"email": support.email, "is_superuser": "on"}
    )

    support.refresh_from_db()
    assert (answer.status_code, support.is_superuser) == (403, False)


@pytest.mark.parametrize("kind", ["transaction", "grant", "allowance"])
def test_even_an_operator_does_not_edit_the_ledger(client: Client, operator: User, busy: Account, kind: str) -> None:
    client.force_login(operator)
    row = apps.get_model("credits", kind).objects.first()

    for page in ("change", "delete"):
        address = reverse(f"admin:credits_{kind}_{page}", args=[row.pk])
        assert client.post(address, {"amount": 10_000, "post": "yes"}).status_code == 403
    assert client.get(reverse(f"admin:credits_{kind}_add")).status_code == 403


def test_djstripe_actions_need_a_permission(client: Client, support: User) -> None:
    client.force_login(support)
    models = [model for model in admin.site._registry if model._meta.app_label == "djstripe"]
    assert len(models) > 30

    for model in models:
        name = model._meta.model_name
        for action in (*SAFE_ACTIONS, "_cancel", "_release_subscription_schedule", "delete_selected"):
            address = f"/admin/djstripe/{name}/action/{action}/{name}/"
            assert client.get(address).status_code == 403, address
            assert client.post(address, {"_selected_action": ["1"]}).status_code == 403, address


def test_a_permission_opens_safe_actions_of_its_own_model_only(client: Client, support: User) -> None:
    support.user_permissions.add(Permission.objects.get(codename="change_customer", content_type__app_label="djstripe"))
    client.force_login(support)

    def opens(model: str, action: str, about: str) -> int:
        return client.get(f"/admin/djstripe/{model}/action/{action}/{about}/?_selected_action=1").status_code

    assert opens("customer", "_resync_instances", "customer") != 403
    assert opens("customer", "_resync_instances", "invoice") == 403
    assert opens("customer", "_cancel", "customer") == 403
    assert opens("invoice", "_resync_instances", "invoice") == 403


def test_stripe_s_secret_key_is_shown_to_nobody(client: Client, operator: User) -> None:
    client.force_login(operator)

    assert client.get("/admin/djstripe/apikey/").status_code == 404


def test_a_customer_is_found_by_everything_that_names_them(client: Client, operator: User, busy: Account) -> None:
    client.force_login(operator)
    key = ApiKey.objects.get(account=busy)
    customer_id = Order.objects.select_related("account").first()
    assert customer_id is not None
    stripe_customer = InboxEvent.objects.exclude(customer_id="").values_list("customer_id", flat=True)[0]

    for term in (busy.email, busy.public_id, stripe_customer, key.prefix):
        page = client.get(reverse("admin:accounts_account_changelist"), {"q": term})
        assert busy.public_id in page.content.decode(), term


def test_ledger_lists_have_constant_query_counts(
    client: Client, operator: User, busy: Account, present: datetime, django_assert_max_num_queries: object
) -> None:
    from credits import ledger

    client.force_login(operator)
    address = reverse("admin:credits_transaction_changelist")
    client.get(address)
    for number in range(30):
        ledger.spend(account_id=busy.pk, amount=1, idempotency_key=f"k{number}", now=present)

    with django_assert_max_num_queries(12):  # type: ignore[operator]
        client.get(address)
    assert Transaction.objects.count() > 30


def test_a_webhook_is_replayed_from_its_own_page(client: Client, operator: User, busy: Account) -> None:
    client.force_login(operator)
    event = InboxEvent.objects.filter(type="checkout.session.completed").first()
    assert event
    page = client.get(f"/admin/billing/inboxevent/{event.pk}/change/").content.decode()
    (address,) = set(re.findall(rf'href="([^"]*{event.pk}/replay[^"]*)"', page))

    asked = client.get(address)
    InboxEvent.objects.filter(pk=event.pk).update(state="dead")
    answer = client.post(address, follow=True)

    assert asked.status_code == 200
    assert f"{event.event_id}: Done." in answer.content.decode()
    assert InboxEvent.objects.get(pk=event.pk).state == "processed"


def test_a_replayed_webhook_says_how_it_went(client: Client, operator: User, busy: Account) -> None:
    client.force_login(operator)
    event = InboxEvent.objects.filter(type="checkout.session.completed").first()
    assert event is not None

    page = client.post(
        reverse("admin:billing_inboxevent_changelist"),
        {"action": "replay", "_selected_action": [event.pk]},
        follow=True,
    )

    assert page.status_code == 200
    event.refresh_from_db()
    assert (event.state, event.attempts) == ("processed", 1)


def test_revoking_keys_stops_them_and_leaves_a_record(client: Client, operator: User, busy: Account) -> None:
    client.force_login(operator)
    key = ApiKey.objects.get(account=busy)

    client.post(reverse("admin:accounts_apikey_changelist"), {"action": "revoke", "_selected_action": [str(key.pk)]})

    key.refresh_from_db()
    assert key.is_revoked
    assert admin.models.LogEntry.objects.filter(object_id=str(key.pk)).exists()
