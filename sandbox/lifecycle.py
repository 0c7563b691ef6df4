"""Start, end, save and restore one sandbox: a directory, its processes, and what is recorded of them in run.json."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sandbox import processes, toolcache
from sandbox.commands import remove, stand_ins, write_bin
from sandbox.control_plane import PORTS, ControlPlane
from sandbox.processes import Process, ProcessFailed
from sandbox.record import DAEMON, LEASE_SECONDS, PLUGINS, Run, read

ROOT = Path(__file__).parent.parent
DEFAULT_DIR = ROOT / ".sandbox"

_DAEMON_DEADLINE = 60.0
# Each is ended before the next: nobody may write any more when the state beneath it is written out.
_STOP_ORDER: tuple[tuple[str, ...], ...] = (
    (DAEMON, PLUGINS),
    ("kwok", "kube-scheduler", "kube-controller-manager"),
    ("kube-apiserver",),
    ("etcd",),
)
# The state of a sandbox. Keys and kubeconfig belong to it: saved stacks and service account tokens name them.
CONTAINERS = "containers"
"""Directory of the pods whose containers really run."""
POLICIES = "policies"
"""Directory of a walk's policy files."""
_STATE = ("etcd", "pki", "kubeconfig", "aws.json", "world.json", "pulumi", POLICIES)
_OURS = (*_STATE, "charts", "walk", "logs", "bin", "pulumi-home", "aws-config", "plugins.sock", "run.json", CONTAINERS)

Report = toolcache.Report


class SandboxError(RuntimeError):
    """A command of the sandbox cannot be carried out; the text says why and what to do."""


def up(
    directory: Path,
    report: Report,
    *,
    real: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
    daemon: bool = True,
    lease_seconds: int = LEASE_SECONDS,
) -> Run:
    """Start the sandbox, or say that it runs. State that is already in the directory is kept.

    `real`: stand-ins to leave out, by the short names that `stand_ins` lists. `settings`: written into world.json.
    Without `daemon` there is a control plane only: no AWS, no controllers, no EKS tokens. `lease_seconds` of a node, as
    ControlPlane has it.
    Raises SandboxError, ToolMissing or ProcessFailed; what was started by then is ended again.
    """
    directory = directory.resolve()
    real = tuple(dict.fromkeys(real))
    if unknown := sorted(set(real) - set(stand_ins())):
        raise SandboxError(f"no stand-in is called {', '.join(unknown)}: choose among {', '.join(stand_ins())}")
    with _exclusive(directory):
        before = read(directory)
        if before and before.running():
            if before.real != real:
                raise SandboxError(f"the sandbox in {directory} runs with other stand-ins: `down` first")
            report(f"already running in {directory}")
            _write_settings(directory, settings)
            return before
        if before:
            _stop(before)
        ports = dict(before.ports) if before else _ports(directory)
        region = before.region if before else os.environ.get("AWS_REGION") or "eu-west-1"
        _write_settings(directory, settings)
        run = Run(directory=directory, region=region, ports=ports, real=real, processes={}, lease_seconds=lease_seconds)
        return _start(run, report, daemon=daemon)


def down(directory: Path, report: Report, *, purge: bool = False) -> None:
    """End every process of the sandbox and delete what it wrote; saves stay unless `purge`."""
    directory = directory.resolve()
    if not directory.exists():
        report(f"nothing in {directory}")
        return
    with _exclusive(directory):
        run = read(directory)
        if run:
            processes.stop([*run.processes.values(), *run.helpers], grace_seconds=3)
        processes.sweep(directory / CONTAINERS)
        for path in _stack_files(directory):
            path.unlink()
        for name in (*_OURS, *(["saves"] if purge else [])):
            remove(directory / name)
    (directory / ".lock").unlink(missing_ok=True)
    if not any(directory.iterdir()):
        directory.rmdir()
    report(f"{directory}: ended" + (", its saves are kept" if (directory / "saves").exists() else ""))


def attach(directory: Path, helper: Process) -> None:
    """Let a process that only looks on, such as a watcher, end with the sandbox at the latest."""
    run = _recorded(directory.resolve())
    living = [process for process in run.helpers if process.alive()]
    replace(run, helpers=(*living, helper)).write()


def status(directory: Path) -> dict[str, Any]:
    """What runs: `running`, the endpoints, `processes` (name to pid and state), and the names of the `saves`."""
    directory = directory.resolve()
    run = read(directory)
    saves = sorted(path.name for path in directory.glob("saves/*") if path.is_dir())
    if run is None:
        return {"directory": str(directory), "running": False, "processes": {}, "saves": saves}
    return {
        "directory": str(directory),
        "running": run.running(),
        "aws_endpoint": run.aws_endpoint,
        "apiserver": run.apiserver,
        "region": run.region,
        "real": list(run.real),
        "processes": {
            name: {"pid": process.pid, "state": "running" if process.alive() else "gone"}
            for name, process in run.processes.items()
        },
        "saves": saves,
    }


def save(directory: Path, name: str, report: Report) -> Path:
    """Copy the whole state of the sandbox to DIR/saves/NAME, replacing one of that name.

    What runs stands still meanwhile, for less than a second, and goes on. The copy is what a power cut would leave
    (etcd and the stacks' state are made for that), and what the account had not written yet is written first.

    `Pulumi.STACK.yaml` and `facts.STACK.yaml` of its stacks, all of which are called `sandbox…`, are copied too:
    without them the saved stacks would not know their stage.
    """
    directory = directory.resolve()
    with _exclusive(directory):
        run = _recorded(directory)
        target = _save_path(directory, name)
        begun = time.monotonic()
        fresh = target.with_name(f".{target.name}.new")
        remove(fresh)
        fresh.mkdir(parents=True)
        with _standing_still(run):
            for path in [directory / entry for entry in (*_STATE, "run.json")]:
                _copy(path, fresh / path.name)
        (fresh / "config").mkdir()
        for path in _stack_files(directory):
            _copy(path, fresh / "config" / path.name)
        remove(target)
        fresh.rename(target)
        report(f"saved as {target} in {time.monotonic() - begun:.1f} s")
        return target


def restore(directory: Path, name: str, report: Report) -> Run:
    """Put the sandbox back to a save, on the same ports, and start it. `name` may also be a path."""
    directory = directory.resolve()
    source = Path(name).resolve() if "/" in name else _save_path(directory, name)
    saved = read(source)
    if saved is None:
        known = ", ".join(status(directory)["saves"]) or "none"
        raise SandboxError(f"there is no save {name} in {source.parent} (saves: {known})")
    with _exclusive(directory):
        begun = time.monotonic()
        current = read(directory)
        paused = _abandon(current) if current else None
        for path in _stack_files(directory):
            path.unlink()
        for entry in _STATE:
            remove(directory / entry)
            _copy(source / entry, directory / entry)
        for path in (source / "config").glob("*"):
            _copy(path, ROOT / path.name)
        run = replace(
            saved,
            directory=directory,
            real=current.real if current else saved.real,
            processes=paused.processes if paused else {},
            helpers=current.helpers if current else (),
        )
        started = _start(run, report, daemon=not (current or saved).plane_only())
        report(f"restored {source.name} in {time.monotonic() - begun:.1f} s")
        return started


def environment(directory: Path = DEFAULT_DIR) -> dict[str, str]:
    """What a program that uses this sandbox has in its environment, over the present one.

    It keeps the user's own AWS profiles and Pulumi login out. Raises SandboxError when there is no sandbox.
    """
    directory = directory.resolve()
    run = _recorded(directory)
    nothing = str(directory / "aws-config")
    return {
        "AWS_ENDPOINT_URL": run.aws_endpoint,
        "AWS_REGION": run.region,
        "AWS_DEFAULT_REGION": run.region,
        "AWS_ACCESS_KEY_ID": "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_PROFILE": "default",
        "AWS_CONFIG_FILE": nothing,
        "AWS_SHARED_CREDENTIALS_FILE": nothing,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PATH": os.pathsep.join(
            [str(directory / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        ),
        "PULUMI_BACKEND_URL": f"file://{directory / 'pulumi'}",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_HOME": str(directory / "pulumi-home"),
        "PULUMI_EKS_CILIUM_SANDBOX": "1",
        "EKS_CILIUM_SANDBOX_PLUGINS": str(_socket(directory)),
    }


def _start(run: Run, report: Report, *, daemon: bool = True) -> Run:
    tools = toolcache.ensure(report)
    begun = time.monotonic()
    if taken := processes.ports_taken(run.ports):
        raise SandboxError(
            f"ports of this sandbox are taken by another program: {taken}. They are written into its certificates "
            f"and stacks, so end that program, or `down` this sandbox ({run.directory}) and start afresh"
        )
    write_bin(run, tools)
    plane = ControlPlane(
        directory=run.directory,
        tools=tools,
        ports=run.ports,
        token_review=f"{run.aws_endpoint}/sandbox/token-review",
        lease_seconds=run.lease_seconds,
    )
    plane.prepare()

    def record(process: Process) -> None:
        nonlocal run
        run = run.with_process(process)
        run.write()

    run.write()
    try:
        if daemon:
            record(_start_daemon(run))
            if _socket_fits(run.directory) and PLUGINS not in run.processes:
                record(_start_plugins(run))
        plane.start(record)
        if daemon:
            _await_daemon(run)
    except BaseException:
        processes.stop(list(run.processes.values()), grace_seconds=3)
        run.with_processes([]).write()
        raise
    report(f"up in {time.monotonic() - begun:.1f} s: {run.apiserver}, AWS {run.aws_endpoint}")
    return run


def _start_daemon(run: Run) -> Process:
    return processes.start(
        DAEMON,
        [sys.executable, "-m", "sandbox.daemon", "--dir", run.directory, "--port", str(run.ports[DAEMON])],
        log=run.directory / "logs" / f"{DAEMON}.log",
        cwd=ROOT,
        env={"AWS_REGION": run.region},
    )


def _start_plugins(run: Run) -> Process:
    """The server that plugins are forks of; without it every command imports the SDKs anew (some ten seconds)."""
    return processes.start(
        PLUGINS,
        [sys.executable, "-m", "sandbox.plugins.warm", "--socket", _socket(run.directory)],
        log=run.directory / "logs" / f"{PLUGINS}.log",
        cwd=ROOT,
    )


def _socket(directory: Path) -> Path:
    return directory / "plugins.sock"


def _socket_fits(directory: Path) -> bool:
    """Names of sockets have 108 bytes at most; where the path is longer, plugins start cold."""
    return len(os.fsencode(_socket(directory))) < 100


def _await_daemon(run: Run) -> None:
    deadline = time.monotonic() + _DAEMON_DEADLINE
    log = run.directory / "logs" / f"{DAEMON}.log"
    while True:
        with contextlib.suppress(OSError, urllib.error.URLError):
            url = f"{run.aws_endpoint}/sandbox/healthz"
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
                if answer.status == 200:
                    return
        if not run.processes[DAEMON].alive() or time.monotonic() > deadline:
            raise ProcessFailed(f"the daemon does not answer; the end of {log}:\n{processes.tail(log)}")
        time.sleep(0.1)


@contextlib.contextmanager
def _standing_still(run: Run) -> Iterator[None]:
    """Freeze everything that writes, the API server's clients first and etcd last."""
    frozen: list[Process] = []
    try:
        for names in _STOP_ORDER[1:3]:
            frozen += _living(run, names)
            processes.freeze(frozen)
        if daemon := _living(run, (DAEMON,)):
            with urllib.request.urlopen(f"{run.aws_endpoint}/sandbox/flush", data=b"", timeout=10) as answer:  # noqa: S310
                answer.read()
            frozen += daemon
            processes.freeze(frozen)
        frozen += _living(run, ("etcd",))
        processes.freeze(frozen)
        yield
    finally:
        processes.thaw(frozen)


def _living(run: Run, names: Iterable[str]) -> list[Process]:
    return [run.processes[name] for name in names if name in run.processes and run.processes[name].alive()]


def _abandon(run: Run) -> Run:
    """End at once what holds state, all of which is replaced. The plugin server holds none, and takes long to start."""
    kept = [process for name, process in run.processes.items() if name == PLUGINS and process.alive()]
    processes.kill([process for process in run.processes.values() if process not in kept])
    processes.sweep(run.directory / CONTAINERS)
    left = run.with_processes(kept)
    left.write()
    return left


def _stop(run: Run) -> None:
    for names in _STOP_ORDER:
        processes.stop([run.processes[name] for name in names if name in run.processes])
    processes.sweep(run.directory / CONTAINERS)
    run.with_processes([]).write()


def _write_settings(directory: Path, settings: Mapping[str, Any] | None) -> None:
    path = directory / "world.json"
    present = json.loads(path.read_text()) if path.exists() else {}
    if settings or not path.exists():
        path.write_text(json.dumps({**present, **(settings or {})}, indent=1))


def _ports(directory: Path) -> dict[str, int]:
    if (directory / "pki").exists():
        raise SandboxError(f"{directory} has keys but no run.json: `down --purge` it, or restore a save")
    return processes.free_ports((*PORTS, DAEMON))


def _recorded(directory: Path) -> Run:
    run = read(directory)
    if run is None:
        raise SandboxError(
            f"there is no sandbox in {directory}: start one with `python -m sandbox up --dir {directory}`"
        )
    return run


def _save_path(directory: Path, name: str) -> Path:
    if not name or name.startswith(".") or "/" in name:
        raise SandboxError(f"{name!r} is no name for a save: use letters, digits and dashes")
    return directory / "saves" / name


def _stack_files(directory: Path) -> list[Path]:
    """Configuration and facts of the stacks that live in this sandbox, as far as their names say so."""
    stacks = [path.stem for path in directory.glob("pulumi/.pulumi/stacks/*/sandbox*.json")]
    files = [ROOT / name for stack in stacks for name in (f"Pulumi.{stack}.yaml", f"facts.{stack}.yaml")]
    return sorted(path for path in files if path.exists())


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    elif source.exists():
        shutil.copy2(source, target)


@contextlib.contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    """One command at a time in one sandbox."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SandboxError(f"another command works on the sandbox in {directory}; wait for it") from None
        yield
