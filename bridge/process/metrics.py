"""The bridge's metrics."""

from collections.abc import Mapping

from bridge.step import Step


def exposition(step: Step, *, late: str, writes: bool, counts: Mapping[str, int]) -> str:
    """The metrics in Prometheus' text format.

    Args:
        late: why the bridge is out of step; empty while it is not.
        writes: whether this replica writes.
        counts: writes by kind, and those that failed as "failed".
    """
    lines = []
    for name, help_text, value in (
        (
            "in_step",
            "1 while every pod of a legacy node has its identity, or is late by less than the limit.",
            int(not late),
        ),
        ("lag_seconds", "For how long the oldest thing has been wrong.", round(step.lag, 3)),
        ("behind", "Endpoints that are missing, not right, or should be gone.", step.behind),
        ("pods_without_identity", "Pods of legacy nodes without their own identity.", len(step.without)),
        ("conflicts", "What stays wrong until somebody does something.", len(step.conflicts)),
        ("leader", "1 on the replica that writes.", int(writes)),
    ):
        lines += [f"# HELP eks_cilium_bridge_{name} {help_text}", f"# TYPE eks_cilium_bridge_{name} gauge"]
        lines.append(f"eks_cilium_bridge_{name} {value}")
    lines += [
        "# HELP eks_cilium_bridge_writes_total Requests that changed something, by kind; failed ones as such.",
        "# TYPE eks_cilium_bridge_writes_total counter",
        *(f'eks_cilium_bridge_writes_total{{kind="{kind}"}} {count}' for kind, count in sorted(counts.items())),
    ]
    return "\n".join(lines) + "\n"
