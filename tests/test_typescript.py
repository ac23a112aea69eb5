"""The TypeScript client: generated anew it is the same, what apps write compiles, and it works against a server.

Beside it, the API's description is held to what its users run: linters and two generators, with default options.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from accounts import keys
from common import clock
from common.version import VERSION
from tests.conftest import ROOT

FOLDER = ROOT / "clients" / "typescript"
STRICTLY = ("--noEmit", "--strict", "--target", "es2022", "--skipLibCheck")
DESCRIPTION = ROOT / "docs" / "openapi.yaml"

pytestmark = [
    pytest.mark.xdist_group("typescript"),
    pytest.mark.skipif(
        shutil.which("npm") is None and not os.environ.get("CI"), reason="Node is not installed (Debian: nodejs, npm)"
    ),
]


def run(*command: str, cwd: Path = FOLDER, **variables: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | {"npm_config_update_notifier": "false", "NO_COLOR": "1"} | variables,
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def install_and_build(folder: Path) -> None:
    """The packages of the lock file, where they are not there yet, and the package itself."""
    mark, lock = folder / "node_modules" / ".installed", folder / "package-lock.json"
    if not mark.exists() or mark.stat().st_mtime < lock.stat().st_mtime:
        run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=folder)
        mark.touch()
    run("npm", "run", "build", cwd=folder)


@pytest.fixture(scope="module")
def installed() -> Path:
    install_and_build(FOLDER)
    return FOLDER


def test_client_is_what_the_description_makes_of_it(installed: Path) -> None:
    run("node", "generate.mjs", "--check")


def test_what_apps_write_compiles_and_mistakes_do_not(installed: Path) -> None:
    run("npx", "tsc", "-p", "tsconfig.test.json")


def test_linters_find_nothing_in_the_description(installed: Path, tmp_path: Path) -> None:
    told = run(
        "npx", "redocly", "lint", "--extends=recommended", str(DESCRIPTION), REDOCLY_SUPPRESS_UPDATE_NOTICE="true"
    )
    assert "is valid" in told
    assert not re.search(r"You have \d+ (warning|error)", told)
    rules = tmp_path / "rules.yaml"
    rules.write_text('extends: ["spectral:oas"]\n')
    run("npx", "spectral", "lint", "--fail-severity=hint", "--ruleset", str(rules), str(DESCRIPTION))


def test_every_operation_compiles_with_openapi_fetch(installed: Path, tmp_path: Path) -> None:
    """As openapi-typescript makes its types by default, and a script that uses each operation."""
    table = (FOLDER / "src" / "operations.ts").read_text()
    operations = re.findall(r'(\w+): \["(\w+)", "(\S+)", "\w*"\]', table)
    lines = [
        'import createClient from "openapi-fetch";',
        f'import type {{ operations, paths }} from "{FOLDER}/src/schema.js";',
        'const client = createClient<paths>({ baseUrl: "https://credits.example.com" });',
    ]
    for name, method, path in operations:
        asked = f'operations["{name}"]'
        lines.append(
            f'export const {name} = (parameters: {asked}["parameters"], body: {asked} extends '
            f'{{ requestBody?: {{ content: {{ "application/json": infer Body }} }} }} ? Body : undefined) =>'
            f' client.{method}("{path}", {{ params: parameters, body }} as never);'
        )
    lines += [
        'export const least = client.POST("/api/v1/credits/spend", {',
        '  params: { header: { "Idempotency-Key": "k" } }, body: { feature: "chat" } });',
        'export const page = (await client.GET("/api/v1/credits/transactions")).data?.data[0]?.amount;',
    ]
    script = FOLDER / "node_modules" / ".every.ts"
    script.write_text("\n".join(lines))
    run("npx", "tsc", *STRICTLY, "--module", "nodenext", "--moduleResolution", "nodenext", str(script))
    assert len(operations) > 50


def test_client_of_hey_api_compiles(installed: Path) -> None:
    made = FOLDER / "node_modules" / ".hey"
    run("npx", "openapi-ts", "-i", str(DESCRIPTION), "-o", str(made), "--silent")
    run("npx", "tsc", *STRICTLY, "--module", "esnext", "--moduleResolution", "bundler", str(made / "index.ts"))


@pytest.mark.django_db(transaction=True)
def test_client_works_against_a_server(installed: Path, live_server: LiveServer, settings: Any) -> None:
    secret = keys.create_key(
        account=None, name="ts", scopes=keys.SERVICE_KEY_SCOPES, created_by=None, now=clock.now()
    ).secret

    told = run("node", "--test", "test/client.test.mjs", SERVER=live_server.url, KEY=secret)

    assert re.search(r"^# fail 0$", told, re.M) or "fail 0" in told


def test_package_is_of_this_release_and_brings_no_dependency(installed: Path) -> None:
    package = json.loads((FOLDER / "package.json").read_text())

    assert package["version"] == VERSION
    assert f'VERSION = "{VERSION}"' in (FOLDER / "src" / "index.ts").read_text()
    assert "dependencies" not in package
    assert "resolved" not in (FOLDER / "package-lock.json").read_text()
    files = {
        row["path"] for row in json.loads(run("npm", "pack", "--dry-run", "--json", "--ignore-scripts"))[0]["files"]
    }
    assert {"dist/index.js", "dist/index.d.ts", "dist/schema.d.ts", "package.json", "README.md"} <= files
    assert not any(path.startswith(("src", "test", "node_modules")) for path in files)
