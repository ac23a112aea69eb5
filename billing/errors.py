"""What billing refuses.

BillingError
    PriceNotSellableError            422  not in the catalogue, or no longer sold
    ArchivedItemError                409  the pack or plan was taken off sale
    AlreadySubscribedError           409  this account has a plan already
    ForeignUrlError                  400  success_url or cancel_url leaves our own site
    OrderKeyReusedError              422  the idempotency key belongs to another order
    PaymentDeclinedError             402  the bank said no; nothing was charged or changed
    PaymentActionRequiredError       402  the customer's bank wants to hear from them first: `url` is where
    PaymentOnItsWayError             409  a change is being paid: it cannot be taken back now
    WorkUnderWayError                409  credits are set aside for work that is not done yet
    PlanNotPaidError                 409  the plan is not paid for, or rests: it cannot be changed now
    NotSubscribedError               409  there is no plan to change
    RefundRefusedError               409  this much cannot be given back
    AddressNeededError               422  VAT depends on an address that we do not have
    TaxNumberRefusedError            422  the payment provider does not take this number
    PaymentProviderUnavailableError  503  Stripe did not answer; nothing was charged
    PaymentProviderRefusedError      502  Stripe does not take our request: operators are alerted
        PaymentProviderKeyError           our key is wrong, or lacks a right
        PortalNotSetUpError               the billing portal has no configuration
    CatalogueError                   409  a change of what is for sale that does not fit
    CurrencyMixError                 422  the customer pays in another currency at Stripe

FulfilmentError                      an event that must not grant: kept, flagged, shown to operators
"""

from common.errors import ApiError


class BillingError(ApiError):
    """A refusal by billing; nothing was charged or granted."""


class PriceNotSellableError(BillingError):
    code = "price_not_sellable"
    title = "This is not for sale"
    status_code = 422


class CatalogueError(BillingError):
    code = "catalogue_conflict"
    title = "This does not fit the catalogue"
    status_code = 409


class ArchivedItemError(BillingError):
    code = "item_archived"
    title = "This is no longer for sale"
    status_code = 409


class AlreadySubscribedError(BillingError):
    code = "already_subscribed"
    title = "There is a plan already"
    status_code = 409


class ForeignUrlError(BillingError):
    code = "invalid_request"
    title = "The request cannot be taken as it is"
    status_code = 400

    def __init__(self, field: str, allowed: str) -> None:
        detail = f"must be an address on {allowed}, or on one of RETURN_ORIGINS or the console's App addresses."
        super().__init__(
            f"{field} {detail}", errors=[{"pointer": f"/{field}", "code": "foreign_url", "detail": detail}]
        )


class OrderKeyReusedError(BillingError):
    code = "idempotency_key_reused"
    title = "This Idempotency-Key belongs to another request"
    status_code = 422


class PaymentProviderUnavailableError(BillingError):
    code = "payment_provider_unavailable"
    title = "The payment provider does not answer"
    status_code = 503
    retry_after_s = 5


class PaymentProviderRefusedError(BillingError):
    """What we asked cannot be done as it was asked, now or later: a person has to look."""

    code = "payment_provider_refused"
    title = "The payment provider does not take this"
    status_code = 502


class PaymentProviderKeyError(PaymentProviderRefusedError):
    """Our key is wrong, or may not do this."""


class PortalNotSetUpError(PaymentProviderRefusedError):
    """The billing portal has no configuration at Stripe."""


class CurrencyMixError(BillingError):
    code = "currency_mixed"
    title = "Another currency is in use"
    status_code = 422


class StaleCustomerError(PaymentProviderRefusedError):
    """The customer that we know is not at Stripe any more."""


class PaymentDeclinedError(BillingError):
    """`reason` (in `extra`) is the bank's: card_declined, authentication_required, ..."""

    code = "payment_declined"
    title = "The payment was declined"
    status_code = 402


class PaymentActionRequiredError(BillingError):
    """Nothing is charged or changed until the customer has approved the payment; `url` (in `extra`) is where."""

    code = "payment_action_required"
    title = "The bank asks for approval"
    status_code = 402


class PaymentOnItsWayError(BillingError):
    code = "payment_processing"
    title = "A payment is on its way"
    status_code = 409


class WorkUnderWayError(BillingError):
    code = "work_under_way"
    title = "Work is under way"
    status_code = 409


class PlanNotPaidError(BillingError):
    code = "plan_not_paid"
    title = "The plan cannot be changed now"
    status_code = 409


class NotSubscribedError(BillingError):
    code = "subscription_required"
    title = "There is no plan to change"
    status_code = 409


class RefundRefusedError(BillingError):
    code = "refund_refused"
    title = "This cannot be refunded"
    status_code = 409


class AddressNeededError(BillingError):
    """VAT is charged, and nobody has said where the customer is."""

    code = "address_required"
    title = "An address is missing"
    status_code = 422


class TaxNumberRefusedError(BillingError):
    code = "tax_number_refused"
    title = "This tax number is not taken"
    status_code = 422


class LedgerNotEmptyError(BillingError):
    """Rebuilding is for an empty ledger; `reconcile --repair` mends one that is not."""

    code = "ledger_not_empty"
    title = "The ledger is not empty"
    status_code = 409


class FulfilmentError(Exception):
    """What Stripe says does not fit what we sold; nothing is granted until a person has looked."""
