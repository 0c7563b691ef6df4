"""Answers of the policy room as JSON: plain mappings of its values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netpol.compare.prove import Counterexample, Excepted, Proof
    from netpol.compare.sizes import Size
    from netpol.decide.flow import Path
    from netpol.lint.finding import Finding
    from netpol.model.accepted import Accepted
    from netpol.model.errors import PolicyError
    from netpol.read.notes import Notes
    from netpol.translate.refusals import Refusal
    from netpol.translate.table import Fate


def faults_of(error: PolicyError) -> dict[str, Any]:
    """Every fault, and the first of them beside."""
    faults = [
        {"file": e.place.file, "line": e.place.line, "object": e.about, "field": e.field, "reason": e.reason}
        for e in error.errors
    ]
    return {"error": str(error), **{k: faults[0][k] for k in ("file", "line", "object", "field")}, "errors": faults}


def skipped_of(notes: Notes) -> list[dict[str, Any]]:
    return [
        {"file": s.place.file, "line": s.place.line, "what": s.what, "count": s.count, "reason": s.why}
        for s in notes.skipped
    ]


def path_of(path: Path) -> dict[str, Any]:
    return {
        "source": path.source,
        "destination": path.destination,
        "packet": str(path.packet),
        "allowed": path.allowed,
        "decided_by": [
            {
                "direction": d.direction,
                "engine": d.engine.value,
                "node": d.node,
                "allowed": d.allowed,
                "policy": d.policy,
                "rule": d.rule,
                "place": str(d.place) if d.place else "",
                "reason": d.reason,
            }
            for d in path.decided_by
        ],
    }


def example_of(example: Counterexample) -> dict[str, Any]:
    return {
        "source": example.source,
        "destination": example.destination,
        "packet": str(example.packet),
        "before": path_of(example.before),
        "after": path_of(example.after),
    }


def size_of(size: Size) -> dict[str, Any]:
    return {"what": size.what, "count": size.count, "most": size.most, "where": size.where}


def excepted_of(excepted: Excepted) -> dict[str, Any]:
    return accepted_of(excepted.accepted) | {"example": example_of(excepted.example)}


def accepted_of(one: Accepted) -> dict[str, Any]:
    return {
        "flows": one.flows,
        "reason": one.reason,
        "who": one.who,
        "until": one.until.isoformat(),
        "file": one.place.file,
        "line": one.place.line,
    }


def fate_of(fate: Fate) -> dict[str, Any]:
    from operations.policy.out import name_of  # noqa: PLC0415 - it reads what only a translation needs

    return {
        "policy": fate.policy,
        "place": fate.place,
        "outcome": fate.outcome,
        "files": [name_of(m) for m in fate.manifests],
        "why": fate.why,
    }


def proof_of(proof: Proof) -> dict[str, Any]:
    return {
        "verdict": proof.verdict.value,
        "grade": proof.grade.value,
        "sampled": proof.sampled,
        "beyond": [example_of(e) for e in proof.beyond],
        "counterexamples": [example_of(e) for e in proof.differences],
        "assumptions": list(proof.assumptions),
        "rests_on": list(proof.rests_on),
        "accepted": [excepted_of(e) for e in proof.accepted],
        "classes": proof.classes,
        "peers": proof.peers,
        "cells": proof.cells,
    }


def refusal_of(refusal: Refusal) -> dict[str, Any]:
    return {
        "policy": refusal.policy,
        "rule": refusal.rule,
        "reason": refusal.reason,
        "way_out": refusal.way_out,
        "example": example_of(refusal.example) if refusal.example else None,
    }


def finding_of(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "policy": finding.policy,
        "rule": finding.rule,
        "file": finding.place.file,
        "line": finding.place.line,
        "message": finding.message,
        "fix": finding.fix,
        "page": finding.page,
    }
