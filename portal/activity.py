"""What happened, in lines that people can read: like with like, and each transaction with all that is known of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from accounts.models import Account, ApiKey, User
from common.public_ids import MalformedIdError, parse_id
from credits import selectors
from credits.models import Transaction


@dataclass(frozen=True, kw_only=True)
class Line:
    """One transaction, or several spends of one kind in a day."""

    first: Transaction  # the latest of them
    last: Transaction
    count: int
    amount: int


def grouped(rows: Iterable[Transaction], zone: str, *, most: int) -> tuple[list[Line], Transaction | None]:
    """At most so many lines of these transactions, latest first, and the last one that is in them.

    The spends of one day on one feature (or with one description) are one line, at the place of the latest of them.
    """
    lines: dict[object, Line] = {}
    last = None
    for row in rows:
        key = _alike(row, zone)
        known = lines.get(key)
        if known is None and len(lines) == most:
            break
        lines[key] = Line(
            first=known.first if known else row,
            last=row,
            count=known.count + 1 if known else 1,
            amount=row.amount + (known.amount if known else 0),
        )
        last = row
    return list(lines.values()), last


def _alike(row: Transaction, zone: str) -> object:
    """What a transaction has in common with those that it makes one line with."""
    what = row.feature or row.description
    if row.kind != Transaction.Kind.SPEND or not what:
        return row.pk
    return row.created_at.astimezone(ZoneInfo(zone)).date(), what


def who(account: Account, actor: str) -> str:
    """Who did it, as the customer knows them; empty for what came by itself."""
    kind, _colon, number = actor.partition(":")
    if kind == "user" and number.isdecimal():
        member = User.objects.filter(pk=int(number), memberships__account=account).first()
        return member.get_full_name() if member else _("Support")
    try:
        key = ApiKey.objects.filter(pk=parse_id("key", actor)).first()
    except MalformedIdError:
        return ""
    if key is None:
        return ""
    return f"{key.name} ({key})" if key.account_id == account.pk else _("The app")


@dataclass(frozen=True, kw_only=True)
class LotPart:
    """What a transaction moved of one lot."""

    source: str
    amount: int
    expires_at: datetime | None


def parts_of(row: Transaction) -> list[LotPart]:
    """The lots that a transaction drew on, or gave to, in the order of spending."""
    return [
        LotPart(source=entry.grant.get_source_display(), amount=entry.amount, expires_at=entry.grant.expires_at)
        for entry in selectors.entries(row.pk)
    ]
