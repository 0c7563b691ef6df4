"""What may be wrong with Cilium's policies, as Cilium decides them."""

from __future__ import annotations

from collections.abc import Iterator

from netpol.compare.cilium_rows import CiliumRows
from netpol.compare.universe import Universe
from netpol.lint.finding import Finding
from netpol.model.world import World


def cilium_findings(world: World) -> Iterator[Finding]:
    """Findings about the Cilium policies of a world in which Cilium enforces."""
    universe = Universe((world,))
    rows = CiliumRows(universe, 0)
    for entry in rows.model.entries:
        if entry.node or entry.policy.kind == "NetworkPolicy":
            continue
        if entry.peers.selectors and entry.verdict == "deny":
            yield Finding(
                code="deny-by-identity",
                policy=str(entry.policy),
                rule=entry.where,
                place=entry.place,
                message="it denies pods by their identity; a pod that Cilium does not know is an address of the world "
                "and passes",
                fix="keep the bridge healthy until every pod is on a Cilium node",
            )
        if not world.pods:  # that nothing is found says nothing then
            continue
        if not rows.subjects.find(entry.subject):
            yield Finding(
                code="selects-nothing",
                policy=str(entry.policy),
                rule=entry.where,
                place=entry.place,
                message="its endpointSelector matches no pod that was given",
                fix="correct the selector; remove the rule only if no pod is ever to match it",
            )
            continue
        pods = [p.addresses for i, p in enumerate(universe.peers) if universe.pod_peers >> i & 1]
        for cidr in entry.peers.cidrs:
            inside = [
                a
                for pair in pods
                for a in pair
                if a is not None and any(n.version == a.version and a in n for n in rows.model.group_nets(cidr))
            ]
            if inside and not rows.model.options.cidr_match_pods and cidr.cidr is not None and cidr.cidr.prefixlen:
                yield Finding(
                    code="cidr-over-pods",
                    policy=str(entry.policy),
                    rule=entry.where,
                    place=entry.place,
                    message=f"{cidr.cidr} holds addresses of pods, which CIDR rules do not find",
                    fix="select the pods by labels",
                )
        if not any(step.entry is entry and any(step.products.values()) for _, step in rows.steps[entry.direction]) and (
            entry.peers.every or entry.peers.selectors or entry.peers.cidrs or entry.peers.entities
        ):
            yield Finding(
                code="reaches-nothing",
                policy=str(entry.policy),
                rule=entry.where,
                place=entry.place,
                message="nothing that was given matches it",
                fix="correct its peers or ports; remove it only if nothing is ever to match it",
            )
