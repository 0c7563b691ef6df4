"""Walk a whole journey with the real Pulumi CLI on the project's real program, against the sandbox.

Per stage: set the stage, preview, deploy, preview again and expect nothing. A watcher of the API runs all along and
is no part of the program. What a walk found is one JSON line at its end.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sandbox import lifecycle, processes, seeds
from sandbox.lifecycle import ROOT
from sandbox.project import ProjectFailed, Stack, json_of, stages_of, survey, translate

_CHANGES = ("create", "update", "replace", "delete", "import")
_WATCH_END_SECONDS = 60.0

_TRANSLATED_BEFORE = "label-legacy"
"""Long before the stage that deploys them, so that they are reviewed when it comes."""

Report = Callable[[str], None]


@dataclass(kw_only=True)
class Result:
    """What a walk found. The names are those of its JSON line."""

    journey: str
    start: str
    stages: int = 0
    gates_passed: int = 0
    violations: int | None = None
    unenforced_instants: int | None = None
    greenfield_differences: int | None = None
    unproved: set[str] = field(default_factory=set)
    failed: str = ""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong, and nothing that was to be looked at is unknown."""
        return not (self.failed or self.violations or self.unenforced_instants or self.greenfield_differences) and (
            self.violations is not None
        )

    def line(self, seconds: float) -> str:
        shown = {**asdict(self), "from": self.start, "unproved": sorted(self.unproved), "seconds": round(seconds)}
        del shown["start"]
        if not self.failed:
            del shown["failed"]
        return json.dumps(shown)


def walk(
    directory: Path,
    journey: str,
    report: Report,
    *,
    start: str = "owned",
    real: Iterable[str] = (),
    until: str | None = None,
    stack: str | None = None,
    keep: bool = False,
    previews: bool = True,
    deny: bool = False,
) -> Result:
    """Walk a journey from its first stage (or where the stack is) to its last (or `until`).

    `start`: whose cluster it is, `owned`, `adopted` or `self-managed`. `real`: stand-in plugins to leave out. `keep`:
    save the sandbox before the first deploy, as JOURNEY-start, and after each stage, as JOURNEY-STAGE. A stack that
    exists goes on after the stage it reached: restore a save to begin late. `previews`: show each step before it is
    taken, as a reviewer sees it; afterwards a preview without a change is wanted either way. `deny`: the cluster begins
    with a policy that denies every pod what no other one allows.
    """
    begun = time.monotonic()
    result = Result(journey=journey, start=start)
    lifecycle.up(directory, report, real=real)
    environment = {**os.environ, **lifecycle.environment(directory)}
    environment.pop("KUBECONFIG", None)
    name = stack or f"sandbox-{journey}-{start}"
    walked = Stack(name=name, directory=directory, environment=environment)
    with _watcher(directory, walked.logs, result, report):
        try:
            stages = stages_of(journey, environment, until)
            remaining = stages[_begin(walked, journey, stages, start, report, deny=deny) :]
            if keep and remaining == stages:
                lifecycle.save(directory, f"{journey}-start", report)
            report(_row("stage", "changes", "gates", "seconds"))
            for stage in remaining:
                _enter(walked, stage, result, report, preview=previews)
                if keep:
                    lifecycle.save(directory, f"{journey}-{stage}", report)
                if stage == until:
                    break
            if result.journey == "replace" and until in (None, stages[-1]) and previews:
                result.greenfield_differences = _greenfield_differences(walked)
        except (ProjectFailed, seeds.SeedFailed, subprocess.TimeoutExpired) as error:
            result.failed = str(error).partition("\n")[0]
            report(f"FAILED {error}")
    print(result.line(time.monotonic() - begun), flush=True)
    return result


def _begin(walked: Stack, journey: str, stages: list[str], start: str, report: Report, *, deny: bool) -> int:
    """Make the starting point, unless the stack exists; return the number of the stage to enter next."""
    if walked.exists():
        reached = walked.reached()
        report(f"{walked.name} is at {reached}")
        return stages.index(reached) + 1 if reached in stages else 0
    values = seeds.settings(start, walked.name.removeprefix("sandbox-"), walked.directory, report, deny=deny)
    (ROOT / f"Pulumi.{walked.name}.yaml").unlink(missing_ok=True)
    walked.must("stack", "init", "--no-select")
    walked.configure({"journey": journey, "stage": stages[0], **values})
    if start != "owned":
        survey(walked)
    return 0


def _enter(walked: Stack, stage: str, result: Result, report: Report, *, preview: bool) -> None:
    begun = time.monotonic()
    if stage == _TRANSLATED_BEFORE:
        report(f"{stage}: Calico's policies are translated")
        translate(walked)
    walked.set("stage", stage)
    if preview:
        report(f"{stage}: preview")
        walked.preview(f"{stage}-preview")
    report(f"{stage}: deploy")
    code, _ = walked.pulumi("up", "--yes", "--skip-preview", log=stage)
    if code:
        raise ProjectFailed(f"the deploy of {stage} ended with code {code}:\n{walked.tail(stage)}")
    changes = _last_changes(walked)
    gates = walked.reports()
    result.stages += 1
    result.gates_passed += sum(gate["verdict"] == "passed" and gate["kind"] == "gate" for gate in gates)
    for gate in gates:
        result.unproved.update(gate.get("unproved", ()))
        if gate.get("simulated"):
            result.unproved.add("simulated")
    if code := walked.pulumi("preview", "--expect-no-changes", log=f"{stage}-again")[0]:
        raise ProjectFailed(f"{stage} is not at rest after its deploy:\n{walked.tail(f'{stage}-again')}")
    if result.stages == 1 and result.start == "owned":
        seeds.workloads(walked.directory)
        seeds.team_policies(walked.directory)
    if broken := seeds.unready(walked.directory):
        raise ProjectFailed(f"after {stage} workloads are not ready: {broken}")
    answers = ", ".join(
        f"{gate['kind']} {sum(check['verdict'] == 'passed' for check in gate['checks'])}/{len(gate['checks'])}"
        for gate in gates
    )
    shown = ", ".join(f"{number} {kind}" for kind, number in changes.items()) or "none"
    report(_row(stage, shown, answers, f"{time.monotonic() - begun:.0f}"))


def _last_changes(walked: Stack) -> dict[str, int]:
    history: list[dict[str, Any]] = json.loads(walked.must("stack", "history", "--json", "--page-size", "1"))
    changes = history[0].get("resourceChanges") or {} if history else {}
    return {kind: changes[kind] for kind in _CHANGES if changes.get(kind)}


def _greenfield_differences(walked: Stack) -> int:
    """How many resources a change of the journey to `greenfield` would touch; the stack is left at its stage."""
    path = ROOT / f"Pulumi.{walked.name}.yaml"
    before = path.read_text()
    try:
        walked.set("journey", "greenfield")
        walked.set("stage", "launch")
        found = walked.preview("greenfield-preview")
    finally:
        path.write_text(before)
    return sum(number for kind, number in (found.get("changeSummary") or {}).items() if kind not in ("same", "read"))


@contextlib.contextmanager
def _watcher(directory: Path, logs: Path, result: Result, report: Report) -> Iterator[None]:
    """Watch the cluster from outside while the block runs, then count what was seen into `result`."""
    logs.mkdir(parents=True, exist_ok=True)
    findings = logs / "watch.jsonl"
    findings.unlink(missing_ok=True)
    watcher = processes.start(
        "watcher",
        [sys.executable, "-m", "sandbox.watch", "--dir", directory, "--out", findings],
        log=logs / "watch.log",
        cwd=ROOT,
    )
    lifecycle.attach(directory, watcher)
    try:
        yield
    finally:
        # What is in flight still belongs to the watch, and a busy machine takes its time over it.
        killed = processes.stop([watcher], grace_seconds=_WATCH_END_SECONDS)
        if killed:
            report(f"the watcher did not end within {_WATCH_END_SECONDS:g} s and was killed")
        _count(findings, result, report)


def _count(findings: Path, result: Result, report: Report) -> None:
    lines = [json_of(line) for line in findings.read_text().splitlines()] if findings.exists() else []
    summary = lines[-1] if lines and lines[-1].get("summary") else None
    if summary is None:
        # Not having looked is not the same as having seen nothing.
        result.failed = result.failed or "the watcher ended early: see watch.log beside the logs of the stages"
        report(f"{result.failed}; its end:\n{processes.tail(findings.with_name('watch.log'), 30)}")
        return
    for finding in lines:
        # A finding is written when it begins, and once more with its length when it ends.
        if finding.get("severity") == "violation" and finding.get("seconds") is None:
            report(f"VIOLATION {finding['rule']}: {finding['object']}: {finding['detail']}")
    result.unenforced_instants = summary["counts"]["unenforced"]
    result.violations = summary["violations"] - summary["counts"]["unenforced"]
    if summary["gaps"]:
        result.unproved.add("watched without a gap")
    if not summary["enforcement_seen"]:
        result.unproved.add("policy was enforced at some time")


def _row(stage: str, changes: str, gates: str, seconds: str) -> str:
    return f"{stage:16} {changes:44} {gates:24} {seconds:>8}"
