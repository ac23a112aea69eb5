"""A balance per account and a row per change, as most projects write it."""

from django.db import models, transaction


class NotEnoughError(Exception):
    """The balance is short."""


class UsualWallet(models.Model):
    """A counter."""

    account = models.UUIDField(primary_key=True)
    balance = models.BigIntegerField()

    class Meta:
        db_table = "usual_wallet"

    def __str__(self) -> str:
        return f"{self.account}: {self.balance}"


class UsualLot(models.Model):
    """Credits with an expiry."""

    wallet = models.ForeignKey(UsualWallet, on_delete=models.PROTECT, related_name="lots")
    remaining = models.BigIntegerField()
    expires_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "usual_lot"

    def __str__(self) -> str:
        return f"{self.remaining}"


class UsualChange(models.Model):
    """What happened."""

    wallet = models.ForeignKey(UsualWallet, on_delete=models.PROTECT, related_name="changes")
    amount = models.BigIntegerField()
    balance_after = models.BigIntegerField()
    key = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "usual_change"

    def __str__(self) -> str:
        return f"{self.amount}"


class UsualPart(models.Model):
    """Which lot it came from."""

    change = models.ForeignKey(UsualChange, on_delete=models.PROTECT, related_name="parts")
    lot = models.ForeignKey(UsualLot, on_delete=models.PROTECT, related_name="parts")
    amount = models.BigIntegerField()

    class Meta:
        db_table = "usual_part"

    def __str__(self) -> str:
        return f"{self.amount}"


def spend(*, account: object, amount: int, key: str) -> UsualChange:
    """Lock the counter, look whether the key is known, draw on the lots, write."""
    with transaction.atomic():
        wallet = UsualWallet.objects.select_for_update().get(account=account)
        if known := UsualChange.objects.filter(key=key).first():
            return known
        if wallet.balance < amount:
            raise NotEnoughError
        wallet.balance -= amount
        wallet.save(update_fields=["balance"])
        change = UsualChange.objects.create(wallet=wallet, amount=-amount, balance_after=wallet.balance, key=key)
        for lot in wallet.lots.filter(remaining__gt=0).order_by("expires_at"):
            part = min(lot.remaining, amount)
            lot.remaining -= part
            lot.save(update_fields=["remaining"])
            UsualPart.objects.create(change=change, lot=lot, amount=-part)
            amount -= part
            if not amount:
                break
        return change
