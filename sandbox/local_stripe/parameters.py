"""Request parameters: from form encoding to values, held to the `stripe` package's types.

An unknown parameter is refused as Stripe refuses it, so that a misspelt one is found here and not in production.
"""

import functools
import importlib
import re
import types
import typing
from typing import Any, NotRequired, Required, Union
from urllib.parse import parse_qsl

import stripe
from typing_extensions import get_type_hints, is_typeddict

from sandbox.local_stripe.errors import invalid

BRACKETS = re.compile(r"\[([^\]]*)\]")


def decode(text: str) -> dict[str, Any]:
    """`a[b][0]=c` as nested dictionaries and lists, every value still text."""
    root: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        head = name.split("[", 1)[0]
        path = [head, *BRACKETS.findall(name)]
        place = root
        for step in path[:-1]:
            place = place.setdefault(step, {})
        key = path[-1] or str(len(place))
        place[key] = value
    return {name: _lists(value) for name, value in root.items()}


def check(values: dict[str, Any], type_name: str) -> dict[str, Any]:
    """`values` as the types of `stripe.params.<type_name>` want them. Raises the error Stripe would answer."""
    checked: dict[str, Any] = _take(values, _typed_dict(type_name), "")
    return checked


def none(values: dict[str, Any]) -> dict[str, Any]:
    """Of a call that takes no parameters. Raises the error Stripe would answer."""
    if values:
        name = min(values)
        raise invalid(f"Received unknown parameter: {name}", param=name, code="parameter_unknown")
    return values


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        return [_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _lists(item) for key, item in value.items()}


@functools.cache
def _typed_dict(type_name: str) -> Any:
    package, _, name = type_name.rpartition(".")
    return getattr(importlib.import_module(".".join(filter(None, ("stripe.params", package)))), name)


@functools.cache
def _hints(typed_dict: Any) -> dict[str, Any]:
    namespace = {"StripeContext": stripe.StripeContext, "Mapping": typing.Mapping}
    return get_type_hints(typed_dict, localns=namespace, include_extras=True)


def _take(value: Any, hint: Any, path: str) -> Any:  # noqa: C901, PLR0911 - one case a kind of type
    origin = typing.get_origin(hint)
    if origin in (NotRequired, Required, typing.NotRequired, typing.Required):
        return _take(value, typing.get_args(hint)[0], path)
    if is_typeddict(hint):
        if not isinstance(value, dict):
            raise invalid(f"Invalid object: {path}", param=path)
        return _take_fields(value, hint, path)
    if origin in (Union, types.UnionType):
        return _take_one_of(value, typing.get_args(hint), path)
    if origin is list:
        if not isinstance(value, list):
            raise invalid(f"Invalid array: {path}", param=path)
        return [_take(item, typing.get_args(hint)[0], f"{path}[{number}]") for number, item in enumerate(value)]
    if hint is int:
        if not isinstance(value, str) or not re.fullmatch(r"-?\d+", value):
            raise invalid(f"Invalid integer: {value}", param=path)
        return int(value)
    if hint is bool:
        if value not in ("true", "false"):
            raise invalid(f"Invalid boolean: {value}", param=path)
        return value == "true"
    if origin is typing.Literal and value not in typing.get_args(hint):
        allowed = ", ".join(map(str, typing.get_args(hint)))
        raise invalid(f"Invalid {path}: must be one of {allowed}", param=path)
    return value


def _take_fields(values: dict[str, Any], typed_dict: Any, path: str) -> dict[str, Any]:
    hints = _hints(typed_dict)
    taken = {}
    for name, value in values.items():
        where = f"{path}[{name}]" if path else name
        if name not in hints:
            raise invalid(f"Received unknown parameter: {where}", param=where, code="parameter_unknown")
        taken[name] = _take(value, hints[name], where)
    for name in typed_dict.__required_keys__ - values.keys():
        if typing.get_origin(hints[name]) is not NotRequired:
            where = f"{path}[{name}]" if path else name
            raise invalid(f"Missing required param: {where}.", param=where, code="parameter_missing")
    return taken


def _take_one_of(value: Any, hints: tuple[Any, ...], path: str) -> Any:
    structured = [hint for hint in hints if is_typeddict(hint) or typing.get_origin(hint) in (list, dict)]
    literals = [hint for hint in hints if typing.get_origin(hint) is typing.Literal]
    if isinstance(value, dict | list):
        if not structured:
            raise invalid(f"Invalid string: {path}", param=path)
        return _take(value, structured[0], path)
    if value == "":
        return None  # Stripe's way to unset
    if any(value in typing.get_args(literal) for literal in literals):
        return value
    for plain in (int, bool):
        if plain in hints:
            return _take(value, plain, path)
    if literals and not any("" in typing.get_args(literal) for literal in literals):
        return _take(value, literals[0], path)
    return value
