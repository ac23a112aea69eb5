"""From one colour of the operator's, the shades that pages need: readable as text, in the light and in the dark."""

from collections.abc import Iterator
from dataclasses import dataclass

# The grounds of portal/static/portal/site.css that text in the accent colour stands on.
LIGHT_GROUND, DARK_GROUND = "#eef3f0", "#1f2a26"
WHITE, INK = "#ffffff", "#0a201c"
READABLE = 4.5  # WCAG 2.2, success criterion 1.4.3: text against what is behind it
STEP = 0.03
SEEN = 12  # of 255, in one channel


@dataclass(frozen=True)
class Shades:
    """What one theme makes of a colour."""

    accent: str  # of text
    soft: str  # a ground of it
    button: str  # the ground of a button
    on_button: str  # the text on that


def light(colour: str) -> Shades:
    """The shades of a light page: the colour itself, or darker where it could not be read."""
    soft = mixed(WHITE, colour, 0.12)
    accent = next(shade for shade in _towards(INK, colour) if _is_readable(shade, WHITE, LIGHT_GROUND, soft))
    return Shades(accent, soft, *_button(colour))


def dark(colour: str) -> Shades:
    """The shades of a dark page: lighter until they can be read."""
    soft = mixed(DARK_GROUND, colour, 0.15)
    accent = next(shade for shade in _towards(WHITE, colour) if _is_readable(shade, INK, DARK_GROUND, soft))
    return Shades(accent, soft, accent, INK)


def _button(colour: str) -> tuple[str, str]:
    """The colour as it is, under white or dark text; one in between is made darker until white can be read on it."""
    text = next((text for text in (WHITE, INK) if contrast(colour, text) >= READABLE), None)
    if text is not None:
        return colour, text
    return next(shade for shade in _towards(INK, colour) if _is_readable(shade, WHITE)), WHITE


def contrast(one: str, other: str) -> float:
    """How far two colours are apart, from 1 to 21 (WCAG's contrast ratio)."""
    brighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def is_another(one: str, other: str) -> bool:
    """Whether an eye tells two colours apart, roughly."""
    return any(abs(a - b) > SEEN for a, b in zip(_channels(one), _channels(other), strict=True))


def mixed(ground: str, colour: str, share: float) -> str:
    """A colour laid over a ground, of which `share` (0 to 1) shows."""
    pairs = zip(_channels(ground), _channels(colour), strict=True)
    return "#" + "".join(f"{round(below + (above - below) * share):02x}" for below, above in pairs)


def _is_readable(shade: str, *others: str) -> bool:
    return all(contrast(shade, other) >= READABLE for other in others)


def _towards(end: str, colour: str) -> Iterator[str]:
    """The colour, and ever more of the end of it."""
    steps = round(1 / STEP) + 1
    return (mixed(colour, end, min(step * STEP, 1)) for step in range(steps + 1))


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 - sRGB
        for channel in (value / 255 for value in _channels(colour))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
