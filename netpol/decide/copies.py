"""Policies that say nothing of their own: Calico's copies of NetworkPolicies (its API shows each a second time, as
`knp.default.NAME`), and what the Tigera operator made for Calico's own pods."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from netpol.decide.calico_kubernetes import from_kubernetes
from netpol.model.values import DIRECTIONS, EGRESS, INGRESS, CalicoPolicy, KubernetesPolicy, Meta, Policy
from netpol.model.world import World

COPY = "knp.default."
_NAMELESS = Meta(name="", api="", kind="")


def copies(policies: Iterable[Policy]) -> tuple[CalicoPolicy, ...]:
    """The policies that say once more what a Kubernetes policy says.

    A policy is a copy by what it says, as anybody may call one `knp.…`.
    """
    found = tuple(policies)
    originals = {(p.meta.namespace, p.meta.name): p for p in found if isinstance(p, KubernetesPolicy)}
    return tuple(p for p in found if isinstance(p, CalicoPolicy) and _copies(p, originals.get(_of(p))))


def without_copies(world: World) -> tuple[World, tuple[CalicoPolicy, ...]]:
    """The world with each Kubernetes policy in it once, and what was taken out."""
    twice = copies(world.policies)
    known = {id(copy) for copy in twice}
    return world.with_policies(p for p in world.policies if id(p) not in known) if twice else world, twice


def without_operators(world: World) -> tuple[World, tuple[Policy, ...]]:
    """The world without what the Tigera operator made for Calico's own pods, which goes with Calico; and what it is."""
    theirs = tuple(p for p in world.policies if p.meta.of_operator)
    return world.with_policies(p for p in world.policies if not p.meta.of_operator), theirs


def _of(policy: CalicoPolicy) -> tuple[str, str]:
    return policy.meta.namespace, policy.meta.name.removeprefix(COPY)


def _copies(policy: CalicoPolicy, original: KubernetesPolicy | None) -> bool:
    if original is None or policy.meta.kind != "NetworkPolicy" or not policy.meta.name.startswith(COPY):
        return False
    return _said(policy) == _said(from_kubernetes(original))


def _said(policy: CalicoPolicy) -> CalicoPolicy:
    """What a policy says, whatever it and its rules are called."""
    sides = {side: tuple(replace(rule, where="") for rule in policy.rules(side)) for side in DIRECTIONS}
    return replace(policy, meta=_NAMELESS, ingress=sides[INGRESS], egress=sides[EGRESS])
