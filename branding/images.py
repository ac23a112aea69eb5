"""Which uploaded images are taken, told by their first bytes and not by what they are called."""

import re

MAX_BYTES = 200_000
# Formats that browsers show; the last is drawn by the browser, and is served so that nothing in it runs.
RASTER = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
SVG = "image/svg+xml"
_PROLOG = re.compile(rb"\s*(<\?xml[^>]*\?>|<!DOCTYPE svg[^>\[]*>)?\s*", re.I)
_SVG_BEGINS = re.compile(rb"<svg[\s>]", re.I)


def type_of(content: bytes) -> str:
    """The media type of an image; empty for what is none of these."""
    for beginning, media_type in RASTER.items():
        if content.startswith(beginning):
            return media_type
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return SVG if _is_svg(content.removeprefix(b"\xef\xbb\xbf")) else ""


def _is_svg(text: bytes) -> bool:
    """Whether the first element is an SVG's. Each byte is looked at once, whatever is in the file."""
    place = 0
    while True:
        before, place = place, _PROLOG.match(text, place).end()  # type: ignore[union-attr]  # it may be empty
        if text.startswith(b"<!--", place):
            end = text.find(b"-->", place)
            if end < 0:
                return False
            place = end + len(b"-->")
        if place == before:
            return _SVG_BEGINS.match(text, place) is not None
