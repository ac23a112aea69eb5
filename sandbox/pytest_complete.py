"""A pytest plugin: a run fails when two tests share an id, or when a collected test did not run; groups stay together.

xdist sends tests to its workers by id and runs each id once: of several tests with one id it drops all but one, and
says nothing.
"""

from collections import Counter
from typing import Any

import pytest
from _pytest.nodeid import NodeId


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the id that ends with its name (schemathesis gives all operations one), and see that it is one."""
    for item in items:
        if item.parent is not None and not item.nodeid.endswith(item.name):
            item._id = item.parent.id.child(item.name)
    twice = [name for name, count in Counter(item.nodeid for item in items).items() if count > 1]
    if twice:
        raise pytest.UsageError(f"{len(twice)} ids are shared by several tests: {', '.join(sorted(twice)[:5])}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Write each test's group into its id, by which xdist keeps a group on one worker (`--dist loadgroup`).

    xdist (3.8) writes it to an attribute that pytest reads no more since 9.1, so that groups were no groups.
    """
    if hasattr(session.config, "workerinput") and session.config.getvalue("loadgroup"):
        for item in session.items:
            if (mark := item.get_closest_marker("xdist_group")) and not item.nodeid.endswith(f"@{mark.args[0]}"):
                item._id = NodeId.parse(f"{item.nodeid}@{mark.args[0]}")


class Ran:
    """Which tests were collected, and which of them ran, as the process in charge hears of it."""

    def __init__(self) -> None:
        self.collected: set[str] = set()
        self.ran: set[str] = set()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.collected |= {item.nodeid for item in session.items}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self.collected |= set(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "setup":
            self.ran.add(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        left_out = self.collected - self.ran
        # (A run that was stopped, by -x or by hand, says so itself.)
        if exitstatus == pytest.ExitCode.OK and left_out and not session.config.option.collectonly:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
            self.problem = f"{len(left_out)} tests were collected and did not run: {', '.join(sorted(left_out)[:5])}"

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if problem := getattr(self, "problem", ""):
            terminalreporter.write_line(problem, red=True)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Ran(), "ran")
