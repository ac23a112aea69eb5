"""Notes, e-mails, the customer's own view; accounts merged, exported, erased."""

from collections.abc import Iterable
from datetime import datetime
from urllib.parse import quote

from django import forms
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as later
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts import opening, teams
from accounts.models import Account, Membership, User
from billing.customers import closing, merging
from billing.notifications import mails
from billing.subscriptions import plan_changes
from common.admin import Effect
from common.public_ids import MalformedIdError, parse_id
from console.operations.base import (
    Gift,
    Operation,
    OperationForm,
    OperationRefusedError,
    OperationRequest,
    OperationResult,
    register,
)
from credits import selectors
from outbox.models import OutboxEvent

LATEST_MAILS = 30


@register
class Note(Operation):
    is_here_only = True
    code, label, icon, permission = "note", later("Write a note"), "edit_note", "write_note"
    is_for_own_account = is_for_closed_account = True
    place = 10

    def effects(self, request: OperationRequest) -> list[Effect]:
        return [Effect(_("Timeline"), "–", request.reason)]

    def run(self, request: OperationRequest) -> OperationResult:
        return OperationResult(text=_("The note is kept."))


class ResendForm(OperationForm):
    event = forms.ChoiceField(label=later("E-mail"), widget=UnfoldAdminSelectWidget)

    def prepare(self) -> None:
        rows = OutboxEvent.objects.filter(account=self.account).order_by("-pk")[: LATEST_MAILS * 3]
        self.choice_field("event").choices = [
            (str(row.pk), f"{date_format(row.happened_at, 'DATETIME_FORMAT')}: {mails.subject_of(row)}")
            for row in rows
            if mails.subject_of(row)
        ][:LATEST_MAILS]


@register
class ResendMail(Operation):
    code, label, icon, permission, form = (
        "resend",
        later("Resend an e-mail"),
        "forward_to_inbox",
        "sync_stripe",
        ResendForm,
    )
    is_for_own_account = True
    place = 11

    def is_offered(self, account: Account, now: datetime) -> bool:
        return bool(account.email) and account.outbox_events.exists()

    def effects(self, request: OperationRequest) -> list[Effect]:
        event = OutboxEvent.objects.get(account=request.account, pk=request.data["event"])
        return [
            Effect(
                _("E-mail"),
                "–",
                f"{mails.subject_of(event)} → {_masked(event.data.get('mail_to') or request.account.email)}",
            )
        ]

    def run(self, request: OperationRequest) -> OperationResult:
        event = OutboxEvent.objects.select_related("account").get(account=request.account, pk=request.data["event"])
        to = mails.send_again(event)
        return OperationResult(text=_("Sent to %s.") % _masked(to))


def _masked(email: str) -> str:
    """An address as the audit log may keep it."""
    name, at, host = email.partition("@")
    return f"{name[:1]}…@{host}" if at else ""


@register
class ViewAs(Operation):
    is_here_only = True
    code, label, icon, permission = "view-as", later("View as customer"), "visibility", "view_as_customer"
    is_for_own_account = is_for_closed_account = True
    place = 9

    def effects(self, request: OperationRequest) -> list[Effect]:
        return [Effect(_("You see"), _("the console"), _("the customer's pages, to look at only; this is logged"))]

    def run(self, request: OperationRequest) -> OperationResult:
        return OperationResult(
            text=_("You see what they see. Nothing can be changed there."), go_to=reverse("dashboard")
        )


class MergeForm(OperationForm):
    target = forms.CharField(
        label=later("Into"), max_length=40, widget=UnfoldAdminTextInputWidget,
        help_text=later("acc_… of the account that stays. This one ends."),
    )  # fmt: skip

    def clean_target(self) -> Account:
        try:
            result = opening.find_account(parse_id("acc", self.cleaned_data["target"].strip()))
        except MalformedIdError:
            result = None
        if result is None or result.closed_at or result.pk == self.account.pk:
            raise forms.ValidationError(_("There is no other open account of that name."))
        return result


@register
class Merge(Operation):
    is_here_only = True
    code, label, icon, permission, form = "merge", later("Merge into another"), "merge", "merge_accounts", MergeForm
    is_grave = True
    place = 70

    def accounts(self, request: OperationRequest) -> list[Account]:
        return [request.account, request.data["target"]]

    def gives(self, request: OperationRequest) -> Gift:
        moved = merging.plan_merge(request.account, request.data["target"], now=request.now)
        return Gift(amount=moved.credits, to=request.data["target"])

    def needs_second_person(self, request: OperationRequest) -> bool:
        """Who goes over may spend what the other account has, and sees what it did."""
        moved = merging.plan_merge(request.account, request.data["target"], now=request.now)
        return bool(moved.members or moved.names)

    def effects(self, request: OperationRequest) -> list[Effect]:
        target = request.data["target"]
        moved = merging.plan_merge(request.account, target, now=request.now)
        here = selectors.balance(account_id=request.account.pk, now=request.now).available
        there = selectors.balance(account_id=target.pk, now=request.now).available
        return [
            Effect(_("Credits here"), str(here), "0"),
            Effect(_("Credits of %s") % target.public_id, str(there), str(there + moved.credits)),
            Effect(_("Free credits that are lost"), str(moved.lost), "0"),
            Effect(_("People who go over, as members"), "–", _people(merging.new_members(request.account, target))),
            Effect(_("Names in other systems that go over"), "–", str(moved.names)),
            Effect(_("API keys that stop"), str(moved.keys), "0"),
            Effect(_("This account"), _("open"), _("closed; its history stays here")),
        ]

    def run(self, request: OperationRequest) -> OperationResult:
        target = request.data["target"]
        moved = merging.merge(
            source=request.account, target=target, key=request.key, actor=request.actor, now=request.now
        )
        return OperationResult(
            text=_("%(credits)d credits went over to %(target)s.")
            % {"credits": moved.credits, "target": target.public_id},
            go_to=reverse("admin:accounts_account_change", args=[target.pk]),
        )


def _people(rows: Iterable[Membership]) -> str:
    return ", ".join(_masked(row.user.email) for row in rows) or "–"


@register
class Export(Operation):
    code, label, icon, permission = "export", later("Export their data"), "download", "export_person"
    is_for_closed_account = True
    place = 13

    def effects(self, request: OperationRequest) -> list[Effect]:
        return [
            Effect(_("A file"), "–", _("everything that is kept of this account, as JSON and CSV (GDPR, article 15)"))
        ]

    def run(self, request: OperationRequest) -> OperationResult:
        address = reverse("admin:accounts_account_export", args=[request.account.pk])
        # The file is for who asked for it, and for this one time: its address alone opens nothing.
        return OperationResult(
            text=_("The file is ready; send it to nobody but the customer."),
            go_to=f"{address}?asked={quote(request.key)}",
        )


class EraseForm(OperationForm):
    confirm = forms.CharField(label=later("Type the account's id"), max_length=40, widget=UnfoldAdminTextInputWidget)

    def clean_confirm(self) -> str:
        typed: str = self.cleaned_data["confirm"].strip()
        if typed != self.account.public_id:
            raise forms.ValidationError(_("That is not %s.") % self.account.public_id)
        return typed


@register
class Erase(Operation):
    code, label, icon, permission, form = (
        "erase",
        later("Erase this customer"),
        "delete_forever",
        "erase_person",
        EraseForm,
    )
    is_grave = is_for_closed_account = True
    place = 80

    def is_offered(self, account: Account, now: datetime) -> bool:
        """Also for an account that was merged into another one, and so is closed with its name."""
        return account.closed_at is None or bool(account.name or account.email)

    def needs_second_person(self, request: OperationRequest) -> bool:
        return True

    def effects(self, request: OperationRequest) -> list[Effect]:
        user = self._user(request.account)
        if user and (alone := teams.owned_alone(user)):
            raise OperationRefusedError(
                _("They own teams alone: %s. Find another owner first.") % ", ".join(map(str, alone))
            )
        plan = plan_changes.find_running(request.account)
        left = selectors.balance(account_id=request.account.pk, now=request.now).available
        return [
            # The audit log keeps what is written here: not the address itself.
            Effect(_("Name and e-mail address"), _masked(request.account.email) or "…", _("erased")),
            Effect(_("Plan"), str(plan.price.plan) if plan else "–", _("ended") if plan else "–"),
            Effect(_("Credits to spend"), str(left), "0"),
            Effect(_("Ledger and invoices"), _("kept"), _("kept, without a name (GDPR, article 17(3)(b))")),
        ]

    def run(self, request: OperationRequest) -> OperationResult:
        closing.close_account(
            account=request.account, user=self._user(request.account), actor=request.actor, now=request.now
        )
        return OperationResult(text=_("Nothing here names the customer any more."))

    def _user(self, account: Account) -> User | None:
        row = account.memberships.filter(is_personal=True).select_related("user").first()
        return row.user if row else None
