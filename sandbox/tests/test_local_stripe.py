"""The local Stripe behaves as Stripe does, as far as we lean on it, and answers in Stripe's own shapes."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import stripe

from sandbox.local_stripe import checkout, contract, control, core, events
from sandbox.local_stripe.checkout import Outcome
from sandbox.local_stripe.core import ContractError, LocalStripe
from sandbox.local_stripe.errors import StripeApiError
from sandbox.local_stripe.store import DELIVERY, Store

SUCCESS = "http://127.0.0.1:8000/done"


@pytest.fixture
def price(local_stripe: LocalStripe) -> Any:
    product = stripe.Product.create(name="Twenty")
    return stripe.Price.create(product=product.id, currency="eur", unit_amount=500)


@pytest.fixture
def monthly(local_stripe: LocalStripe) -> Any:
    product = stripe.Product.create(name="Pro")
    return stripe.Price.create(product=product.id, currency="eur", unit_amount=2000, recurring={"interval": "month"})


@pytest.fixture
def customer(local_stripe: LocalStripe) -> Any:
    return stripe.Customer.create(email="ada@example.com")


def open_session(customer: Any, price: Any, mode: str = "payment", **how: Any) -> Any:
    return stripe.checkout.Session.create(
        mode=mode,
        customer=customer.id,
        line_items=[{"price": price.id, "quantity": 1}],
        success_url=SUCCESS,
        **how,
    )


def types(local: LocalStripe) -> list[str]:
    return [event["type"] for event in local.store.all("event")]


def test_an_idempotency_key_replays_its_first_answer(local_stripe: LocalStripe) -> None:
    first, second = (stripe.Customer.create(email="a@example.com", idempotency_key="k") for _ in range(2))

    assert first.id == second.id
    assert len(list(local_stripe.store.all("customer"))) == 1


def test_an_idempotency_key_with_other_parameters_is_an_error(local_stripe: LocalStripe) -> None:
    stripe.Customer.create(email="a@example.com", idempotency_key="k")

    with pytest.raises(stripe.IdempotencyError):
        stripe.Customer.create(email="b@example.com", idempotency_key="k")


def test_an_unknown_address_answers_stripe_s_error(local_stripe: LocalStripe) -> None:
    answer = local_stripe.request("GET", "/v1/nothing", "", {"authorization": "Bearer sk_test_x"})

    assert answer.status == 404
    assert answer.body["error"]["type"] == "invalid_request_error"
    assert "Unrecognized request URL (GET: /v1/nothing)" in answer.body["error"]["message"]


def test_an_unknown_object_answers_resource_missing(local_stripe: LocalStripe) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        stripe.Customer.retrieve("cus_none")

    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")


def test_an_unknown_parameter_is_refused_by_its_name(local_stripe: LocalStripe) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="favourite_colour"):
        stripe.Customer.create(favourite_colour="green")  # type: ignore[call-arg]


@pytest.mark.parametrize("key", ["sk_live_x", "rk_live_x", "", "nonsense"])
def test_no_key_but_a_test_key_is_taken(local_stripe: LocalStripe, key: str) -> None:
    assert local_stripe.request("GET", "/v1/customers", "", {"authorization": f"Bearer {key}"}).status == 401


def test_an_answer_that_breaks_the_contract_is_never_sent(local_stripe: LocalStripe, customer: Any) -> None:
    row = local_stripe.get("customer", customer.id)
    row["favourite_colour"] = "green"
    local_stripe.store.put("customer", customer.id, row)

    with pytest.raises(ContractError, match="favourite_colour"):
        stripe.Customer.retrieve(customer.id)


@pytest.mark.parametrize(
    ("name", "value"), [("created", "yesterday"), ("livemode", "no"), ("tax_exempt", "perhaps"), ("email", 7)]
)
def test_the_contract_sees_wrong_types_and_values(
    local_stripe: LocalStripe, customer: Any, name: str, value: Any
) -> None:
    row = local_stripe.get("customer", customer.id)
    assert contract.problems(row) == []

    (problem,) = contract.problems(row | {name: value})

    assert name in problem


def test_the_contract_sees_what_is_missing(local_stripe: LocalStripe, customer: Any) -> None:
    row = local_stripe.get("customer", customer.id)

    assert contract.problems({name: value for name, value in row.items() if name != "created"})


def test_a_paid_session_tells_its_payment_and_itself(local_stripe: LocalStripe, customer: Any, price: Any) -> None:
    session = open_session(customer, price)

    checkout.complete(local_stripe, session.id, Outcome.SUCCESS)

    reported = types(local_stripe)
    assert {"payment_intent.succeeded", "charge.succeeded", "checkout.session.completed"} <= set(reported)
    paid = stripe.checkout.Session.retrieve(session.id, expand=["line_items"])
    assert (paid.status, paid.payment_status, paid.amount_total) == ("complete", "paid", 500)
    assert paid.line_items.data[0].price.id == price.id  # type: ignore[union-attr]


def test_a_declined_card_can_be_tried_again(local_stripe: LocalStripe, customer: Any, price: Any) -> None:
    session = open_session(customer, price)
    with pytest.raises(StripeApiError) as declined:
        checkout.complete(local_stripe, session.id, Outcome.DECLINED)
    assert declined.value.body["error"]["code"] == "card_declined"
    assert "checkout.session.completed" not in types(local_stripe)

    checkout.complete(local_stripe, session.id, Outcome.SUCCESS)

    assert stripe.checkout.Session.retrieve(session.id).payment_status == "paid"


def test_a_session_is_paid_once(local_stripe: LocalStripe, customer: Any, price: Any) -> None:
    session = open_session(customer, price)
    checkout.complete(local_stripe, session.id, Outcome.SUCCESS)

    with pytest.raises(StripeApiError):
        checkout.complete(local_stripe, session.id, Outcome.SUCCESS)
    assert types(local_stripe).count("charge.succeeded") == 1


def test_a_subscription_renews_as_its_clock_moves(local_stripe: LocalStripe, customer: Any, monthly: Any) -> None:
    session = open_session(customer, monthly, mode="subscription")
    checkout.complete(local_stripe, session.id, Outcome.SUCCESS)

    local_stripe.advance(int(timedelta(days=93).total_seconds()))

    invoices = stripe.Invoice.list(customer=customer.id).data
    assert len(invoices) == 4
    assert {invoice.status for invoice in invoices} == {"paid"}
    reasons = [invoice.billing_reason for invoice in invoices]
    assert reasons.count("subscription_create") == 1
    assert reasons.count("subscription_cycle") == 3


def test_a_cancelled_subscription_ends_at_its_period_s_end(
    local_stripe: LocalStripe, customer: Any, monthly: Any
) -> None:
    checkout.complete(local_stripe, open_session(customer, monthly, mode="subscription").id, Outcome.SUCCESS)
    subscription = stripe.Subscription.list(customer=customer.id).data[0]

    stripe.Subscription.modify(subscription.id, cancel_at_period_end=True)
    assert stripe.Subscription.retrieve(subscription.id).status == "active"
    local_stripe.advance(int(timedelta(days=32).total_seconds()))

    assert stripe.Subscription.retrieve(subscription.id).status == "canceled"
    assert len(stripe.Invoice.list(customer=customer.id).data) == 1


def test_lists_are_paged(local_stripe: LocalStripe) -> None:
    created = [stripe.Customer.create(email=f"{n}@example.com").id for n in range(25)]

    result = [row.id for row in stripe.Customer.list(limit=10).auto_paging_iter()]

    assert sorted(result) == sorted(created)
    assert stripe.Customer.list(limit=10).has_more


def test_local_stripe_signature_verifies_with_official_client(local_stripe: LocalStripe) -> None:
    header = events.signature("whsec_x", 1_790_000_000, "{}")

    assert stripe.WebhookSignature.verify_header("{}", header, "whsec_x")


def test_refused_webhook_is_retried_for_three_days_then_dropped(local_stripe: LocalStripe) -> None:
    """docs.stripe.com/webhooks#automatic-retries."""
    events.listen(local_stripe, url="http://127.0.0.1:1/", secret="whsec_x")
    stripe.Customer.create(email="a@example.com")
    tries: list[int] = []

    def refuse(*_: str) -> int:
        tries.append(local_stripe.timestamp())
        return 500

    for step in [*[1] * 100, *[600] * (6 * 24 * 5)]:
        events.deliver_due(local_stripe, refuse)
        local_stripe.advance(step)

    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert all(later >= earlier - 600 for earlier, later in pairwise(gaps))  # the test looks every ten minutes
    assert 3 * 86_400 < tries[-1] - tries[0] < 4 * 86_400
    assert not list(local_stripe.store.all(DELIVERY))


def test_what_is_stored_is_there_after_a_restart(local_stripe: LocalStripe, customer: Any, tmp_path: Any) -> None:
    path = tmp_path / "stripe.sqlite3"
    first = LocalStripe(store=Store(path), clock=local_stripe.clock)
    created = first.request("POST", "/v1/customers", "email=b%40example.com", {"authorization": "Bearer sk_test_x"})

    second = LocalStripe(store=Store(path), clock=local_stripe.clock)

    assert second.get("customer", created.body["id"])["email"] == "b@example.com"


class TestControl:
    """`/_sandbox/`, as scripts use it."""

    @pytest.fixture
    def call(self, local_stripe: LocalStripe) -> Any:
        sent: list[tuple[str, str, str]] = []
        events.listen(local_stripe, url="http://127.0.0.1:8000/hook", secret="whsec_x")

        def send(url: str, body: str, signature: str) -> int:
            sent.append((url, body, signature))
            return 200

        def answer(method: str, path: str, **values: Any) -> Any:
            return control.answer(local_stripe, method, path, values, send)

        answer.sent = sent  # type: ignore[attr-defined]
        return answer

    @pytest.mark.parametrize(
        ("outcome", "payment_status"),
        [("success", "paid"), ("delayed_success", "unpaid"), ("delayed_failure", "unpaid"), ("abandon", "unpaid")],
    )
    def test_a_checkout_is_completed(
        self, call: Any, customer: Any, price: Any, outcome: str, payment_status: str
    ) -> None:
        session = open_session(customer, price)

        assert call("POST", f"checkout/{session.id}/complete", outcome=outcome)["payment_status"] == payment_status

    def test_a_declined_checkout_says_why_and_stays_open(self, call: Any, customer: Any, price: Any) -> None:
        session = open_session(customer, price)

        answer = call("POST", f"checkout/{session.id}/complete", outcome="declined")

        assert (answer["status"], "declined" in answer["error"]) == ("open", True)

    def test_the_clock_moves_the_application_s_clock(self, call: Any) -> None:
        from common import clock

        before = clock.now()
        call("POST", "clock/advance", seconds=86_400)

        assert timedelta(days=1) <= clock.now() - before < timedelta(days=1, minutes=1)

    def test_webhooks_are_held_and_flushed_in_any_order_and_number(self, call: Any, local_stripe: LocalStripe) -> None:
        call("POST", "webhooks", mode="hold")
        stripe.Customer.create(email="a@example.com")
        stripe.Customer.create(email="b@example.com")
        events.deliver_due(local_stripe, lambda *_: 200)

        assert call("POST", "webhooks/flush", order="reversed", copies=3) == {"sent": 6, "accepted": 6}
        assert "b@example.com" in call.sent[0][1]

    def test_an_event_is_listed_and_sent_again(self, call: Any) -> None:
        stripe.Customer.create(email="a@example.com")
        (event,) = call("GET", "events")["data"]
        call("POST", "webhooks/flush")

        call("POST", f"events/{event['id']}/resend")

        assert call("POST", "webhooks/flush")["sent"] == 1

    @pytest.mark.parametrize(
        ("path", "values"),
        [
            ("clock/advance", {"seconds": -1}),
            ("clock/advance", {"seconds": "ten"}),
            ("clock/advance", {}),
            ("webhooks", {"mode": "maybe"}),
            ("webhooks/flush", {"copies": 0}),
            ("webhooks/flush", {"order": "random"}),
            ("checkout/cs_none/complete", {"outcome": "success"}),
            ("checkout/cs_none/complete", {"outcome": "luck"}),
            ("nothing", {}),
        ],
        ids=str,
    )
    def test_a_mistake_is_explained(self, call: Any, path: str, values: dict[str, Any]) -> None:
        with pytest.raises(StripeApiError) as caught:
            call("POST", path, **values)

        assert caught.value.body["error"]["message"]


class TestRequests:
    """Every request of the whole suite is held to the pinned client's own parameter types, which come from Stripe."""

    def test_each_call_that_changes_something_has_its_types(self, local_stripe: LocalStripe) -> None:
        untyped = [route.pattern.pattern for route in core._routes if route.method == "POST" and not route.params]

        assert untyped == []

    @pytest.mark.parametrize(
        ("call", "says"),
        [
            (lambda: stripe.Customer.create(emial="a@example.com"), "unknown parameter: emial"),
            (lambda: stripe.Customer.create(address={"cty": "A"}), r"unknown parameter: address\[cty\]"),
            (lambda: stripe.Customer.retrieve("cus_1", limit=1), "unknown parameter: limit"),
            (lambda: stripe.PaymentIntent.create(currency="eur"), "required param: amount"),
            (lambda: stripe.PaymentIntent.create(amount="ten", currency="eur"), "Invalid integer: ten"),
            (lambda: stripe.PaymentIntent.create(amount=1, currency="eur", confirm="yes"), "Invalid boolean: yes"),
            (lambda: stripe.Coupon.create(percent_off=1, duration="ever"), "must be one of forever, once, repeating"),
            (
                lambda: stripe.Price.create(currency="eur", product="p", recurring={"interval": "moon"}),
                "must be one of",
            ),
            (lambda: stripe.Price.create(currency="eur", product="p", recurring="month"), r"Invalid object: recurring"),
        ],
        ids=["name", "nested name", "of a GET", "missing", "number", "boolean", "choice", "nested choice", "object"],
    )
    def test_what_stripe_would_refuse_is_refused(self, local_stripe: LocalStripe, call: Any, says: str) -> None:
        with pytest.raises(stripe.InvalidRequestError, match=says):
            call()
