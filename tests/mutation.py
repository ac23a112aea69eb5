"""python -m tests.mutation credits billing/refunds ...: does a test fail for each small change of the code?

Each mutant is one change of one function: a comparison, a sign, a condition, a number, a statement or a filter's
keyword left out. A process that has collected the tests and has a database forks for each mutant, puts the changed
code into the running function, and runs the tests that reach its lines, quickest first, until one fails.

Written here because mutation tools start Python, Django and a database anew for each mutant (some seconds instead of a
tenth of one), and leave decorated functions alone, which most of the ledger's are.
"""

import argparse
import ast
import contextlib
import copy
import gc
import itertools
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import coverage
import pytest
from _pytest.runner import runtestprotocol
from django.db import connections

ROOT = Path(__file__).resolve().parent.parent
# Tests of the code itself; those that start other processes do not see a mutant, which lives in this one.
TESTS = ["accounts", "api", "billing", "config", "console", "credits", "outbox", "portal", "usage",
         "tests/test_abuse_stories.py", "tests/test_attackers.py", "tests/test_insider_stories.py"]  # fmt: skip
LONGEST_S = 60  # of all tests of one mutant; after that it counts as killed (a loop that does not end)
MOST_TESTS = 40
LONGEST_STATEMENT = 15  # lines
NO_CODE = ("annotation", "returns", "decorator_list")
SMALL_TEST = "billing/tests/test_catalogue.py"  # for making the database once, before the first fork


# --- which tests reach a line -----------------------------------------------------------------------


class Recorder:
    """A pytest plugin that writes down which lines each test reaches, and how long it takes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.took: dict[str, float] = {}
        packages = [str(ROOT / name) for name in ("billing", "credits", "usage", "outbox", "accounts", "api")]
        self.measured = coverage.Coverage(
            data_file=str(folder / f"lines.{os.getpid()}"), source=packages, config_file=False, branch=False
        )
        self.measured.start()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.measured.switch_context(item.nodeid.partition("@")[0])
        started = time.perf_counter()
        yield
        self.took[item.nodeid.partition("@")[0]] = time.perf_counter() - started

    def pytest_sessionfinish(self) -> None:
        self.measured.stop()
        self.measured.save()
        (self.folder / f"took.{os.getpid()}.json").write_text(json.dumps(self.took))


def read_reach(folder: Path) -> tuple[dict[tuple[str, int], set[str]], dict[str, float]]:
    """Which tests reach each line of a file, and how many seconds each takes, as recorded in a folder."""
    reach: dict[tuple[str, int], set[str]] = defaultdict(set)
    took: dict[str, float] = {}
    for path in folder.glob("took.*.json"):
        took.update(json.loads(path.read_text()))
    for path in folder.glob("lines.*"):
        data = coverage.CoverageData(str(path))
        data.read()
        for name in data.measured_files():
            relative = str(Path(name).relative_to(ROOT))
            for line, tests in data.contexts_by_lineno(name).items():
                reach[relative, line] |= {test for test in tests if test}
    return reach, took


# --- mutants ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mutant:
    """One change of a file: which node of its tree becomes what."""

    path: str
    change: str
    tree: ast.Module = field(repr=False)
    place: "Place" = field(repr=False)
    changed: ast.AST = field(repr=False)

    @property
    def line(self) -> int:
        return int(self.place.child.lineno)

    @property
    def name(self) -> str:
        return f"{self.path}:{self.line} {self.change}"

    def compiled(self) -> CodeType:
        """The file's code with the change in it."""
        ast.copy_location(self.changed, self.place.child)
        self.place.put(self.changed)
        try:
            tree = ast.fix_missing_locations(copy.deepcopy(self.tree))
        finally:
            self.place.put(self.place.child)
        return compile(tree, str(ROOT / self.path), "exec", dont_inherit=True)


@dataclass(frozen=True)
class Place:
    """Where a node hangs in its tree."""

    parent: ast.AST
    name: str
    index: int | None
    child: Any

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.name, node)
        else:
            getattr(self.parent, self.name)[self.index] = node


COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.Mod: ast.Add, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
QUERIES = ("filter", "exclude", "get", "update", "first", "get_or_create", "update_or_create")
OPPOSITES = {"min": "max", "max": "min", "any": "all", "all": "any"}
Variants = Iterator[tuple[str, ast.AST]]


def variants(node: ast.AST) -> Variants:
    """What may stand in the place of a node, each with its description."""
    for kind, make in MAKERS.items():
        if isinstance(node, kind):
            yield from make(node)


def _text(node: ast.AST) -> str:
    return ast.unparse(node)[:70].replace("\n", " ")


def _of_comparison(node: ast.Compare) -> Variants:
    for position, operator in enumerate(node.ops):
        changed = copy.deepcopy(node)
        changed.ops[position] = COMPARISONS[type(operator)]()
        yield f"{_text(node)} -> {_text(changed)}", changed


def _of_arithmetic(node: ast.BinOp) -> Variants:
    is_text = any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in (node.left, node.right)
    )
    if type(node.op) in OPERATORS and not is_text:
        changed = copy.deepcopy(node)
        changed.op = OPERATORS[type(node.op)]()
        yield f"{_text(node)} -> {_text(changed)}", changed


def _of_and_or(node: ast.BoolOp) -> Variants:
    changed = copy.deepcopy(node)
    changed.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield f"{_text(node)} -> {_text(changed)}", changed


def _of_not(node: ast.UnaryOp) -> Variants:
    if isinstance(node.op, ast.Not):
        yield f"{_text(node)} -> {_text(node.operand)}", node.operand


def _of_constant(node: ast.Constant) -> Variants:
    if isinstance(node.value, bool):
        yield f"{node.value} -> {not node.value}", ast.Constant(not node.value)
    elif isinstance(node.value, int):
        yield f"{node.value} -> {node.value + 1}", ast.Constant(node.value + 1)


def _of_condition(node: ast.If | ast.IfExp | ast.While) -> Variants:
    for value in (False,) if isinstance(node, ast.While) else (True, False):
        changed = copy.copy(node)
        changed.test = ast.Constant(value)
        yield f"if {_text(node.test)} -> if {value}", changed


def _of_return(node: ast.Return) -> Variants:
    if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
        yield f"{_text(node)} -> return None", ast.Return(ast.Constant(None))


def _of_statement(node: ast.Raise | ast.AugAssign | ast.Expr) -> Variants:
    if not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call):
        yield f"{_text(node)} -> pass", ast.Pass()


def _of_call(node: ast.Call) -> Variants:
    called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if called in QUERIES and len(node.keywords) + len(node.args) > 1:
        for position, keyword in enumerate(node.keywords):
            if keyword.arg not in (None, "defaults"):
                changed = copy.copy(node)
                changed.keywords = [*node.keywords[:position], *node.keywords[position + 1 :]]
                yield f"{called}(without {ast.unparse(keyword)[:50]})", changed
    if isinstance(node.func, ast.Name) and node.func.id in OPPOSITES and node.args:
        changed = copy.copy(node)
        changed.func = ast.Name(OPPOSITES[node.func.id], ast.Load())
        yield f"{_text(node)} -> {OPPOSITES[node.func.id]}(...)", changed


MAKERS: dict[Any, Callable[[Any], Variants]] = {
    ast.Compare: _of_comparison,
    ast.BinOp: _of_arithmetic,
    ast.BoolOp: _of_and_or,
    ast.UnaryOp: _of_not,
    ast.Constant: _of_constant,
    ast.If | ast.IfExp | ast.While: _of_condition,
    ast.Return: _of_return,
    ast.Raise | ast.AugAssign | ast.Expr: _of_statement,
    ast.Call: _of_call,
}


def mutants_of(path: str) -> Iterator[Mutant]:
    """Every mutant of a file's functions."""
    tree = ast.parse((ROOT / path).read_text())
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        for place in _places(function):
            for change, changed in variants(place.child):
                yield Mutant(path, change, tree, place, changed)


def _places(function: ast.FunctionDef) -> Iterator[Place]:
    """Each node of a function's body, and where it hangs; without the functions in it, whose own turn comes."""
    waiting: list[ast.AST] = [function]
    while waiting:
        parent = waiting.pop()
        names = ["body"] if parent is function else [name for name in parent._fields if name not in NO_CODE]
        for name in names:
            value = getattr(parent, name, None)
            for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(child, ast.AST) and not isinstance(child, ast.FunctionDef):
                    yield Place(parent, name, index, child)
                    waiting.append(child)


# --- running ----------------------------------------------------------------------------------------


def codes(code: CodeType) -> Iterator[CodeType]:
    """A code object and all that are in it."""
    yield code
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from codes(value)


class Runner:
    """A pytest plugin that tries mutants, each in a fork, instead of running the tests."""

    def __init__(self, mutants: list[Mutant], folder: Path, result: Path, *, most: int) -> None:
        self.mutants, self.result, self.most = mutants, result, most
        self.reach, self.took = read_reach(folder)
        self.kills: Counter[tuple[str, str]] = Counter()
        self.passing: set[str] = set()
        self.failing: set[str] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid.partition("@")[0]: item for item in session.items}
        small = next(item for item in session.items if item.nodeid.startswith(SMALL_TEST))
        # (Of another package, so that only what lasts for the session stays set up.)
        elsewhere = next(item for item in session.items if not item.nodeid.startswith("billing/"))
        reports = runtestprotocol(small, log=False, nextitem=elsewhere)
        assert all(not report.failed for report in reports), [report.longreprtext for report in reports]
        gc.unfreeze()
        functions: dict[tuple[str, int, str], list[FunctionType]] = defaultdict(list)
        for found in gc.get_objects():
            if isinstance(found, FunctionType) and str(ROOT) in found.__code__.co_filename:
                code = found.__code__
                functions[code.co_filename, code.co_firstlineno, code.co_name].append(found)
        gc.freeze()
        with self.result.open("a") as output:
            for mutant in self.mutants:
                names = sorted(self._reaching(mutant) & items.keys(), key=lambda name: self._rank(mutant, name))
                verdict = self._verdict(mutant, [items[name] for name in names], functions)
                self.kills[mutant.path, verdict.removeprefix("killed by ")] += 1
                print(json.dumps({"mutant": mutant.name, "verdict": verdict}), file=output)
                output.flush()
        return True

    def _rank(self, mutant: Mutant, name: str) -> tuple[int, int, float]:
        """First what has killed mutants of this file, then the tests of its package, the quickest first."""
        package = mutant.path.partition("/")[0]
        return -self.kills[mutant.path, name], not name.startswith(package), self.took.get(name, 1)

    def _verdict(self, mutant: Mutant, items: list[pytest.Item], functions: Any) -> str:
        """What becomes of a mutant. A test that also fails without it, in a process like this one, does not count."""
        while chosen := [item for item in items if item.nodeid not in self.failing][: self.most]:
            verdict = self._try(mutant, chosen, functions)
            killer = next((item for item in chosen if verdict == f"killed by {item.nodeid}"), None)
            if killer is None or killer.nodeid in self.passing:
                return verdict
            if self._try(None, [killer], functions) == "survived":
                self.passing.add(killer.nodeid)
                return verdict
            self.failing.add(killer.nodeid)
        return "no test"

    def _reaching(self, mutant: Mutant) -> set[str]:
        """The tests that reach a mutant's line, or (a statement goes on) the one that it began on."""
        for line in range(mutant.line, max(0, mutant.line - LONGEST_STATEMENT), -1):
            if reached := self.reach.get((mutant.path, line)):
                return reached
        return set()

    def _try(self, mutant: Mutant | None, items: list[pytest.Item], functions: Any) -> str:
        connections.close_all()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            silent = os.open(os.devnull, os.O_RDWR)
            for stream in (1, 2):
                os.dup2(silent, stream)
            verdict = "survived"
            try:
                if mutant is not None and not _install(mutant, functions):
                    verdict = "not live"
                else:
                    for item, following in itertools.zip_longest(items, items[1:], fillvalue=items[-1]):
                        if any(report.failed for report in runtestprotocol(item, log=False, nextitem=following)):
                            verdict = f"killed by {item.nodeid}"
                            break
            except BaseException as error:  # noqa: BLE001 - whatever it was, a test would have shown it
                verdict = f"killed by {type(error).__name__}"
            os.write(writer, verdict.encode()[:4000])
            os._exit(0)
        os.close(writer)
        ready, _, _ = select.select([reader], [], [], LONGEST_S)
        verdict = os.read(reader, 5000).decode() if ready else "killed by the clock"
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return verdict or "killed by a crash"


def _install(mutant: Mutant, functions: dict[tuple[str, int, str], list[FunctionType]]) -> bool:
    """Put a mutant's code into the functions that run; False when none of them has it."""
    filename = str(ROOT / mutant.path)
    installed = False
    for code in codes(mutant.compiled()):
        for function in functions.get((filename, code.co_firstlineno, code.co_name), []):
            before = function.__code__
            if before == code:
                continue
            if len(before.co_freevars) == len(code.co_freevars):
                function.__code__ = code
                installed = True
    return installed


def files_of(paths: list[str]) -> list[str]:
    """The modules below these paths that hold the product's own code."""
    result = []
    for path in paths:
        place = ROOT / path
        for module in [place] if place.is_file() else sorted(place.rglob("*.py")):
            relative = module.relative_to(ROOT)
            if not {"tests", "migrations", "management"} & set(relative.parts):
                result.append(str(relative))
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("paths", nargs="+", help="packages and modules to change")
    parser.add_argument("--folder", type=Path, default=Path(".mutation"), help="what was recorded, and the results")
    parser.add_argument("--shard", help="i/n: the i-th of n parts (this command starts them itself)")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--every", type=int, default=1, help="try one of so many mutants: a sample")
    parser.add_argument("--most", type=int, default=MOST_TESTS, help="of the tests that reach a mutant, so many")
    parser.add_argument("--again", action="store_true", help="only those that the last run left")
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    folder.mkdir(exist_ok=True)
    if options.shard:
        return _run_shard(options, folder)
    if not list(folder.glob("took.*.json")):
        command = [sys.executable, "-m", "pytest", "-q", "-n", str(options.processes), "--dist", "loadgroup"]
        environment = {**os.environ, "MUTATION_RECORDS": str(folder)}
        subprocess.run([*command, "-p", "tests.mutation", *TESTS], cwd=ROOT, env=environment, check=True)
    if options.again:
        (folder / "left.json").write_text(json.dumps([row["mutant"] for row in _left(_results(folder))]))
    for earlier in folder.glob("result.*.jsonl"):
        earlier.unlink()
    shards = []
    for number in range(options.processes):
        command = [sys.executable, "-m", "tests.mutation", *options.paths, "--folder", str(folder)]
        command += ["--shard", f"{number}/{options.processes}", "--every", str(options.every)]
        command += ["--most", str(options.most), *(["--again"] if options.again else [])]
        shards.append(subprocess.Popen(command, cwd=ROOT))
    for shard in shards:
        shard.wait()
    return report(folder)


def _run_shard(options: argparse.Namespace, folder: Path) -> int:
    number, count = map(int, options.shard.split("/"))
    mutants = [mutant for path in files_of(options.paths) for mutant in mutants_of(path)]
    if options.again:
        wanted = set(json.loads((folder / "left.json").read_text()))
        mutants = [mutant for mutant in mutants if mutant.name in wanted]
    random.Random(1).shuffle(mutants)  # so that a run that is stopped was a fair sample
    runner = Runner(
        mutants[:: options.every][number::count], folder, folder / f"result.{number}.jsonl", most=options.most
    )
    return int(pytest.main(["-q", "-p", "no:cacheprovider", *TESTS], plugins=[runner]))


def _results(folder: Path) -> list[dict[str, str]]:
    """What became of each mutant. (One whose function is made anew at run time could not be put in.)"""
    lines = [line for path in sorted(folder.glob("result.*.jsonl")) for line in path.read_text().splitlines()]
    return [row for row in map(json.loads, lines) if row["verdict"] != "not live"]


def _left(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [row for row in rows if row["verdict"] in ("survived", "no test")]


def report(folder: Path) -> int:
    """Say how many were killed, and name the others."""
    rows = _results(folder)
    left = _left(rows)
    print("\n".join(sorted(f"{row['mutant']}  [{row['verdict']}]" for row in left)))
    killed = len(rows) - len(left)
    print(f"{killed} of {len(rows)} mutants were killed ({killed / max(1, len(rows)):.1%}).")
    return 0


def pytest_configure(config: pytest.Config) -> None:
    """Record, where a run of `main` asks for it: in each process that runs tests."""
    is_in_charge = not hasattr(config, "workerinput") and bool(config.getoption("numprocesses", None))
    if (folder := os.environ.get("MUTATION_RECORDS")) and not is_in_charge:
        config.pluginmanager.register(Recorder(Path(folder)), "recorder")


if __name__ == "__main__":
    sys.exit(main())
