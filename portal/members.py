"""Who used what: each member's own spending, and that of the keys that they made."""

from dataclasses import dataclass

from accounts.models import Account, ApiKey, User
from common.public_ids import MalformedIdError, parse_id
from usage import usage_summary
from usage.periods import Period
from usage.usage_summary import UsageTotals


@dataclass(frozen=True, kw_only=True)
class MemberUsed:
    """What one member used; `member` is none for an app's own keys, and for people who are gone."""

    member: int | None
    name: str
    used: UsageTotals


def used(account: Account, period: Period) -> list[MemberUsed]:
    """Each member's use in a period, the most first."""
    rows = usage_summary.summarize(
        account_id=account.pk, since=period.since, until=period.until, zone=period.zone, group_by=("key",)
    )
    makers = _makers(account, [row.key or "" for row in rows])
    by_member: dict[int | None, list[UsageTotals]] = {}
    for row in rows:
        by_member.setdefault(makers.get(row.key or ""), []).append(row)
    people = User.objects.filter(memberships__account=account).in_bulk(set(by_member) - {None})
    result: dict[int | None, MemberUsed] = {}
    for member, each in by_member.items():
        known = member if member in people else None
        name = people[known].get_full_name() if known is not None else ""
        before = [result[known].used] if known in result else []
        result[known] = MemberUsed(member=known, name=name, used=usage_summary.total_of([*before, *each]))
    return sorted(result.values(), key=lambda row: -row.used.credits)


def _makers(account: Account, actors: list[str]) -> dict[str, int | None]:
    """Who is behind each name in the ledger: a user, or whoever made the key."""
    makers: dict[str, int | None] = {}
    keys = {}
    for actor in actors:
        kind, _, number = actor.partition(":")
        if kind == "user" and number.isdecimal():
            makers[actor] = int(number)
            continue
        try:
            keys[parse_id("key", actor)] = actor
        except MalformedIdError:
            makers[actor] = None
    for key in ApiKey.objects.filter(account=account, pk__in=keys):
        makers[keys[key.pk]] = key.created_by_id
    return makers
