"""Pods that do not exist yet: a few that show whether a rule is needed for more than today's pods."""

from __future__ import annotations

from dataclasses import replace

from netpol.decide.models import calico_model
from netpol.model.selector import Has, In, Selector, Text, to_dnf
from netpol.model.world import Namespace, Pod, World

PROBE = "probe-"
_MOST = 400


def with_probes(world: World) -> World:
    """The world with, in every namespace and in a new one, a bare pod and one for each thing selectors look
    for.

    Probes only keep a translation from dropping rules that merely happen to be idle; they prove nothing.
    """
    if not world.nodes:
        return world
    model = calico_model(world)
    wanted: dict[tuple[tuple[str, str], ...], None] = {(): None}
    for policy in model.policies:
        for selector in (policy.selector, *_rule_selectors(policy)):
            for labels in _examples(selector):
                wanted[labels] = None
    namespaces = (*world.namespaces, Namespace(name=f"{PROBE}namespace", labels={}))
    pods: list[Pod] = []
    node = world.nodes[-1].name
    # Where today's pods are, tomorrow's will be.
    addresses = next((pod.addresses for pod in world.pods if not pod.host_network), ())
    for namespace in namespaces:
        for i, labels in enumerate(wanted):
            if len(pods) >= _MOST:
                break
            pods.append(
                Pod(
                    namespace=namespace.name,
                    name=f"{PROBE}{i}",
                    node=node,
                    labels=dict(labels),
                    addresses=addresses,
                )
            )
    return replace(world, pods=(*world.pods, *pods), namespaces=namespaces)


def _rule_selectors(policy: object) -> list[Selector]:
    out: list[Selector] = []
    for rule in (*getattr(policy, "ingress", ()), *getattr(policy, "egress", ())):
        out += [s for e in (rule.source, rule.destination) for s in (e.selector, e.not_selector) if s is not None]
    return out


def _examples(selector: Selector) -> list[tuple[tuple[str, str], ...]]:
    """Labels that satisfy the selector, one set per alternative."""
    try:
        terms = to_dnf(selector, limit=16)
    except OverflowError:
        return []
    out = []
    for term in terms:
        labels: dict[str, str] = {}
        for literal in term:
            match literal:
                case In(key, values):
                    labels[key] = min(values) if values else ""
                case Has(key):
                    labels.setdefault(key, "any")
                case Text(key, _, text):
                    labels[key] = text
        own = {k: v for k, v in labels.items() if not k.startswith(("projectcalico.org/", "pcns.", "pcsa."))}
        out.append(tuple(sorted(own.items())))
    return out
