"""Usage in slots: whatever is rolled up, and up to where, the sums stay those of the ledger."""

import random
import uuid
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from accounts.models import Account
from credits import ledger
from credits.calendar import first_instant
from credits.models import Source, Transaction
from tests.threads import together
from usage import rollup, usage_summary
from usage.models import UsageMark, UsageSlot

ZONES = ["Europe/Amsterdam", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]
GROUPS = [(), ("day",), ("feature",), ("key",), ("model",), ("day", "feature", "key", "model")]
FIRST, LAST = date(2026, 10, 20), date(2026, 11, 10)  # both sides of two changes of the clock


@pytest.fixture
def busy(ada_account: Account) -> Account:
    """Three weeks of spends, some given back later, in whole or in part."""
    dice, start = random.Random(7), datetime(2026, 10, 20, tzinfo=UTC)
    ledger.grant(account_id=ada_account.pk, amount=10_000, source=Source.PURCHASE, source_key="t", now=start)
    moment = start
    for number in range(240):
        moment += timedelta(minutes=dice.randrange(5, 240))
        usage = {"model": dice.choice(["small", "large"]), "input_tokens": dice.randrange(900)}
        spent = ledger.spend(
            account_id=ada_account.pk,
            amount=dice.randrange(1, 9),
            idempotency_key=f"k{number}",
            feature=dice.choice(["chat", "image", ""]),
            quantity=dice.choice([None, 1, 3]),
            actor=dice.choice(["key_a", "user:1"]),
            usage=dice.choice([None, usage]),
            now=moment,
        )
        if dice.random() < 0.2:
            ledger.reverse(
                account_id=ada_account.pk, transaction_id=spent.transaction_id, amount=1, idempotency_key=f"b{number}",
                reason="", now=moment + timedelta(days=dice.randrange(5)),
            )  # fmt: skip
    return ada_account


def summaries(account: Account, zone: str) -> list[list[usage_summary.UsageTotals]]:
    period = {"since": first_instant(FIRST, zone), "until": first_instant(LAST, zone)}
    return [usage_summary.summarize(account_id=account.pk, zone=zone, group_by=groups, **period) for groups in GROUPS]


@pytest.mark.parametrize("zone", ZONES)
def test_sums_are_the_same_rolled_up_to_anywhere(busy: Account, zone: str) -> None:
    Account.objects.filter(pk=busy.pk).update(time_zone=zone)
    before = summaries(busy, zone)
    identifiers = list(Transaction.objects.order_by("id").values_list("id", flat=True))
    assert before[0][0].credits == -sum(
        row.amount
        for row in Transaction.objects.filter(kind="spend")
        if FIRST <= row.created_at.astimezone(ZoneInfo(zone)).date() < LAST
    )

    for upto in (identifiers[10], identifiers[150], identifiers[151], identifiers[-1]):
        assert rollup.roll_up(busy.pk, upto=upto)
        assert summaries(busy, zone) == before
    assert not rollup.roll_up(busy.pk, upto=identifiers[-1])
    mark = UsageMark.objects.get()
    assert mark.rolled_to == identifiers[-1]
    assert mark.minute == {"Asia/Kathmandu": 15}.get(zone, mark.minute)


def test_a_period_that_cuts_a_slot_is_summed_from_the_ledger(busy: Account) -> None:
    moment = Transaction.objects.filter(kind="spend").order_by("id")[100].created_at + timedelta(seconds=1)
    fields = {"account_id": busy.pk, "since": moment, "until": moment + timedelta(days=3), "zone": "UTC"}
    before = usage_summary.summarize(**fields)

    rollup.roll_up(busy.pk, upto=Transaction.objects.latest("id").id)

    assert usage_summary.summarize(**fields) == before


def test_who_moves_to_a_zone_of_other_minutes_is_summed_anew(busy: Account) -> None:
    before = {zone: summaries(busy, zone) for zone in ("Europe/Amsterdam", "Asia/Kolkata")}
    last = Transaction.objects.latest("id").id
    rollup.roll_up(busy.pk, upto=last)
    assert {zone: summaries(busy, zone) for zone in before} == before

    Account.objects.filter(pk=busy.pk).update(time_zone="Asia/Kolkata")
    rollup.roll_up(busy.pk, upto=last)

    assert UsageMark.objects.get().minute == 30
    assert {zone: summaries(busy, zone) for zone in before} == before


def test_batches_add_up(busy: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    before = summaries(busy, "UTC")
    monkeypatch.setattr(rollup, "BATCH", 17)

    rollup.roll_up(busy.pk, upto=Transaction.objects.latest("id").id)

    assert summaries(busy, "UTC") == before


def test_what_is_new_waits_until_nothing_older_can_come(busy: Account, now: datetime) -> None:
    assert not rollup.roll_up(busy.pk, upto=rollup.settled_until())
    assert not UsageSlot.objects.exists()


def test_the_job_rolls_up_who_was_here_lately(busy: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollup, "settled_until", lambda: uuid.UUID(int=(1 << 128) - 1))
    last = Transaction.objects.filter(kind="spend").latest("created_at").created_at

    assert rollup.roll_up_usage(now=last + timedelta(days=30)) == 0
    assert rollup.roll_up_usage(now=last) == 1
    assert rollup.roll_up_usage(now=last) == 0
    assert UsageSlot.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_workers_roll_up_each_row_once(busy: Account) -> None:
    before = summaries(busy, "UTC")
    last = Transaction.objects.latest("id").id

    together(4, lambda _: rollup.roll_up(busy.pk, upto=last))

    assert summaries(busy, "UTC") == before
