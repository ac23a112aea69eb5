"""The API's description in the repository is the one that the code gives."""

from io import StringIO

from django.core.management import call_command

from tests.conftest import ROOT


def test_the_description_in_docs_is_up_to_date() -> None:
    out = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)

    assert (ROOT / "docs" / "openapi.yaml").read_text().strip() == out.getvalue().strip(), "run: make schema"
