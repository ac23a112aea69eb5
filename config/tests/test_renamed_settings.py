"""A deployment that sets an old name keeps what it set, and is warned."""

import pytest
from django.core import checks
from pytest_django import Settings

from config import renamed_settings


@pytest.mark.parametrize(("old", "new"), renamed_settings.RENAMED.items())
def test_old_name_sets_the_new_one(old: str, new: str) -> None:
    environ = {old: "7"}

    assert renamed_settings.read_old_names(environ) == {old: new}
    assert environ[new] == "7"


def test_new_name_wins_over_the_old_one() -> None:
    environ = {"REPAIR_TWO_PLANS": "0", "END_DUPLICATE_SUBSCRIPTIONS": "1"}

    renamed_settings.read_old_names(environ)

    assert environ["END_DUPLICATE_SUBSCRIPTIONS"] == "1"


def test_check_warns_of_an_old_name(db: None, settings: Settings) -> None:
    settings.RENAMED_SETTINGS_IN_USE = {"REPAIR_TWO_PLANS": "END_DUPLICATE_SUBSCRIPTIONS"}

    assert [message.msg for message in checks.run_checks() if message.id == "console.W003"] == [
        "REPAIR_TWO_PLANS is called END_DUPLICATE_SUBSCRIPTIONS now."
    ]
