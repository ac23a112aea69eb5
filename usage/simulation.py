"""What an allowance and a price would come to: users, how much they use, what it costs, what is bought.

Pure arithmetic on whole numbers: money in millionths of the currency's unit, shares in thousandths. A month is thirty
days. Free credits are used before bought ones, each day afresh, as the ledger does.
"""

from dataclasses import dataclass, replace

DAYS = 30
MICROS = 1_000_000
PER_MILLE = 1_000


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What is supposed. The defaults are the planning table's: EUR 0.015 a request, 3 free a day, 20 for EUR 5."""

    users: int = 100
    active_per_mille: int = 300  # of all users, on a day
    using_ai_per_mille: int = 1_000  # of those
    requests_a_day: int = 3  # of each who uses it
    credits_a_request: int = 1
    cost_micros: int = 15_000  # of a request, to the provider
    free_a_day: int = 3
    pack_credits: int = 20
    pack_micros: int = 5 * MICROS
    buying_per_mille: int = 50  # of all users, a pack in a month
    packs_each: int = 1
    fee_per_mille: int = 15  # of the payment provider, of each payment
    fee_micros: int = 250_000


@dataclass(frozen=True, kw_only=True)
class Result:
    """A month of that."""

    users: int
    requests: int
    free_requests: int
    paid_requests: int
    cost_micros: int
    free_cost_micros: int
    packs: int
    revenue_micros: int
    fees_micros: int
    unserved_requests: int  # beyond the free ones, and not bought

    @property
    def margin_micros(self) -> int:
        return self.revenue_micros - self.fees_micros - self.cost_micros

    @property
    def margin_percent(self) -> int | None:
        """Of the revenue; None without any."""
        return self.margin_micros * 100 // self.revenue_micros if self.revenue_micros else None

    @property
    def cost_per_user_micros(self) -> int:
        return self.cost_micros // self.users if self.users else 0


def simulate(given: Assumptions) -> Result:
    """A month under these assumptions."""
    user_days = given.users * given.active_per_mille * given.using_ai_per_mille * DAYS // PER_MILLE**2
    wanted = user_days * given.requests_a_day
    free_each = min(given.requests_a_day, given.free_a_day // max(given.credits_a_request, 1))
    free = user_days * free_each
    packs = given.users * given.buying_per_mille // PER_MILLE * given.packs_each
    bought = packs * given.pack_credits // max(given.credits_a_request, 1)
    paid = min(wanted - free, bought)
    revenue = packs * given.pack_micros
    return Result(
        users=given.users,
        requests=free + paid,
        free_requests=free,
        paid_requests=paid,
        cost_micros=(free + paid) * given.cost_micros,
        free_cost_micros=free * given.cost_micros,
        packs=packs,
        revenue_micros=revenue,
        fees_micros=revenue * given.fee_per_mille // PER_MILLE + packs * given.fee_micros,
        unserved_requests=wanted - free - paid,
    )


def table(given: Assumptions, sizes: tuple[int, ...] = (100, 200, 500, 1_000, 2_000)) -> list[Result]:
    """The same for so many users each."""
    return [simulate(replace(given, users=size)) for size in sizes]
