"""Charts drawn on the server: where each bar stands, for a template to write down as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720, 160
GAP = 0.25  # of a bar's place


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One value: its place in the picture, and what it says."""

    label: str
    value: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class BarChart:
    """Bars over a line, the highest as high as the picture."""

    bars: tuple[Bar, ...]
    most: int
    width: int = WIDTH
    height: int = HEIGHT


def bar_chart(values: Sequence[tuple[str, int]]) -> BarChart:
    """A bar for each label and value; values are not negative."""
    most = max((value for _, value in values), default=0)
    place = WIDTH / max(len(values), 1)
    bars = []
    for number, (label, value) in enumerate(values):
        height = HEIGHT * value / most if most else 0.0
        bars.append(
            Bar(
                label=label,
                value=value,
                x=round(number * place + place * GAP / 2, 2),
                y=round(HEIGHT - height, 2),
                width=round(place * (1 - GAP), 2),
                height=round(height, 2),
            )
        )
    return BarChart(bars=tuple(bars), most=most)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A piece of a line of one hundred: what it stands for, and where."""

    kind: str
    x: float
    width: float


def meter(values: Sequence[tuple[str, int]]) -> tuple[Part, ...]:
    """What each value is of all of them together; values are not negative."""
    total = sum(value for _, value in values)
    parts, x = [], 0.0
    for kind, value in values:
        width = 100 * value / total if total else 0.0
        parts.append(Part(kind=kind, x=round(x, 2), width=round(width, 2)))
        x += width
    return tuple(parts)
