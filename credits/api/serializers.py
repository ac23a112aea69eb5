"""What the API says of transactions and their lots, wherever it says it."""

from collections.abc import Iterable
from typing import Any

from rest_framework import serializers

from api.fields import CountField, PrintableField, timestamp
from api.serializers import Serializer
from common.json_types import JsonObject
from common.public_ids import public_id
from credits import ledger, spending_order
from credits.models import Source, Transaction


class LotSerializer(serializers.Serializer[ledger.Lot]):
    grant = serializers.CharField()
    source = serializers.ChoiceField(choices=Source.choices)  # type: ignore[assignment]  # the field hides an argument of DRF's
    amount = serializers.IntegerField()


MOST_USED = 10**12  # of one spend: a million of the currency; sums of many stay whole numbers


class UsageSerializer(Serializer):
    """What the AI behind a spend used, as the app reports it. All of it is optional."""

    model = PrintableField(required=False, max_length=100)
    input_tokens = CountField(required=False, most=MOST_USED)
    output_tokens = CountField(required=False, most=MOST_USED)
    provider_cost_micros = CountField(
        required=False,
        most=MOST_USED,
        help_text="Millionths of your currency that the provider charges. Believed of service keys alone.",
    )
    latency_ms = CountField(required=False, most=MOST_USED)


class TransactionSerializer(Serializer):
    """A transaction as it is answered when it is made and whenever it is fetched."""

    id = serializers.CharField()
    type = serializers.ChoiceField(choices=Transaction.Kind.choices)
    amount = serializers.IntegerField(help_text="Credits; negative when they left.")
    balance_after = serializers.IntegerField()
    lots = LotSerializer(many=True)
    feature = serializers.CharField(allow_null=True)
    quantity = serializers.IntegerField(allow_null=True, help_text="Units of the feature.")
    description = serializers.CharField()
    metadata = serializers.DictField()
    usage = UsageSerializer(allow_null=True)
    returned = serializers.IntegerField(help_text="Credits of this spend that were given back since.")
    created = serializers.DateTimeField()


def transaction_data(row: Transaction) -> JsonObject:
    """What the API says of a transaction."""
    order = sorted(row.entries.all(), key=lambda entry: spending_order.key(entry.grant))
    lots = [ledger.Lot(grant_id=entry.grant_id, source=entry.grant.source, amount=abs(entry.amount)) for entry in order]
    return {
        "id": row.public_id,
        "type": row.kind,
        "amount": row.amount,
        "balance_after": row.balance_after,
        "lots": lots_data(lots),
        "feature": row.feature or None,
        "quantity": row.quantity,
        "description": row.description,
        "metadata": row.metadata,
        "usage": row.usage,
        "returned": getattr(row, "returned", None) or 0,
        "created": timestamp(row.created_at),
    }


def spent_data(spent: ledger.SpendResult | ledger.CaptureResult, *, amount: int, **about: Any) -> JsonObject:
    """What the API says of a spend: the same as of its transaction when it is fetched."""
    return {
        "id": public_id("txn", spent.transaction_id),
        "type": Transaction.Kind.SPEND.value,
        "amount": amount,
        "balance_after": spent.balance_after,
        "lots": lots_data(spent.lots),
        **about,
        "returned": spent.returned,
        "created": timestamp(spent.created_at),
    }


def lots_data(lots: Iterable[ledger.Lot]) -> list[JsonObject]:
    """What the API says of the grants that a transaction touched."""
    return [{"grant": public_id("grt", lot.grant_id), "source": lot.source, "amount": lot.amount} for lot in lots]
