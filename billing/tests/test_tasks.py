"""What beat runs: every job of the timetable, on a shop where nothing is due and on one where something is."""

import pytest
from celery import current_app
from django.core.management import call_command
from django.utils.module_loading import import_string

from accounts.models import Account
from billing.tests.conftest import Shop
from credits import audit
from outbox.models import Alert

JOBS = sorted({entry["task"] for entry in current_app.conf.beat_schedule.values()})


@pytest.mark.parametrize("job", JOBS)
def test_scheduled_job_changes_nothing_when_nothing_is_due(shop: Shop, customer: Account, job: str) -> None:
    import_string(job).run()

    assert not Alert.objects.exists()


def test_scheduled_jobs_run_one_after_the_other_on_a_busy_shop(shop: Shop, customer: Account) -> None:
    shop.pay(shop.checkout(customer, item="pro"))
    shop.deliver()
    shop.checkout(customer, key="left open")
    shop.advance(days=2)

    for job in JOBS:
        import_string(job).run()

    assert not list(audit.all_disagreements())
    assert shop.failures() == []


def test_sync_prices_command_says_what_it_did(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("sync_prices")

    assert capsys.readouterr().out == "Nothing has changed.\n"
