"""python -m sandbox: `demo` runs the whole product here, `manage` a management command on the same data, `example` an
app that spends its credits."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from sandbox import demo, environment, examples
from sandbox.data_folder import DataFolder
from sandbox.demo import DemoError
from sandbox.environment import LiveKeyError, Ports
from sandbox.examples import ExampleError
from sandbox.postgres import PostgresError

# What changes the database's structure runs as its owner, all else as the application does.
OWNERS = ("migrate", "release", "grant_runtime_role", "sqlmigrate", "flush")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("demo", help="run everything until Ctrl-C")
    run.add_argument("--port", type=int, default=8000, help="of the application (default: 8000)")
    run.add_argument("--stripe-port", type=int, default=12111, help="of the local Stripe (default: 12111)")
    manage = commands.add_parser("manage", help="run manage.py on the sandbox's data")
    manage.add_argument("arguments", nargs=argparse.REMAINDER, help="what manage.py gets")
    example = commands.add_parser("example", help="run an example against the demo")
    example.add_argument("name", choices=examples.names())
    for command in (run, manage, example):
        command.add_argument("--data", type=Path, default=Path(".data"), help="its folder (default: .data)")
    options = parser.parse_args()
    try:
        place = DataFolder.at(options.data)
        if options.command == "demo":
            return demo.run(place, Ports(options.port, options.stripe_port))
        if options.command == "example":
            return examples.run(place, options.name)
        return _manage(place, options.arguments)
    except (DemoError, ExampleError, LiveKeyError, PostgresError) as error:
        print(f"{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _manage(place: DataFolder, arguments: list[str]) -> int:
    with demo.servers(place) as result:
        arguments = [argument for argument in arguments if argument != "--"]
        is_owners = bool(arguments) and arguments[0] in OWNERS
        database_url = result.owner_url if is_owners else result.runtime_url
        variables = environment.build(place, _ports(place), database_url=database_url, redis_url=result.redis_url)
        return subprocess.run([sys.executable, "manage.py", *arguments], env=variables, check=False).returncode


def _ports(place: DataFolder) -> Ports:
    """Where the demo on this data answered last."""
    if not place.demo.exists():
        return Ports(8000, 12111)
    known = json.loads(place.demo.read_text())
    return Ports(*(int(known[name].rpartition(":")[2]) for name in ("base_url", "stripe_url")))


if __name__ == "__main__":
    sys.exit(main())
