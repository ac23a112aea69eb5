"""CSV that a spreadsheet opens: what others typed stays text (owasp.org/www-community/attacks/CSV_Injection)."""

import csv
import io

import pytest

from common import csv_export


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_cell_that_a_spreadsheet_would_run_is_text(start: str) -> None:
    cell = f"{start}HYPERLINK(1)"

    written = "".join(csv_export.lines(["what"], [[cell]]))

    ((_header,), (shown,)) = csv.reader(io.StringIO(written, newline=""))
    assert shown == f"'{cell}"


def test_numbers_stay_numbers() -> None:
    assert list(csv_export.lines(["n"], [[-5], ["5"]])) == ["n\r\n", "-5\r\n", "5\r\n"]
