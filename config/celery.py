"""The Celery application and its timetable.

Jobs post what is due and missing, however often they run: the times say how soon, not whether.
"""

import os
from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.signals import task_success

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("tegoed")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

app.conf.beat_schedule = {
    # Midnight comes at another moment in every time zone, so the day's credits are looked at every minute.
    "reset_daily_credits": {"task": "credits.tasks.reset_daily_credits", "schedule": 60.0},
    "refill_monthly_credits": {"task": "credits.tasks.refill_monthly_credits", "schedule": 300.0},
    "expire_credits": {"task": "credits.tasks.expire_credits", "schedule": 300.0},
    "lapse_holds": {"task": "credits.tasks.lapse_holds", "schedule": 60.0},
    "roll_up_usage": {"task": "usage.tasks.roll_up_usage", "schedule": 300.0},
    "sweep_outbox": {"task": "outbox.tasks.sweep_outbox", "schedule": 10.0},
    "sweep_webhooks": {"task": "outbox.tasks.sweep_webhooks", "schedule": 10.0},
    "sweep_inbox": {"task": "billing.tasks.sweep_inbox", "schedule": 10.0},
    "top_up_accounts": {"task": "billing.tasks.top_up_accounts", "schedule": 15.0},
    "refresh_waiting_orders": {"task": "billing.tasks.refresh_waiting_orders", "schedule": 60.0},
    "update_customers": {"task": "billing.tasks.update_customers", "schedule": 60.0},
    "close_abandoned_orders": {"task": "billing.tasks.close_abandoned_orders", "schedule": 3600.0},
    "watch_webhooks": {"task": "billing.tasks.watch_webhooks", "schedule": 300.0},
    "watch_business": {"task": "console.tasks.watch_business", "schedule": 60.0},
    "sweep_bulk_grants": {"task": "console.tasks.sweep_bulk_grants", "schedule": 300.0},
    "warn_of_ending_trials": {"task": "billing.tasks.warn_of_ending_trials", "schedule": crontab(minute=25)},
    "warn_of_expiring_cards": {"task": "billing.tasks.warn_of_expiring_cards", "schedule": crontab(hour=8, minute=0)},
    "retry_copies": {"task": "billing.tasks.retry_copies", "schedule": 300.0},
    "move_prices": {"task": "billing.tasks.move_prices", "schedule": crontab(minute=35)},
    "forget_payloads": {"task": "billing.tasks.forget_payloads", "schedule": crontab(hour=4, minute=0)},
    "reconcile": {"task": "billing.tasks.reconcile", "schedule": crontab(hour=2, minute=30)},
    "seal_ledger": {"task": "credits.tasks.seal_ledger", "schedule": crontab(minute=5)},
    "audit_books": {"task": "billing.tasks.audit_books", "schedule": crontab(hour=3, minute=45)},
    "audit_ledger": {"task": "credits.tasks.audit_ledger", "schedule": crontab(hour=3, minute=30)},
}


@task_success.connect(weak=False)
def _note_success(sender: Any = None, **_kwargs: object) -> None:
    from config import heartbeats  # Django's cache, once there is one

    heartbeats.record(sender=sender)
