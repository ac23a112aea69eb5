"""How many credits may remain of each payment, said a second time: from Stripe's objects and from what calls answered.

Shares no code with billing. Of a lot it believes the ledger only how large it was, when it ends, and which debts it
paid; what was used of it is counted from the answers of spends, holds and reversals.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from credits.models import Allowance, Entry, Grant, Wallet
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
        return min(total, refunded + disputed), total, lost

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
            if session["mode"] == "payment" and session["payment_status"] == "paid":
                paid += session["amount_total"]
                back += self.gone(session["id"])[0]
        for invoice in self.stripe.store.all("invoice"):
            if invoice["status"] == "paid" and invoices.subscription_id(invoice):
                paid += max(0, invoice["total"])
                back += max(0, -invoice["total"]) + (self.gone(invoice["id"])[0] if invoice["total"] > 0 else 0)
        return paid, back

    # --- credits --------------------------------------------------------------------------------

    def target(self, grant: Grant) -> tuple[int, bool]:
        """How many credits of a lot may not remain, and whether what was spent of them is owed."""
        whole, lost, back = grant.amount + grant.spent_before, False, 0
        for origin, credits in self._behind(grant, whole):
            gone, total, is_lost = self.gone(origin)
            back += credits * gone // total if total > 0 else 0
            lost |= is_lost
        return back, lost

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
        """Every lot and wallet that is not as it must be."""
        found = []
        debts: Counter[Any] = Counter()
        for entry in Entry.objects.filter(transaction__kind="debt"):
            debts[entry.grant_id] -= entry.amount
        paid_for: dict[Any, int] = defaultdict(int)
        last = {row.source_key: row for row in Grant.objects.order_by("id")}  # (the one it was moved to is the latest)
        for grant in Grant.objects.select_related("allowance").order_by("id"):
            if not grant.source_key.startswith("stripe:") and not (grant.allowance and grant.allowance.paid_minor):
                if not (grant.allowance and grant.allowance.source_key.startswith("stripe:")):
                    continue
            if last[grant.source_key].pk != grant.pk:
                if grant.remaining:
                    found.append(f"{grant.source_key} was moved, and {grant.remaining} stayed")
                continue
            target, is_lost = self.target(grant)
            used = self.used[grant.source_key] + self.held[grant.source_key] + debts[grant.pk]
            most = max(0, grant.amount + grant.spent_before - target - used)
            if grant.expires_at is not None and grant.expires_at <= now:
                most = 0
            if is_lost:
                # What was spent is owed: credits that come back later stay, and pay that.
                if grant.remaining > most and not Wallet.objects.get(account=grant.account_id).debt == 0:
                    found.append(f"{grant.source_key}: {grant.remaining} left of a lost payment, at most {most}")
            elif grant.remaining != most:
                found.append(
                    f"{grant.source_key}: {grant.remaining} left, and {most} should be "
                    f"(of {grant.amount} + {grant.spent_before}, {target} back, {used} used)"
                )
            paid_for[grant.account_id] += grant.remaining
        return found

    def undelivered(self, now: datetime) -> int:
        """Roughly what months to come cost: by Stripe's prices and the calendar, a cent a month either way."""
        total = 0.0
        for promise in Allowance.objects.filter(periods__gt=1, ended_at=None, next_at__isnull=False):
            invoice = self.stripe.get("invoice", promise.source_key.split(":")[2])
            total += max(0, invoice["total"]) * ((promise.periods or 0) - promise.next_index) / (promise.periods or 1)
        return round(total)
