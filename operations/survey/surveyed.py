"""From what was gathered to what deciders see, and to facts. Pure."""

from migration.facts import FORMAT, Facts
from migration.journeys import Stage
from migration.names import AWS_NODE, CANARY_GROUP, CNI_LABEL, KUBE_PROXY, LEGACY_CNI, SYSTEM_NAMESPACE
from migration.rules.affinity import is_pinned
from migration.settings import Settings
from operations.survey import describe
from operations.survey.decisions import Seen, decide, mattering
from operations.survey.gathered import Gathered, is_true


def seen_of(gathered: Gathered, settings: Settings, *, begun: bool = False) -> Seen:
    """What deciders look at. Pure.

    Args:
        begun: whether the journey has begun, so that what it adds itself is not counted.
    """
    ours = {group.name for group in settings.cilium.groups} | {CANARY_GROUP}
    groups = tuple(g for g in describe.groups(gathered) if g.name not in ours)
    used = {subnet for group in groups for subnet in group.subnet_ids}
    return Seen(
        gathered=gathered,
        settings=settings,
        vpc_cni=describe.vpc_cni(gathered),
        calico=describe.calico(gathered),
        groups=groups,
        subnets=describe.subnets(gathered, used),
        begun=begun,
    )


def facts_of(gathered: Gathered, settings: Settings, at: str, under_way: Stage | None = None) -> Facts:
    """Facts, decisions included, from what was gathered. Pure.

    Args:
        at: time of the survey, UTC, ISO 8601.
        under_way: the stage of a journey that has begun; left out before it.
    """
    seen, env = seen_of(gathered, settings, begun=under_way is not None), gathered.env
    return Facts.model_validate(
        {
            "format": FORMAT,
            "surveyed_at": at,
            "cluster": describe.cluster(gathered),
            "vpc_cni": seen.vpc_cni,
            "kube_proxy": describe.kube_proxy(gathered),
            "calico": seen.calico,
            "groups": seen.groups,
            "subnets": seen.subnets,
            "egress_source": "pod" if is_true(env.get("AWS_VPC_K8S_CNI_EXTERNALSNAT")) else "node",
            "exclude_snat_cidrs": describe.snat_exclusions(env)[0],
            "decisions": decide(seen, mattering(under_way, adopted=True)),
        }
    )


def pinned(gathered: Gathered) -> list[str]:
    """Networking DaemonSets that a later stage has already bound to legacy nodes."""
    found = []
    for namespace, name in ((SYSTEM_NAMESPACE, AWS_NODE), (SYSTEM_NAMESPACE, KUBE_PROXY)):
        live = gathered.daemonset(namespace, name)
        term = live["spec"]["template"]["spec"].get("affinity") if live else None
        if is_pinned(term, CNI_LABEL, LEGACY_CNI):
            found.append(name)
    return found
