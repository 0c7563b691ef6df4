"""Calico: how it came here, and what it does that Cilium cannot say."""

from typing import Any, Final

from migration.facts import Decision
from migration.guarding.freeze import CLUSTER_POLICIES, by_calico_only
from operations.cluster import objects
from operations.cluster.calico import STORED
from operations.survey.decisions.base import Decider, Seen, absent, handled, named, refused

WITHOUT_COUNTERPART: Final = ("preDNAT", "doNotTrack", "applyOnForward")
"""Fields of a GlobalNetworkPolicy that act on host endpoints only."""


def how_installed(seen: Seen) -> Decision:
    calico = seen.calico
    number = objects.count(calico.policies, "policy", "policies")
    found = f"{calico.version or 'unknown version'} in {calico.namespace}, {number}"
    if calico.kind != "absent" and seen.gathered.calico_untold:
        return refused(
            "Calico",
            f"{calico.version or 'unknown version'} in {calico.namespace}",
            seen.gathered.calico_untold,
            "Look at `kubectl get --raw /apis`, calico-node and any DatastoreMigration, then survey again",
        )
    if calico.kind != "absent" and seen.gathered.calico_api != STORED:
        return refused(
            "Calico",
            found,
            f"its policies are CRDs of {seen.gathered.calico_api} themselves, which the freeze and the files of this "
            f"program, made for {STORED}, do not cover",
            "Keep Calico behind its own API server, as it installs itself by default, then survey again",
        )
    match calico.kind:
        case "operator":
            return handled("Calico", f"by the Tigera operator, {found}", "pinned through the Installation")
        case "manifest":
            return handled("Calico", f"by manifest, {found}", "calico-node is pinned by a patch of its DaemonSet")
        case "aws-chart":
            return refused(
                "Calico",
                f"by AWS's chart aws-calico, {found}",
                "the chart is no longer kept up, and its Calico cannot be pinned without restarting it unenforced",
                "Hand over to the Tigera operator as Calico's guide says; `python -m operations check --check "
                "calico-convertible` names what it would refuse. Then survey again",
            )
    return absent("Calico", "no DaemonSet calico-node and no Installation: there is no Calico policy to carry over")


def host_endpoints(seen: Seen) -> Decision:
    found = seen.gathered.objects_of("hostendpoints")
    automatic = [
        h
        for h in found
        if objects.labels(objects.as_calico_reads(h)).get("projectcalico.org/created-by") == "calico-kube-controllers"
    ]
    if len(found) > len(automatic):
        return refused(
            "Calico host endpoints",
            named("HostEndpoint", (objects.name(h) for h in found if h not in automatic)),
            "they police the node itself; new nodes would be open where old ones are closed",
            "Say the same with security groups, delete the HostEndpoints, then survey again",
        )
    if automatic:
        return refused(
            "Calico host endpoints",
            f"{len(automatic)} automatic ones",
            "global policies police the node itself through them",
            "Set hostEndpoint.autoCreate: Disabled in KubeControllersConfiguration default, then survey again",
        )
    return absent("Calico host endpoints", "HostEndpoint objects")


def cluster_policies(seen: Seen) -> Decision:
    item = "cluster-wide policies of Kubernetes"
    found = {kind: sorted(map(objects.name, seen.gathered.objects_of(r))) for r, kind in CLUSTER_POLICIES.items()}
    alone = [
        f"{kind} {name}"
        for resource, kind in CLUSTER_POLICIES.items()
        if by_calico_only(resource, seen.calico.version, seen.settings)
        for name in found[kind]
    ]
    if alone:
        return refused(
            item,
            objects.some(alone, 6),
            "Calico enforces them and Cilium does not, so pods on Cilium nodes would be without them",
            "Say the same in Calico policies, or let Cilium enforce ClusterNetworkPolicies too "
            "(cilium.values.k8sClusterNetworkPolicy.enabled, since Cilium 1.20), then survey again",
        )
    there = [f"{kind} {name}" for kind, names in found.items() for name in names]
    if there:
        return handled(item, objects.some(there, 6), "both engines treat them alike, and the freeze keeps them")
    return absent(item, ", ".join(CLUSTER_POLICIES.values()))


def features(seen: Seen) -> Decision:
    """What a policy or Felix is told to do and Cilium cannot."""
    found: list[str] = []
    for policy in seen.gathered.objects_of("globalnetworkpolicies"):
        spec = policy.get("spec") or {}
        found += [f"GlobalNetworkPolicy {objects.name(policy)}: {f}" for f in WITHOUT_COUNTERPART if spec.get(f)]
    for felix in seen.gathered.objects_of("felixconfigurations"):
        found += [f"FelixConfiguration {objects.name(felix)}: {text}" for text in _felix(felix.get("spec") or {})]
    found += [f"BGPPeer {objects.name(p)}" for p in seen.gathered.objects_of("bgppeers")]
    if found:
        return refused(
            "Calico features without a counterpart",
            objects.some(found, 6),
            "nothing on a Cilium node does the same",
            "Take them out of Calico and see that nothing misses them, then survey again",
        )
    return absent("Calico features without a counterpart", f"{', '.join(WITHOUT_COUNTERPART)}, WireGuard, eBPF, BGP")


def _felix(spec: dict[str, Any]) -> list[str]:
    told = [key for key in ("wireguardEnabled", "wireguardEnabledV6", "bpfEnabled") if spec.get(key)]
    action = spec.get("defaultEndpointToHostAction", "Accept")
    if action not in ("Accept", "ACCEPT"):
        told.append(f"defaultEndpointToHostAction {action}")
    return told


DECIDERS: tuple[Decider, ...] = (how_installed, host_endpoints, cluster_policies, features)
ON_REMOVAL: tuple[Decider, ...] = (host_endpoints, cluster_policies, features)
"""What would be lost with Calico itself."""
