"""One word for one thing, and one form of address, on every Dutch page: Django's and allauth's texts included."""

import html
import re

import pytest
from django.core import mail
from django.test import Client

from accounts import teams
from accounts.models import Account, User
from billing.notifications import domain_events
from billing.tests.test_mails import post
from common import clock

FORMAL = re.compile(r"\b(uw|Uw|u|U|a\.u\.b\.)\b")


@pytest.mark.parametrize(
    "address",
    ["/", "/pricing", "/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/accounts/login/code/"],
)
def test_dutch_pages_speak_to_a_friend_and_log_in(address: str, db: None) -> None:
    shown = html.unescape(Client(headers={"Accept-Language": "nl"}).get(address).content.decode())
    text = re.sub(r"<[^>]+>", " ", shown.partition("<body")[2])

    assert FORMAL.findall(text) == []
    assert re.findall(r"(?i)aanmeld\w*|meld je", text) == []
    assert "Inloggen" in text


def test_a_short_password_is_refused_in_dutch(db: None) -> None:
    browser = Client(headers={"Accept-Language": "nl"})

    answer = browser.post("/accounts/signup/", {"email": "ada@example.com", "password1": "kort"})

    assert "Dit wachtwoord is te kort." in answer.content.decode()


def test_down_to_nothing_is_one_mail(ada_account: Account) -> None:
    now = clock.now()
    domain_events.credits_low(ada_account.pk, left=0, now=now)
    domain_events.credits_exhausted(ada_account.pk, now=now)

    assert post() == ["Your credits are used up"]


def test_a_team_is_not_told_of_free_credits(ada: User) -> None:
    teams.create_team(name="Acme BV", owner=ada, language="en", time_zone="Europe/Amsterdam", now=clock.now())

    post()
    body = next(str(letter.body) for letter in mail.outbox if "Acme BV" in str(letter.body))

    assert "free credits" not in body
    assert "Hello Acme BV" not in body
