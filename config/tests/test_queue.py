"""Every task that is queued by its name is a task that there is."""

import re

from django.conf import settings

from config.celery import app


def test_every_enqueued_task_exists(db: None) -> None:
    app.loader.import_default_modules()
    packages = ("accounts", "api", "billing", "common", "config", "console", "credits", "outbox", "portal", "usage")
    sources = [path for package in packages for path in (settings.BASE_DIR / package).rglob("*.py")]
    names = {name for path in sources for name in re.findall(r'\benqueue\(\s*"([\w.]+)"', path.read_text())}

    assert len(names) >= 5
    assert names <= set(app.tasks)


def test_every_scheduled_task_exists(db: None) -> None:
    app.loader.import_default_modules()

    assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= set(app.tasks)
