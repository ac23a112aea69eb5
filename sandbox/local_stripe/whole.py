"""The local Stripe with all its parts: importing them registers the requests, timers and reactions that they serve."""

from sandbox.local_stripe import (
    catalogue,
    checkout,
    clocks,
    credit_notes,
    customers,
    declines,
    events,
    faults,
    invoice_collection,
    invoices,
    payments,
    portal,
    promotions,
    refunds_and_disputes,
    schedules,
    subscriptions,
    tax,
)
from sandbox.local_stripe.core import LocalStripe

PARTS = (
    catalogue, checkout, clocks, credit_notes, customers, declines, events, faults, invoice_collection, invoices,
    payments, portal, promotions, refunds_and_disputes, schedules, subscriptions, tax,
)  # fmt: skip

__all__ = ["PARTS", "LocalStripe"]
