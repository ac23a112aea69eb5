"""Everything that an operator can do to an account, by its code; what is done most stands first."""

from common.admin import Effect
from console.operations import customers, plans, wallet
from console.operations.base import (
    OPERATIONS,
    Gift,
    Operation,
    OperationForm,
    OperationRefusedError,
    OperationRequest,
    OperationResult,
)

__all__ = [
    "OPERATIONS",
    "Effect",
    "Gift",
    "Operation",
    "OperationForm",
    "OperationRefusedError",
    "OperationRequest",
    "OperationResult",
    "customers",
    "plans",
    "wallet",
]
