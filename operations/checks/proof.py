"""What the prover in the cluster says between two gates."""

import time
from collections.abc import Iterator
from typing import Final

from kube.cluster import Cluster
from migration.journeys import CheckId
from migration.names import PROOF, PROVER, SYSTEM_NAMESPACE
from operations.access.context import Context
from operations.checks import AGAIN, check
from operations.cluster import objects
from operations.evidence import Answer, Finding
from prover.said import BEAT, Said, Seen, Verdict

_LOOK: Final = (
    f"Look at the prover: `kubectl -n {SYSTEM_NAMESPACE} get deployment,lease,pods -l app.kubernetes.io/name={PROVER}`"
)
_MEND: Final = (
    "`python -m operations policy prove --live` shows it, "
    "`python -m operations policy translate --live --out policies/network/cilium` writes what Cilium lacks: deploy that"
)
_PATIENCE: Final = BEAT * 1.5
"""Seconds in which a prover that runs publishes once more."""


@check(CheckId.PROOF_CURRENT)
def proof_current(context: Context) -> Answer:
    """The prover runs, and what it says of the live cluster is *equal* and no older than a minute."""
    if not context.settings.bridge.enabled:
        return Answer("the settings leave the bridge out, and the prover with it")
    findings = [*_down(context.kube)]
    seen = Seen()
    _look(seen, context.kube)
    if seen.said is not None and seen.trouble(at=time.monotonic()) and seen.said.verdict is Verdict.EQUAL:
        # It is old by two machines' clocks: whether it is renewed tells it by one.
        time.sleep(_PATIENCE)
        _look(seen, context.kube.again())
    trouble, said = seen.trouble(at=time.monotonic()), seen.said
    if not trouble:
        return Answer(f"every flow keeps its verdict, since {said.since if said else 'now'}", tuple(findings))
    about = f"configmap {SYSTEM_NAMESPACE}/{PROOF}"
    if said is None or said.verdict is Verdict.EQUAL:
        return Answer("", (*findings, Finding(about, trouble, _LOOK)))
    if said.verdict is Verdict.UNDECIDED:
        return Answer("", tuple(findings), (Finding(about, trouble, _LOOK),))
    example = f": {said.counterexample}" if said.counterexample else ""
    return Answer("", (*findings, Finding(about, f"says {trouble}{example}", _MEND)))


def _look(seen: Seen, kube: Cluster) -> None:
    at = time.monotonic()
    there = kube.get(f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps/{PROOF}")
    seen.look(Said.of((there or {}).get("data") or {}), at=at, wall=time.time())


def _down(kube: Cluster) -> Iterator[Finding]:
    about = f"deployment {SYSTEM_NAMESPACE}/{PROVER}"
    live = kube.deployment(SYSTEM_NAMESPACE, PROVER)
    if live is None:
        yield Finding(about, "does not exist: nobody proves again when a policy changes", AGAIN)
        return
    wanted, there = objects.available(live)
    if not there:
        yield Finding(about, f"{there} of {wanted} replicas available", _LOOK)
