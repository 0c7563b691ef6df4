"""What became of each policy that was given: its manifests, or why there are none."""

# ruff: noqa: PLR0911 - one branch per kind of value reads best

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netpol.decide.models import calico_model
from netpol.model.values import (
    AdminPolicy,
    CalicoPolicy,
    CidrGroup,
    CiliumPolicy,
    ClusterPolicy,
    HostEndpoint,
    KubernetesPolicy,
    NetworkSet,
    Policy,
    Profile,
    Tier,
)
from netpol.model.world import World
from netpol.translate.manifests import SOURCE
from netpol.translate.translation import Translation

TRANSLATED, STAYS, REFUSED, LEFT_OUT, NOTHING = "translated", "stays", "refused", "left out", "nothing to say"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of one policy. `manifests`: what stands for it, of which no more than one is usual."""

    policy: str
    place: str
    outcome: str
    manifests: tuple[Mapping[str, Any], ...] = ()
    why: str = ""


def table(world: World, result: Translation) -> tuple[Fate, ...]:
    """A line for each policy of the world, in the order given."""
    made: dict[str, list[Mapping[str, Any]]] = {}
    for manifest in result.manifests:
        made.setdefault(manifest["metadata"]["annotations"][SOURCE], []).append(manifest)
    reasons: dict[str, list[str]] = {}
    for refusal in result.refused:
        reasons.setdefault(refusal.policy, []).append(refusal.reason)
    return tuple(
        _fate(world, policy, made.get(f"{policy.meta} ({policy.meta.api})", []), reasons, result)
        for policy in world.policies
    )


def _fate(
    world: World,
    policy: Policy,
    made: Sequence[Mapping[str, Any]],
    reasons: Mapping[str, Sequence[str]],
    result: Translation,
) -> Fate:
    name = str(policy.meta)
    refused = list(dict.fromkeys(reasons.get(name, ())))
    outcome, why = _outcome(world, policy, result)
    if refused:
        outcome, why = REFUSED, "; ".join(refused)
    elif made and outcome != STAYS:
        outcome, why = TRANSLATED, ""
    elif made:
        why = "a manifest adds what Cilium does not read in it"
    return Fate(policy=name, place=str(policy.meta.place), outcome=outcome, manifests=tuple(made), why=why)


def _outcome(world: World, policy: Policy, result: Translation) -> tuple[str, str]:
    """What becomes of a policy of which nothing is written, and why."""
    if policy.meta.of_operator:
        return LEFT_OUT, "the Tigera operator made it for Calico's own pods, and it goes with Calico"
    match policy:
        case KubernetesPolicy():
            return STAYS, "both engines enforce it"
        case ClusterPolicy() | AdminPolicy():
            return _cluster_wide(world, policy, result)
        case CiliumPolicy() | CidrGroup():
            return LEFT_OUT, "it is Cilium's already"
        case Tier():
            return NOTHING, "its place and its end are said in its policies"
        case NetworkSet():
            written = str(policy.meta) in result.written_out
            return NOTHING, "written out where a part of it is meant" if written else "no rule needs it"
        case Profile():
            return NOTHING, "Cilium has no profiles; pods are open where no policy selects them"
        case HostEndpoint():
            return LEFT_OUT, "policy on hosts is not translated"
    return _calico(policy)


def _cluster_wide(world: World, policy: ClusterPolicy | AdminPolicy, result: Translation) -> tuple[str, str]:
    if policy in result.kept:
        return STAYS, "Cilium enforces it"
    if not calico_model(world).enforces(policy):
        version = ".".join(map(str, world.calico_version))
        return LEFT_OUT, f"Calico {version} does not enforce it"
    return NOTHING, _ALIKE


_ALIKE = "what else there is decides the same flows alike"


def _calico(policy: CalicoPolicy) -> tuple[str, str]:
    if policy.staged:
        return LEFT_OUT, "staged: it is not enforced"
    if policy.hosts_only:
        return LEFT_OUT, "it acts on host endpoints only"
    return NOTHING, _ALIKE
