"""Kinds of objects that are not read: which are passed over, and which would be a policy that nobody sees."""

from __future__ import annotations

import difflib
from typing import Final

from netpol.read.reader import Reader
from reading import brief

CALICO: Final = "projectcalico.org/v3"
_WRITE: Final = {
    "NetworkPolicy": f"networking.k8s.io/v1 (Kubernetes) or {CALICO} (Calico)",
    "ClusterNetworkPolicy": "policy.networking.k8s.io/v1alpha2 or v1beta1",
    **dict.fromkeys(("AdminNetworkPolicy", "BaselineAdminNetworkPolicy"), "policy.networking.k8s.io/v1alpha1"),
    **dict.fromkeys(
        (
            "GlobalNetworkPolicy", "StagedNetworkPolicy", "StagedGlobalNetworkPolicy", "StagedKubernetesNetworkPolicy",
            "Tier", "NetworkSet", "GlobalNetworkSet", "Profile", "HostEndpoint",
        ),
        CALICO,
    ),
    **dict.fromkeys(("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "CiliumCIDRGroup"), "cilium.io/v2"),
}  # fmt: skip
"""The kinds that decide traffic, and the API version that is read of each."""
_CORE: Final = ("Pod", "Namespace", "Node", "Service", "ServiceAccount")
_WORKLOADS: Final = (
    "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob",
    "PodTemplate", "Rollout",
)  # fmt: skip
_OF_POLICY: Final = (
    "projectcalico.org", "crd.projectcalico.org", "networking.k8s.io", "policy.networking.k8s.io", "cilium.io",
    "extensions",
)  # fmt: skip
"""Groups in which an unknown kind may be a misspelt policy."""
_SETTINGS: Final = frozenset(
    (
        # Calico
        "IPPool", "IPReservation", "IPAMBlock", "IPAMConfig", "IPAMConfiguration", "IPAMHandle", "BlockAffinity",
        "BGPConfiguration", "BGPPeer", "BGPFilter", "CalicoNodeStatus", "ClusterInformation",
        "KubeControllersConfiguration", "Node", "WorkloadEndpoint", "License", "LicenseKey",
        # Calico Enterprise and Cloud
        "UISettings", "UISettingsGroup", "GlobalThreatFeed", "GlobalAlert", "GlobalAlertTemplate", "GlobalReport",
        "GlobalReportType", "AlertException", "ManagedCluster", "PacketCapture", "RemoteClusterConfiguration",
        "DeepPacketInspection", "SecurityEventWebhook", "ExternalNetwork", "BFDConfiguration",
        # Kubernetes
        "Ingress", "IngressClass", "IPAddress", "ServiceCIDR", "ClusterCIDR",
        "Deployment", "DaemonSet", "ReplicaSet", "PodSecurityPolicy",
        # Cilium
        "CiliumEndpoint", "CiliumEndpointSlice", "CiliumIdentity", "CiliumNode", "CiliumNodeConfig",
        "CiliumExternalWorkload",
        "CiliumLoadBalancerIPPool", "CiliumL2AnnouncementPolicy", "CiliumPodIPPool", "CiliumGatewayClassConfig",
        "CiliumBGPPeeringPolicy", "CiliumBGPClusterConfig", "CiliumBGPPeerConfig", "CiliumBGPAdvertisement",
        "CiliumBGPNodeConfig", "CiliumBGPNodeConfigOverride", "CiliumVTEPConfig",
    )
)  # fmt: skip
_UNSEEN: Final = {
    "CiliumLocalRedirectPolicy": "it redirects flows, which is not modelled: flows are decided without it",
    "CiliumEgressGatewayPolicy": "it changes source addresses outside the cluster, which is not modelled",
    "CiliumEnvoyConfig": "what a proxy does within a connection is not modelled",
    "CiliumClusterwideEnvoyConfig": "what a proxy does within a connection is not modelled",
}


_BRINGS: Final = frozenset(
    (
        ("helm.toolkit.fluxcd.io", "HelmRelease"), ("kustomize.toolkit.fluxcd.io", "Kustomization"),
        ("source.toolkit.fluxcd.io", "GitRepository"), ("source.toolkit.fluxcd.io", "OCIRepository"),
        ("argoproj.io", "Application"), ("argoproj.io", "ApplicationSet"),
        ("fleet.cattle.io", "GitRepo"), ("fleet.cattle.io", "Bundle"),
        ("helm.cattle.io", "HelmChart"), ("helm.crossplane.io", "Release"),
        ("addons.cluster.x-k8s.io", "ClusterResourceSet"), ("addons.cluster.x-k8s.io", "HelmChartProxy"),
    )
)  # fmt: skip
"""Kinds that bring objects from elsewhere, by group."""


def decides(api: str, kind: str) -> bool:
    """Whether an object of this apiVersion and kind decides traffic."""
    return kind in _WRITE and api.rpartition("/")[0] in _OF_POLICY


def passed_over(reader: Reader, within: str = "") -> str:
    """Why an object of a kind that nobody reads may be left out. `within`: the policies that stand inside it.

    Raises PolicyError where it may be a policy: misspelt, of a version that is gone, or without its kind; or where it
    is something to be rendered first.
    """
    why = _why(reader)
    api, kind = reader.kind
    group = api.rpartition("/")[0]
    if group == "meta.k8s.io" and kind == "Table":
        raise reader.error(
            "a Table is what people are shown, not the objects: get them with -o yaml or -o json", "kind"
        )
    if (group, kind) in _BRINGS:
        why = "what it brings is not seen here: render it, or give what the cluster holds"
    if not within:
        return why
    if kind == "Template" and group.startswith("template.openshift.io"):
        file = reader.place().file
        raise reader.error(f"is a template of {within}. Render it first: oc process -f {file} > rendered.yaml")
    return f"{within} is not read: give what it makes of it, as the cluster holds it"


def _why(reader: Reader) -> str:
    api, kind = reader.kind
    if not kind or not api:
        missing = "apiVersion" if kind else "kind"
        given = reader.value.get(missing)
        why = "is required: say what this object is" if given is None else f"must be a string, is {brief(given)}"
        raise reader.error(why, missing)
    group = api.rpartition("/")[0]
    ours = group in _OF_POLICY
    if kind in _UNSEEN and ours:
        return _UNSEEN[kind]
    if kind in _WORKLOADS:
        return "its pods are not made up here: give pods as `kubectl get pods -A -o yaml` shows them"
    if ours and kind in _SETTINGS:
        return "it decides no traffic"
    foreign = "." in group and not any(name in group for name in ("k8s.io", "projectcalico", "cilium"))
    if (kind in _WRITE and not foreign) or ours or (kind in _CORE and not group):
        raise reader.error(f"{brief(kind)} of {brief(api)} is not a policy kind: {unknown(reader)}", "kind")
    if kind.endswith("Policy") and kind not in ("PodSecurityPolicy", "ImagePolicy"):
        return "it is not a policy of Kubernetes, Calico or Cilium: what else enforces it is not modelled"
    return "it decides no traffic"


def unknown(reader: Reader) -> str:
    """What to write instead of an apiVersion and kind that nobody reads."""
    api, kind = reader.kind
    if api.startswith("extensions/") and kind == "NetworkPolicy":
        return "that version is gone since Kubernetes 1.16. Write apiVersion: networking.k8s.io/v1"
    if kind in _WRITE:
        return f"write apiVersion: {_WRITE[kind]}"
    if kind in _CORE:
        return "write apiVersion: v1"
    near = difflib.get_close_matches(kind, _WRITE, 1)
    return f"did you mean {near[0]}?" if near else f"known here are: {', '.join(sorted(_WRITE))}"
