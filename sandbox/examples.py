"""Running one of the examples against the demo: installs what it needs, and hands it the demo's address and key."""

import json
import os
import subprocess
import sys
from pathlib import Path

from sandbox.data_folder import DataFolder

FOLDER = Path(__file__).resolve().parent.parent / "examples"


class ExampleError(RuntimeError):
    """It cannot be run, and the text says what to do."""


def names() -> list[str]:
    """The examples that there are."""
    return sorted(path.parent.name for path in FOLDER.glob("*/app.py"))


def run(place: DataFolder, name: str) -> int:
    """Run an example until Ctrl-C. Raises ExampleError."""
    if name not in names():
        raise ExampleError(f"There is no example {name!r}. There are: {', '.join(names())}.")
    if not place.demo.exists():
        raise ExampleError("The demo has not run yet on this data. Start it in another terminal: make demo")
    reported = json.loads(place.demo.read_text())
    variables = {
        **os.environ,
        "TEGOED_URL": reported["base_url"],
        "TEGOED_API_KEY": reported["service_api_key"],
        "PYTHONPATH": f"{FOLDER.parent}{os.pathsep}{FOLDER.parent / 'clients' / 'python'}",
    }
    print(f"Installing what {name} needs.", flush=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "httpx2"]
    subprocess.run([*install, "-r", str(FOLDER / name / "requirements.txt")], check=True)
    command = _command(name)
    print(" ".join(command), flush=True)
    return subprocess.run([sys.executable, *command], env=variables, check=False).returncode


def _command(name: str) -> list[str]:
    if "streamlit" in (FOLDER / name / "requirements.txt").read_text():
        return ["-m", "streamlit", "run", str(FOLDER / name / "app.py"), "--server.headless", "true"]
    return ["-m", f"examples.{name}.app"]
