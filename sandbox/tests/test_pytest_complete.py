"""A run that leaves tests out fails, and says which."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

WITHOUT_SERVERS = ["-p", "sandbox.pytest_complete", "-p", "no:cacheprovider", "-o", "addopts=", "-o", "filterwarnings="]

TWICE = """
import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    items.extend(list(items))
"""


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist.plugin", *WITHOUT_SERVERS]
    return subprocess.run(
        [*command, "--rootdir", str(folder), "-c", "/dev/null", *options, str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # none but these: they take seconds to import
    )  # fmt: skip


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_a_run_in_which_every_test_ran_is_well(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "test_it.py").write_text("def test_one():\n    pass\n\n\ndef test_two():\n    pass\n")

    result = run(tmp_path, *options)

    assert (result.returncode, "2 passed" in result.stdout) == (0, True), result.stdout + result.stderr


def test_two_tests_of_one_id_are_refused(tmp_path: Path) -> None:
    """As schemathesis once made them: xdist ran one of forty."""
    (tmp_path / "conftest.py").write_text(TWICE)
    (tmp_path / "test_it.py").write_text("def test_one():\n    pass\n")

    result = run(tmp_path)

    assert result.returncode != 0


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_collected_test_that_did_not_run_fails_the_run(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "conftest.py").write_text(
        "def pytest_runtest_protocol(item, nextitem):\n    return True if item.name == 'test_two' else None\n"
    )
    (tmp_path / "test_it.py").write_text("def test_one():\n    pass\n\n\ndef test_two():\n    pass\n")

    result = run(tmp_path, *options)

    assert result.returncode != 0
    assert "collected and did not run" in result.stdout, result.stdout + result.stderr


def test_group_runs_on_one_worker(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import os, time\nimport pytest\n\n\n@pytest.mark.xdist_group('one')\n@pytest.mark.parametrize('n', range(6))\n"
        "def test_it(n, record_property):\n    time.sleep(0.05)\n"
        f"    open({str(tmp_path / 'workers')!r}, 'a').write(os.environ['PYTEST_XDIST_WORKER'] + '\\n')\n"
    )

    result = run(tmp_path, "-n", "3", "--dist", "loadgroup", "-W", "ignore")

    assert result.returncode == 0, result.stdout + result.stderr
    assert len(set((tmp_path / "workers").read_text().split())) == 1
