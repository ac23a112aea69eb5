"""A project over Tegoed's settings, in its own process: a view that charges, and what a refusal is to its visitor."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings

from tests.conftest import ROOT, tables
from tests.service import load_dump

__all__ = ["tables"]

STORY = """
import json, django
django.setup()
from django.test import Client
from django.test.utils import setup_test_environment
from accounts.models import User
from accounts.opening import personal_account
from common import clock
from credits import ledger
from credits.models import Source
from usage.tests.rate_card import put_on_the_card
setup_test_environment()
put_on_the_card("message", credits=2)
ada = User.objects.create_user("ada@example.com", name="Ada")
account = personal_account(user=ada, now=clock.now())
ledger.grant(account_id=account.pk, amount=3, source=Source.BONUS, source_key="t", now=clock.now())
browser = Client(raise_request_exception=True)
told = [browser.get("/ask").status_code]
browser.force_login(ada)
page = browser.get("/ask?question=hello")
told += [page.status_code, "1 credit</a>" in " ".join(page.content.decode().split()).replace(" </a>", "</a>")]
refused = browser.get("/ask?question=hello")
shown = refused.content.decode()
told += [refused.status_code, "This costs 2 credits; you have 1" in shown, "/credits" in shown]
problem = browser.get("/ask", headers={"Accept": "application/json"})
said = problem.json()
told += [problem.status_code, said["code"], said["buy_url"].endswith("/credits"), said["required"]]
told += [browser.get("/dashboard").status_code, browser.get("/api/v1/version").status_code]
print(json.dumps(told))
"""


@pytest.fixture
def own_database(tables: Path) -> str:
    url = urlsplit(settings.DATABASE_URL)
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS example_django_app WITH (FORCE)")
        server.execute("CREATE DATABASE example_django_app")
    database = url._replace(path="/example_django_app").geturl()
    load_dump(tables, database)
    return database


@pytest.mark.xdist_group("example")
def test_view_of_ones_own_charges_and_leads_to_the_shop(own_database: str) -> None:
    variables = {"DJANGO_SETTINGS_MODULE": "examples.django_app.settings", "DATABASE_URL": own_database}

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STORY], cwd=ROOT, env=os.environ | variables, capture_output=True,
        text=True, check=False, timeout=120,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told[:3] == [302, 200, True]
    assert told[3:6] == [402, True, True]
    assert told[6:10] == [402, "insufficient_credits", True, 2]
    assert told[10:] == [200, 200]
