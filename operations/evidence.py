"""What a check answers, and how answers are shown: one JSON object for machines, a line per check for people."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from reading.failure import FAILED, UNKNOWN, Failure

SANDBOX_VARIABLE = "PULUMI_EKS_CILIUM_SANDBOX"


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


EXIT_CODES = {Verdict.PASSED: 0, Verdict.FAILED: FAILED, Verdict.UNKNOWN: UNKNOWN}


def simulated() -> bool:
    """Whether answers come from the sandbox instead of AWS."""
    return bool(os.environ.get(SANDBOX_VARIABLE))


@dataclass(frozen=True)
class Finding:
    """One thing that keeps a check from passing."""

    object: str
    """What it is about, as kind and name: "node ip-10-0-1-23…", "pod shop/cart-0"."""
    problem: str
    fix: str


@dataclass(frozen=True)
class Answer:
    """What a check found: it passes only without findings and with nothing left unknown."""

    summary: str
    findings: tuple[Finding, ...] = ()
    unknown: tuple[Finding, ...] = ()
    """What could not be found out."""

    @property
    def verdict(self) -> Verdict:
        if self.findings:
            return Verdict.FAILED
        return Verdict.UNKNOWN if self.unknown else Verdict.PASSED


class UnknownError(Failure):
    """A check cannot answer. The text says why, `fix` what to do."""

    exit_code = UNKNOWN

    def __init__(self, reason: str, fix: str = "", *, about: str = "the check") -> None:
        super().__init__(reason)
        self.finding = Finding(about, reason, fix)

    def told(self) -> str:
        return f"{self}. {self.finding.fix}" if self.finding.fix else str(self)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The answer of one check at one time."""

    check: str
    verdict: Verdict
    summary: str
    seconds: float
    simulated: bool = field(default_factory=simulated)
    findings: tuple[Finding, ...] = ()

    def text(self) -> str:
        lines = [f"{self.verdict.upper():8}{self.check}: {self.summary} ({self.seconds:.1f} s)"]
        for finding in self.findings:
            lines.append(f"          - {finding.object}: {finding.problem}")
            if finding.fix:
                lines.append(f"            {finding.fix}")
        return "\n".join(lines)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Failed beats unknown, unknown beats passed; nothing asked is passed."""
    found = set(verdicts)
    return next((v for v in (Verdict.FAILED, Verdict.UNKNOWN) if v in found), Verdict.PASSED)


@dataclass(frozen=True, kw_only=True)
class Report:
    """The answers of a gate, or of single checks."""

    journey: str
    stage: str
    place: str
    kind: str
    """gate | settle | leave | steady | identity | checks"""
    seconds: float
    checks: tuple[Evidence, ...]
    unproved: tuple[str, ...] = ()
    """What the gate should also ask but cannot yet."""
    simulated: bool = field(default_factory=simulated)

    @property
    def verdict(self) -> Verdict:
        return worst(evidence.verdict for evidence in self.checks)

    def json(self) -> str:
        """One compact line."""
        shown: dict[str, Any] = {
            "journey": self.journey,
            "stage": self.stage,
            "place": self.place,
            "kind": self.kind,
            "verdict": self.verdict,
            "simulated": self.simulated,
            "seconds": round(self.seconds, 3),
            "unproved": self.unproved,
            "checks": [
                {
                    "check": evidence.check,
                    "verdict": evidence.verdict,
                    "summary": evidence.summary,
                    "simulated": evidence.simulated,
                    "seconds": round(evidence.seconds, 3),
                    "findings": [asdict(finding) for finding in evidence.findings],
                }
                for evidence in self.checks
            ],
        }
        return json.dumps(shown, separators=(",", ":"))

    def text(self) -> str:
        passed = sum(evidence.verdict is Verdict.PASSED for evidence in self.checks)
        lines = [
            f"{self.kind} of {self.stage}: {self.verdict}, {passed} of {len(self.checks)} checks passed"
            + (" (simulated)" if self.simulated else "")
        ]
        lines += [evidence.text() for evidence in self.checks]
        if self.unproved:
            lines.append(f"UNPROVED {', '.join(self.unproved)}")
        return "\n".join(lines)
