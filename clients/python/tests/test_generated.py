"""The synchronous client is what its generator makes of the asynchronous one."""

import subprocess
import sys
from pathlib import Path

GENERATOR = Path(__file__).resolve().parent.parent / "generate_synchronous.py"


def test_synchronous_client_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(GENERATOR), "--check"], check=False)

    assert done.returncode == 0, f"run {GENERATOR.name}: asynchronous.py has changed, synchronous.py has not"
