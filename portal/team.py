"""A team: who is in it, who was asked, who used what; making one, and joining one."""

from collections.abc import Callable
from datetime import datetime

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts import teams
from accounts.errors import TeamError
from accounts.models import Account, Membership, User
from billing.subscriptions import seats
from common import clock
from credits.spending_limits import of_account as limits_of_account
from outbox.models import WebhookEndpoint
from portal import current_account as here
from portal import members
from portal.current_account import Role, account_context, admins_only
from portal.identifiers import identifier_or_404
from portal.spending_limits import uses_by_member
from usage import periods

LONGEST_NAME = 80


@never_cache
@require_GET
@login_required
def team(request: HttpRequest) -> HttpResponse:
    """The team's people and what they used; on one's own account, the way to a team."""
    who, now = account_context(request), clock.now()
    if not who.is_team:
        mine = [account for account in who.others if account.kind == Account.Kind.TEAM]
        return render(request, "portal/teams.html", {"teams": mine, "longest_name": LONGEST_NAME})
    period = periods.chosen(QueryDict(), who.account.time_zone, now=now)
    rows = who.account.memberships.select_related("user").order_by("created_at", "pk")
    used = {row.member: row for row in members.used(who.account, period)}
    limits = limits_of_account(who.account.pk, now=now)
    shown = {
        "members": [
            (row, used.get(row.user_id), row.pk == who.membership.pk, uses_by_member(limits, row.user_id))
            for row in rows
        ],
        "others_used": used.get(None),
        "invitations": teams.open_invitations(who.account, now=now),
        "seats": seats.seat_limit(who.account),
        "seats_taken": teams.seats_taken(who.account, now=now),
        "roles": Role.choices if who.is_owner else [choice for choice in Role.choices if choice[0] != Role.OWNER],
        "invited_roles": [choice for choice in Role.choices if choice[0] != Role.OWNER],
        "period": period,
    }
    return render(request, "portal/team.html", shown)


@require_POST
@login_required
def new_team(request: HttpRequest) -> HttpResponse:
    """Make a team, and go on in it."""
    who = account_context(request)
    name = "".join(letter for letter in request.POST.get("name", "") if letter.isprintable()).strip()[:LONGEST_NAME]
    if not name:
        messages.error(request, _("Give the team a name."))
        return redirect("team")
    assert isinstance(request.user, User)  # noqa: S101 - login_required
    try:
        created = teams.create_team(
            name=name,
            owner=request.user,
            language=who.account.language,
            time_zone=who.account.time_zone,
            now=clock.now(),
        )
    except TeamError as refusal:
        messages.error(request, str(refusal))
        return redirect("team")
    here.switch_account(request, created.pk)
    messages.info(
        request, _("%(team)s is there. Take a plan or buy credits, and invite people.") % {"team": created.name}
    )
    return redirect("team")


@require_POST
@login_required
def switch(request: HttpRequest) -> HttpResponse:
    """Go on for another account of one's own."""
    if not here.switch_account(request, identifier_or_404("acc", request.POST.get("account", ""))):
        raise Http404
    return redirect("dashboard")


@require_POST
@admins_only
def invite(request: HttpRequest) -> HttpResponse:
    """Ask somebody to join."""
    account = account_context(request).account

    def do(by: User, now: datetime) -> str:
        email = request.POST.get("email", "").strip()[:254]
        try:
            validate_email(email)
        except ValidationError:
            raise TeamError(_("Type an e-mail address.")) from None
        sent = teams.invite(
            account=account,
            email=email,
            role=request.POST.get("role", Role.MEMBER),
            by=by,
            seats=seats.seat_limit(account),
            now=now,
        )
        return _("An invitation is on its way to %s.") % sent.email

    return _done(request, do)


@require_POST
@admins_only
def withdraw(request: HttpRequest, invitation_id: str) -> HttpResponse:
    """Take an invitation back."""
    account, identifier = account_context(request).account, identifier_or_404("inv", invitation_id)

    def do(_by: User, now: datetime) -> str:
        teams.withdraw(account=account, invitation_id=identifier, now=now)
        return _("The invitation is withdrawn.")

    return _done(request, do)


@require_POST
@admins_only
def change_role(request: HttpRequest, membership_id: int) -> HttpResponse:
    """Give a member another role."""
    who = account_context(request)

    def do(_by: User, _now: datetime) -> str:
        changed = teams.change_role(
            account=who.account, membership_id=membership_id, role=request.POST.get("role", ""), by=who.membership
        )
        text = _("%(name)s: %(role)s.") % {"name": changed.user.get_full_name(), "role": changed.get_role_display()}
        if changed.role == Membership.Role.MEMBER:
            text += _what_goes_on(who.account, changed.user)
        return text

    return _done(request, do)


@require_POST
@login_required
def remove(request: HttpRequest, membership_id: int) -> HttpResponse:
    """Take somebody out of the team; anybody may leave it."""
    who = account_context(request)
    is_leaving = membership_id == who.membership.pk
    if not who.is_team or not (who.is_admin or is_leaving):
        raise Http404

    def do(_by: User, _now: datetime) -> str:
        gone = teams.remove(account=who.account, membership_id=membership_id, by=who.membership)
        if is_leaving:
            return _("You left %s.") % who.account.name
        return _("%s is no longer in the team.") % gone.user.get_full_name() + _what_goes_on(who.account, gone.user)

    return _done(request, do, back="dashboard" if is_leaving else "team")


def _what_goes_on(account: Account, user: User) -> str:
    """What somebody made while they might, and still works: the team decides whether it should."""
    text = ""
    if keys := account.api_keys.filter(created_by=user, revoked_at=None).count():
        text += " " + _("The %d API keys that they made go on working: look whether you want that.") % keys
    if endpoints := WebhookEndpoint.objects.filter(account=account, created_by=f"user:{user.pk}").count():
        text += (
            " " + _("The %d webhook endpoints that they made are still told: look whether you want that.") % endpoints
        )
    return text


@never_cache
def invitation(request: HttpRequest, link: str) -> HttpResponse:
    """What an invitation is for, and taking it. Only its address may: the mail proves who it was sent to."""
    result = teams.find_invitation(link, now=clock.now())
    if result is None:
        return render(request, "portal/invitation.html", {"is_over": True}, status=404)
    if not isinstance(request.user, User):
        return render(request, "portal/invitation.html", {"invitation": result, "is_visitor": True})
    if request.method == "POST":
        try:
            taken = teams.accept(invitation=result, user=request.user, now=clock.now())
        except TeamError as refusal:
            messages.error(request, str(refusal))
        else:
            return _joined(request, taken)
    return render(
        request, "portal/invitation.html", {"invitation": result, "is_mine": result.email == request.user.email}
    )


def _joined(request: HttpRequest, taken: Membership) -> HttpResponse:
    here.switch_account(request, taken.account_id)
    messages.info(request, _("Welcome to %s.") % taken.account.name)
    return redirect("dashboard")


def _done(request: HttpRequest, do: Callable[[User, datetime], str], *, back: str = "team") -> HttpResponse:
    assert isinstance(request.user, User)  # noqa: S101 - behind a login
    if not account_context(request).is_team:
        raise Http404
    try:
        messages.info(request, do(request.user, clock.now()))
    except TeamError as refusal:
        messages.error(request, str(refusal))
        return redirect("team")
    return redirect(back)
