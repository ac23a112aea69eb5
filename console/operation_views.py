"""One view for every operation: fill in, see what it would do, confirm, read what was done, undo.

What is confirmed is what was shown: when the account has changed meanwhile, the effect is shown once more. Each form
has a token, so that a second click, or the browser's back button, does nothing more.
"""

import hashlib
import uuid
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from typing import Any, cast

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache

from accounts import impersonation, teams
from accounts.errors import AccountsError
from accounts.models import Account, User
from billing.errors import BillingError, FulfilmentError
from common import clock
from common.json_types import JsonObject
from console import audit_log, operator_limits
from console.models import Approval, AuditEvent
from console.operations import (
    OPERATIONS,
    Effect,
    Operation,
    OperationForm,
    OperationRefusedError,
    OperationRequest,
    OperationResult,
)
from credits.errors import CreditsError

REFUSALS = (OperationRefusedError, CreditsError, BillingError, FulfilmentError, AccountsError)
TOKEN_LENGTH = 32
_SEEN = Signer(salt="console.effects")


def offered(user: User, account: Account) -> list[Operation]:
    """What this operator can do to this account now."""
    now, known = clock.now(), sorted(OPERATIONS.values(), key=lambda row: row.place)
    is_own = teams.is_of(user, [account])
    return [
        row
        for row in known
        if user.has_perm(f"console.{row.permission}")
        and (row.is_for_own_account or not is_own)
        and (row.is_for_closed_account or account.closed_at is None)
        and row.is_offered(account, now)
    ]


@never_cache
def operate(request: HttpRequest, account: Account, code: str, site: Any) -> HttpResponse:
    """The pages of one operation on one account. Raises Http404 and PermissionDenied."""
    try:
        operation, now = _operation(request, code), clock.now()
        if operation.is_undo_only:
            raise Http404
    except PermissionDenied:
        if request.method == "POST":
            _record_refusal(request, code, account, _("The right to do this is missing."))
        raise
    if request.method != "POST":
        initial = {name: request.GET[name] for name in operation.form.base_fields if name in request.GET}
        form = operation.form(account=account, now=now, initial=initial)
        return _page(request, site, operation, account, form=form, token=uuid.uuid4().hex)
    token = request.POST.get("token", "")
    if len(token) != TOKEN_LENGTH or not token.isascii() or not token.isalnum():
        raise Http404
    form = operation.form(request.POST, account=account, now=now)
    if "change" in request.POST or not form.is_valid():
        return _page(request, site, operation, account, form=form, token=token)
    user = cast(User, request.user)
    # The browser sends the token: it stands for one form of one operator about one account, and for nothing else.
    once = hashlib.sha256(f"{account.pk}:{user.pk}:{token}".encode()).hexdigest()[:TOKEN_LENGTH]
    key = f"console:{code}:{once}"
    fields = _operation_request(operation, account, user, form.cleaned_data, key=key)
    if _is_done(request, fields):
        return _back(account)
    try:
        return _confirmed(request, site, operation, fields, form=form, token=token)
    except REFUSALS as refusal:
        _record_refusal(request, operation.code, account, str(refusal), reason=fields.reason)
        form.add_error(None, str(refusal))
        return _page(request, site, operation, account, form=form, token=token)


def _confirmed(
    request: HttpRequest,
    site: Any,
    operation: Operation,
    operation_request: OperationRequest,
    *,
    form: OperationForm,
    token: str,
) -> HttpResponse:
    """Show the effects, or, where these were confirmed, carry them out."""
    operator_limits.check(operation, operation_request)
    effects = _effects(operation, operation_request)
    waits = not operator_limits.is_allowed_alone(operation, operation_request)
    if not _is_confirmed(request, effects):
        is_stale = "seen" in request.POST
        return _page(
            request, site, operation, operation_request.account, form=form, token=token, effects=effects, waits=waits,
            is_stale=is_stale, act=operation.act(operation_request),
        )  # fmt: skip
    if waits or not operator_limits.count(operation, operation_request):
        return _ask_second(request, operation, operation_request, effects, form)
    return _answer(
        request, operation, operation_request.account, _carry_out(operation, operation_request, effects, request)
    )


def _effects(operation: Operation, operation_request: OperationRequest) -> list[Effect]:
    """What would change, and what the customer would read of it."""
    effects = operation.effects(operation_request)
    if operation_request.message:
        effects.append(Effect(_("The customer reads"), "–", operation_request.message))
    return effects


def _is_done(request: HttpRequest, operation_request: OperationRequest) -> bool:
    """Whether this very form was sent before; says what became of it."""
    if known := audit_log.find(operation_request.key):
        messages.info(request, _("This was done already: %s") % known.result)
        return True
    return Approval.objects.filter(key=operation_request.key).exists()


def undoable(user: User, account: Account, *, now: datetime) -> list[AuditEvent]:
    """What this operator did a few minutes ago and can still take back."""
    rows = AuditEvent.objects.filter(account=account, operator=user, undo__isnull=False, undo_until__gt=now)
    return [row for row in rows.order_by("-at") if may_undo(user, row) and not audit_log.find(f"undo:{row.public_id}")]


def may_undo(user: User, event: AuditEvent) -> bool:
    """Whether this operator may do what undoing an event does."""
    operation = OPERATIONS.get((event.undo or {}).get("operation", ""))
    return operation is not None and user.has_perm(f"console.{operation.permission}")


def decide(request: HttpRequest, approval: Approval, *, approve: bool) -> None:
    """A second person says yes or no. Says what became of it in a message. Raises PermissionDenied.

    Everything is looked at again for both: who asked must still be allowed to, and neither may be a member of the
    account.
    """
    user, now = cast(User, request.user), clock.now()
    try:
        operation = _operation(request, approval.operation)
    except PermissionDenied:
        _record_refusal(
            request, f"approve {approval.operation}", approval.account, _("The right to do this is missing.")
        )
        raise
    if not user.has_perm("console.approve") or (approve and user.pk == approval.asked_by_id):
        _record_refusal(request, f"approve {operation.code}", approval.account, _("This takes somebody else."))
        raise PermissionDenied
    if approve:
        try:
            operator_limits.refuse_own_accounts(user, [approval.account])
        except OperationRefusedError as refusal:
            _record_refusal(request, f"approve {operation.code}", approval.account, str(refusal))
            messages.error(request, str(refusal))
            return
    with transaction.atomic():
        # The row is the lock: two people who decide at once decide once.
        row = Approval.objects.select_for_update().get(pk=approval.pk)
        if row.state != Approval.State.PENDING:
            messages.info(request, _("This was decided before."))
            return
        row.state = Approval.State.APPROVED if approve else Approval.State.REFUSED
        row.decided_by, row.decided_at = user, now
        row.save(update_fields=["state", "decided_by", "decided_at"])
    if not approve:
        _keep_decision(request, row, _("Refused."))
        messages.info(request, _("It is refused; nothing was done."))
        return
    form = operation.form(row.form, account=row.account, now=now)
    try:
        if not form.is_valid():
            raise OperationRefusedError("; ".join(str(error) for errors in form.errors.values() for error in errors))
        fields = _operation_request(operation, row.account, row.asked_by, form.cleaned_data, key=row.key)
        if not _may_still_ask(row.asked_by, operation):
            raise OperationRefusedError(_("%s may not do this any more.") % row.asked_by)
        operator_limits.check(operation, fields)
        operator_limits.check(operation, fields, by=user)
        operator_limits.check_approver(operation, fields, user)
        result = _carry_out(operation, fields, _effects(operation, fields), request, approved_by=user)
    except REFUSALS as refusal:
        _keep_decision(request, row, _("Approved, and not possible any more: %s") % refusal)
        messages.error(request, _("It is not possible any more: %s") % refusal)
        return
    _keep_decision(request, row, result.text)
    messages.success(request, result.text)


def undo(request: HttpRequest, event: AuditEvent) -> None:
    """Take back what was done a few minutes ago. Says what became of it in a message. Raises PermissionDenied."""
    now = clock.now()
    if event.undo is None or event.undo_until is None or event.account is None:
        messages.error(request, _("This cannot be undone."))
        return
    if now > event.undo_until:
        messages.error(request, _("The ten minutes in which this could be undone are over."))
        return
    try:
        operation = _operation(request, event.undo["operation"])
    except PermissionDenied:
        _record_refusal(request, f"undo {event.action}", event.account, _("The right to do this is missing."))
        raise
    key = f"undo:{event.public_id}"
    if audit_log.find(key):
        messages.info(request, _("This was undone already."))
        return
    data = {**_blank(operation), **{name: value for name, value in event.undo.items() if name != "operation"}}
    reason = _("Undone: %s") % event.reason
    fields = OperationRequest(
        account=event.account, operator=cast(User, request.user), data=data, reason=reason[:500], key=key, now=now
    )
    try:
        operator_limits.check(operation, fields)
        effects = _effects(operation, fields)
        if not operator_limits.is_allowed_alone(operation, fields) or not operator_limits.count(operation, fields):
            raise OperationRefusedError(
                _("It is more than one person may give in a day. Ask for it as a new operation.")
            )
        result = operation.run(fields)
    except REFUSALS as refusal:
        _record_refusal(request, f"undo {event.action}", event.account, str(refusal), reason=reason)
        messages.error(request, _("It cannot be undone: %s") % refusal)
        return
    audit_log.record(
        key=key, action="undo", operator=fields.operator, account=event.account,
        subject=f"{event.action} {event.public_id}", reason=reason, effects=effects, result=result.text,
        now=now, request=request,
    )  # fmt: skip
    messages.success(request, result.text)


def _carry_out(
    operation: Operation,
    operation_request: OperationRequest,
    effects: list[Effect],
    request: HttpRequest,
    approved_by: User | None = None,
) -> OperationResult:
    """Do it and write it down: together, or neither. (What calls Stripe is written down once that is done.)"""
    with transaction.atomic() if operation.is_here_only else nullcontext():
        result = operation.run(operation_request)
        record = partial(
            audit_log.record,
            action=operation.code,
            operator=operation_request.operator,
            reason=operation_request.reason,
            effects=effects,
            result=result.text,
            now=operation_request.now,
            request=request,
        )
        subject = f"approved by {approved_by}" if approved_by else ""
        record(key=operation_request.key, account=operation_request.account, subject=subject, undo=result.undo)
        for other in operation.accounts(operation_request):
            if other != operation_request.account:
                about = f"{operation_request.account.public_id} {subject}".strip()
                record(key=f"{operation_request.key}:{other.public_id}", account=other, subject=about)
    return result


def _answer(request: HttpRequest, operation: Operation, account: Account, done: OperationResult) -> HttpResponse:
    messages.success(request, done.text)
    if operation.code == "view-as":
        impersonation.start(request, account)
    return HttpResponseRedirect(done.go_to) if done.go_to else _back(account)


def _ask_second(
    request: HttpRequest,
    operation: Operation,
    operation_request: OperationRequest,
    effects: list[Effect],
    form: OperationForm,
) -> HttpResponse:
    Approval.objects.get_or_create(
        key=operation_request.key,
        defaults={
            "operation": operation.code,
            "account": operation_request.account,
            "form": {name: form.data.get(name, "") for name in form.fields},
            "effects": [[effect.what, effect.before, effect.after] for effect in effects],
            "reason": operation_request.reason,
            "asked_by": operation_request.operator,
            "asked_at": operation_request.now,
        },
    )
    messages.warning(request, _("It waits for a second person, under Approvals."))
    return _back(operation_request.account)


def _keep_decision(request: HttpRequest, row: Approval, result: str) -> None:
    Approval.objects.filter(pk=row.pk).update(result=result)
    audit_log.record(
        key=f"decision:{row.pk}",
        action="approve" if row.state == Approval.State.APPROVED else "refuse",
        operator=cast(User, row.decided_by),
        account=row.account,
        subject=f"{row.operation}, asked by {row.asked_by}",
        reason=row.reason,
        result=result,
        now=clock.now(),
        request=request,
    )


def _operation(request: HttpRequest, code: str) -> Operation:
    operation = OPERATIONS.get(code)
    if operation is None:
        raise Http404
    if not request.user.has_perm(f"console.{operation.permission}"):
        raise PermissionDenied
    return operation


def _may_still_ask(user: User, operation: Operation) -> bool:
    return user.is_active and user.is_staff and user.has_perm(f"console.{operation.permission}")


def _record_refusal(request: HttpRequest, what: str, account: Account | None, why: str, *, reason: str = "") -> None:
    """What somebody tried and was refused is on the audit log as well."""
    audit_log.record(
        key=f"refused:{uuid.uuid4().hex}",
        action="refused",
        operator=cast(User, request.user),
        account=account,
        subject=what,
        reason=reason,
        result=why,
        now=clock.now(),
        request=request,
    )


def _operation_request(
    operation: Operation, account: Account, operator: User, data: Mapping[str, Any], *, key: str
) -> OperationRequest:
    labels = dict(operation.form.base_fields["why"].choices)  # type: ignore[attr-defined]  # a ChoiceField
    reason = f"{labels.get(data['why'], data['why'])}: {data['reason']}"
    return OperationRequest(
        account=account, operator=operator, data=data, reason=reason[:500], key=key, now=clock.now()
    )


def _blank(operation: Operation) -> JsonObject:
    return dict.fromkeys(operation.form.base_fields)


def _is_confirmed(request: HttpRequest, effects: list[Effect]) -> bool:
    """Whether what the operator confirms is what would happen now."""
    try:
        return _SEEN.unsign(request.POST.get("seen", "")) == _digest(effects)
    except BadSignature:
        return False


def _digest(effects: list[Effect]) -> str:
    return "|".join(f"{effect.what}={effect.before}>{effect.after}" for effect in effects)


def _page(
    request: HttpRequest,
    site: Any,
    operation: Operation,
    account: Account,
    *,
    form: OperationForm,
    token: str,
    effects: list[Effect] | None = None,
    waits: bool = False,
    is_stale: bool = False,
    act: str = "",
) -> HttpResponse:
    shown = {
        **site.each_context(request),
        "title": operation.label,
        "operation": operation,
        "account": account,
        "form": form,
        "token": token,
        "effects": effects,
        "waits": waits,
        "is_stale": is_stale,
        "act": act,
        "confirm": _SEEN.sign(_digest(effects)) if effects is not None else "",
    }
    return TemplateResponse(request, "console/operate.html", shown)


def _back(account: Account) -> HttpResponse:
    return redirect("admin:accounts_account_change", account.pk)
