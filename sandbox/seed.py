"""python -m sandbox.seed: make the sandbox's database ready, fill the catalogue, make the demo logins.

Run by the demo's runner before the processes start; a second run only adds what is missing.
"""

import argparse
import json
import secrets
from io import StringIO
from pathlib import Path

import django
import stripe

from common.json_types import JsonObject
from sandbox.clock import SandboxClock
from sandbox.data_folder import DataFolder
from sandbox.environment import Ports, secrets_of
from sandbox.local_stripe import events
from sandbox.local_stripe.store import Store
from sandbox.local_stripe.transport import InProcessClient
from sandbox.local_stripe.whole import LocalStripe
from sandbox.postgres import RUNTIME

CUSTOMER_EMAIL = "customer@example.com"
SUPPORT_EMAIL = "support@example.com"
OPERATOR_EMAIL = "operator@example.com"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sandbox.seed", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--stripe-port", type=int, required=True)
    options = parser.parse_args()
    place, ports = DataFolder.at(options.data), Ports(options.port, options.stripe_port)
    django.setup()
    _migrate()
    _fill_catalogue(place, ports)
    _make_logins(place, ports)


def _migrate() -> None:
    from django.core.management import call_command
    from django.db import connection

    print("  migrating the database", flush=True)
    call_command("migrate", interactive=False, verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [RUNTIME])
        if cursor.fetchone():  # (not in a database of one's own)
            call_command("grant_runtime_role", RUNTIME, stdout=StringIO())


def _fill_catalogue(place: DataFolder, ports: Ports) -> None:
    from django.conf import settings

    from billing.setup import bootstrap, presets

    print("  filling the catalogue", flush=True)
    local = LocalStripe(store=Store(place.stripe), clock=SandboxClock(place.clock), public_url=ports.stripe_url)
    # The process that will serve this file starts later; until then it answers in this one.
    stripe.default_http_client = InProcessClient(local)
    secret = secrets_of(place)["stripe_webhook_secret"]
    events.listen(local, url=f"{ports.base_url}/api/webhooks/stripe", secret=secret)
    bootstrap.push(presets.load(settings.CATALOGUE_PRESET), say=lambda _line: None)


def _make_logins(place: DataFolder, ports: Ports) -> None:
    from django.contrib.auth.models import Group

    from accounts import keys, opening
    from accounts.models import User
    from common import clock
    from console.roles import SUPPORT

    print("  making the demo logins", flush=True)
    known: JsonObject = json.loads(place.demo.read_text()) if place.demo.exists() else {}
    people = {}
    for role, email in (("customer", CUSTOMER_EMAIL), ("support", SUPPORT_EMAIL), ("operator", OPERATOR_EMAIL)):
        user = User.objects.filter(email=email).first()
        password = known.get(role, {}).get("password")
        if user is None or password is None:
            password = secrets.token_urlsafe(9)
            user = user or User.objects.create_user(email, name=role.capitalize())
            user.set_password(password)
        user.is_staff = role != "customer"
        user.is_superuser = role == "operator"
        user.save()
        if role == "support":
            user.groups.add(Group.objects.get(name=SUPPORT))
        people[role] = (user, {"email": email, "password": password})
    now = clock.now()
    user, customer = people["customer"]
    account = opening.personal_account(user=user, now=now)
    customer["account"] = account.public_id
    customer["api_key"] = (
        known.get("customer", {}).get("api_key")
        or keys.create_key(
            account=account, name="Demo", scopes=keys.ACCOUNT_KEY_SCOPES, created_by=user, now=now
        ).secret
    )
    service_key = (
        known.get("service_api_key")
        or keys.create_key(
            account=None, name="Demo service", scopes=keys.SERVICE_KEY_SCOPES, created_by=None, now=now
        ).secret
    )
    place.demo.touch(mode=0o600)
    place.demo.write_text(
        json.dumps(
            {
                "base_url": ports.base_url,
                "stripe_url": ports.stripe_url,
                "customer": customer,
                "service_api_key": service_key,
                "support": people["support"][1],
                "operator": people["operator"][1],
            },
            indent=2,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
