"""Outgoing webhooks on a page of their own: added, tried, rotated, switched off, sent again, removed."""

import pytest
from django.test import Client

from accounts.models import Account, User
from common import clock
from outbox import webhooks
from outbox.models import WebhookDelivery, WebhookEndpoint

HOME = "/settings/webhooks"


@pytest.fixture
def browser(client: Client, ada: User, ada_account: Account) -> Client:
    client.force_login(ada)
    return client


@pytest.fixture
def endpoint(browser: Client) -> WebhookEndpoint:
    shown = browser.post(HOME, {"url": "http://127.0.0.1:1/hook", "events": ["order.paid", "rubbish"]})
    assert "whsec_" in shown.content.decode()
    return WebhookEndpoint.objects.get()


def test_a_webhook_is_added_and_its_secret_shown_once(browser: Client, endpoint: WebhookEndpoint) -> None:
    assert endpoint.events == ["order.paid"]
    assert "whsec_" not in browser.get(HOME).content.decode()
    assert "127.0.0.1:1/hook" in browser.get(HOME).content.decode()


def test_its_buttons_do_what_they_say(browser: Client, endpoint: WebhookEndpoint) -> None:
    def press(action: str) -> str:
        endpoint_page = f"{HOME}/{endpoint.public_id}"
        return browser.post(f"{endpoint_page}/change", {"action": action}, follow=True).content.decode()

    assert "A test is on its way" in press("test")
    delivery = WebhookDelivery.objects.get()
    WebhookDelivery.objects.update(next_attempt_at=None, status_code=500)
    assert "Given up" in browser.get(f"{HOME}/{endpoint.public_id}").content.decode()
    assert "It is sent again" in press(delivery.public_id)
    assert WebhookDelivery.objects.get().next_attempt_at is not None
    assert "whsec_" in press("rotate")
    press("off")
    assert WebhookEndpoint.objects.get().disabled_at is not None
    press("on")
    assert WebhookEndpoint.objects.get().disabled_at is None
    press("remove")
    assert not WebhookEndpoint.objects.exists()


@pytest.mark.parametrize("url", ["ftp://x", "", "http://user@x/", "not an address"])
def test_an_address_that_cannot_be_is_refused(browser: Client, url: str) -> None:
    shown = browser.post(HOME, {"url": url}).content.decode()

    assert 'role="alert"' in shown
    assert not WebhookEndpoint.objects.exists()


def test_another_s_webhook_is_not_there(browser: Client) -> None:
    other = Account.objects.create(name="Other")
    theirs, _ = webhooks.create_endpoint(
        account=other, url="http://127.0.0.1:1/", events=[], description="", actor="t", now=clock.now()
    )

    assert browser.get(f"{HOME}/{theirs.public_id}").status_code == 404
    assert browser.post(f"{HOME}/{theirs.public_id}/change", {"action": "remove"}).status_code == 404
    assert WebhookEndpoint.objects.count() == 1
