"""`recover`: put a stack right after its deploy was killed. Without `--yes` it only says what it would do."""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml

import programs
import reading
from operations.access.context import Context
from operations.arguments import of_stack
from operations.evidence import EXIT_CODES, Verdict
from operations.exits import UsageError
from operations.recover import locks, lookup, sidecars, stack_state, take_over
from operations.recover.decide import Decision, Step, decide
from operations.recover.locks import Life, Lock, UnseenError
from operations.recover.lookup import Places, Release
from operations.say import say
from reading import Unreadable

BACKUPS: Final = ".recover"
REFRESH_SECONDS: Final = 900.0
UNSEEN: Final = "unseen"
"""What `--dead` says where locks cannot be read."""
REST: Final = (3.0, 4)
"""Seconds between two looks at a state that changed under a cancelled lock, and how many looks."""
_WAIT: Final = "a deploy of this stack runs on this machine: wait for it, or stop it with SIGINT, then run again"


def fill(command: Any) -> None:
    of_stack(command)
    command.add_argument("--yes", action="store_true", help="do what the plan says")
    command.add_argument(
        "--adopt", action="append", default=[], metavar="URN=ID", help="the object exists, with this id"
    )
    command.add_argument("--drop", action="append", default=[], metavar="URN", help="the object does not exist")
    command.add_argument(
        "--dead",
        action="append",
        default=[],
        metavar="LOCK",
        help="the deploy that made this lock is dead, you have looked: its id, "
        f"or '{UNSEEN}' where the backend's locks cannot be read",
    )
    command.add_argument(
        "--take-over", action="store_true", help="this stack moves the cluster from now on, whatever its mark says"
    )
    command.set_defaults(run=run)


@dataclass
class Plan:
    """What a killed deploy left, and what becomes of it."""

    stack: str
    locks: list[Lock] | None
    """None: they cannot be read."""
    unseen: str = ""
    """Why they cannot be read."""
    dead: frozenset[str] = frozenset()
    """Locks whose deploy is dead, as told."""
    decisions: list[Decision] = field(default_factory=list)
    stuck: list[Release] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.locks or self.decisions or self.stuck)

    @property
    def runs(self) -> list[Lock]:
        return [lock for lock in self.locks or [] if lock.runs]

    @property
    def unproved(self) -> list[str]:
        """Locks of which nobody has shown or said that their deploy is dead; they are not taken."""
        if self.locks is None:
            return [] if UNSEEN in self.dead else [UNSEEN]
        return [lock.id for lock in self.locks if lock.life is Life.UNKNOWN and lock.id not in self.dead]

    def of(self, *steps: Step) -> list[Decision]:
        return [d for d in self.decisions if d.step in steps]

    def text(self) -> list[str]:
        lines = [f"lock   {lock.id} of {lock.holder}: {self._fate(lock)}" for lock in self.locks or []]
        if self.locks is None:
            lines.append(f"lock   {self.unseen}, so a deploy may still hold one")
        lines += [f"helm   {r.namespace}/{r.name} is {r.status}: to be {_way_out(r)}" for r in self.stuck]
        return lines + [decision.text() for decision in self.decisions]

    def _fate(self, lock: Lock) -> str:
        if lock.runs:
            return "it still runs"
        if lock.life is Life.DEAD or lock.id in self.dead:
            return "to be cancelled"
        return "whether it still runs cannot be told from here"

    def ask(self) -> str:
        """What has to be said before locks are taken of which nobody has shown that their deploy is dead."""
        told = " ".join(f"--dead {name}" for name in self.unproved)
        return (
            "a lock is cancelled only when its deploy is dead. Check the machine or the CI run that made it, end the "
            f"deploy there if it still runs, then confirm it: {told}"
        )


def _way_out(release: Release) -> str:
    return f"rolled back to revision {release.good}" if release.good else "uninstalled; the next deploy installs it"


def run(args: argparse.Namespace) -> int:
    """Exit code 0: nothing is left to recover; 1: something is; 2: it cannot be told."""
    context = Context.load(args.stack)
    return take_over.run(context, yes=args.yes) if args.take_over else _run(args, context)


def _run(args: argparse.Namespace, context: Context) -> int:
    place = _backend(context), _project(context.directory), context.stack
    plan = Plan(context.stack, None, dead=frozenset(args.dead))
    see(plan, place)
    _known(plan)
    if half := sidecars.damaged(*place):
        if plan.runs or plan.unproved or not args.yes:
            return _unreadable(plan, half)
        for path in half:
            path.unlink()
            say(f"state  {path} was half-written: removed. It held no state")
    exported = stack_state.loaded(_pulumi(context, "stack", "export").out)
    look(plan, context, exported, _told(args.adopt), frozenset(args.drop))
    for line in plan.text():
        say(line)
    if plan.empty:
        say("nothing is pending and nothing is locked" if plan.locks is not None else "nothing is pending")
    if plan.runs:
        say(_WAIT)
        return _report(plan, Verdict.FAILED, acted=False)
    if plan.empty and plan.locks is not None:
        return _report(plan, Verdict.PASSED, acted=False)
    if plan.unproved:
        say(plan.ask())
    if plan.empty and (plan.unproved or not args.yes):
        return _report(plan, Verdict.UNKNOWN, acted=False)
    if plan.unproved or not args.yes:
        say("nothing was changed. Run again with --yes to do this")
        return _report(plan, Verdict.FAILED, acted=False)

    def decided(found: stack_state.Obj) -> None:
        now = {operation.urn for operation in stack_state.pending(found)}
        told = {urn: identity for urn, identity in _told(args.adopt).items() if urn in now}
        look(plan, context, found, told, frozenset(args.drop) & now)

    act(context, plan, exported, place, decided)
    left = plan.of(Step.KEEP)
    say("recovered: run `pulumi up` again" if not left else f"{len(left)} operations stay pending: see above")
    return _report(plan, Verdict.FAILED if left else Verdict.PASSED, acted=True)


Place = tuple[str, str, str]
"""Backend, project, stack."""


def see(plan: Plan, place: Place) -> None:
    """Read the locks into the plan."""
    try:
        plan.locks, plan.unseen = locks.read(*place), ""
    except UnseenError as error:
        plan.locks, plan.unseen = None, str(error)


def _known(plan: Plan) -> None:
    there = {UNSEEN} if plan.locks is None else {lock.id for lock in plan.locks}
    if wrong := sorted(plan.dead - there):
        raise UsageError(
            f"--dead {wrong[0]}: there is no such lock. "
            + (
                f"{plan.unseen}: say --dead {UNSEEN}"
                if plan.locks is None
                else f"There are: {', '.join(sorted(there)) or 'none'}"
            )
        )


def _unreadable(plan: Plan, half: Sequence[Path]) -> int:
    for line in [*plan.text(), *(f"state  {path} is half-written, to be removed; it holds no state" for path in half)]:
        say(line)
    if plan.runs:
        say(_WAIT)
    elif plan.unproved:
        say(plan.ask())
    else:
        say("nothing was changed, and nothing else can be read before that. Run again with --yes to do this")
    return _report(plan, Verdict.FAILED, acted=False)


def _told(pairs: Sequence[str]) -> dict[str, str]:
    told = {}
    for pair in pairs:
        urn, _, identity = pair.rpartition("=")
        if not urn or not identity:
            raise UsageError(f"--adopt {pair!r}: write it as URN=ID")
        told[urn] = identity
    return told


def look(plan: Plan, context: Context, exported: stack_state.Obj, adopt: dict[str, str], drop: frozenset[str]) -> None:
    """Look at everything but the locks, into the plan; nothing is changed."""
    operations = stack_state.pending(exported)
    unknown = (set(adopt) | drop) - {operation.urn for operation in operations}
    if unknown:
        raise UsageError(f"nothing is pending for {', '.join(sorted(unknown))}")
    places = Places(context.aws, context.kube)
    plan.decisions = decide(operations, lambda op: lookup.find(op, places), adopt=adopt, drop=drop)
    named = [r for r in stack_state.resources(exported) if r["type"] == "kubernetes:helm.sh/v3:Release"]
    named += [op.resource for op in operations if op.type == "kubernetes:helm.sh/v3:Release"]
    wanted = {(r["inputs"].get("namespace") or "default", r["inputs"].get("name") or "") for r in named}
    found = [lookup.releases(context.kube, namespace, name) for namespace, name in sorted(wanted) if name]
    plan.stuck = [release for release in found if release is not None and release.stuck]


# -- acting ---------------------------------------------------------------------------------------------


def act(
    context: Context, plan: Plan, exported: stack_state.Obj, place: Place, decided: Callable[[stack_state.Obj], None]
) -> None:
    """Backup, lock, state as it is then, Helm releases, and a look at what was touched.

    Args:
        exported: the state as the plan saw it.
        decided: looks again, into the plan, at a state that is another one by now.

    Raises:
        programs.CommandError: a step failed; those before it are done, and running again goes on.
    """
    say(f"backup {_backup(context, exported)}")
    _cancel(context, plan, place)
    found = _at_rest(context, exported)
    if found != exported:
        say(f"the state is another one than before the lock was taken. backup {_backup(context, found)}")
        exported = found
        decided(exported)
        for line in plan.text():
            say(line)
    for release in plan.stuck:
        _unstick(context, release)
    adopted = {d.operation.urn: d.id for d in plan.of(Step.ADOPT)}
    gone = [d.operation.urn for d in plan.of(Step.DROP, Step.LOOK)]
    if adopted or gone:
        with tempfile.TemporaryDirectory(prefix="recover-") as directory:
            path = Path(directory) / "state.json"
            _write_private(path, json.dumps(stack_state.settled(exported, adopted, gone)))
            _pulumi(context, "stack", "import", "--file", str(path))
        say(f"state  {len(adopted)} adopted, {len(gone)} dropped")
    look = [*adopted, *(d.operation.urn for d in plan.of(Step.LOOK))]
    if look:
        targets = [part for urn in look for part in ("--target", urn)]
        _pulumi(context, "refresh", "--yes", "--skip-preview", *targets, seconds=REFRESH_SECONDS)
        say(f"read   {len(look)} resources again")


def _cancel(context: Context, plan: Plan, place: Place) -> None:
    """Take the locks that the plan saw, and no other one: `pulumi cancel` takes whatever is there by then."""
    seen = plan.locks
    see(plan, place)
    if plan.runs or plan.unproved or (plan.locks is None) != (seen is None) or set(plan.locks or ()) - set(seen or ()):
        raise programs.CommandError("another deploy took the lock meanwhile. Nothing was changed. Run again")
    if plan.locks is not None and not plan.locks:
        return
    done = _pulumi(context, "cancel", "--yes", check=plan.locks is not None)
    say("lock   cancelled" if done.code == 0 else f"lock   not cancelled: {done.last_words}")
    taken = plan.locks
    see(plan, place)
    if plan.locks:
        raise programs.CommandError("a deploy began as soon as the lock was free. The state was not changed. Run again")
    plan.locks = taken


def _at_rest(context: Context, before: stack_state.Obj) -> stack_state.Obj:
    """The state once nobody writes it any more: who holds no lock reads what a deploy may be writing."""
    pause, most = REST
    for _ in range(most):
        found: stack_state.Obj = json.loads(_pulumi(context, "stack", "export").out)
        if found == before:
            return found
        before = found
        time.sleep(pause)
    raise programs.CommandError(
        "the state still changes: that deploy is not dead. The state was not changed by us. End it, then run again"
    )


def _unstick(context: Context, release: Release) -> None:
    """Helm's own way: back to the last good revision, or away."""
    with tempfile.TemporaryDirectory(prefix="recover-") as directory:
        path = Path(directory) / "kubeconfig"
        _write_private(path, yaml.safe_dump(_kubeconfig(context)))
        environment = {"KUBECONFIG": str(path)}
        where = ["--namespace", release.namespace]
        verb = ["rollback", release.name, str(release.good)] if release.good else ["uninstall", release.name]
        programs.run(["helm", *verb, *where], environment=environment, seconds=300)
    say(f"helm   {release.namespace}/{release.name} {_way_out(release)}")


def _kubeconfig(context: Context) -> stack_state.Obj:
    """For one command: a token that is good for a quarter of an hour."""
    from operations.access.connection import token  # noqa: PLC0415 - only here, and only when a release is stuck

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


def _backup(context: Context, exported: stack_state.Obj) -> Path:
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


def _pulumi(context: Context, *arguments: str, seconds: float = 120.0, check: bool = True) -> programs.Done:
    return programs.run(
        ["pulumi", *arguments, "--stack", context.stack, "--non-interactive"],
        directory=context.directory,
        seconds=seconds,
        check=check,
    )


def _backend(context: Context) -> str:
    if os.environ.get("PULUMI_BACKEND_URL"):
        return os.environ["PULUMI_BACKEND_URL"]
    who = programs.run(["pulumi", "whoami", "--json", "--verbose", "--non-interactive"], directory=context.directory)
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
        "locks": None if plan.locks is None else [lock.holder for lock in plan.locks],
        "operations": [
            {"urn": d.operation.urn, "was": d.operation.kind, "step": d.step, "id": d.id} for d in plan.decisions
        ],
        "releases": [f"{r.namespace}/{r.name}" for r in plan.stuck],
    }
    print(json.dumps(shown, separators=(",", ":")), flush=True)
    return EXIT_CODES[verdict]
