"""An AI page as an app would have it: says what it costs, does the work (a stand-in), says what is left."""

import hashlib
import uuid

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from common import clock
from common.json_types import JsonObject
from common.sides import Side
from credits import ledger, selectors
from credits.errors import CreditsError, DailyCapReachedError, InsufficientCreditsError
from portal.current_account import current_account
from usage import spending
from usage.rate_card import UnknownFeatureError
from usage.spending import Work

FEATURE = "message"
LONGEST_PROMPT = 1_000


@login_required
def example_ai(request: HttpRequest) -> HttpResponse:
    """Ask something for a credit. One form is one spend, however often it is sent; what fails is given back."""
    account, now = current_account(request), clock.now()
    prompt = "".join(letter for letter in request.POST.get("prompt", "") if letter.isprintable() or letter in "\r\n")
    shown: JsonObject = {"token": uuid.uuid4().hex, "prompt": prompt[:LONGEST_PROMPT]}
    try:
        shown["cost"] = Work(feature=FEATURE).priced(at=now).credits
    except UnknownFeatureError:
        return render(request, "portal/example_ai.html", {"is_missing": True})
    if request.method == "POST":
        try:
            spent = spending.spend(
                account=account,
                work=Work(
                    feature=FEATURE,
                    # One token is for one question: another question is another spend.
                    metadata={"prompt_sha256": hashlib.sha256(shown["prompt"].encode()).hexdigest()},
                ),
                idempotency_key=f"example:{_token(request)}",
                side=Side.INTERNAL,
                actor=f"user:{request.user.pk}",
                now=now,
            )
        except (InsufficientCreditsError, DailyCapReachedError) as refusal:
            shown["refusal"] = refusal
            shown["is_capped"] = isinstance(refusal, DailyCapReachedError)
            shown["is_short"] = isinstance(refusal, InsufficientCreditsError)
        except CreditsError as refusal:
            shown["refusal"] = refusal
        else:
            # Sent again after it was given back, it was paid for no longer.
            shown["answer"] = "" if spent.returned else _answer(shown["prompt"])
            if not shown["answer"] and not spent.returned:
                ledger.reverse(
                    account_id=account.pk,
                    transaction_id=spent.transaction_id,
                    idempotency_key=f"example:back:{spent.transaction_id}",
                    reason=_("The AI had no answer."),
                    actor=f"user:{request.user.pk}",
                    now=now,
                )
    shown["balance"] = selectors.balance(account_id=account.pk, now=now)
    shown["account_zone"] = account.time_zone
    return render(request, "portal/example_ai.html", shown)


def _token(request: HttpRequest) -> str:
    """Which form was sent: two of the same are one spend. One that is not ours is a new one."""
    sent = request.POST.get("token", "")
    return sent if len(sent) == len(uuid.uuid4().hex) and sent.isascii() and sent.isalnum() else uuid.uuid4().hex


def _answer(prompt: str) -> str:
    """A stand-in for an AI. It has no answer to nothing, nor to the word `fail`: then the credit comes back."""
    words = prompt.split()
    if not words or words == ["fail"]:
        return ""
    said = ngettext("You wrote %(n)d word, “%(first)s” first.", "You wrote %(n)d words, “%(first)s” first.", len(words))
    return f"{said % {'n': len(words), 'first': ' '.join(words[:5])}} {_('(A stand-in for an AI wrote this.)')}"
