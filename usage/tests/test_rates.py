"""The rate card: per unit, per thousand tokens, per model, from a moment on."""

from datetime import datetime, timedelta

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.models import Account, User
from credits import ledger
from credits.models import Source
from usage import rate_card, spending
from usage.models import Feature, FeaturePrice
from usage.spending import Work
from usage.tests.rate_card import put_on_the_card

TOKENS = FeaturePrice.Basis.THOUSAND_TOKENS


def cost(now: datetime, feature: str = "chat", quantity: int | None = None, **usage: object) -> int:
    return rate_card.price(feature=feature, quantity=quantity, usage=usage, at=now).credits


def test_a_unit_has_its_price(db: None, now: datetime) -> None:
    put_on_the_card("chat", credits=4)

    assert (cost(now), cost(now, quantity=3), cost(now, quantity=3, input_tokens=9_000)) == (4, 12, 12)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 1}, 1),  # at least one
        ({"input_tokens": 1_000}, 2),
        ({"input_tokens": 1_001}, 3),  # rounded up
        ({"output_tokens": 1_000}, 10),
        ({"input_tokens": 500, "output_tokens": 100}, 2),  # 1 and 1: summed, then rounded
        ({"input_tokens": 0, "output_tokens": 0}, 1),
    ],
)
def test_tokens_are_priced_by_the_thousand(db: None, now: datetime, usage: dict[str, int], expected: int) -> None:
    put_on_the_card("chat", basis=TOKENS, credits=2, output_credits=10)

    assert cost(now, **usage) == expected


def test_a_quantity_of_tokens_is_of_the_dearer_kind(db: None, now: datetime) -> None:
    put_on_the_card("chat", basis=TOKENS, credits=2, output_credits=10)

    assert cost(now, quantity=2_000) == 20


def test_a_model_may_have_its_own_price(db: None, now: datetime) -> None:
    feature = put_on_the_card("chat", credits=1)
    FeaturePrice.objects.create(feature=feature, model="large", credits=7, effective_from=now)

    assert (cost(now, model="large"), cost(now, model="small"), cost(now)) == (7, 1, 1)


def test_price_change_takes_effect_on_time_and_not_backwards(ada_account: Account, now: datetime) -> None:
    feature = put_on_the_card("chat", credits=1)
    ledger.grant(account_id=ada_account.pk, amount=100, source=Source.BONUS, source_key="t", now=now)
    change = now + timedelta(hours=1)
    work = {"account": ada_account, "work": Work(feature="chat"), "actor": ""}
    before = spending.spend(**work, idempotency_key="before", now=now)

    rate_card.set_price(feature=feature, credits=5, effective_from=change, now=now)

    assert cost(change - timedelta(microseconds=1)) == 1
    assert cost(change) == 5
    again = spending.spend(**work, idempotency_key="before", now=change)
    assert (again.amount, again.is_replayed, before.amount) == (-1, True, -1)


def test_a_price_cannot_change_before_every_process_has_read_it(db: None, now: datetime) -> None:
    feature = put_on_the_card("chat", credits=1)

    with pytest.raises(rate_card.TooSoonError):
        rate_card.set_price(feature=feature, credits=5, effective_from=now + timedelta(seconds=59), now=now)


def test_the_card_is_read_once_and_anew_for_what_is_not_on_it(
    db: None, now: datetime, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    put_on_the_card("chat", credits=1)
    cost(now)
    with django_assert_num_queries(0):
        cost(now)
    other = Feature.objects.create(code="image", name="Image")
    FeaturePrice.objects.create(feature=other, credits=3, effective_from=now)

    with django_assert_num_queries(1):
        assert cost(now, "image") == 3


def test_retired_feature_is_unknown_but_holds_keep_its_price(ada_account: Account, now: datetime) -> None:
    feature = put_on_the_card("chat", basis=TOKENS, credits=1)
    ledger.grant(account_id=ada_account.pk, amount=100, source=Source.BONUS, source_key="t", now=now)
    on_hold = spending.hold(
        account=ada_account,
        work=Work(feature="chat", quantity=10_000),
        idempotency_key="h",
        expires_at=now + timedelta(minutes=5),
        actor="",
        now=now,
    )
    Feature.objects.update(is_active=False)
    rate_card.set_price(feature=feature, credits=50, effective_from=now + timedelta(minutes=1), now=now)

    with pytest.raises(rate_card.UnknownFeatureError):
        cost(now)
    result = spending.capture(
        account=ada_account, hold_id=on_hold.hold_id, quantity=2_500, actor="", now=now + timedelta(minutes=2)
    )
    assert (on_hold.amount, result.captured, result.quantity) == (10, 3, 2_500)


def test_an_operator_adds_a_price_and_cannot_change_one(client: Client, admin_user: User, present: datetime) -> None:
    feature = put_on_the_card("chat", credits=1)
    client.force_login(admin_user)
    address = f"/admin/usage/feature/{feature.pk}/change/"

    def add(begins: datetime) -> int:
        form = {"code": "chat", "name": "Chat", "unit": "message", "is_active": "on"}
        inline = {"prices-TOTAL_FORMS": 1, "prices-INITIAL_FORMS": 0, "prices-0-credits": 3, "prices-0-basis": "unit"}
        moment = {"prices-0-effective_from_0": f"{begins:%Y-%m-%d}", "prices-0-effective_from_1": f"{begins:%H:%M:%S}"}
        return client.post(address, form | inline | moment | {"prices-0-feature": feature.pk}).status_code

    assert add(present) == 200  # shown again: too soon
    assert add(present + timedelta(days=1)) == 302
    assert (cost(present), cost(present + timedelta(days=2))) == (1, 3)
    assert "1 Per unit" in client.get("/admin/usage/feature/").content.decode()
