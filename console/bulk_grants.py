"""Credits for many accounts from one CSV file: looked over, shown, and only then granted, row by row, once each."""

import csv
import io
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as later
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextInputWidget

from accounts import teams
from accounts.models import Account, User
from common.admin import Effect
from common.json_types import JsonObject
from common.public_ids import MalformedIdError, parse_id
from common.queue import enqueue
from console import audit_log
from console.models import BulkGrant
from console.operations.base import LONGEST_REASON
from credits import ledger, manual_grant_counts
from credits.errors import CreditsError, GrantLimitExceededError
from credits.models import Source

MOST_ROWS = 10_000
MOST_BYTES = 2_000_000
MOST_CREDITS = 1_000_000_000
LONGEST_NAME = 120
COLUMNS = ("account", "credits")

Watch = Callable[[Iterable[Any]], Iterable[Any]]


class BulkRefusedError(Exception):
    """It is not granted; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row of the file: whose, how many, and what is wrong with it."""

    number: int
    named: str
    credits: int
    account_id: str = ""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a file would do."""

    rows: int
    accounts: int
    credits: int
    problems: list[Line]


def read(text: str) -> list[JsonObject]:
    """The rows of a file with the columns account and credits. Raises BulkRefusedError for what is no such file."""
    rows = list(csv.DictReader(io.StringIO(text.lstrip("\ufeff"))))
    if not rows or not set(COLUMNS) <= set(rows[0]):
        raise BulkRefusedError(_("The first line must name the columns: account,credits."))
    if len(rows) > MOST_ROWS:
        raise BulkRefusedError(_("A file has at most %d rows. Cut it in parts.") % MOST_ROWS)
    lines = [_line(number, row) for number, row in enumerate(rows, start=2)]
    result = _accounts([line.named for line in lines])
    seen: set[str] = set()
    kept = []
    for line in lines:
        account_id = result.get(line.named.lower(), "")
        problem = line.problem or ("" if account_id else _("no such account"))
        if account_id and account_id in seen:
            problem = problem or _("twice in this file")
        seen.add(account_id)
        kept.append(
            {
                "number": line.number,
                "named": line.named,
                "credits": line.credits,
                "account": account_id,
                "problem": problem,
            }
        )
    return kept


def save_upload(*, name: str, rows: list[JsonObject], reason: str, made_by: User, now: datetime) -> BulkGrant:
    """Keep a file that was looked over. Nothing is granted yet."""
    return BulkGrant.objects.create(name=name[:LONGEST_NAME], rows=rows, reason=reason, made_by=made_by, made_at=now)


def plan(row: BulkGrant) -> Plan:
    """What it would do: the rows with a problem are left out."""
    good = [line for line in row.rows if not line["problem"]]
    bad = [
        Line(number=line["number"], named=line["named"], credits=line["credits"], problem=line["problem"])
        for line in row.rows
        if line["problem"]
    ]
    return Plan(
        rows=len(row.rows),
        accounts=len({line["account"] for line in good}),
        credits=sum(line["credits"] for line in good),
        problems=bad,
    )


def start(row: BulkGrant, *, operator: User, now: datetime, request: HttpRequest | None = None) -> None:
    """Have the worker grant it. A second call changes nothing. Raises BulkRefusedError."""
    reported = plan(row)
    if not reported.accounts:
        raise BulkRefusedError(_("No row can be granted."))
    accounts = [uuid.UUID(line["account"]) for line in row.rows if not line["problem"]]
    for person in (row.made_by, operator):
        if teams.is_of(person, accounts):
            raise BulkRefusedError(_("The file holds an account that %s is a member of. Leave it out.") % person)
    if not (row.made_by.is_active and row.made_by.is_staff and row.made_by.has_perm("console.grant_without_limit")):
        raise BulkRefusedError(_("%s, who uploaded this, may not do so any more.") % row.made_by)
    with transaction.atomic():
        if not BulkGrant.objects.filter(pk=row.pk, state=BulkGrant.State.CHECKED).update(state=BulkGrant.State.RUNNING):
            return
        if operator.pk == row.made_by_id:
            _count(row, giver=f"user:{operator.pk}", now=now)
        audit_log.record(
            key=f"bulk:{row.pk}", action="bulk-grant", operator=operator, subject=row.name, reason=row.reason,
            effects=[
                Effect(_("Accounts"), "–", str(reported.accounts)), Effect(_("Credits"), "–", str(reported.credits)),
            ],
            result=_("Started."), now=now, request=request,
        )  # fmt: skip
        transaction.on_commit(lambda: enqueue("console.tasks.run_bulk_grant", bulk_id=str(row.pk)))


def _count(row: BulkGrant, *, giver: str, now: datetime) -> None:
    """Count each row against the day of who gives and of who gets it. Raises BulkRefusedError."""
    most = settings.APPROVAL_ABOVE_CREDITS
    try:
        # In the order of accounts, so that two files never wait for each other.
        for line in sorted((line for line in row.rows if not line["problem"]), key=lambda line: line["account"]):
            manual_grant_counts.count(
                giver=giver,
                account_id=uuid.UUID(line["account"]),
                amount=line["credits"],
                most_by_giver=most,
                most_to_account=most,
                now=now,
            )
    except GrantLimitExceededError as refusal:
        raise BulkRefusedError(
            _("More than %d credits a day, by one person or to one account, take a second person: let somebody else "
              "start it.") % most
        ) from refusal  # fmt: skip


def run(bulk_id: uuid.UUID, *, now: datetime, watch: Watch = iter) -> int:
    """Grant every row that was not granted yet; answers how many were now. May be called again where it stopped."""
    row = BulkGrant.objects.get(pk=bulk_id)
    if row.state != BulkGrant.State.RUNNING:
        return 0
    granted, failures, result = 0, [], 0
    for line in watch(line for line in row.rows if not line["problem"]):
        try:
            created = ledger.grant(
                account_id=uuid.UUID(line["account"]),
                amount=line["credits"],
                source=Source.ADJUSTMENT,
                source_key=f"bulk:{row.pk}",
                description=row.reason,
                actor=f"user:{row.made_by_id}",
                now=now,
            )
        except CreditsError as refusal:
            failures.append([line["number"], line["named"], str(refusal)])
        else:
            granted += not created.is_replayed
            result += 1
        BulkGrant.objects.filter(pk=row.pk).update(done=result, failures=failures)
    BulkGrant.objects.filter(pk=row.pk).update(state=BulkGrant.State.DONE)
    return granted


class UploadForm(forms.Form):
    """A file and a reason."""

    file = forms.FileField(
        label=later("File"),
        widget=UnfoldAdminFileFieldWidget,
        help_text=later(
            "CSV with the columns account and credits; an account by acc_…, e-mail address or ext:<your id>."
        ),
    )
    reason = forms.CharField(
        label=later("Message to the customers"),
        max_length=LONGEST_REASON,
        widget=UnfoldAdminTextInputWidget,
        help_text=later("They read it in their transactions, and colleagues in the audit log."),
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > MOST_BYTES:
            raise forms.ValidationError(_("The file is too large."))
        try:
            self.rows = read(file.read().decode())
        except UnicodeDecodeError:
            raise forms.ValidationError(_("The file is no text in UTF-8.")) from None
        except (BulkRefusedError, csv.Error) as refusal:
            raise forms.ValidationError(str(refusal)) from None
        return file


def _line(number: int, row: JsonObject) -> Line:
    named, text = str(row.get("account") or "").strip()[:254], str(row.get("credits") or "").strip()
    is_number = text.isascii() and text.isdigit() and 0 < int(text[:12]) <= MOST_CREDITS
    problem = "" if is_number and len(text) < 12 else _("credits must be a whole number above 0")  # noqa: PLR2004
    return Line(number=number, named=named, credits=int(text) if not problem else 0, problem=problem)


def _accounts(names: list[str]) -> dict[str, str]:
    """The accounts that these names are, in three queries however many there are."""
    result: dict[str, str] = {}
    identifiers = {}
    for name in names:
        try:
            identifiers[parse_id("acc", name)] = name.lower()
        except MalformedIdError:
            continue
    is_open = Account.objects.filter(closed_at=None)
    for pk in is_open.filter(pk__in=identifiers).values_list("pk", flat=True):
        result[identifiers[pk]] = str(pk)
    emails = [name.lower() for name in names if "@" in name]
    personal = is_open.filter(memberships__is_personal=True, memberships__user__email__in=emails)
    for pk, email in personal.values_list("pk", "memberships__user__email"):
        result[email] = str(pk)
    subjects = {name.removeprefix("ext:"): name.lower() for name in names if name.startswith("ext:")}
    external = is_open.filter(external_identities__issuer="", external_identities__subject__in=subjects)
    for pk, subject in external.values_list("pk", "external_identities__subject"):
        result[subjects[subject]] = str(pk)
    return result


def record_refusal(
    row: BulkGrant, why: str, *, operator: User, now: datetime, request: HttpRequest | None = None
) -> None:
    """What was refused is on the audit log as well."""
    audit_log.record(
        key=f"refused:{uuid.uuid4().hex}", action="refused", operator=operator, subject=f"bulk-grant {row.name}",
        reason=row.reason, result=why, now=now, request=request,
    )  # fmt: skip
