"""Command line of the sandbox: python -m sandbox COMMAND."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from sandbox import lifecycle, toolcache
from sandbox.lifecycle import SandboxError
from sandbox.processes import ProcessFailed
from sandbox.toolcache import ToolMissing

STARTS = ("owned", "adopted", "self-managed")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; exit code 0 done, 1 failed or not running, 64 wrong usage. Progress goes to stderr."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (SandboxError, ToolMissing, ProcessFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def report(line: str) -> None:
    """One line of progress."""
    print(line, file=sys.stderr, flush=True)


def _tools(options: argparse.Namespace) -> int:
    paths = toolcache.ensure(report)
    print(json.dumps({name: str(path) for name, path in paths.items()}, indent=1))
    return 0


def _up(options: argparse.Namespace) -> int:
    lifecycle.up(options.dir, report, real=options.real, settings=dict(options.set), daemon=not options.without_daemon)
    return 0


def _down(options: argparse.Namespace) -> int:
    lifecycle.down(options.dir, report, purge=options.purge)
    return 0


def _status(options: argparse.Namespace) -> int:
    found = lifecycle.status(options.dir)
    print(json.dumps(found, indent=1))
    return 0 if found["running"] else 1


def _save(options: argparse.Namespace) -> int:
    lifecycle.save(options.dir, options.name, report)
    return 0


def _restore(options: argparse.Namespace) -> int:
    lifecycle.restore(options.dir, options.name, report)
    return 0


def _environment(options: argparse.Namespace) -> int:
    for name, value in lifecycle.environment(options.dir).items():
        print(f"export {name}={shlex.quote(value)}")
    print("unset KUBECONFIG")
    return 0


def _walk(options: argparse.Namespace) -> int:
    # Clients of AWS and Kubernetes take seconds to load; the other commands need none.
    from sandbox import walk  # noqa: PLC0415

    result = walk.walk(
        options.dir.resolve(),
        options.journey,
        report,
        start=options.start,
        real=options.real,
        until=options.to,
        stack=options.stack,
        keep=options.save,
        deny=options.default_deny,
    )
    return 0 if result.good else 1


def _demo(options: argparse.Namespace) -> int:
    """Both journeys in a fresh sandbox each; one that fails is left running, with its logs."""
    from sandbox import walk  # noqa: PLC0415

    for journey in ("replace", "greenfield"):
        lifecycle.down(options.dir, report)
        report(f"\n== {journey}")
        if not walk.walk(options.dir.resolve(), journey, report).good:
            return 1
    lifecycle.down(options.dir, report)
    return 0


def _run(options: argparse.Namespace) -> int:
    environment = {**os.environ, **lifecycle.environment(options.dir)}
    environment.pop("KUBECONFIG", None)
    os.execvpe(options.words[0], options.words, environment)  # noqa: S606


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        self.print_usage(sys.stderr)
        self.exit(64, f"error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m sandbox", description="A local EKS for this project.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    where = _Parser(add_help=False)
    where.add_argument("--dir", type=Path, default=lifecycle.DEFAULT_DIR, help="its directory (default: .sandbox)")

    commands.add_parser("tools", help="build or find every tool; print their paths").set_defaults(run=_tools)

    start = commands.add_parser("up", parents=[where], help="start it, or say that it runs")
    start.add_argument("--real", type=_names, default=(), metavar="NAME,…", help="plugins to take from the machine")
    start.add_argument(
        "--set", type=_setting, action="append", default=[], metavar="KEY=JSON", help="a setting, e.g. launch_delay=0.2"
    )
    start.add_argument("--without-daemon", action="store_true", help="only the control plane: no AWS, no controllers")
    start.set_defaults(run=_up)

    stop = commands.add_parser("down", parents=[where], help="end it and delete what it wrote")
    stop.add_argument("--purge", action="store_true", help="its saves too")
    stop.set_defaults(run=_down)

    commands.add_parser("status", parents=[where], help="what runs, as JSON").set_defaults(run=_status)
    for name, run, text in (
        ("save", _save, "keep its whole state under a name"),
        ("restore", _restore, "go back to a saved state"),
    ):
        command = commands.add_parser(name, parents=[where], help=text)
        command.add_argument("name")
        command.set_defaults(run=run)
    commands.add_parser("environment", parents=[where], help="what to export to use it").set_defaults(run=_environment)
    inside = commands.add_parser("run", parents=[where], help="run a command with that environment")
    inside.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    inside.set_defaults(run=_run)
    go = commands.add_parser("walk", parents=[where], help="walk a journey with the real CLI and program")
    go.add_argument("journey", help="replace or greenfield")
    go.add_argument("--from", dest="start", default="owned", choices=STARTS, help="whose cluster it is")
    go.add_argument("--real", type=_names, default=(), metavar="NAME,…", help="plugins to take from the machine")
    go.add_argument("--to", metavar="STAGE", help="stop after this stage")
    go.add_argument("--stack", help="its name (default: sandbox-JOURNEY-FROM); an existing one goes on where it is")
    go.add_argument("--save", action="store_true", help="save the sandbox after each stage, as JOURNEY-STAGE")
    go.add_argument("--default-deny", action="store_true", help="under a policy that denies every pod what none allows")
    go.set_defaults(run=_walk)
    demo = commands.add_parser("demo", parents=[where], help="walk replace, then greenfield, then end the sandbox")
    demo.set_defaults(run=_demo)
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=JSON")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


if __name__ == "__main__":
    sys.exit(main())
