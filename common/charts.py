"""Charts drawn on the server: where each bar stands, for a template to write down as SVG."""

from collections.abc import Callable, Mapping, Sequence
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
    text: str = ""  # the value as it is written


@dataclass(frozen=True, kw_only=True)
class BarChart:
    """Bars over a line, the highest as high as the picture."""

    bars: tuple[Bar, ...]
    most: int
    most_text: str
    width: int = WIDTH
    height: int = HEIGHT


def bar_chart(values: Sequence[tuple[str, int]], *, words: Callable[[int], str] = str) -> BarChart:
    """A bar for each label and value, which are not negative; `words` is how a value is written."""
    most = max((value for _, value in values), default=0)
    place = WIDTH / max(len(values), 1)
    bars = []
    for number, (label, value) in enumerate(values):
        height = HEIGHT * value / most if most else 0.0
        bars.append(
            Bar(
                label=label,
                value=value,
                text=words(value),
                x=round(number * place + place * GAP / 2, 2),
                y=round(HEIGHT - height, 2),
                width=round(place * (1 - GAP), 2),
                height=round(height, 2),
            )
        )
    return BarChart(bars=tuple(bars), most=most, most_text=words(most))


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A line across the chart, and the value that it stands for; `y` in percent from the top."""

    value: int
    y: float


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One label's bar: its parts from the bottom up, each of its series (from 1), and what all of it says."""

    label: str
    total: int
    parts: tuple[tuple[int, Bar], ...]


@dataclass(frozen=True, kw_only=True)
class StackedChart:
    """Stacked bars over an axis that begins at nothing and ends at a round number."""

    stacks: tuple[Stack, ...]
    series: tuple[str, ...]
    ticks: tuple[Tick, ...]
    most: int
    width: int = WIDTH
    height: int = HEIGHT


def stacked_chart(labels: Sequence[str], series: Mapping[str, Sequence[int]]) -> StackedChart:
    """A bar for each label, made of the values that each series has there; values are not negative."""
    totals = [sum(values) for values in zip(*series.values(), strict=True)] if series else [0] * len(labels)
    top = round_up(max(totals, default=0))
    place = WIDTH / max(len(labels), 1)
    stacks = []
    for number, label in enumerate(labels):
        parts, bottom = [], float(HEIGHT)
        for order, (name, values) in enumerate(series.items(), start=1):
            height = HEIGHT * values[number] / top if top else 0.0
            if height:
                bottom -= height
                bar = Bar(
                    label=name,
                    value=values[number],
                    x=round(number * place + place * GAP / 2, 2),
                    y=round(bottom, 2),
                    width=round(place * (1 - GAP), 2),
                    height=round(height, 2),
                )
                parts.append((order, bar))
        stacks.append(Stack(label=label, total=totals[number], parts=tuple(parts)))
    shares = (2, 1) if top > 1 else (2,)
    ticks = tuple(Tick(value=top * share // 2, y=100 - 50 * share) for share in shares if top)
    return StackedChart(stacks=tuple(stacks), series=tuple(series), ticks=ticks, most=max(totals, default=0))


def round_up(value: int) -> int:
    """The next number that an axis may end at: 1, 2, 4, 6, 8 or 10 with zeros."""
    if value <= 1:
        return max(value, 0)
    scale = 10 ** (len(str(value)) - 1)
    steps = [scale * step for step in (2, 4, 6, 8, 10)] if scale > 1 else [2, 4, 6, 8, 10]
    ends: list[int] = [scale, *steps]
    return next(end for end in ends if end >= value and end % 2 == 0)


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
