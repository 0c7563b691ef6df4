"""The prover's metrics."""

from prover.process.work import State
from prover.said import Verdict

PREFIX = "eks_cilium_prover"


def exposition(state: State, *, publishes: bool) -> str:
    """The metrics in Prometheus' text format.

    Args:
        state: the verdict as it stands.
        publishes: whether this replica publishes.
    """
    verdict = state.judgement.verdict if state.judgement else None
    lines: list[str] = []
    for name, kind, text, value in (
        ("equal", "gauge", "1 while every flow is proved to keep its verdict.", int(verdict is Verdict.EQUAL)),
        ("different", "gauge", "1 while a flow is known that does not.", int(verdict is Verdict.DIFFERENT)),
        ("age_seconds", "gauge", "Since the verdict last covered the newest change seen.", round(state.age, 1)),
        ("leader", "gauge", "1 on the replica that publishes.", int(publishes)),
        ("last_proof_seconds", "gauge", "That the last proof took.", round(state.seconds, 3)),
        ("proofs_total", "counter", "Proofs since this replica began.", state.proofs),
    ):
        lines += [f"# HELP {PREFIX}_{name} {text}", f"# TYPE {PREFIX}_{name} {kind}", f"{PREFIX}_{name} {value}"]
    return "\n".join(lines) + "\n"
