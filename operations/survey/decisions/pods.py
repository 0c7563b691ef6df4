"""What runs in the cluster and leans on the way it is wired."""

from typing import Any, Final

from migration.facts import Decision
from operations.cluster import objects
from operations.survey.decisions.base import Decider, Seen, absent, handled, named, refused

MESH_CNIS: Final = ("istio-cni", "linkerd-cni")
NODE_LOCAL_DNS: Final = "node-local-dns"
POD_IDENTITY_AGENT: Final = "eks-pod-identity-agent"


def _daemonsets(seen: Seen, *words: str) -> list[str]:
    return [objects.key(d) for d in seen.gathered.daemonsets if any(w in objects.name(d) for w in words)]


def node_local_dns(seen: Seen) -> Decision:
    found = _daemonsets(seen, NODE_LOCAL_DNS)
    if found:
        return refused(
            "NodeLocal DNSCache",
            named("DaemonSet", found),
            "it catches the DNS address with rules of kube-proxy, which new nodes do not have",
            "Point kubelet's clusterDNS back to CoreDNS and remove it; Cilium's local redirect can bring it back later",
        )
    return absent("NodeLocal DNSCache", f"DaemonSets named {NODE_LOCAL_DNS}")


def meshes(seen: Seen) -> Decision:
    found = _daemonsets(seen, *MESH_CNIS)
    if not found:
        return absent("meshes that chain CNIs", f"DaemonSets named {' or '.join(MESH_CNIS)}")
    values: dict[str, Any] = dict(seen.settings.cilium.values)
    if (values.get("cni") or {}).get("exclusive") is False:
        return handled(
            "meshes that chain CNIs",
            named("DaemonSet", found),
            "cni.exclusive: false lets it chain into Cilium as well",
        )
    return refused(
        "meshes that chain CNIs",
        named("DaemonSet", found),
        "Cilium removes other CNI configuration, and pods would start outside the mesh",
        "Set cilium.values.cni.exclusive: false and cilium.values.socketLB.hostNamespaceOnly: true, as the mesh says",
    )


def closed_webhooks(seen: Seen) -> Decision:
    found = [
        f"{hook['name']} of {objects.name(configuration)}"
        for configuration in seen.gathered.webhooks
        for hook in configuration.get("webhooks") or []
        if hook.get("failurePolicy", "Fail") == "Fail"
    ]
    if found:
        return handled(
            "webhooks that fail closed",
            named("webhook", found),
            "a gate asks each one to answer before nodes change; the refresh plan names those that would go with them",
        )
    return absent("webhooks that fail closed", "webhook configurations with failurePolicy Fail")


def pod_identity(seen: Seen) -> Decision:
    agents, associations = _daemonsets(seen, POD_IDENTITY_AGENT), seen.gathered.pod_identities
    if agents or associations:
        found = [named("DaemonSet", agents)] if agents else []
        found += [f"{objects.count(len(associations), 'association')}"] if associations else []
        return handled(
            "Pod Identity",
            ", ".join(found),
            "its agent runs on new nodes too; egress policies must allow 169.254.170.23 there as they do here",
        )
    return absent("Pod Identity", "associations and the agent's DaemonSet")


DECIDERS: tuple[Decider, ...] = (node_local_dns, meshes, closed_webhooks, pod_identity)
