"""Which uploaded images are taken, told by their first bytes and not by what they are called."""

import re

MAX_BYTES = 200_000
# Formats that browsers show; the last is drawn by the browser, and is served so that nothing in it runs.
RASTER = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
SVG = "image/svg+xml"
_SVG_BEGINS = re.compile(rb"^\s*(<\?xml[^>]*\?>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>\[]*>\s*)?<svg[\s>]", re.S | re.I)


def type_of(content: bytes) -> str:
    """The media type of an image; empty for what is none of these."""
    for beginning, media_type in RASTER.items():
        if content.startswith(beginning):
            return media_type
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return SVG if _SVG_BEGINS.match(content.removeprefix(b"\xef\xbb\xbf")) else ""
