"""Write tegoed/synchronous.py from tegoed/asynchronous.py: `python clients/python/generate_synchronous.py [--check]`.

Each `await` goes, and names become those of the synchronous world. Where the two differ in more than that, the file has
both: what follows `# Asynchronous:` is left out, and the comment after `# Synchronous:` becomes code.
"""

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent / "tegoed"
SOURCE, TARGET = PACKAGE / "asynchronous.py", PACKAGE / "synchronous.py"

# In this order: the longer ones first.
WORDS = {
    r"AsyncIterator": "Iterator",
    r"AsyncBaseTransport": "BaseTransport",
    r"AsyncClient": "Client",
    r"AsyncTegoed": "Tegoed",
    r"AsyncHold": "Hold",
    r"if inspect\.isasyncgenfunction": "if inspect.isgeneratorfunction",
    r"Awaitable\[R\]": "R",
    r", Awaitable\b": "",
    r", Generator\b": "",
    r"__aenter__": "__enter__",
    r"__aexit__": "__exit__",
    r"aclose": "close",
    r"asyncio\.sleep": "time.sleep",
    r"import asyncio": "import time",
    r"async (def|with|for)\b": r"\1",
    r"\bawait ": "",
    r"share it between tasks": "share it between threads",
}
DOC = '''"""The client. Made from `asynchronous` by generate_synchronous.py: change that one."""'''


def synchronous(source: str) -> str:
    """The synchronous client, as source code before it is formatted."""
    text = re.sub(r" *# Asynchronous:\n.*?(?= *# Synchronous:\n)", "", source, flags=re.DOTALL)
    text = re.sub(r" *# Synchronous:\n(.*?) *# Both:\n", _uncommented, text, flags=re.DOTALL)
    text = re.sub(r".*# \(Asynchronous\.\)\n", "", text)
    text = re.sub(r'^""".*?"""', DOC, text, count=1)
    for pattern, word in WORDS.items():
        text = re.sub(pattern, word, text)
    return text


def _uncommented(match: re.Match[str]) -> str:
    return re.sub(r"^( *)# ?", r"\1", match[1], flags=re.MULTILINE)


def formatted(text: str) -> str:
    """As `ruff` writes it, imports in order and without those that are not needed."""
    for command in (["check", "--fix", "--unsafe-fixes", "--quiet"], ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(TARGET), "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=False).stdout
    return text


def main() -> int:
    """Write the file; with --check, say whether it is as it would be written."""
    text = formatted(synchronous(SOURCE.read_text()))
    if "--check" in sys.argv:
        return int(TARGET.read_text() != text)
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
