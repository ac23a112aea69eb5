"""How many credits may remain of each payment, said a second time: from Stripe's objects and from what calls answered.

Shares no code with billing. Of a lot it believes the ledger only how large it was, when it ends, and which debts it
paid; what was used of it is counted from the answers of spends, holds and reversals.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from credits.models import Allowance, Entry, Grant, Wallet
from credits.tests.model import months_on
from sandbox.local_stripe import invoices
from sandbox.local_stripe.core import LocalStripe

Row = dict[str, Any]
GONE = ("needs_response", "under_review", "lost")


@dataclass
class Oracle:
    """What happened, as the outside world knows it."""

    stripe: LocalStripe
    monthly: dict[str, int]  # credits a month, by Stripe price
    used: Counter[str] = field(default_factory=Counter)  # by source key of the lot
    held: Counter[str] = field(default_factory=Counter)

    # --- what calls answered --------------------------------------------------------------------

    def spent(self, lots: Any, sign: int = 1) -> None:
        for key, amount in self._named(lots):
            self.used[key] += sign * amount

    def set_aside(self, lots: Any, sign: int = 1) -> None:
        for key, amount in self._named(lots):
            self.held[key] += sign * amount

    def _named(self, lots: Any) -> list[tuple[str, int]]:
        names = dict(Grant.objects.filter(pk__in=[lot.grant_id for lot in lots]).values_list("pk", "source_key"))
        return [(names[lot.grant_id], abs(lot.amount)) for lot in lots]

    # --- money ----------------------------------------------------------------------------------

    def gone(self, origin: str) -> tuple[int, int, bool]:
        """Of a checkout or an invoice: what is not here any more, its total, and whether a dispute was lost."""
        row = next(
            row
            for kind in ("checkout.session", "invoice")
            for row in self.stripe.store.all(kind)
            if row["id"] == origin
        )
        total = row["amount_total"] if row["object"] == "checkout.session" else row["total"]
        refunded, disputed, lost = 0, 0, False
        for charge in self._charges(row):
            refunded += charge["amount_refunded"]
            for dispute in self.stripe.store.all("dispute"):
                if dispute["charge"] == charge["id"] and dispute["status"] in GONE:
                    disputed += dispute["amount"]
                    lost |= dispute["status"] == "lost"
        credited = sum(
            note["amount"] - sum(each["amount_refunded"] for each in note["refunds"])
            for note in self.stripe.store.all("credit_note")
            if note["invoice"] == row["id"] and note["status"] == "issued"
        )
        return min(total, refunded + disputed + credited), total, lost

    def _charges(self, row: Row) -> list[Row]:
        if row["object"] == "checkout.session":
            intents = {row["payment_intent"]}
        else:
            intents = {
                paid["payment"]["payment_intent"]
                for paid in self.stripe.store.all("invoice_payment")
                if paid["invoice"] == row["id"]
            }
        return [row for row in self.stripe.store.all("charge") if row["payment_intent"] in intents]

    def paid_and_back(self) -> tuple[int, int]:
        """All money of packs and plans: what was paid (with what a balance paid), and what is not here any more."""
        paid = back = 0
        for session in self.stripe.store.all("checkout.session"):
            if session["mode"] == "payment" and session["payment_status"] == "paid" and not self._is_late(session):
                paid += session["amount_total"]
                back += self.gone(session["id"])[0]
        for invoice in self.stripe.store.all("invoice"):
            if invoice["status"] == "paid" and invoices.subscription_id(invoice) and not self._is_late(invoice):
                paid += max(0, invoice["total"])
                back += max(0, -invoice["total"]) + (self.gone(invoice["id"])[0] if invoice["total"] > 0 else 0)
        return paid, back

    def _is_late(self, row: Row) -> bool:
        """Whether it was given back by itself, since its account was closed when it was paid."""
        charges = {charge["id"] for charge in self._charges(row)}
        back = [refund for refund in self.stripe.store.all("refund") if refund["charge"] in charges]
        return any(str(refund["metadata"].get("key")).startswith("tegoed-late-") for refund in back)

    # --- credits --------------------------------------------------------------------------------

    def target(self, grant: Grant) -> tuple[int, bool]:
        """How many credits of a lot may not remain, and whether what was spent of them is owed."""
        whole, lost, back = grant.amount + grant.spent_before, False, 0
        for origin, credits in self._behind(grant, whole):
            gone, total, is_lost = self.gone(origin)
            back += credits * gone // total if total > 0 else 0
            lost |= is_lost
        credited = min(whole - back, self._credited(grant, whole)) if grant.is_top_up else 0
        return back + credited, lost or bool(credited)

    def _credited(self, grant: Grant, whole: int) -> int:
        """What of an upgrade's credits goes because Stripe credited it: of all changes of its period, in money."""
        origin = self.stripe.get("invoice", grant.source_key.split(":")[2])
        changes = [
            row["total"]
            for row in self.stripe.store.all("invoice")
            if row["billing_reason"] == "subscription_update" and row["status"] == "paid"
            and invoices.subscription_id(row) == invoices.subscription_id(origin)
            and self._end(row) == self._end(origin)
        ]  # fmt: skip
        cost = sum(total for total in changes if total > 0)
        return whole * min(cost, max(0, cost - sum(changes))) // cost if cost else 0

    def _end(self, invoice: Row) -> int:
        return max(int(line["period"]["end"]) for line in invoices.all_lines(self.stripe, invoice["id"]))

    def _behind(self, grant: Grant, whole: int) -> list[tuple[str, int]]:
        """The payments behind a lot, and how many of its credits each paid for."""
        if grant.allowance is None or grant.is_top_up:
            return [(grant.source_key.split(":")[2], whole)]
        origin = grant.allowance.source_key.split(":")[2]
        base = self.stripe.get("invoice", origin)
        if base["total"] <= 0:
            return []
        until = max(line["period"]["end"] for line in invoices.all_lines(self.stripe, origin))
        parts, before = [], min(whole, self._largest(base))
        parts.append((origin, before))
        for later in sorted(self.stripe.store.all("invoice"), key=lambda row: row["created"]):
            if (
                later["billing_reason"] != "subscription_update" or later["status"] != "paid"
                or invoices.subscription_id(later) != invoices.subscription_id(base)
            ):  # fmt: skip
                continue
            lines = [line for line in invoices.all_lines(self.stripe, later["id"]) if line["amount"] > 0]
            if not lines or max(line["period"]["end"] for line in lines) != until:
                continue
            since = datetime.fromtimestamp(later["created"], UTC)
            now = self._largest(later)
            if since <= grant.effective_at and now > before:
                parts.append((later["id"], min(whole, now) - before))
                before = min(whole, now)
        return parts

    def _largest(self, invoice: Row) -> int:
        """The credits a month of the dearest plan that an invoice bills."""
        return max(
            self.monthly.get(line["pricing"]["price_details"]["price"], 0) * (line["quantity"] or 0)
            for line in invoices.all_lines(self.stripe, invoice["id"])
            if line["amount"] > 0
        )

    def problems(self, now: datetime) -> list[str]:
        """Every lot of a payment that is not as it must be."""
        result = []
        debts: Counter[Any] = Counter()
        for entry in Entry.objects.filter(transaction__kind="debt"):
            debts[entry.grant_id] -= entry.amount
        last = {
            row.source_key: row.pk for row in Grant.objects.order_by("id")
        }  # (the one it was moved to is the latest)
        for grant in Grant.objects.select_related("allowance", "account").order_by("id"):
            cause = grant.allowance.source_key if grant.allowance else grant.source_key
            if not cause.startswith("stripe:"):
                continue
            is_moved = last[grant.source_key] != grant.pk
            most = 0 if is_moved else self._most(grant, debts[grant.pk], now)
            owes = most < grant.remaining and self.target(grant)[1] and not self._debt(grant)
            # (Where what was spent is owed, credits that come back later stay, and pay that.)
            if grant.remaining != most and not owes:
                result.append(
                    f"{grant.source_key}: {grant.remaining} left, and {most} should be (of {grant.amount} + "
                    f"{grant.spent_before}, {self.target(grant)[0]} back, {self.used[grant.source_key]} used)"
                )
        return result

    def wrongly_deferred(self) -> list[str]:
        """Allowances whose months to come are not owed at what they cost: by the calendar, a cent a month either way.

        (Not those that took over from another one, or were moved: what they brought along is in the sums.)
        """
        result = []
        running = Allowance.objects.filter(periods__gt=1, ended_at=None, next_at__isnull=False, carried_minor=0)
        for promise in running:
            expected = sum(self._to_come(promise, row) for row in self._payments_of(promise))
            if abs(expected - promise.undelivered_minor) > (promise.periods or 0) + 1:
                result.append(f"{promise.source_key}: {promise.undelivered_minor} deferred, {expected:.2f} should be")
        return result

    def _payments_of(self, promise: Allowance) -> list[Row]:
        base = self.stripe.get("invoice", promise.source_key.split(":")[2])
        later = [
            row
            for row in self.stripe.store.all("invoice")
            if row["billing_reason"] == "subscription_update" and row["status"] == "paid" and row["total"] > 0
            and invoices.subscription_id(row) == invoices.subscription_id(base)
            and row["id"] != base["id"] and self._end(row) == self._end(base)
        ]  # fmt: skip
        return [base, *later]

    def _to_come(self, promise: Allowance, invoice: Row) -> float:
        """What of an invoice pays for months that are still to be given."""
        months = promise.periods or 1
        edges = [months_on(promise.anchor, number, "UTC") for number in range(months + 1)]
        left = months - promise.next_index
        if f"stripe:invoice:{invoice['id']}" == promise.source_key:
            return float(invoice["total"]) * left / months
        since = max(line["period"]["start"] for line in invoices.all_lines(self.stripe, invoice["id"]))
        at = datetime.fromtimestamp(since, UTC)
        running = max(number for number in range(months) if edges[number] <= at)
        part = (edges[running + 1] - at) / (edges[running + 1] - edges[running])
        return float(invoice["total"]) * left / (part + months - running - 1)

    def _most(self, grant: Grant, debt_paid: int, now: datetime) -> int:
        """How many credits of a lot may remain: all that was not used, set aside, or paid back."""
        if (grant.expires_at is not None and grant.expires_at <= now) or grant.account.closed_at is not None:
            return 0
        used = self.used[grant.source_key] + self.held[grant.source_key] + debt_paid
        return max(0, grant.amount + grant.spent_before - self.target(grant)[0] - used)

    def _debt(self, grant: Grant) -> int:
        return Wallet.objects.get(account=grant.account_id).debt
