"""Everything that an operator can do to an account, by its code; what is done most stands first."""

from console.operations import customers, plans, wallet
from console.operations.base import (
    OPERATIONS,
    Asked,
    Done,
    Effect,
    Given,
    Operation,
    OperationForm,
    OperationRefusedError,
)

__all__ = [
    "OPERATIONS", "Asked", "Done", "Effect", "Given", "Operation", "OperationForm", "OperationRefusedError",
    "customers", "plans", "wallet",
]  # fmt: skip
