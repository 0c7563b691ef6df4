"""`recover`: put a stack right after its deploy was killed. Without `--yes` it only says what it would do."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml

import reading
from operations import command
from operations.context import Context, UsageError
from operations.evidence import EXIT_CODES, Verdict
from operations.recover import locks, lookup, sidecars, state, take_over
from operations.recover.decide import Decision, Step, decide
from operations.recover.locks import Lock
from operations.recover.lookup import Places, Release
from reading import Unreadable

BACKUPS: Final = ".recover"
REFRESH_SECONDS: Final = 900.0
_WAIT: Final = "a deploy of this stack runs on this machine: wait for it, or stop it with SIGINT, then run again"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "recover", help="after a killed deploy: its lock and pending operations; shows a plan, acts with --yes"
    )
    parser.add_argument("--stack", help="left out: PULUMI_STACK, or the only stack here")
    parser.add_argument("--yes", action="store_true", help="do what the plan says")
    parser.add_argument(
        "--adopt", action="append", default=[], metavar="URN=ID", help="the object exists, with this id"
    )
    parser.add_argument("--drop", action="append", default=[], metavar="URN", help="the object does not exist")
    parser.add_argument(
        "--take-over", action="store_true", help="this stack moves the cluster from now on, whatever its mark says"
    )
    parser.set_defaults(run=run)


@dataclass
class Plan:
    """What a killed deploy left, and what becomes of it."""

    stack: str
    locks: list[Lock] | None
    """None: this backend does not show them."""
    decisions: list[Decision] = field(default_factory=list)
    stuck: list[Release] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.locks or self.decisions or self.stuck)

    @property
    def runs(self) -> list[Lock]:
        return [lock for lock in self.locks or [] if lock.runs]

    def of(self, *steps: Step) -> list[Decision]:
        return [d for d in self.decisions if d.step in steps]

    def text(self) -> list[str]:
        lines = [
            f"lock   {lock.holder}{': it still runs' if lock.runs else ': to be cancelled'}"
            for lock in self.locks or []
        ]
        if self.locks is None:
            lines.append("lock   this backend does not show it; one that is there is to be cancelled")
        lines += [f"helm   {r.namespace}/{r.name} is {r.status}: to be {_way_out(r)}" for r in self.stuck]
        return lines + [decision.text() for decision in self.decisions]


def _way_out(release: Release) -> str:
    return f"rolled back to revision {release.good}" if release.good else "uninstalled; the next deploy installs it"


def run(args: argparse.Namespace) -> int:
    """Exit code 0: nothing is left to recover; 1: something is; 2: it cannot be told."""
    context = Context.load(args.stack)
    try:
        return take_over.run(context, yes=args.yes) if args.take_over else _run(args, context)
    except (command.CommandError, state.DamagedState) as error:
        _say(str(error))
        return EXIT_CODES[Verdict.UNKNOWN]


def _run(args: argparse.Namespace, context: Context) -> int:
    place = _backend(context), _project(context.directory), context.stack
    plan = Plan(context.stack, locks.of_files(*place))
    if half := sidecars.damaged(*place):
        if plan.runs or not args.yes:
            return _unreadable(plan, half)
        for path in half:
            path.unlink()
            _say(f"state  {path} was half-written: removed. It held no state")
    exported = state.loaded(_pulumi(context, "stack", "export").out)
    look(plan, context, exported, _told(args.adopt), frozenset(args.drop))
    for line in plan.text() if not plan.empty else ["nothing is pending and nothing is locked"]:
        _say(line)
    if plan.runs:
        _say(_WAIT)
        return _report(plan, Verdict.FAILED, acted=False)
    if plan.empty:
        return _report(plan, Verdict.PASSED, acted=False)
    if not args.yes:
        _say("nothing was changed. Run again with --yes to do this")
        return _report(plan, Verdict.FAILED, acted=False)
    act(context, plan, exported)
    left = plan.of(Step.KEEP)
    _say("recovered: run `pulumi up` again" if not left else f"{len(left)} operations stay pending: see above")
    return _report(plan, Verdict.FAILED if left else Verdict.PASSED, acted=True)


def _unreadable(plan: Plan, half: Sequence[Path]) -> int:
    for line in [*plan.text(), *(f"state  {path} is half-written, to be removed; it holds no state" for path in half)]:
        _say(line)
    if plan.runs:
        _say(_WAIT)
    else:
        _say("nothing was changed, and nothing else can be read before that. Run again with --yes to do this")
    return _report(plan, Verdict.FAILED, acted=False)


def _told(pairs: Sequence[str]) -> dict[str, str]:
    told = {}
    for pair in pairs:
        urn, _, identity = pair.rpartition("=")
        if not urn or not identity:
            raise UsageError(f"--adopt {pair!r}: write it as URN=ID")
        told[urn] = identity
    return told


def look(plan: Plan, context: Context, exported: state.Obj, adopt: dict[str, str], drop: frozenset[str]) -> None:
    """Look at everything but the locks, into the plan; nothing is changed."""
    operations = state.pending(exported)
    unknown = (set(adopt) | drop) - {operation.urn for operation in operations}
    if unknown:
        raise UsageError(f"nothing is pending for {', '.join(sorted(unknown))}")
    places = Places(context.aws, context.kube)
    plan.decisions = decide(operations, lambda op: lookup.find(op, places), adopt=adopt, drop=drop)
    named = [r for r in state.resources(exported) if r["type"] == "kubernetes:helm.sh/v3:Release"]
    named += [op.resource for op in operations if op.type == "kubernetes:helm.sh/v3:Release"]
    wanted = {(r["inputs"].get("namespace") or "default", r["inputs"].get("name") or "") for r in named}
    found = [lookup.releases(context.kube, namespace, name) for namespace, name in sorted(wanted) if name]
    plan.stuck = [release for release in found if release is not None and release.stuck]


# -- acting ---------------------------------------------------------------------------------------------


def act(context: Context, plan: Plan, exported: state.Obj) -> None:
    """Backup, lock, Helm releases, state, and a look at what was touched.

    Raises:
        command.CommandError: a step failed; those before it are done, and running again goes on.
    """
    _say(f"backup {_backup(context, exported)}")
    _cancel(context, plan)
    for release in plan.stuck:
        _unstick(context, release)
    adopted = {d.operation.urn: d.id for d in plan.of(Step.ADOPT)}
    gone = [d.operation.urn for d in plan.of(Step.DROP, Step.LOOK)]
    if adopted or gone:
        with tempfile.TemporaryDirectory(prefix="recover-") as directory:
            path = Path(directory) / "state.json"
            _write_private(path, json.dumps(state.settled(exported, adopted, gone)))
            _pulumi(context, "stack", "import", "--file", str(path))
        _say(f"state  {len(adopted)} adopted, {len(gone)} dropped")
    look = [*adopted, *(d.operation.urn for d in plan.of(Step.LOOK))]
    if look:
        targets = [part for urn in look for part in ("--target", urn)]
        _pulumi(context, "refresh", "--yes", "--skip-preview", *targets, seconds=REFRESH_SECONDS)
        _say(f"read   {len(look)} resources again")


def _cancel(context: Context, plan: Plan) -> None:
    done = _pulumi(context, "cancel", "--yes", check=plan.locks is not None and bool(plan.locks))
    if done.code == 0 and plan.locks:
        _say("lock   cancelled")


def _unstick(context: Context, release: Release) -> None:
    """Helm's own way: back to the last good revision, or away."""
    with tempfile.TemporaryDirectory(prefix="recover-") as directory:
        path = Path(directory) / "kubeconfig"
        _write_private(path, yaml.safe_dump(_kubeconfig(context)))
        environment = {"KUBECONFIG": str(path)}
        where = ["--namespace", release.namespace]
        verb = ["rollback", release.name, str(release.good)] if release.good else ["uninstall", release.name]
        command.run(["helm", *verb, *where], environment=environment, seconds=300)
    _say(f"helm   {release.namespace}/{release.name} {_way_out(release)}")


def _kubeconfig(context: Context) -> state.Obj:
    """For one command: a token that is good for a quarter of an hour."""
    from operations.connection import token  # noqa: PLC0415 - only here, and only when a release is stuck

    described = context.aws.cluster(context.cluster_name) or {}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "c",
                "cluster": {
                    "server": described["endpoint"],
                    "certificate-authority-data": described["certificateAuthority"]["data"],
                },
            }
        ],
        "users": [{"name": "u", "user": {"token": token(context.aws, context.cluster_name)}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def _backup(context: Context, exported: state.Obj) -> Path:
    """The state as it was, readable by its owner only."""
    directory = context.directory / BACKUPS
    directory.mkdir(mode=0o700, exist_ok=True)
    (directory / ".gitignore").write_text("*\n")
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    path = directory / f"{context.stack}.{stamp}.json"
    _write_private(path, json.dumps(exported, indent=1))
    return path


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


# -- what is asked of pulumi ----------------------------------------------------------------------------


def _pulumi(context: Context, *arguments: str, seconds: float = 120.0, check: bool = True) -> command.Done:
    return command.run(
        ["pulumi", *arguments, "--stack", context.stack, "--non-interactive"],
        directory=context.directory,
        seconds=seconds,
        check=check,
    )


def _backend(context: Context) -> str:
    if os.environ.get("PULUMI_BACKEND_URL"):
        return os.environ["PULUMI_BACKEND_URL"]
    who = command.run(["pulumi", "whoami", "--json", "--verbose", "--non-interactive"], directory=context.directory)
    return str(json.loads(who.out).get("url", ""))


def _project(directory: Path) -> str:
    path = directory / "Pulumi.yaml"
    try:
        found = reading.value(reading.text_of(path), str(path))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist. Run this where the Pulumi project is") from None
    except Unreadable as error:
        raise UsageError(str(error)) from None
    name = found.get("name") if isinstance(found, dict) else None
    if not isinstance(name, str) or not name:
        raise UsageError(f"{path} names no project. Write `name: eks-cilium`")
    return name


def _report(plan: Plan, verdict: Verdict, *, acted: bool) -> int:
    shown = {
        "command": "recover",
        "verdict": verdict,
        "acted": acted,
        "locks": [lock.holder for lock in plan.locks or []],
        "operations": [
            {"urn": d.operation.urn, "was": d.operation.kind, "step": d.step, "id": d.id} for d in plan.decisions
        ],
        "releases": [f"{r.namespace}/{r.name}" for r in plan.stuck],
    }
    print(json.dumps(shown, separators=(",", ":")), flush=True)
    return EXIT_CODES[verdict]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
