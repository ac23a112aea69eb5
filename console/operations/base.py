"""What operators can do to an account, each in the same steps: a form with a reason, the effect, a confirmation.

An operation says what it would change (`effects`) and does it (`run`); it asks no request and renders nothing. The
key makes a second click the same operation. What it did can be undone for UNDO_FOR, where it says how.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts.models import Account, User
from common.admin import Effect
from credits import manual_grant_counts

UNDO_FOR = timedelta(minutes=10)
LONGEST_REASON = 400
LONGEST_MESSAGE = 200

REASONS = (
    ("goodwill", _("Goodwill")),
    ("support", _("Something went wrong on our side")),
    ("billing", _("A billing mistake")),
    ("abuse", _("Abuse")),
    ("request", _("The customer asked for it")),
    ("test", _("A test")),
    ("other", _("Other")),
)


class OperationRefusedError(Exception):
    """It cannot be done; the text says why. Nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class Gift:
    """What an operation gives that nobody paid for: credits, or money back. It counts against a day's limits."""

    amount: int
    to: Account
    unit: str = manual_grant_counts.CREDITS  # or a currency, in its minor units


@dataclass(frozen=True, kw_only=True)
class OperationResult:
    """What was done, in a sentence; and how to undo it: an operation's code and its form."""

    text: str
    undo: Mapping[str, Any] | None = None
    go_to: str = ""


@dataclass(frozen=True, kw_only=True)
class OperationRequest:
    """Who asks for what, when. `key` names this one time that it was asked for."""

    account: Account
    operator: User
    data: Mapping[str, Any]
    reason: str
    key: str
    now: datetime

    @property
    def actor(self) -> str:
        return f"user:{self.operator.pk}"

    @property
    def message(self) -> str:
        """What the customer reads of it. (The reason is for colleagues, and stays in the audit log.)"""
        return str(self.data.get("message") or "")


class OperationForm(forms.Form):
    """Every operation wants a reason: one of a few, so that they can be counted, and a sentence for colleagues."""

    why = forms.ChoiceField(label=_("Kind of reason"), choices=REASONS, widget=UnfoldAdminSelectWidget)
    reason = forms.CharField(
        label=_("Reason"),
        max_length=LONGEST_REASON,
        widget=UnfoldAdminTextInputWidget,
        help_text=_("For colleagues, kept in the audit log. The customer does not see it."),
    )

    def __init__(self, *args: Any, account: Account, now: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.account, self.now = account, now
        self.order_fields([name for name in self.fields if name not in ("why", "reason", "message")])
        self.prepare()

    def prepare(self) -> None:
        """Fill choices that depend on the account."""

    def choice_field(self, name: str) -> forms.ChoiceField:
        """The field of this name, whose choices are to be filled."""
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101
        return field


class LedgerForm(OperationForm):
    """Of an operation that the customer finds in their transactions, perhaps with a message."""

    message = forms.CharField(
        label=_("Message to the customer"),
        max_length=LONGEST_MESSAGE,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text=_("They read it beside the credits. Empty: they see what changed, and nothing more."),
    )


class Operation:
    """One thing that can be done. Subclasses say what; console.operation_views asks them."""

    code: ClassVar[str]
    label: ClassVar[Any]
    icon: ClassVar[str] = "bolt"
    permission: ClassVar[str]  # of console, without its app
    form: ClassVar[type[OperationForm]] = OperationForm
    is_grave: ClassVar[bool] = False
    # Nobody of the staff gives, takes back or decides for an account that they are a member of.
    is_for_own_account: ClassVar[bool] = False
    is_for_closed_account: ClassVar[bool] = False
    # Whether all that it does is in our own database, so that it is done and written down in one transaction.
    is_here_only: ClassVar[bool] = False
    is_undo_only: ClassVar[bool] = False  # takes back another operation, and is asked for by nobody
    place: ClassVar[int] = 50  # among the buttons; the lowest first

    def is_offered(self, account: Account, now: datetime) -> bool:
        """Whether it makes sense for this account as it is."""
        return True

    def check(self, request: OperationRequest) -> None:
        """Raises OperationRefusedError for what this operator may not do, whatever the form says."""

    def accounts(self, request: OperationRequest) -> list[Account]:
        """Every account whose credits or money it moves."""
        return [request.account]

    def gives(self, request: OperationRequest) -> Gift | None:
        """What it gives, to be counted; None for nothing."""
        return None

    def needs_second_person(self, request: OperationRequest) -> bool:
        return False

    def act(self, request: OperationRequest) -> str:
        """What the button says that does it: with the amount, where there is one."""
        return str(self.label)

    def effects(self, request: OperationRequest) -> list[Effect]:
        """What would change. Raises OperationRefusedError, or what the packages below refuse."""
        raise NotImplementedError

    def run(self, request: OperationRequest) -> OperationResult:
        """Do it. A repeated key changes nothing more."""
        raise NotImplementedError


OPERATIONS: dict[str, Operation] = {}


def register(kind: type[Operation]) -> type[Operation]:
    """Make an operation known by its code."""
    OPERATIONS[kind.code] = kind()
    return kind
