"""Facts that may move while a journey is under way, and facts that may not. Pure.

Versions, images, blocks of the VPC and node groups change while a migration takes its weeks. They are read again, while
what this program changed itself stays as it was surveyed: that is what the ways back restore.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from migration.facts import CalicoFacts, DaemonSetFacts, Facts, GroupFacts
from migration.journeys import Piece, Stage
from migration.names import AWS_NODE, CNI_LABEL, KUBE_PROXY, LEGACY_CNI
from migration.rules import addon_values, affinity
from migration.settings import Settings

OURS: Final = {"ANNOTATE_POD_IP": "true"}
"""Environment of aws-node that this program may have set: Calico needs it."""
EXTERNAL_SNAT: Final = "AWS_VPC_K8S_CNI_EXTERNALSNAT"
UNDO: Final = (
    "This may not move once the journey has begun: undo the change. Before pin-legacy you may survey again instead, "
    "with --force"
)
_FIXED: Final = ("name", "arn", "account", "region", "vpc_id", "service_cidr", "oidc_issuer", "security_group_id")
"""Of the cluster."""


def move(stack: str) -> str:
    """What to do about a fact that may move."""
    return f"Run `python -m operations survey --stack {stack} --moved`, review the difference, commit it"


@dataclass(frozen=True)
class Fixed:
    """A fact that has changed and may not."""

    about: str
    problem: str
    fix: str = UNDO


def moved(facts: Facts, now: Facts, settings: Settings, stage: Stage) -> tuple[Facts, tuple[Fixed, ...]]:
    """The facts with everything that may move as it is now, and what has changed that may not.

    Args:
        now: of the same cluster, surveyed now; carries labels and pins of ours.
        stage: the configured one; what it removes may be gone.
    """
    fixed = list(_fixed(facts, now, settings, stage))
    if fixed:
        return facts, tuple(fixed)
    groups = tuple(_groups(facts.groups, now.groups))
    found = facts.model_copy(
        update={
            "moved_at": now.surveyed_at,
            "cluster": now.cluster,
            "vpc_cni": _daemonset(facts.vpc_cni, now.vpc_cni),
            "kube_proxy": _daemonset(facts.kube_proxy, now.kube_proxy),
            "calico": _calico(facts.calico, now.calico),
            "groups": groups,
            "subnets": _subnets(facts, now, groups),
            "exclude_snat_cidrs": now.exclude_snat_cidrs if now.vpc_cni.kind != "absent" else facts.exclude_snat_cidrs,
            "egress_source": now.egress_source if now.vpc_cni.kind != "absent" else facts.egress_source,
            "decisions": now.decisions,
        }
    )
    before, after = facts.security_group_ids, found.security_group_ids
    if before != after and not settings.network.security_group_ids:
        problem = f"those that all groups share were {', '.join(before)}, are now {', '.join(after)}"
        fix = f"Set network.securityGroupIds to those that Cilium's interfaces are to have, such as {list(before)}"
        return facts, (Fixed("security groups of the nodes", problem, fix),)
    return found, ()


def settings_of(configuration: str | None) -> dict[str, Any]:
    """`configurationValues` of an add-on without what this program may have put there.

    Raises:
        ValueError: the text cannot be read.
    """
    values = addon_values.parse(configuration)
    values.pop("affinity", None)  # compared on the DaemonSet itself
    env = {k: v for k, v in (values.pop("env", None) or {}).items() if v != OURS.get(k)}
    return values | ({"env": env} if env else {})


# -- what may not move ------------------------------------------------------------------------------


def _fixed(facts: Facts, now: Facts, settings: Settings, stage: Stage) -> Iterator[Fixed]:
    for key in _FIXED:
        before, after = getattr(facts.cluster, key), getattr(now.cluster, key)
        if before != after:
            fix = "Use the credentials, region and stack that belong together"
            yield Fixed(f"cluster {facts.cluster.name}", f"its {key} was {before}, is now {after}", fix)
    for piece, name, was, is_ in (
        (Piece.VPC_CNI, AWS_NODE, facts.vpc_cni, now.vpc_cni),
        (Piece.KUBE_PROXY, KUBE_PROXY, facts.kube_proxy, now.kube_proxy),
    ):
        if is_.kind == "absent" and piece not in stage.pieces:
            continue
        if was.kind != is_.kind:
            yield Fixed(name, f"was {was.kind}, is now {is_.kind}")
        elif not is_original(was, is_):
            yield Fixed(name, "its affinity is neither the surveyed one nor that one pinned")
        else:
            yield from _unreadable(name, is_)
    yield from _fixed_calico(facts.calico, now.calico, stage)
    asked, gone = settings.cilium.egress_source, now.vpc_cni.kind == "absent"
    if facts.egress_source != now.egress_source and asked is None and not gone:
        yield Fixed(
            "egress source",
            f"pods left the VPC with the address of the {facts.egress_source}, now with that of the "
            f"{now.egress_source}; on Cilium nodes they go on as surveyed",
            f"Put {EXTERNAL_SNAT} back, or say with cilium.egressSource what Cilium nodes are to do",
        )


def is_original(before: DaemonSetFacts, now: DaemonSetFacts) -> bool:
    """Whether an affinity is the surveyed one, or that one pinned by this program."""
    original = before.affinity or None
    return (now.affinity or None) in (original, affinity.pin(original, CNI_LABEL, LEGACY_CNI))


def _unreadable(name: str, now: DaemonSetFacts) -> Iterator[Fixed]:
    try:
        settings_of(now.configuration)
    except ValueError as error:
        yield Fixed(name, f"its configuration {error}", "Write it as JSON with `aws eks update-addon`")


def _fixed_calico(before: CalicoFacts, now: CalicoFacts, stage: Stage) -> Iterator[Fixed]:
    if now.kind == "absent" and Piece.CALICO not in stage.pieces:
        return
    if (before.kind, before.namespace) != (now.kind, now.namespace):
        was, is_ = (f"{c.kind} in {c.namespace}" if c.namespace else c.kind for c in (before, now))
        yield Fixed("Calico", f"was {was}, is now {is_}")
    elif (now.affinity or None) != (before.affinity or None) and not affinity.is_pinned(
        now.affinity, CNI_LABEL, LEGACY_CNI
    ):
        yield Fixed("Calico", "the affinity of calico-node is neither the surveyed one nor pinned")


# -- what may ---------------------------------------------------------------------------------------


def _daemonset(before: DaemonSetFacts, now: DaemonSetFacts) -> DaemonSetFacts:
    if now.kind == "absent":
        return before
    env = dict(now.env)
    for key, value in OURS.items():
        if env.get(key) == value:
            env.pop(key)
            env |= {key: before.env[key]} if key in before.env else {}
    kept = {"affinity": before.affinity, "configuration": _configuration(before.configuration, now.configuration)}
    return now.model_copy(update={**kept, "env": dict(sorted(env.items()))})


def _configuration(before: str | None, now: str | None) -> str | None:
    """The surveyed text, unless its owner wrote another one: then that without what this program put there."""
    if settings_of(before) == settings_of(now):
        return before
    original, values = addon_values.parse(before), addon_values.parse(now)
    values.pop("affinity", None)
    if "affinity" in original:
        values["affinity"] = original["affinity"]
    env = {k: v for k, v in (values.pop("env", None) or {}).items() if v != OURS.get(k)}
    env |= {k: v for k, v in (original.get("env") or {}).items() if k in OURS}
    return json.dumps(values | ({"env": env} if env else {}), sort_keys=True)


def _calico(before: CalicoFacts, now: CalicoFacts) -> CalicoFacts:
    return before if now.kind == "absent" else now.model_copy(update={"affinity": before.affinity})


def _groups(before: Iterable[GroupFacts], now: Iterable[GroupFacts]) -> Iterator[GroupFacts]:
    """Sizes, labels and security groups stay as surveyed: emptied groups would say otherwise."""
    live = {(g.kind, g.name): g for g in now}
    for group in before:
        found = live.pop((group.kind, group.name), None)
        if found is not None:
            update = {
                "instance_types": found.instance_types or group.instance_types,
                "subnet_ids": found.subnet_ids or group.subnet_ids,
                "scaling_group": found.scaling_group or group.scaling_group,
            }
            yield group.model_copy(update=update)
        elif group.kind == "self-managed":  # seen through its nodes only: an emptied one is still there
            yield group
    yield from live.values()


def _subnets(facts: Facts, now: Facts, groups: Iterable[GroupFacts]) -> Any:
    used = {subnet for group in groups for subnet in group.subnet_ids}
    known: Mapping[str, Any] = {s.id: s for s in (*facts.subnets, *now.subnets)}
    return tuple(known[subnet] for subnet in sorted(used) if subnet in known)
