"""CSV for people who open it in a spreadsheet: written as it is read, and never a formula."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.http import StreamingHttpResponse

# A cell that begins with one of these is run by a spreadsheet; an apostrophe makes it text. (OWASP, CSV injection.)
STARTS_OF_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


class _Echo:
    """Gives each written line back to who writes it."""

    def write(self, line: str) -> str:
        return line


def download(name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> StreamingHttpResponse:
    """The rows as a file to download, a line at a time, however many there are."""
    answer = StreamingHttpResponse(lines(header, rows), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return answer


def lines(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The lines of a CSV file."""
    writer = csv.writer(_Echo())
    yield writer.writerow(header)
    for row in rows:
        yield writer.writerow([_harmless(cell) for cell in row])


def _harmless(cell: Any) -> Any:
    if isinstance(cell, str) and cell.startswith(STARTS_OF_FORMULAS):
        return f"'{cell}"
    return cell
