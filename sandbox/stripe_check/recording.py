"""What Stripe answered, by shape: which fields each kind of object had, of which types; and how two records differ."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import stripe

NULL = "null"
# Fields whose names are data.
OPEN = {"metadata", "payment_method_options", "payment_method_configuration_details"}


@dataclass
class Record:
    """One round: the shapes of objects, the kinds of events of each story, and what went otherwise than expected."""

    shapes: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    events: dict[str, list[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def note(self, answer: Any) -> None:
        """Note an answer, and every object inside it."""
        if isinstance(answer, list):
            for item in answer:
                self.note(item)
        elif isinstance(answer, dict):
            kind = str(answer.get("object") or "")
            if kind and kind != "list":
                self._note_fields(kind, answer)
            for name, value in answer.items():
                if name not in OPEN:
                    self.note(value)

    def _note_fields(self, kind: str, answer: Mapping[str, Any]) -> None:
        shape = self.shapes.setdefault(kind, {})
        for name, value in answer.items():
            shape.setdefault(name, set()).add(_type_of(value))

    def as_json(self) -> str:
        shapes = {kind: {name: sorted(types) for name, types in shape.items()} for kind, shape in self.shapes.items()}
        return json.dumps({"shapes": shapes, "events": self.events, "failures": self.failures}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Record":
        result = json.loads(text)
        shapes = {kind: {name: set(types) for name, types in shape.items()} for kind, shape in result["shapes"].items()}
        return cls(shapes=shapes, events=result["events"], failures=result["failures"])


class RecordingClient(stripe.HTTPClient):
    """The official client's own, with each answer noted on the way."""

    name = "recording"

    def __init__(self, inner: stripe.HTTPClient, record: Record) -> None:
        super().__init__()
        self._inner, self._record = inner, record

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **usage: Any
    ) -> tuple[Any, int, Mapping[str, str]]:
        body, status, answered = self._inner.request(method, url, headers, post_data, **usage)
        if status < 300:  # noqa: PLR2004 - what HTTP calls success
            self._record.note(json.loads(body))
        return body, status, answered

    def close(self) -> None:
        self._inner.close()


def differences(theirs: Record, ours: Record) -> Iterator[str]:
    """Where Stripe's answers (`theirs`) differ from the local Stripe's (`ours`), a line each."""
    for kind in sorted(theirs.shapes.keys() & ours.shapes.keys()):
        yield from _of_shapes(kind, theirs.shapes[kind], ours.shapes[kind])
    yield from _apart("answered with", "", set(theirs.shapes), set(ours.shapes))
    for story in theirs.events.keys() & ours.events.keys():
        yield from _apart("sent", f"{story}: ", set(theirs.events[story]), set(ours.events[story]))


def _of_shapes(kind: str, real: dict[str, set[str]], local: dict[str, set[str]]) -> Iterator[str]:
    yield from _apart("has", f"{kind}: ", set(real), set(local))
    for name in sorted(real.keys() & local.keys()):
        one, other = real[name] - {NULL}, local[name] - {NULL}
        if one and other and not one & other:
            yield f"{kind}.{name}: {_listed(one)} at Stripe, {_listed(other)} in the local Stripe"


def _apart(does: str, where: str, real: set[str], local: set[str]) -> Iterator[str]:
    for name in sorted(real - local):
        yield f"{where}only Stripe {does} {name}"
    for name in sorted(local - real):
        yield f"{where}only the local Stripe {does} {name}"


def _type_of(value: Any) -> str:
    if value is None:
        return NULL
    names = {bool: "boolean", int: "number", float: "number", str: "text", list: "list", dict: "object"}
    return names[type(value)]


def _listed(types: set[str]) -> str:
    return " or ".join(sorted(types))
