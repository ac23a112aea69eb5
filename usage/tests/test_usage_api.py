"""Usage with the spend, and what is reported of it later: events, sums, CSV."""

from datetime import datetime

import pytest

from accounts import keys
from common import clock
from credits.models import Transaction
from usage.models import FeaturePrice
from usage.tests.conftest import Call
from usage.tests.rate_card import put_on_the_card

TOLD = {"model": "large", "input_tokens": 1_500, "output_tokens": 500, "provider_cost_micros": 4_200, "latency_ms": 900}


@pytest.fixture(autouse=True)
def card(db: None) -> None:
    put_on_the_card("image", credits=4)
    put_on_the_card("chat", basis=FeaturePrice.Basis.THOUSAND_TOKENS, credits=2)


def test_a_spend_keeps_what_was_used_and_is_priced_by_it(call: Call) -> None:
    created = call("POST", "credits/spend", {"feature": "chat", "usage": TOLD, "metadata": {"chat": 7}}).json()

    assert (created["amount"], created["quantity"], created["usage"], created["metadata"]) == (
        -4,
        2_000,
        TOLD,
        {"chat": 7},
    )
    assert call("GET", f"credits/transactions/{created['id']}").json() == created
    (event,) = call("GET", "usage/events").json()["data"]
    assert (event["id"], event["credits"], event["usage"]) == (created["id"], 4, TOLD)


def test_the_same_key_with_other_usage_is_another_request(call: Call) -> None:
    spend = {"feature": "chat", "usage": TOLD}
    assert call("POST", "credits/spend", spend, idempotency_key="k").status_code == 201
    again = call("POST", "credits/spend", spend, idempotency_key="k")
    other = call("POST", "credits/spend", {**spend, "usage": {**TOLD, "input_tokens": 1}}, idempotency_key="k")

    assert (again["Idempotent-Replayed"], other.status_code) == ("true", 422)


@pytest.mark.parametrize(
    "usage",
    [{"input_tokens": -1}, {"input_tokens": 1.5}, {"output_tokens": True}, {"latency_ms": "1"}, {"model": "\x00"}, 7],
    ids=str,
)
def test_usage_that_is_none_is_refused(call: Call, usage: object) -> None:
    answer = call("POST", "credits/spend", {"amount": 1, "usage": usage})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert answer.json()["errors"][0]["pointer"].startswith("/usage")
    assert not Transaction.objects.filter(kind="spend").exists()


def test_a_hold_of_the_most_is_captured_by_its_tokens(call: Call) -> None:
    hold = call("POST", "credits/holds", {"feature": "chat", "quantity": 10_000}).json()
    created = call("POST", f"credits/holds/{hold['id']}/capture", {"usage": TOLD}).json()

    assert (hold["amount"], created["amount"], created["quantity"], created["feature"]) == (20, -4, 2_000, "chat")
    kept = call("GET", f"credits/transactions/{created['id']}").json()
    assert {**created, "hold": None, "missing": None} == {**kept, "hold": None, "missing": None}


@pytest.mark.parametrize("body", [{}, {"amount": 1, "quantity": 1}, {"usage": {"input_tokens": -1}}], ids=str)
def test_a_capture_says_one_way_what_it_cost(call: Call, body: object) -> None:
    hold = call("POST", "credits/holds", {"amount": 5}).json()

    assert call("POST", f"credits/holds/{hold['id']}/capture", body).status_code == 400
    assert call("GET", f"credits/holds/{hold['id']}").json()["status"] == "open"


def test_tokens_of_a_plain_hold_are_refused_with_what_to_send(call: Call) -> None:
    hold = call("POST", "credits/holds", {"amount": 5}).json()

    refused = call("POST", f"credits/holds/{hold['id']}/capture", {"usage": TOLD})

    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_amount")
    assert "capture an `amount`" in refused.json()["detail"]


def test_a_summary_is_grouped_and_its_total_is_what_was_spent(call: Call) -> None:
    call("POST", "credits/spend", {"feature": "chat", "usage": TOLD})
    call("POST", "credits/spend", {"feature": "chat", "usage": {**TOLD, "model": "small"}})
    image = call("POST", "credits/spend", {"feature": "image", "quantity": 3}).json()
    call("POST", f"credits/transactions/{image['id']}/reverse", {"reason": "It failed.", "amount": 5})

    reported = call("GET", "usage/summary", group_by="feature,model").json()

    rows = {(row["feature"], row["model"]): (row["uses"], row["credits"], row["returned"]) for row in reported["data"]}
    assert rows == {("chat", "large"): (1, 4, 0), ("chat", "small"): (1, 4, 0), ("image", ""): (1, 12, 5)}
    total = reported["total"]
    assert (total["uses"], total["credits"], total["returned"], total["input_tokens"]) == (3, 20, 5, 3_000)
    assert total["provider_cost_micros"] == 8_400
    by_day = call("GET", "usage/summary").json()["data"]
    assert [(row["day"], row["uses"], row["feature"]) for row in by_day] == [(reported["to"], 3, None)]


def test_days_are_parted_by_the_midnight_that_is_asked_for(call: Call, present: datetime) -> None:
    call("POST", "credits/spend", {"amount": 1})

    days = {
        zone: call("GET", "usage/summary", tz=zone).json()["data"][0]["day"]
        for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago")
    }

    assert days["Pacific/Kiritimati"] > days["Pacific/Pago_Pago"]  # 25 hours apart


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-02-30"},
        {"from": "2026-11-02", "to": "2026-11-01"},
        {"from": "2020-01-01"},
        {"tz": "Mars/Olympus"},
        {"group_by": "password"},
        {"group_by": "day,day"},
    ],
    ids=str,
)
def test_a_summary_that_makes_no_sense_is_refused(call: Call, query: dict[str, str]) -> None:
    answer = call("GET", "usage/summary", **query)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


def test_history_is_narrowed_down(call: Call, present: datetime) -> None:
    call("POST", "credits/spend", {"feature": "image"})
    call("POST", "credits/spend", {"amount": 1})

    def amounts(**query: str) -> list[int]:
        return [row["amount"] for row in call("GET", "credits/transactions", **query).json()["data"]]

    key = call("GET", "usage/events").json()["data"][0]["key"]
    assert amounts() == [-1, -4, 100]
    assert (amounts(type="spend"), amounts(feature="image"), amounts(key=key)) == ([-1, -4], [-4], [-1, -4])
    assert (amounts(created_before=present.isoformat()), amounts(created_after="2099-01-01T00:00:00Z")) == ([], [])
    assert call("GET", "credits/transactions", type="nonsense").status_code == 400


def test_the_ledger_is_one_file_of_csv_that_no_spreadsheet_runs(call: Call) -> None:
    call("POST", "credits/spend", {"amount": 1, "description": "=HYPERLINK(1)"})

    answer = call("GET", "credits/transactions", headers={"Accept": "text/csv"})

    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert answer["Content-Type"].startswith("text/csv")
    assert lines[0].startswith("id,created,type,amount")
    assert [line.split(",")[2:4] for line in lines[1:]] == [["grant", "100"], ["spend", "-1"]]
    assert "'=HYPERLINK(1)" in lines[2]
    refused = call("GET", "credits/transactions", headers={"Accept": "text/csv"}, type="nonsense")
    assert refused.json()["code"] == "invalid_request"


def test_usage_needs_its_scope(call: Call, ada_account: object) -> None:
    narrow = keys.create_key(
        account=ada_account, name="t", scopes=["credits:spend"], created_by=None, now=clock.now()
    ).secret

    for path in ("usage/events", "usage/summary"):
        assert call("GET", path, bearer=narrow).json()["required_scope"] == "usage:read"
