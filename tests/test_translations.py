"""Every text of the customers' pages and e-mails has its Dutch."""

import re
from collections.abc import Iterator
from pathlib import Path

from babel.messages.pofile import read_po

from tests.conftest import ROOT

PLACES = ["portal", "mails", "base.html", "error.html", "403.html", "403_csrf.html", "404.html", "429.html", "500.html"]
VARIABLE = re.compile(r"\{\{ ?(\w+) ?\}\}")


def texts_of(source: str) -> Iterator[str]:
    """What a template wants translated, as gettext knows it."""
    for result in re.finditer(r"""\{% translate (?:"([^"]*)"|'([^']*)')""", source):
        yield result[1] or result[2]
    yield from re.findall(r"""_\("([^"]*)"\)""", source)
    for result in re.finditer(r"\{% blocktranslate([^%]*)%\}(.*?)\{% endblocktranslate %\}", source, re.S):
        text = result[2].partition("{% plural %}")[0].replace("%", "%%")
        text = VARIABLE.sub(r"%(\1)s", text)
        yield " ".join(text.split()) if "trimmed" in result[1] else text


def texts_of_code(source: str) -> list[str]:
    return re.findall(r'\b_\(\s*"((?:[^"\\]|\\.)*)"', source)


def test_nothing_is_left_in_english() -> None:
    with (ROOT / "locale" / "nl" / "LC_MESSAGES" / "django.po").open("rb") as file:
        dutch = {_first(message.id): message.string for message in read_po(file)}
    templates = [ROOT / "templates" / place for place in PLACES]
    files = [file for place in templates for file in ([place] if place.is_file() else sorted(place.rglob("*.*")))]
    wanted = {text: file.name for file in files for text in texts_of(file.read_text())}
    for code in Path(ROOT / "portal").glob("*.py"):
        wanted |= dict.fromkeys(texts_of_code(code.read_text()), code.name)

    assert len(wanted) > 200
    assert {text: where for text, where in wanted.items() if not dutch.get(text)} == {}


def test_the_compiled_catalogue_is_that_of_the_source() -> None:
    folder = ROOT / "locale" / "nl" / "LC_MESSAGES"
    from babel.messages.mofile import read_mo

    with (folder / "django.po").open("rb") as source, (folder / "django.mo").open("rb") as compiled:
        wrote, reads = (
            {_first(message.id): _all(message.string) for message in catalogue if message.id}
            for catalogue in (read_po(source), read_mo(compiled))
        )
    assert reads == wrote, "run: make messages"


def _all(text: str | list[str] | tuple[str, ...]) -> list[str]:
    return [text] if isinstance(text, str) else list(text)


def _first(text: str | list[str] | tuple[str, ...]) -> str:
    return _all(text)[0]
