"""Credits given and taken by hand, spends given back, spending stopped."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as later
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSingleDateWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.models import Account
from common.admin import Effect
from common.json_types import JsonObject
from common.public_ids import MalformedIdError, parse_id, public_id
from common.sides import Side
from console.operations.base import (
    Gift,
    LedgerForm,
    Operation,
    OperationRefusedError,
    OperationRequest,
    OperationResult,
    register,
)
from credits import ledger, limits, selectors
from credits.calendar import first_instant
from credits.models import Source

MOST_CREDITS = 1_000_000_000


def balance_of(request: OperationRequest) -> selectors.Balance:
    return selectors.balance(account_id=request.account.pk, now=request.now)


def _credits(label: Any, **more: Any) -> forms.IntegerField:
    return forms.IntegerField(
        label=label, min_value=1, max_value=MOST_CREDITS, widget=UnfoldAdminIntegerFieldWidget, **more
    )


class GrantForm(LedgerForm):
    amount = _credits(later("Credits"))
    expires_on = forms.DateField(
        label=later("Valid through"),
        required=False,
        widget=UnfoldAdminSingleDateWidget,
        help_text=later("The last day in the account's own calendar. Empty: they do not expire."),
    )

    def clean_expires_on(self) -> Any:
        last = self.cleaned_data["expires_on"]
        if last is not None and first_instant(last + timedelta(days=1), self.account.time_zone) <= self.now:
            raise forms.ValidationError(_("That day is over."))
        return last


@register
class Grant(Operation):
    is_here_only = True
    code, label, icon, permission, form = "grant", later("Grant credits"), "add_circle", "grant_credits", GrantForm
    place = 1

    def act(self, request: OperationRequest) -> str:
        return str(_("Grant %d credits") % request.data["amount"])

    def gives(self, request: OperationRequest) -> Gift:
        return Gift(amount=request.data["amount"], to=request.account)

    def effects(self, request: OperationRequest) -> list[Effect]:
        has, amount = balance_of(request), request.data["amount"]
        return [
            Effect(_("Credits to spend"), str(has.available), str(has.available + amount)),
            Effect(_("They expire"), "–", str(request.data["expires_on"] or _("never"))),
        ]

    def run(self, request: OperationRequest) -> OperationResult:
        last = request.data["expires_on"]
        created = ledger.grant(
            account_id=request.account.pk,
            amount=request.data["amount"],
            source=Source.ADJUSTMENT,
            source_key=request.key,
            expires_at=first_instant(last + timedelta(days=1), request.account.time_zone) if last else None,
            description=request.message,
            actor=request.actor,
            now=request.now,
        )
        return OperationResult(
            text=_("%d credits are granted.") % created.grant.amount,
            undo={"operation": "revoke", "grant": created.grant.source_key, "amount": created.grant.amount},
        )


class TakeForm(LedgerForm):
    take = forms.IntegerField(
        label=later("Take credits away"), required=False, min_value=0, max_value=MOST_CREDITS,
        widget=UnfoldAdminIntegerFieldWidget, help_text=later("In the order of spending."),
    )  # fmt: skip
    forgive = forms.IntegerField(
        label=later("Forgive debt"), required=False, min_value=0, max_value=MOST_CREDITS,
        widget=UnfoldAdminIntegerFieldWidget,
    )  # fmt: skip

    def clean(self) -> JsonObject:
        result: JsonObject = super().clean() or {}
        if not result.get("take") and not result.get("forgive") and not self.errors:
            raise forms.ValidationError(_("Take or forgive something."))
        return result


@register
class Take(Operation):
    is_here_only = True
    code, label, icon, permission, form = "adjust", later("Take or forgive"), "remove_circle", "take_credits", TakeForm
    place = 3

    def gives(self, request: OperationRequest) -> Gift | None:
        forgive = request.data["forgive"] or 0
        return Gift(amount=forgive, to=request.account) if forgive else None

    def needs_second_person(self, request: OperationRequest) -> bool:
        return bool((request.data["take"] or 0) > settings.APPROVAL_ABOVE_CREDITS)

    def effects(self, request: OperationRequest) -> list[Effect]:
        has, take, forgive = balance_of(request), request.data["take"] or 0, request.data["forgive"] or 0
        if take > has.available:
            raise OperationRefusedError(_("Only %d credits are there to be taken.") % has.available)
        if forgive > has.debt:
            raise OperationRefusedError(_("Only %d credits are owed.") % has.debt)
        return [
            Effect(_("Credits to spend"), str(has.available), str(has.available - take)),
            Effect(_("Credits owed"), str(has.debt), str(has.debt - forgive)),
        ]

    def run(self, request: OperationRequest) -> OperationResult:
        take, forgive = request.data["take"] or 0, request.data["forgive"] or 0
        ledger.adjust(
            account_id=request.account.pk,
            idempotency_key=request.key,
            reason=request.message,
            actor=request.actor,
            take=take,
            forgive=forgive,
            now=request.now,
        )
        undo = {"operation": "grant", "amount": take} if take and not forgive else None
        return OperationResult(
            text=_("%(take)d credits taken, %(forgive)d forgiven.") % {"take": take, "forgive": forgive}, undo=undo
        )


class RevokeForm(LedgerForm):
    grant = forms.ChoiceField(label=later("Grant"), widget=UnfoldAdminSelectWidget)
    amount = _credits(
        later("Credits"), help_text=later("At most what is left of it is taken; what was spent stays spent.")
    )

    def prepare(self) -> None:
        rows = selectors.open_grants(self.account.pk)
        self.choice_field("grant").choices = [
            (row.source_key, f"{row.get_source_display()}, {row.remaining} / {row.amount} ({row.public_id})")
            for row in rows
        ]


@register
class Revoke(Operation):
    is_here_only = True
    code, label, icon, permission, form = "revoke", later("Revoke a grant"), "undo", "take_credits", RevokeForm
    place = 4

    def needs_second_person(self, request: OperationRequest) -> bool:
        return bool(request.data["amount"] > settings.APPROVAL_ABOVE_CREDITS)

    def effects(self, request: OperationRequest) -> list[Effect]:
        has = balance_of(request)
        grant = selectors.grants(request.account.pk).get(source_key=request.data["grant"])
        taken = min(request.data["amount"], grant.remaining)
        return [
            Effect(str(grant.get_source_display()), str(grant.remaining), str(grant.remaining - taken)),
            Effect(_("Credits to spend"), str(has.available), str(has.available - taken)),
        ]

    def run(self, request: OperationRequest) -> OperationResult:
        source_key = request.data["grant"]
        grant = selectors.grants(request.account.pk).get(source_key=source_key)
        taken = ledger.revoke(
            account_id=request.account.pk,
            grant_source_key=source_key,
            amount=min(request.data["amount"], grant.amount),
            source_key=request.key,
            create_debt=False,
            description=request.message,
            actor=request.actor,
            now=request.now,
        ).taken
        return OperationResult(
            text=_("%d credits are taken back.") % taken,
            undo={"operation": "restore", "grant": source_key, "amount": taken} if taken else None,
        )


class ReverseForm(LedgerForm):
    transaction = forms.CharField(
        label=later("Spend"), max_length=40, widget=UnfoldAdminTextInputWidget, help_text=later("txn_… of the ledger.")
    )
    amount = forms.IntegerField(
        label=later("Credits"), required=False, min_value=1, max_value=MOST_CREDITS,
        widget=UnfoldAdminIntegerFieldWidget, help_text=later("Empty: all of it."),
    )  # fmt: skip

    def clean_transaction(self) -> Any:
        try:
            return parse_id("txn", self.cleaned_data["transaction"].strip())
        except MalformedIdError:
            raise forms.ValidationError(_("That is no transaction: it starts with txn_.")) from None


@register
class Reverse(Operation):
    is_here_only = True
    code, label, icon, permission, form = "reverse", later("Give back a spend"), "replay", "reverse_spend", ReverseForm
    place = 2

    def gives(self, request: OperationRequest) -> Gift | None:
        spent = selectors.transactions(request.account.pk).filter(pk=request.data["transaction"]).first()
        left = ledger.can_be_given_back(spent) if spent else 0
        back = left if request.data["amount"] is None else request.data["amount"]
        return Gift(amount=back, to=request.account) if back > 0 else None

    def effects(self, request: OperationRequest) -> list[Effect]:
        spent = selectors.transactions(request.account.pk).filter(pk=request.data["transaction"]).first()
        if spent is None:
            raise OperationRefusedError(_("This account has no such transaction."))
        left = ledger.can_be_given_back(spent)
        back = left if request.data["amount"] is None else request.data["amount"]
        if not 0 < back <= left:
            raise OperationRefusedError(_("Of this spend %d credits can be given back.") % left)
        has = balance_of(request)
        return [
            Effect(_("Of this spend given back"), str(-spent.amount - left), str(-spent.amount - left + back)),
            Effect(_("Credits to spend"), str(has.available), _("up to %d") % (has.available + back)),
        ]

    def run(self, request: OperationRequest) -> OperationResult:
        created = ledger.reverse(
            account_id=request.account.pk,
            transaction_id=request.data["transaction"],
            amount=request.data["amount"],
            idempotency_key=request.key,
            side=Side.INTERNAL,
            reason=request.message,
            actor=request.actor,
            now=request.now,
        ).transaction
        return OperationResult(
            text=_("%(amount)d credits of %(spend)s are given back.")
            % {"amount": created.amount, "spend": public_id("txn", request.data["transaction"])},
            undo={"operation": "adjust", "take": created.amount},
        )


@register
class Freeze(Operation):
    is_here_only = True
    code, label, icon, permission = "freeze", later("Stop spending"), "ac_unit", "freeze_account"
    is_grave = True
    place = 60

    def is_offered(self, account: Account, now: datetime) -> bool:
        return not selectors.balance(account_id=account.pk, now=now).is_frozen

    def effects(self, request: OperationRequest) -> list[Effect]:
        return [Effect(_("Spending"), _("allowed"), _("stopped: every spend is refused, and the pages say so"))]

    def run(self, request: OperationRequest) -> OperationResult:
        limits.freeze(account_id=request.account.pk, now=request.now)
        return OperationResult(text=_("Spending is stopped."), undo={"operation": "unfreeze"})


@register
class Unfreeze(Operation):
    is_here_only = True
    code, label, icon, permission = "unfreeze", later("Allow spending"), "local_fire_department", "freeze_account"
    place = 60

    def is_offered(self, account: Account, now: datetime) -> bool:
        return selectors.balance(account_id=account.pk, now=now).is_frozen

    def effects(self, request: OperationRequest) -> list[Effect]:
        return [Effect(_("Spending"), _("stopped"), _("allowed"))]

    def run(self, request: OperationRequest) -> OperationResult:
        limits.unfreeze(account_id=request.account.pk)
        return OperationResult(text=_("Spending is allowed again."), undo={"operation": "freeze"})


class RestoreForm(LedgerForm):
    grant = forms.CharField(max_length=255)
    amount = _credits(later("Credits"))


@register
class Restore(Operation):
    """Undoes a revocation; not offered by itself."""

    is_here_only = is_undo_only = True
    code, label, permission, form = "restore", later("Restore what was revoked"), "take_credits", RestoreForm

    def is_offered(self, account: Account, now: datetime) -> bool:
        return False

    def gives(self, request: OperationRequest) -> Gift:
        return Gift(amount=request.data["amount"], to=request.account)

    def effects(self, request: OperationRequest) -> list[Effect]:
        has = balance_of(request)
        return [Effect(_("Credits to spend"), str(has.available), str(has.available + request.data["amount"]))]

    def run(self, request: OperationRequest) -> OperationResult:
        ledger.restore(
            account_id=request.account.pk,
            grant_source_key=request.data["grant"],
            credits=request.data["amount"],
            debt=0,
            source_key=request.key,
            description=request.message,
            actor=request.actor,
            now=request.now,
        )
        return OperationResult(text=_("%d credits are back.") % request.data["amount"])
