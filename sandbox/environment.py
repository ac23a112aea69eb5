"""The environment variables of a sandbox: what a deployment would set, pointing at this machine."""

import json
import os
import secrets
from dataclasses import dataclass
from typing import Any

from common.json_types import JsonObject
from sandbox.data_folder import DataFolder
from sandbox.local_payconiq import PROFILE_ID


@dataclass(frozen=True)
class Ports:
    """Where the application and the local Stripe answer, on loopback."""

    web: int
    stripe: int

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.web}"

    @property
    def stripe_url(self) -> str:
        return f"http://127.0.0.1:{self.stripe}"


class LiveKeyError(RuntimeError):
    """The environment holds a key that moves real money."""


def build(place: DataFolder, ports: Ports, *, database_url: str, redis_url: str) -> dict[str, str]:
    """The variables for every process of the sandbox. Raises LiveKeyError when a live key is set outside."""
    refuse_live_keys(os.environ)
    kept = secrets_of(place)
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SANDBOX": "1",
        "DEBUG": "0",
        "SECRET_KEY": kept["secret_key"],
        "BASE_URL": ports.base_url,
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "BROKER_FOLDER": str(place.broker),
        "CLOCK_FILE": str(place.clock),
        "BEAT_SCHEDULE_FILE": str(place.beat_schedule),
        "STRIPE_API_BASE": ports.stripe_url,
        "STRIPE_SECRET_KEY": kept["stripe_secret_key"],
        "STRIPE_PUBLISHABLE_KEY": "pk_test_sandbox",
        "STRIPE_PROMOTION_CODES": "1",
        "STRIPE_WEBHOOK_SECRETS": kept["stripe_webhook_secret"],
        "PAYMENT_PROVIDERS": "stripe,payconiq",
        "PAYCONIQ_API_BASE": f"{ports.stripe_url}/payconiq",
        "PAYCONIQ_JWKS_URL": f"{ports.stripe_url}/payconiq/certificates",
        "PAYCONIQ_API_KEY": "sandbox",
        "PAYCONIQ_PROFILE_ID": PROFILE_ID,
        "EMAIL_URL": f"filemail:///{place.outbox}",  # the path itself begins with another slash
        # Where the examples run.
        "RETURN_ORIGINS": "http://127.0.0.1:8100,http://127.0.0.1:8501",
        "HOST": "127.0.0.1",
        "PORT": str(ports.web),
        "LOG_LEVEL": os.environ.get("LOG_LEVEL", "WARNING"),
        "PYTHONUNBUFFERED": "1",
        # A laptop's root is no server's: Celery's warning would only frighten.
        "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
    }


def secrets_of(place: DataFolder) -> JsonObject:
    """The sandbox's own secrets, made once."""
    if not place.secrets.exists():
        created = {
            "secret_key": secrets.token_urlsafe(50),
            "stripe_secret_key": f"sk_test_{secrets.token_hex(16)}",
            "stripe_webhook_secret": f"whsec_{secrets.token_hex(24)}",
        }
        place.secrets.touch(mode=0o600)
        place.secrets.write_text(json.dumps(created, indent=2))
    result: JsonObject = json.loads(place.secrets.read_text())
    return result


def refuse_live_keys(environment: Any) -> None:
    """A sandbox that could reach a live account by mistake does not start."""
    for name, value in environment.items():
        if str(value).startswith(("sk_live_", "rk_live_")):
            raise LiveKeyError(f"{name} holds a live Stripe key. The sandbox does not start with one; unset it.")
