"""Values of the Cilium chart for EKS: ENI mode, kube-proxy replacement, bound to Cilium nodes.

They are the same at every stage and in every journey that ends in ENI mode: a cluster that was migrated and one that
was launched on Cilium run the same release.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, Literal

from migration.facts import Facts
from migration.names import AGENT_NOT_READY_TAINT
from migration.rules.chart.fits import ONLY_CILIUM_NODES
from migration.rules.chart.owned import HEALTH_PORT
from migration.settings import Settings


class Slot(StrEnum):
    """Stands in the values for what only the cluster knows."""

    ENDPOINT_HOST = "<endpoint-host>"
    OPERATOR_ROLE_ARN = "<operator-role-arn>"
    SECURITY_GROUP_IDS = "<security-group-ids>"
    ENDPOINT_PORT = "<endpoint-port>"
    REGION = "<region>"


EVERYTHING: Final = {"operator": "Exists"}
"""The toleration of every taint."""
OPERATOR_TOLERATIONS: Final = (
    {"key": "node.kubernetes.io/not-ready", "operator": "Exists"},
    {"key": "node.cloudprovider.kubernetes.io/uninitialized", "operator": "Exists"},
)
"""Of the chart's own: nodes are not Ready before the operator has given them addresses."""


def egress_source(settings: Settings, facts: Facts | None) -> Literal["node", "pod"]:
    """With which address pods leave the VPC: the setting, else as surveyed, else as the VPC CNI does by default."""
    return settings.cilium.egress_source or (facts.egress_source if facts else "node")


def cilium_values(settings: Settings, facts: Facts | None) -> dict[str, Any]:
    """The chart values of a stack.

    The user's own (`cilium.values`) are laid over ours; `migration.rules.chart.rules` has seen to it that they leave
    alone what the journey rests on. Lists that we need something in are added to instead of replaced.
    """
    chosen, network = settings.cilium, settings.network
    security_groups: Any = list(network.security_group_ids or (facts.security_group_ids if facts else ())) or str(
        Slot.SECURITY_GROUP_IDS
    )
    values: dict[str, Any] = {
        "cluster": {"name": chosen.cluster_name, "id": chosen.cluster_id},
        "eni": {
            "enabled": True,
            "awsEnablePrefixDelegation": chosen.prefix_delegation,
            "iamRole": str(Slot.OPERATOR_ROLE_ARN),
            "nodeSpec": {
                "subnetIDs": list(network.pod_subnet_ids or network.subnet_ids),
                "securityGroups": security_groups,
            },
        },
        "ipam": {"mode": "eni"},
        "routingMode": "native",
        "endpointRoutes": {"enabled": True},
        "kubeProxyReplacement": "true",
        "kubeProxyReplacementHealthzBindAddr": f"0.0.0.0:{HEALTH_PORT}",
        # The endpoint's name, never an address: EKS changes the addresses (cilium/cilium#22039).
        "k8sServiceHost": str(Slot.ENDPOINT_HOST),
        "k8sServicePort": str(Slot.ENDPOINT_PORT),
        "affinity": ONLY_CILIUM_NODES,
        "envoy": {"affinity": ONLY_CILIUM_NODES, "rollOutPods": True},
        "rollOutCiliumPods": True,
        "agentNotReadyTaintKey": AGENT_NOT_READY_TAINT,
        "operator": {
            "replicas": chosen.operator_replicas,
            "rollOutPods": True,
            # Restarting pods is the refresh's business, which honours disruption budgets.
            "unmanagedPodWatcher": {"restart": False},
            # With an IRSA role the chart leaves the region out (cilium/cilium#39307).
            "extraEnv": [{"name": "AWS_REGION", "value": str(Slot.REGION)}],
        },
        # Certificates made while rendering would differ in every preview.
        "hubble": {"enabled": False},
        # How many endpoints enforce is read there: the gates' way without running commands in the agents' pods.
        "prometheus": {"enabled": True},
        "policyEnforcementMode": "default",
        **_masquerade(settings, facts),
    }
    merged = _merge(values, chosen.values)
    for path, needed in _needed(values).items():
        _add_to(merged, path.split("."), needed)
    return merged


def _needed(values: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Lists of the chart -> what has to be in them, whatever else the user puts there."""
    needed = {
        "tolerations": [EVERYTHING],
        "envoy.tolerations": [EVERYTHING],
        "operator.tolerations": [*OPERATOR_TOLERATIONS],
        "operator.extraEnv": values["operator"]["extraEnv"],
    }
    if "ipMasqAgent" in values:
        needed["ipMasqAgent.config.nonMasqueradeCIDRs"] = values["ipMasqAgent"]["config"]["nonMasqueradeCIDRs"]
    return needed


def _add_to(values: dict[str, Any], path: list[str], needed: list[Any]) -> None:
    """Put what is needed first into a list, where there is one; the chart's own default has it already."""
    *sections, last = path
    here: Any = values
    for section in sections:
        here = here.get(section) or {}
    if last in here:
        here[last] = [*needed, *(item for item in here[last] or [] if item not in needed)]


def _masquerade(settings: Settings, facts: Facts | None) -> dict[str, Any]:
    """Source address of what leaves the VPC, as before: allow-lists of other people must not break silently."""
    blocks = [str(block) for block in settings.network.vpc_cidrs]
    if egress_source(settings, facts) == "pod":
        return {"enableIPv4Masquerade": False, "ipv4NativeRoutingCIDR": blocks[0]}
    excluded = [str(block) for block in (facts.exclude_snat_cidrs if facts else ())]
    return {
        "enableIPv4Masquerade": True,
        "ipv4NativeRoutingCIDR": blocks[0],
        "bpf": {"masquerade": True},
        "ipMasqAgent": {
            "enabled": True,
            "config": {"nonMasqueradeCIDRs": [*blocks, *excluded], "masqLinkLocal": False},
        },
    }


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        mine = merged.get(key)
        merged[key] = _merge(mine, value) if isinstance(mine, Mapping) and isinstance(value, Mapping) else value
    return merged
