"""Charging for work in this process: what fails is given back."""

from collections.abc import Callable
from datetime import datetime

import pytest
from celery import shared_task
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from accounts.models import Account, User
from credits import ledger, selectors
from credits.errors import InsufficientCreditsError
from credits.models import Source
from usage import charging
from usage.tests.rate_card import put_on_the_card


@pytest.fixture
def left(ada_account: Account, present: datetime) -> Callable[[], int]:
    """What is left of Ada's ten credits."""
    put_on_the_card("message", credits=3)
    ledger.grant(account_id=ada_account.pk, amount=10, source=Source.BONUS, source_key="t", now=present)
    return lambda: selectors.balance(account_id=ada_account.pk, now=present).available


@charging.costs("message")
def view(request: HttpRequest) -> HttpResponse:
    if "fail" in request.GET:
        raise TimeoutError
    return HttpResponse("hello")


def test_a_view_charges_who_calls_it(left: Callable[[], int], ada: User, rf: RequestFactory) -> None:
    request = rf.get("/")
    request.user = ada

    assert view(request).content == b"hello"
    assert left() == 7


def test_a_view_that_fails_gives_back(left: Callable[[], int], ada: User, rf: RequestFactory) -> None:
    request = rf.get("/?fail=1")
    request.user = ada

    with pytest.raises(TimeoutError):
        view(request)
    assert left() == 10


def test_without_credits_the_work_is_not_begun(left: Callable[[], int], ada: User, rf: RequestFactory) -> None:
    request = rf.get("/")
    request.user = ada
    result = []

    @charging.costs("message", quantity=4)
    def dear(_request: HttpRequest) -> None:
        result.append(1)

    with pytest.raises(InsufficientCreditsError):
        dear(request)
    assert (result, left()) == ([], 10)


def test_nobody_is_charged_for_a_visitor(db: None, rf: RequestFactory) -> None:
    request = rf.get("/")
    request.user = AnonymousUser()

    with pytest.raises(TypeError, match="login_required"):
        view(request)


def test_a_task_charges_the_account_that_it_is_told(left: Callable[[], int], ada_account: Account) -> None:
    @shared_task
    @charging.costs("message", account=lambda account_id: Account.objects.get(pk=account_id))
    def answer(account_id: str) -> str:
        return account_id

    assert answer(str(ada_account.pk)) == str(ada_account.pk)
    assert left() == 7


def test_a_hold_is_captured_or_goes_back(left: Callable[[], int], ada_account: Account) -> None:
    with charging.hold(ada_account, feature="message", max_quantity=3) as hold:
        assert left() == 1
        hold.capture(quantity=1)
    assert left() == 7
    with charging.hold(ada_account, amount=5):
        pass
    with pytest.raises(ZeroDivisionError), charging.hold(ada_account, amount=5):
        1 / 0  # noqa: B018
    assert left() == 7
