"""Activity: like with like, found again, and each transaction with all that is known of it."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from accounts import keys
from accounts.models import Account, User
from accounts.opening import personal_account
from common import clock
from common.charts import round_up, stacked_chart
from common.sides import Side
from credits import ledger
from credits.models import Source
from credits.tests.test_spending import give


@pytest.fixture
def used(ada_account: Account, ada: User, present: datetime) -> dict[str, ledger.SpendResult]:
    """Yesterday 3 messages; today 5 messages, an image by a key, 2 messages."""
    give(ada_account, 100, present - timedelta(days=2))
    key = keys.create_key(account=ada_account, name="My app", scopes=["credits:spend"], created_by=ada, now=present)

    def spend(name: str, at: datetime, feature: str = "message", **how: Any) -> ledger.SpendResult:
        return ledger.spend(account_id=ada_account.pk, amount=1, idempotency_key=name, feature=feature, now=at, **how)

    for number in range(3):
        spend(f"y{number}", present - timedelta(days=1))
    for number in range(5):
        spend(f"a{number}", present)
    image = spend(
        "image", present, "image", actor=key.key.public_id, description="A <b>cat</b>", metadata={"chat": "c-17"},
        usage={"model": "large", "input_tokens": 12, "output_tokens": 34},
    )  # fmt: skip
    last = [spend(f"b{number}", present) for number in range(2)]
    return {"image": image, "last": last[-1]}


@pytest.fixture
def page(client: Client, ada: User) -> Client:
    client.force_login(ada)
    return client


def lines(page: Client, address: str = "/transactions") -> list[tuple[int, int]]:
    return [(line.count, line.amount) for line in page.get(address).context["lines"]]


def public_id(spent: ledger.SpendResult) -> str:
    from common.public_ids import public_id as of

    return of("txn", spent.transaction_id)


def test_spends_of_a_day_on_one_feature_are_one_line(page: Client, used: Any) -> None:
    answer = page.get("/transactions")

    assert lines(page)[:3] == [(7, -7), (1, -1), (3, -3)]
    assert "7 × message" in answer.content.decode()
    assert "A &lt;b&gt;cat&lt;/b&gt;" in answer.content.decode()


def test_each_transaction_is_there_when_asked_for(page: Client, used: Any) -> None:
    day = clock.now().date().isoformat()

    assert lines(page, f"/transactions?each=1&type=spend&feature=message&from={day}&to={day}") == [(1, -1)] * 7


def test_lines_go_on_where_the_page_before_ended(page: Client, ada_account: Account, present: datetime) -> None:
    give(ada_account, 1_000, present)
    for number in range(130):
        ledger.spend(
            account_id=ada_account.pk, amount=1, idempotency_key=f"k{number}", feature=f"f{number % 65}", now=present
        )

    shown, query = [], ""
    while True:
        context = page.get(f"/transactions?{query}").context
        shown += context["lines"]
        if not context["has_more"]:
            break
        assert len(context["lines"]) == 50
        query = f"before={context['last'].public_id}"

    assert sum(line.count for line in shown) == 130 + 1  # and what was given
    assert sum(line.amount for line in shown if line.amount < 0) == -130


@pytest.mark.parametrize("text", ["cat", "CAT", "image"])
def test_search_finds_descriptions_and_features(page: Client, used: Any, text: str) -> None:
    assert lines(page, f"/transactions?q={text}") == [(1, -1)]


def test_search_finds_an_id_and_nothing_of_others(page: Client, used: Any) -> None:
    assert lines(page, f"/transactions?q={public_id(used['image'])}") == [(1, -1)]
    other = personal_account(user=User.objects.create_user("eve@example.com"), now=clock.now())
    give(other, 5, clock.now())
    theirs = ledger.spend(account_id=other.pk, amount=1, idempotency_key="k", description="cat", now=clock.now())

    assert lines(page, f"/transactions?q={public_id(theirs)}") == []
    assert lines(page, "/transactions?q=cat") == [(1, -1)]
    assert page.get(f"/transactions/{public_id(theirs)}").status_code == 404
    assert page.get("/transactions/txn_nonsense").status_code == 404
    assert page.get("/transactions?q=%00").status_code == 400


def test_transaction_has_its_key_model_metadata_and_lots(page: Client, used: Any) -> None:
    body = page.get(f"/transactions/{public_id(used['image'])}").content.decode()

    for text in ("My app", "large", "12 tokens in, 34 out", "chat", "c-17", "−1 · Purchase", public_id(used["image"])):
        assert text in body, text
    assert "<b>cat" not in body


def test_transaction_says_what_was_given_back(page: Client, used: Any, ada_account: Account) -> None:
    back = ledger.reverse(
        account_id=ada_account.pk, transaction_id=used["image"].transaction_id, idempotency_key="r",
        reason="secret note", side=Side.SELLER, actor="user:1", now=clock.now(),
    )  # fmt: skip

    body = page.get(f"/transactions/{public_id(used['image'])}").content.decode()
    undo = page.get(f"/transactions/{back.transaction.public_id}").content.decode()

    assert "All of it" in body
    assert f"/transactions/{back.transaction.public_id}" in body
    assert f"/transactions/{public_id(used['image'])}" in undo


def test_staff_are_support_and_metadata_of_gifts_stays_inside(
    page: Client, ada_account: Account, present: datetime
) -> None:
    staff = User.objects.create_user("staff@example.com", name="Sam Staff", is_staff=True)
    ledger.grant(
        account_id=ada_account.pk, amount=5, source=Source.ADJUSTMENT, source_key="x", actor=f"user:{staff.pk}",
        now=present,
    )  # fmt: skip
    row = page.get("/transactions").context["lines"][0].first

    body = page.get(f"/transactions/{row.public_id}").content.decode()

    assert "Support" in body
    assert "Sam Staff" not in body
    assert "What the app noted" not in body


class TestUsage:
    def test_today_and_yesterday_are_a_click_away(self, page: Client, used: Any) -> None:
        today = page.get("/usage?days=1")
        link = today.context["yesterday"].query

        assert today.context["total"].credits == 8
        assert page.get(f"/usage?{link}").context["total"].credits == 3

    def test_change_compares_with_as_many_days_before(self, page: Client, used: Any) -> None:
        assert page.get("/usage?days=1").context["change"] == 167  # 8 after 3
        assert page.get("/usage?days=30").context["change"] is None
        assert "167% more than before" in page.get("/usage?days=1").content.decode()

    def test_chart_stacks_what_the_table_groups(self, page: Client, used: Any) -> None:
        chart = page.get("/usage?days=7&by=feature").context["chart"]

        assert chart.series == ("message", "image")
        assert [stack.total for stack in chart.stacks] == [0, 0, 0, 0, 0, 3, 8]
        assert [(order, bar.value) for order, bar in chart.stacks[-1].parts] == [(1, 7), (2, 1)]
        assert [tick.value for tick in chart.ticks] == [8, 4]
        for group in ("model", "key", "member"):
            assert [stack.total for stack in page.get(f"/usage?days=7&by={group}").context["chart"].stacks][-1] == 8


@pytest.mark.parametrize(
    ("value", "top"), [(0, 0), (1, 1), (2, 2), (3, 4), (9, 10), (11, 20), (21, 40), (99, 100), (101, 200), (850, 1000)]
)
def test_axis_ends_at_a_round_number(value: int, top: int) -> None:
    assert round_up(value) == top


def test_stacks_stand_on_each_other() -> None:
    chart = stacked_chart(["a"], {"x": [1], "y": [3]})

    (first, second) = (bar for _, bar in chart.stacks[0].parts)
    assert (first.y + first.height, second.y + second.height, second.y) == (160, first.y, 0)
    assert stacked_chart(["a", "b"], {}).stacks[0].parts == ()
