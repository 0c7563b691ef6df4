"""What Cilium cannot repeat: which rule, why, and a flow that shows it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from netpol.compare.prove import Counterexample
from netpol.decide.flow import Path
from netpol.decide.hosts import selected_endpoints
from netpol.decide.models import calico_model
from netpol.model.values import DIRECTIONS, EGRESS, ICMP, ICMP6, HostEndpoint, Meta
from netpol.model.world import World

_WAYS = (
    ("pod's own node", "say which addresses nodes serve themselves (--host-address ADDRESS or none)"),
    ("belong to nodes", "let the rule hold every address of a node or none"),
    ("only some of the pods have", "select those pods by labels, or name a network that holds all pods or none"),
    ("one address family", "say the same of IPv4 and of IPv6, and leave source ports out"),
    ("IP protocol", "if no pod speaks other protocols, say --no-other-protocols; or treat every protocol alike"),
    ("ICMP codes", "leave the code out"),
    ("tells ICMP apart", "leave type and code out"),
    ("ICMP type 0", "ask for no type, or for the request (8)"),
    ("not part of Cilium identities", "select by a label that pods keep, and that Cilium's label filter lets through"),
    ("by service", "select the service's pods and name their ports"),
    ("EndpointSlices hold something else", "bring the Service's selector and its EndpointSlices in line"),
    ("port name", "name the port by its number"),
    ("named port", "name the port by its number"),
    ("named source ports", "leave the source ports out"),
    ("the pod's own address", "select the pods by labels"),
    ("the pod's own side", "select the pods by labels that no network set has"),
    ("stays, and Cilium lets it decide", "narrow that NetworkPolicy, or give the pods it selects one of their own"),
    ("without an order", "split the rule, or take exceptions out of its networks yourself"),
    ("order", "let rules with different actions not overlap, or write the exceptions into one rule"),
    ("written out over the objects given", "select by whole values of labels that pods have"),
    ("alternatives", "split the policy in several with simpler selectors"),
    ("policy on hosts", "say --without-hosts: the rest is translated, and hosts are left to security groups"),
)
_OTHERWISE = "write the rule in what Cilium knows: labels of pods, networks without pods, ports, ICMP types"
_ACCEPT = "as the last resort accept the difference in policies/accepted.yaml, with a reason and a last day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One rule whose verdict Cilium cannot repeat: which, why, and a flow that shows it."""

    policy: str
    rule: str
    reason: str
    example: Counterexample | None = None
    way: str = ""

    @property
    def way_out(self) -> str:
        """What may be done about it; that the difference is accepted comes last."""
        if self.way:
            return self.way
        found = [way for part, way in _WAYS if part in self.reason]
        return "; or ".join(dict.fromkeys((*(found or [_OTHERWISE]), *([] if self.example is None else [_ACCEPT]))))

    def __str__(self) -> str:
        text = f"{self.policy}{' ' + self.rule if self.rule else ''}: {self.reason}"
        text += f"\nway out: {self.way_out}"
        return text + (f"\n{self.example}" if self.example is not None else "")


def hosts(world: World) -> list[Refusal]:
    """What acts on hosts: the endpoints, and the policies that act there on what is forwarded or on nothing else."""
    model = calico_model(world)
    out = [_on_hosts(e.meta, "it polices a host itself") for e in world.of(HostEndpoint)]
    for policy in model.forward_policies:
        if policy.hosts_only:
            how = "preDNAT" if policy.pre_dnat else "doNotTrack"
            out.append(_on_hosts(policy.meta, f"{how} makes it act on host endpoints only, never on pods"))
        elif selected_endpoints(model, policy):
            out.append(_on_hosts(policy.meta, "applyOnForward makes it act on what a host endpoint forwards as well"))
    return out


def _on_hosts(meta: Meta, what: str) -> Refusal:
    reason = (
        f"{what}: policy on hosts has no exact counterpart. Say the same with security groups or Cilium's host "
        "firewall, and leave it out here"
    )
    return Refusal(policy=str(meta), rule="", reason=reason)


def blame(
    example: Counterexample,
    before: World,
    unsaid: Mapping[tuple[str, str], list[str]],
    written_out: Mapping[tuple[str, str], frozenset[str]],
    services: Mapping[tuple[str, str], set[str]],
    *,
    beside: Collection[str] = (),
) -> Refusal:
    """Blame a rule at the end where the engines differ: the one that decided under Calico, or one that stood before
    it; with what could not be said about it.
    """
    direction = _differs(example)
    (decided,) = example.before.side(direction)
    (other,) = example.after.side(direction)
    if other.policy in beside:
        reason = (
            f"{other.policy} is given, and Cilium lets it decide this flow, of which Calico knows nothing. Change or "
            "remove it, or leave it out here and prove both together"
        )
        return Refusal(policy=decided.policy or other.policy, rule=decided.rule, reason=reason, example=example)
    for policy, rule in ((decided.policy, decided.rule), *_matching(example, before, direction)):
        reasons = list(dict.fromkeys(unsaid.get((policy, rule), ())))
        if reasons:
            return Refusal(policy=policy, rule=rule, reason="; ".join(reasons), example=example)
    keys = written_out.get((decided.policy, decided.rule)) or written_out.get((decided.policy, ""))
    if keys:
        labels = ", ".join(sorted(keys))
        reason = f"Cilium cannot ask for {labels} so, and written out over the objects given it leaves this out"
        return Refusal(policy=decided.policy, rule=decided.rule, reason=reason, example=example)
    led = sorted({name for (policy, _), names in services.items() if policy == decided.policy for name in names})
    if led:
        reason = f"{', '.join(led)}: written out by selector and ports, and its EndpointSlices hold something else"
        return Refusal(policy=decided.policy, rule=decided.rule, reason=reason, example=example)
    named = _of_calico_alone(example)
    if named:
        return Refusal(policy=decided.policy, rule=decided.rule, reason=named, example=example)
    if other.policy.startswith(("NetworkPolicy ", "ClusterNetworkPolicy ")):
        reason = f"{other.policy} stays, and Cilium lets it decide this flow: {other.reason}"
    elif example.packet.protocol in (ICMP, ICMP6):
        reason = "Cilium tells ICMP apart by type alone, and its type 0 stands for every type"
    else:
        reason = f"what stands for the other rules decides it in Cilium: {other.policy} {other.rule}: {other.reason}"
    policy, rule = (decided.policy or "the default of no policy"), decided.rule
    return Refusal(policy=policy, rule=rule, reason=reason, example=example)


def _of_calico_alone(example: Counterexample) -> str:
    """The reason where the destination names the port where only Calico reads it."""
    pod, packet = example.before.ends[1].pod, example.packet
    for port in pod.ports if pod is not None else ():
        if port.calico_only and (port.protocol, port.number) == (packet.protocol, packet.port):
            return (
                f"pod {pod} has the port name {port.name} of an init container, where Cilium reads none, or again in "
                f"a later container, and Cilium reads the last. Write {port.number} in the policy, or name the port "
                "once, in a container that stays"
            )
    return ""


def unlike(example: Counterexample) -> str:
    """The policy that decides in Cilium at the end where the engines differ, or none."""
    (decided,) = example.after.side(_differs(example))
    return decided.policy


def _differs(example: Counterexample) -> str:
    return next(d for d in DIRECTIONS if _allows(example.before, d) is not _allows(example.after, d))


def _allows(path: Path, direction: str) -> bool:
    return all(decision.allowed for decision in path.side(direction))


def _matching(example: Counterexample, before: World, direction: str) -> Iterator[tuple[str, str]]:
    """The Calico rules that match the flow at one end, in their order."""
    model = calico_model(before)
    source, destination = example.before.ends
    subject = (source if direction == EGRESS else destination).pod
    assert subject is not None  # noqa: S101
    for tier in model.tiers:
        for policy in tier.applied(direction):
            if not model.subject(policy).matches(model.pod_labels(subject)):
                continue
            for rule in policy.rules(direction):
                if model.rule_matches(rule, policy, source, destination, example.packet):
                    yield str(policy.meta), rule.where
            yield str(policy.meta), ""
