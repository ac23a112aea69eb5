"""The tool that changes the code to see whether a test fails: it makes the changes it says, and puts them in."""

import functools
from pathlib import Path

import pytest

from tests import mutation

SOURCE = """
from functools import wraps

def twice(work):
    @wraps(work)
    def both(*given):
        return work(*given) + work(*given)
    return both

@twice
def price(count, free):
    if count > 10 and not free:
        return count * 2
    raise ValueError("no")
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(mutation, "ROOT", tmp_path)
    (tmp_path / "priced.py").write_text(SOURCE)
    return tmp_path / "priced.py"


def test_each_place_is_changed_in_its_ways(place: Path) -> None:
    changes = {mutant.change for mutant in mutation.mutants_of("priced.py")}

    assert {
        "count > 10 -> count >= 10",
        "10 -> 11",
        "count > 10 and (not free) -> count > 10 or not free",
        "not free -> free",
        "count * 2 -> count // 2",
        "return count * 2 -> return None",
        "raise ValueError('no') -> pass",
        "if count > 10 and (not free) -> if True",
    } <= changes


def test_change_is_put_into_the_running_function_behind_its_decorator(place: Path) -> None:
    names: dict[str, object] = {}
    exec(compile(SOURCE, str(place), "exec"), names)
    price = names["price"]
    assert callable(price)
    assert isinstance(price, functools.partial) is False
    inner = price.__wrapped__  # type: ignore[attr-defined]
    code = inner.__code__
    functions = {(code.co_filename, code.co_firstlineno, code.co_name): [inner]}
    mutant = next(each for each in mutation.mutants_of("priced.py") if each.change == "2 -> 3")

    assert price(11, False) == 44
    assert mutation._install(mutant, functions)
    assert price(11, False) == 66
    assert next(iter(mutation.mutants_of("priced.py"))).compiled()  # and the file's tree is as it was
