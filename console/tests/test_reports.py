"""The dashboard's numbers are those of the ledger, to the cent; what if, and the planning table."""

import csv
import io
import os
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client

from accounts.models import Account, User
from billing.tests.conftest import Shop, customer, shop
from common.public_ids import new_id
from console import reports
from console.models import AlertThreshold
from credits import ledger
from credits.models import Entry, Grant, Source, Transaction
from sandbox.local_stripe import declines
from usage import simulation
from usage.simulation import Assumptions

__all__ = ["customer", "shop"]

# At length: REPORT_ROWS=100000, as nightly.
ROWS = int(os.environ.get("REPORT_ROWS", "4000"))
START = datetime(2026, 9, 1, tzinfo=UTC)
DAYS = 90
Kind = Transaction.Kind
Row = tuple[Transaction, Entry, Grant]


@pytest.fixture
def history(db: None) -> list[Row]:
    """Generated entries: grants at odd prices, spent, given back, expired, revoked; in two currencies."""
    dice = random.Random(42)
    accounts = Account.objects.bulk_create(Account(name=f"a{number}") for number in range(50))
    grants, rows = [], []
    latest: dict[Any, datetime] = {}
    for number in range(max(20, ROWS // 40)):
        source = dice.choice([Source.PURCHASE, Source.PLAN, Source.FREE, Source.BONUS])
        is_paid = source in (Source.PURCHASE, Source.PLAN)
        amount = dice.choice([7, 20, 33, 100, 1000])
        grant = Grant(
            account=dice.choice(accounts), source=source, source_key=f"g{number}", amount=amount, remaining=amount,
            priority=1, effective_at=START + timedelta(hours=dice.randrange(24 * DAYS)),
            paid_minor=dice.choice([499, 1000, 1999]) if is_paid else 0,
            currency=dice.choice(["eur", "usd"]) if is_paid else "",
        )  # fmt: skip
        grants.append(grant)
        rows.append(_row(grant, Kind.GRANT, amount, grant.effective_at))
    while len(rows) < ROWS:
        grant = dice.choice(grants)
        at = latest[grant.pk] = latest.get(grant.pk, grant.effective_at) + timedelta(hours=dice.randrange(1, 48))
        kind = dice.choices([Kind.SPEND, Kind.REVERSE, Kind.EXPIRE, Kind.REVOKE, Kind.ADJUST], [90, 4, 2, 2, 2])[0]
        if kind == Kind.REVERSE:
            spent = -sum(entry.amount for other, entry, of in rows[-400:] if of is grant and other.kind == Kind.SPEND)
            if not spent or grant.remaining == grant.amount:
                continue
            amount = 1
        else:
            amount = -min(grant.remaining, dice.randrange(1, 9) if kind == Kind.SPEND else 3)
        if amount:
            grant.remaining += amount
            rows.append(
                _row(grant, kind, amount, at, cost=dice.randrange(40_000), feature=dice.choice(["chat", "image"]))
            )
        elif all(row.remaining == 0 for row in grants):
            break
    Grant.objects.bulk_create(grants, batch_size=2_000)
    Transaction.objects.bulk_create([row for row, _, _ in rows], batch_size=2_000)
    Entry.objects.bulk_create([entry for _, entry, _ in rows], batch_size=2_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE credits_grant, credits_transaction, credits_entry")  # as autovacuum does
    return rows


def _row(
    grant: Grant, kind: Kind, amount: int, at: datetime, *, cost: int = 0, feature: str = ""
) -> tuple[Transaction, Entry, Grant]:
    is_use = kind in (Kind.SPEND, Kind.REVERSE)
    moved = Transaction(
        id=new_id(), account_id=grant.account_id, kind=kind, amount=amount, balance_after=0, created_at=at,
        feature=feature if is_use else "", usage={"provider_cost_micros": cost} if kind == Kind.SPEND else None,
    )  # fmt: skip
    return moved, Entry(transaction=moved, grant=grant, account_id=grant.account_id, amount=amount), grant


PERIODS = [(0, 30), (30, 61), (61, 150), (0, 150), (10, 11)]


def test_revenue_and_what_is_owed_are_the_ledger_s_to_the_cent(history: list[Row]) -> None:
    def recognised_by(moment: datetime) -> dict[str, tuple[int, int, int]]:
        used: dict[Any, int] = defaultdict(int)
        taken: dict[Any, int] = defaultdict(int)
        for moved, entry, grant in history:
            if moved.created_at < moment and moved.kind != Kind.GRANT:
                (taken if moved.kind == Kind.REVOKE else used)[grant.pk] -= entry.amount
        sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for grant in {id(grant): grant for _, _, grant in history}.values():
            if grant.paid_minor and grant.effective_at < moment:
                gone = used[grant.pk] + taken[grant.pk]
                row = sums[grant.currency]
                # Taken back without any money: earned as well.
                row[0] += grant.paid_minor * gone // grant.amount
                row[1] += grant.paid_minor - grant.paid_minor * gone // grant.amount
                row[2] += grant.amount - gone
        return {currency: (a, b, c) for currency, (a, b, c) in sums.items()}

    for period in PERIODS:
        since, until = (START + timedelta(days=days) for days in period)
        before, after = recognised_by(since), recognised_by(until)
        expected = {
            currency: (earned - before.get(currency, (0, 0, 0))[0], owed, credits)
            for currency, (earned, owed, credits) in after.items()
        }
        result = reports.revenue(since=since, until=until)
        assert {row.currency: (row.recognised, row.owed, row.owed_credits) for row in result} == expected, period


def test_periods_add_up_to_the_whole(history: list[Any]) -> None:
    edges = [START + timedelta(days=days) for days in range(0, 160, 10)]

    parts: dict[str, int] = defaultdict(int)
    for since, until in pairwise(edges):
        for row in reports.revenue(since=since, until=until):
            parts[row.currency] += row.recognised
    whole = {row.currency: row.recognised for row in reports.revenue(since=edges[0], until=edges[-1])}

    assert dict(parts) == whole


def test_credits_features_and_days_are_the_entries_sums(history: list[Row]) -> None:
    for period in PERIODS:
        _compare(history, *(START + timedelta(days=days) for days in period))


def _compare(history: list[Row], since: datetime, until: datetime) -> None:
    inside = [row for row in history if since <= row[0].created_at < until]

    def total(*kinds: Kind, sold: bool | None = None) -> int:
        return sum(
            entry.amount
            for moved, entry, grant in inside
            if moved.kind in kinds and (sold is None or (grant.source in ("purchase", "plan")) == sold)
        )

    moved = reports.credits_moved(since=since, until=until)
    days = reports.by_day(since=since, until=until, zone="UTC")
    margins = reports.margins(since=since, until=until)

    assert moved == {
        "sold": total(Kind.GRANT, sold=True),
        "granted": total(Kind.GRANT, sold=False),
        "spent": -total(Kind.SPEND, Kind.REVERSE),
        "expired": -total(Kind.EXPIRE),
        "taken_back": -total(Kind.REVOKE, Kind.ADJUST),
    }
    for name, other in (("sold", "sold"), ("given", "granted"), ("spent", "spent"), ("expired", "expired")):
        assert sum(day[name] for day in days) == moved[other]
    for margin in margins:
        uses = [row for row in inside if row[0].kind in (Kind.SPEND, Kind.REVERSE) and row[0].feature == margin.feature]
        assert margin.credits == -sum(entry.amount for _, entry, _ in uses)
        assert margin.cost_micros == sum((use.usage or {}).get("provider_cost_micros", 0) for use, _, _ in uses)
        exact = [-entry.amount * grant.paid_minor * 10_000 for _, entry, grant in uses]
        worth = sum(
            abs(part) // grant.amount * (1 if part > 0 else -1) for part, (_, _, grant) in zip(exact, uses, strict=True)
        )
        assert margin.revenue_micros == worth


def test_plans_payments_and_top_customers(shop: Shop, customer: Account, present: datetime) -> None:
    shop.pay(shop.checkout(customer, item="pro"))
    shop.pay(shop.checkout(customer, item="credits-50", key="k2"))
    shop.deliver()
    fields = {"since": present - timedelta(days=1), "until": present + timedelta(days=1)}

    (plan,) = reports.plans(**fields)
    paid = reports.payments(**fields)
    ((best, row),) = reports.top_customers(**fields)

    assert (plan["mrr"], plan["net_new"], plan["payers"], plan["arpu"]) == (2000, 2000, 1, 2000)
    assert paid["orders"] == [{"currency": "eur", "orders": 2, "paid": 3000, "refunded": 0}]
    assert (best, row["paid"], row["credits"]) == (customer, 3000, 150)
    shop.advance(days=2)
    later = {"since": present + timedelta(days=1), "until": present + timedelta(days=3)}
    (plan,) = reports.plans(**later)
    assert (plan["mrr"], plan["fresh"]) == (2000, 0)


def test_failed_payments_and_their_recovery(shop: Shop, customer: Account, present: datetime) -> None:

    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    (row,) = shop.stripe.store.all("subscription")
    declines.set_declines(shop.stripe, row["customer"], is_on=True)
    shop.advance(days=32)
    shop.deliver()
    fields = {"since": present, "until": present + timedelta(days=90)}
    assert (reports.payments(**fields)["failed"], reports.payments(**fields)["recovered"]) == (1, 0)
    (plan,) = reports.plans(**fields)
    assert (plan["mrr"], plan["payers"]) == (0, 0)  # what is not paid is no revenue

    declines.set_declines(shop.stripe, row["customer"], is_on=False)
    shop.advance(days=4)
    shop.deliver()

    result = reports.payments(**fields)
    assert (result["failed"], result["recovered"], result["recovery_percent"]) == (1, 1, 100)
    assert reports.plans(**fields)[0]["mrr"] == 2000


def test_oddities_are_found(db: None, present: datetime) -> None:
    from allauth.usersessions.models import UserSession

    calm, wild = (Account.objects.create(name=name) for name in ("Calm", "Wild"))
    for account in (calm, wild):
        ledger.grant(
            account_id=account.pk,
            amount=5_000,
            source=Source.PURCHASE,
            source_key="t",
            now=present - timedelta(days=20),
        )
        for day in range(2, 12):
            ledger.spend(account_id=account.pk, amount=20, idempotency_key=f"d{day}", now=present - timedelta(days=day))
    ledger.spend(account_id=wild.pk, amount=900, idempotency_key="now", now=present - timedelta(hours=2))
    ledger.spend(account_id=calm.pk, amount=30, idempotency_key="now", now=present - timedelta(hours=2))
    for number in range(6):
        user = User.objects.create_user(f"farm+{number}@example.com")
        UserSession.objects.create(
            user=user, ip="203.0.113.9", user_agent="X", session_key=f"s{number}", created_at=present
        )

    result = list(reports.oddities(now=present, factor=10, least=500))

    assert [(row.kind, row.what) for row in result if row.kind == "spike"] == [("spike", "Wild")]
    assert {row.kind: row.what for row in result if row.kind != "spike"} == {
        "address": "203.0.113.9", "device": "203.0.113.9 X", "mailbox": "farm@example.com",
    }  # fmt: skip


def test_the_dashboard_and_its_file_show_what_the_reports_say(
    client: Client, history: list[Any], shop: Shop, settings: Any
) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "report"}}
    cache.clear()
    client.force_login(User.objects.create_superuser("op@example.com"))

    page = client.get("/admin/", {"days": "365"}).content.decode()
    answer = client.get("/admin/report.csv", {"days": "365"})

    lines = list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))
    spent = next(line[2] for line in lines if line[:2] == ["credits", "spent"])
    assert f"<strong>{spent}</strong>" in page
    assert {line[0] for line in lines} >= {"revenue", "webhooks", "feature chat"}


def test_who_sees_no_reports_sees_the_rest(client: Client, db: None) -> None:
    client.force_login(User.objects.create_user("s@example.com", is_staff=True))

    assert "Revenue recognised" not in client.get("/admin/").content.decode()
    assert client.get("/admin/report.csv").status_code == 403
    assert client.get("/admin/simulator/").status_code == 403


@pytest.mark.parametrize(
    ("users", "requests", "cost", "packs", "revenue"),
    [(100, 2_700, 40, 5, 25), (200, 5_400, 81, 10, 50), (500, 13_500, 202, 25, 125), (1_000, 27_000, 405, 50, 250),
     (2_000, 54_000, 810, 100, 500)],
)  # fmt: skip
def test_the_planning_table(users: int, requests: int, cost: int, packs: int, revenue: int) -> None:
    result = simulation.simulate(Assumptions(users=users))

    assert (result.requests, result.packs) == (requests, packs)
    assert (result.cost_micros // simulation.MICROS, result.revenue_micros // simulation.MICROS) == (cost, revenue)


def test_bought_credits_serve_what_free_ones_do_not() -> None:
    result = simulation.simulate(Assumptions(users=100, requests_a_day=5, buying_per_mille=500))

    assert result.free_requests == 900 * 3
    assert result.paid_requests == 50 * 20
    assert result.unserved_requests == 900 * 5 - 900 * 3 - 50 * 20
    assert result.margin_micros == result.revenue_micros - result.fees_micros - result.cost_micros


def test_the_simulator_says_what_another_allowance_had_cost(
    client: Client, customer: Account, present: datetime
) -> None:
    client.force_login(User.objects.create_superuser("op@example.com"))
    for number in range(3):
        usage = {"provider_cost_micros": 15_000}
        ledger.spend(account_id=customer.pk, amount=1, idempotency_key=f"k{number}", usage=usage, now=present)

    page = client.get("/admin/simulator/", {"what_if": "2"})
    result = reports.what_if(since=present - timedelta(days=1), until=present + timedelta(days=1), free_a_day=2)

    assert (result.spent, result.free_spent, result.free_then, result.short_days) == (3, 3, 2, 1)
    assert (result.free_cost_micros, result.free_cost_then_micros) == (45_000, 30_000)
    assert page.status_code == 200
    assert client.get("/admin/simulator/", {"active": "x"}).status_code == 200


def test_thresholds_have_one_row(db: None) -> None:
    AlertThreshold.objects.create()

    assert AlertThreshold.objects.count() == 1
