"""`make stripe-check`, against the local Stripe: the same code, at another address."""

import subprocess
import sys
from typing import Any

import pytest
import stripe

from config import guards
from sandbox.local_stripe.core import LocalStripe
from sandbox.stripe_check import rounds, stories
from sandbox.stripe_check.recording import Record, differences


def quiet(_line: str) -> None:
    pass


def test_every_story_goes_as_told_and_leaves_nothing_behind(local_stripe: LocalStripe, db: None) -> None:
    record, said = Record(), []

    rounds.play(record, is_local=True, say=said.append)

    assert (record.failures, len(said)) == ([], len(stories.STORIES))
    assert {"subscription", "invoice", "charge", "checkout.session", "customer"} <= record.shapes.keys()
    assert {"invoice.created", "invoice.paid"} <= set(record.events["a_plan_renews_goes_up_and_down_and_stops"])
    assert all(row.get("deleted") for row in local_stripe.store.all("customer"))
    assert not any(row["active"] for row in local_stripe.store.all("price"))
    assert not any(row["active"] for row in local_stripe.store.all("billing_portal.configuration"))
    assert not list(local_stripe.store.all("test_helpers.test_clock"))
    assert list(differences(Record.from_json(record.as_json()), record)) == []


def test_what_goes_otherwise_is_told(local_stripe: LocalStripe, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def a_story(teller: stories.Teller) -> None:
        teller.expect("the answer", lambda: 41, 42)

    def another(_teller: stories.Teller) -> None:
        stripe.Customer.retrieve("cus_none")

    monkeypatch.setattr(rounds, "STORIES", [a_story, another])
    monkeypatch.setattr(stories.time, "monotonic", iter(range(0, 10_000, 10)).__next__)
    record = Record()

    rounds.play(record, is_local=True, say=quiet)

    wrong, missing = record.failures
    assert (wrong, "No such customer" in missing) == ("a_story: the answer: expected 42, found 41", True)


@pytest.mark.parametrize("key", ["sk_live_x", "rk_live_x", "pk_test_x", ""])
def test_nothing_but_a_test_key_is_taken(local_stripe: LocalStripe, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setattr(stripe, "api_key", key)

    with pytest.raises(rounds.LiveKeyRefusedError):
        rounds.play(Record(), is_local=True, say=quiet)


def test_the_command_refuses_a_live_key_before_anything_else() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "sandbox.stripe_check", "--key", "rk_live_x"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (result.returncode, "test mode" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("theirs", "ours", "told"),
    [
        ({"object": "a", "x": 1}, {"object": "a"}, "a: only Stripe has x"),
        ({"object": "a"}, {"object": "a", "x": 1}, "a: only the local Stripe has x"),
        ({"object": "a", "x": 1}, {"object": "a", "x": "1"}, "a.x: number at Stripe, text in the local Stripe"),
        ({"object": "a", "x": None}, {"object": "a", "x": "1"}, None),
        ({"object": "a", "x": {"object": "b"}}, {"object": "a", "x": {}}, "only Stripe answered with b"),
        ({"object": "a", "metadata": {"x": 1}}, {"object": "a", "metadata": {}}, None),
    ],
)
def test_what_differs_is_named(theirs: dict[str, Any], ours: dict[str, Any], told: str | None) -> None:
    real, local = Record(), Record()
    real.note([theirs])
    local.note([ours])

    assert list(differences(real, local)) == ([told] if told else [])


def test_only_the_check_may_leave_this_machine_from_a_sandbox() -> None:
    about: Any = {
        "debug": False, "sandbox": True, "secret_key": "x", "allowed_hosts": [], "base_url": "http://127.0.0.1",
        "database_url": "postgres:///x", "redis_url": "", "stripe_webhook_secrets": ["whsec"], "stripe_api_base": "",
        "clock_file": "", "stripe_check": True,
    }  # fmt: skip

    assert guards.problems(guards.Deployment(**about, stripe_secret_key="rk_test_x")) == []
    assert "live" in guards.problems(guards.Deployment(**about, stripe_secret_key="rk_live_x"))[0]
