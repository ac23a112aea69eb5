"""What an object of Stripe's must look like, read off the installed `stripe` package's generated types.

`problems` holds an object to its class: unknown keys, missing keys, wrong types, values that no Literal lists.
`skeleton` makes an object with every key that the class wants, empty. Nullable and absent look alike in the types.
"""

import functools
import importlib
import inspect
import types
import typing
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, ForwardRef, Literal, Union

from stripe._list_object import ListObject
from stripe._object_classes import OBJECT_CLASSES
from stripe._stripe_object import StripeObject, UntypedStripeObject

from common.json_types import JsonObject

# Keys that Stripe leaves out unless they are asked for with `expand`, or that mark something else.
ABSENT_UNLESS_SET = {
    "deleted",
    "line_items",
    "sources",
    "subscriptions",
    "tax_ids",
    "cash_balance",
    "invoice_credit_balance",
    "refunds",
    "payments",
    "currency_options",
    "tiers",
    "confirmation_secret",
    "application_fee_amount",
    "fraud_details",
    "account",
    "secret",
    "request",
}


_fields: dict[Any, JsonObject] = {}


class UnknownObjectError(LookupError):
    """The installed `stripe` package has no class of this name."""


@functools.cache
def class_of(object_name: str) -> type[StripeObject]:
    """The class for an `object` name, e.g. `checkout.session`."""
    if object_name not in OBJECT_CLASSES:
        raise UnknownObjectError(object_name)
    module, name = OBJECT_CLASSES[object_name]
    result: type[StripeObject] = getattr(importlib.import_module(module), name)
    return result


def fields(cls: Any) -> JsonObject:
    """The data fields of a class and their types."""
    if cls not in _fields:
        _fields[cls] = _read_fields(cls)
    return _fields[cls]


def _read_fields(cls: Any) -> JsonObject:
    return {
        name: hint
        for name, hint in inspect.get_annotations(cls).items()
        if not _is_class_variable(hint) and not name.startswith("_")
    }


def problems(value: JsonObject) -> list[str]:
    """How `value` differs from what its class says; empty when it does not."""
    name = value.get("object", "")
    if name == "list":
        return [problem for number, item in enumerate(value["data"]) for problem in _each(item, f"data[{number}]")]
    if value.get("deleted"):
        return []
    return list(_object(value, class_of(name), name))


def skeleton(object_name: str) -> JsonObject:
    """An object of this name with every key it must have, and nothing in them."""
    return _empty_object(class_of(object_name)) | {"object": object_name}


def _each(item: JsonObject, path: str) -> list[str]:
    return [f"{path}: {problem}" for problem in problems(item)]


def _object(value: JsonObject, cls: type[StripeObject], path: str) -> Iterator[str]:
    wanted = fields(cls)
    for key in value.keys() - wanted.keys():
        yield f"{path}.{key}: unknown key"
    for key, hint in wanted.items():
        if key in value:
            yield from _value(value[key], hint, f"{path}.{key}")
        elif not _takes_none(hint):
            yield f"{path}.{key}: missing"


def _value(value: Any, hint: Any, path: str) -> Iterator[str]:  # noqa: C901, PLR0912 - one case a kind of type
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        yield from _one_of(value, typing.get_args(hint), path)
    elif origin is Literal:
        if value not in typing.get_args(hint):
            yield f"{path}: {value!r} is none of the {len(typing.get_args(hint))} values that Stripe lists"
    elif hint is type(None):
        if value is not None:
            yield f"{path}: not null"
    elif isinstance(hint, ForwardRef) or (isinstance(hint, type) and hint.__name__ in ("Any",)):
        if isinstance(value, dict) and "object" in value:
            yield from problems(value)
    elif origin is UntypedStripeObject or hint is UntypedStripeObject or origin is dict:
        if not isinstance(value, dict):
            yield f"{path}: not an object"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{path}: not a list"
        else:
            for number, item in enumerate(value):
                yield from _value(item, typing.get_args(hint)[0], f"{path}[{number}]")
    elif origin is ListObject:
        if not isinstance(value, dict) or value.get("object") != "list":
            yield f"{path}: not a list object"
        else:
            yield from problems(value)
    elif isinstance(hint, type) and issubclass(hint, StripeObject):
        if not isinstance(value, dict):
            yield f"{path}: not an object"
        else:
            yield from _object(value, hint, path)
    elif hint is Decimal:
        if not isinstance(value, str):
            yield f"{path}: a decimal is sent as text"
    elif isinstance(hint, type) and (type(value) is not hint) and not (hint is float and type(value) is int):
        yield f"{path}: {value!r} is not {hint.__name__}"


def _one_of(value: Any, hints: tuple[Any, ...], path: str) -> Iterator[str]:
    if value is None and type(None) in hints:
        return
    literals = [hint for hint in hints if typing.get_origin(hint) is Literal]
    references = [hint for hint in hints if isinstance(hint, ForwardRef)]
    if isinstance(value, str):
        if literals:  # the generated types add `| str` for values of the future; we send none of those
            yield from _value(value, literals[0], path)
        elif str not in hints and Decimal not in hints:
            yield f"{path}: unexpected text {value!r}"
        return
    others = [hint for hint in hints if hint not in (str, type(None), *literals)]
    complaints = [list(_value(value, hint, path)) for hint in others]
    if not others:
        yield f"{path}: {value!r} is none of {hints}"
    elif references and not isinstance(value, dict):
        yield f"{path}: {value!r} is neither an id nor an object"
    elif all(complaints):
        yield from min(complaints, key=len)


def _is_class_variable(hint: Any) -> bool:
    return str(typing.get_origin(hint)) == "typing.ClassVar"


def _takes_none(hint: Any) -> bool:
    return typing.get_origin(hint) in (Union, types.UnionType) and type(None) in typing.get_args(hint)


def _empty_object(cls: type[StripeObject]) -> JsonObject:
    return {name: _empty(hint) for name, hint in fields(cls).items() if name not in ABSENT_UNLESS_SET}


def _empty(hint: Any) -> Any:  # noqa: PLR0911 - one case a kind of type
    origin = typing.get_origin(hint)
    if _takes_none(hint):
        return None
    if origin in (Union, types.UnionType):
        return _empty(typing.get_args(hint)[0])
    if origin is Literal:
        return typing.get_args(hint)[0]
    if origin is list:
        return []
    if origin is ListObject:
        return {"object": "list", "data": [], "has_more": False, "url": ""}
    if origin is UntypedStripeObject or hint is UntypedStripeObject or origin is dict:
        return {}
    if isinstance(hint, type) and issubclass(hint, StripeObject):
        return _empty_object(hint)
    return {str: "", int: 0, bool: False, float: 0.0, Decimal: "0"}.get(hint)
