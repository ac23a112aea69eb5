"""Catalogues to start from, as TOML files: what is sold, for how much, and how many credits it gives."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from common.json_types import JsonObject

HERE = Path(__file__).parent


class UnknownPresetError(LookupError):
    """There is no preset of this name; the text lists those there are."""


@dataclass(frozen=True)
class Preset:
    """The tables of one preset file."""

    features: list[JsonObject] = field(default_factory=list)
    plans: list[JsonObject] = field(default_factory=list)
    packs: list[JsonObject] = field(default_factory=list)


def names() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.toml"))


def load(name: str) -> Preset:
    """Read a preset. Raises UnknownPresetError."""
    if name not in names():
        raise UnknownPresetError(f"There is no preset {name!r}; there are: {', '.join(names())}.")
    tables = tomllib.loads((HERE / f"{name}.toml").read_text())
    return Preset(tables.get("feature", []), tables.get("plan", []), tables.get("pack", []))
