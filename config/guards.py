"""What may not be combined. Settings are refused at start-up rather than found out in production."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
SHORTEST_SECRET_KEY = 50
SHORTEST_ADMIN_KEY = 32  # it grants credits to everybody, and nothing slows down who guesses
PROVIDERS = {"stripe", "payconiq"}
# What runs before Stripe's webhooks have a secret: none of these takes a payment.
SETTING_UP = {
    "collectstatic", "createsuperuser", "migrate", "release", "stripe_bootstrap", "stripe_doctor",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The settings whose combination decides whether it is safe to start."""

    debug: bool
    sandbox: bool
    secret_key: str
    allowed_hosts: list[str]
    base_url: str
    database_url: str
    redis_url: str
    stripe_secret_key: str
    stripe_webhook_secrets: list[str]
    stripe_api_base: str
    clock_file: str
    payment_providers: list[str] = field(default_factory=lambda: ["stripe"])
    payconiq_api_key: str = ""
    payconiq_profile_id: str = ""
    admin_api_key: str = ""
    command: str = ""  # of manage.py
    stripe_check: bool = False


def problems(deployment: Deployment) -> list[str]:
    """Every reason not to start, each naming the variable to change."""
    result = [*_everywhere(deployment)]
    if deployment.sandbox:
        result += _in_the_sandbox(deployment)
    else:
        result += _outside_the_sandbox(deployment)
        if not deployment.debug:
            result += _in_production(deployment)
    return result


def _everywhere(deployment: Deployment) -> Iterator[str]:
    if not deployment.database_url.startswith(("postgres://", "postgresql://")):
        yield "DATABASE_URL must name a PostgreSQL database: the ledger's guarantees live there."
    if not deployment.secret_key:
        yield "SECRET_KEY is missing: give it 50 or more random characters."
    is_half = bool(deployment.stripe_secret_key) != bool(deployment.stripe_webhook_secrets)
    if is_half and not (deployment.stripe_secret_key and deployment.command in SETTING_UP):
        yield (
            "STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRETS go together: with one of them alone, "
            "payments would be taken and never credited. `manage.py stripe_bootstrap` runs with the key alone, and "
            "prints the secret."
        )
    if 0 < len(deployment.admin_api_key) < SHORTEST_ADMIN_KEY:
        yield f"ADMIN_API_KEY is too short: give it {SHORTEST_ADMIN_KEY} or more random characters, or leave it empty."
    if unknown := set(deployment.payment_providers) - PROVIDERS:
        yield f"PAYMENT_PROVIDERS names {', '.join(sorted(unknown))}; there are: {', '.join(sorted(PROVIDERS))}."
    if "payconiq" in deployment.payment_providers and not (
        deployment.payconiq_api_key and deployment.payconiq_profile_id
    ):
        yield "PAYCONIQ_API_KEY and PAYCONIQ_PROFILE_ID are missing: PAYMENT_PROVIDERS names payconiq."
    if deployment.debug and deployment.stripe_secret_key.startswith(("sk_live_", "rk_live_")):
        yield "DEBUG must be off with a live STRIPE_SECRET_KEY."


def _in_the_sandbox(deployment: Deployment) -> Iterator[str]:
    if deployment.stripe_secret_key.startswith(("sk_live_", "rk_live_")):
        yield "SANDBOX refuses a live STRIPE_SECRET_KEY: real money has no place in a sandbox."
    if deployment.stripe_api_base and not _is_loopback(deployment.stripe_api_base):
        yield "STRIPE_API_BASE must be on this machine (127.0.0.1) in the sandbox."
    if deployment.stripe_secret_key and not deployment.stripe_api_base and not deployment.stripe_check:
        yield "STRIPE_API_BASE is missing: the sandbox talks to the local Stripe only."
    if not _is_loopback(deployment.base_url):
        yield "BASE_URL must be on this machine (127.0.0.1) in the sandbox."


def _outside_the_sandbox(deployment: Deployment) -> Iterator[str]:
    if deployment.clock_file:
        yield "CLOCK_FILE moves time and belongs to the sandbox: unset it, or set SANDBOX=1."
    if deployment.stripe_api_base:
        yield "STRIPE_API_BASE points payments away from Stripe: unset it, or set SANDBOX=1."


def _in_production(deployment: Deployment) -> Iterator[str]:
    if len(deployment.secret_key) < SHORTEST_SECRET_KEY or "insecure" in deployment.secret_key:
        yield "SECRET_KEY is too weak: give it 50 or more random characters."
    if not deployment.allowed_hosts or "*" in deployment.allowed_hosts:
        yield "ALLOWED_HOSTS must name your hosts, without *."
    if not deployment.base_url.startswith("https://"):
        yield "BASE_URL must be the public https:// address of this site."
    if not deployment.redis_url:
        yield "REDIS_URL is missing: Celery needs it to hear of new work."
    if not deployment.stripe_secret_key:
        yield "STRIPE_SECRET_KEY is missing (and with it STRIPE_WEBHOOK_SECRETS)."


def _is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in LOOPBACK
