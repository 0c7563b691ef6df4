"""What the VPC CNI does besides giving pods an address."""

from kube.transport import Obj
from migration.facts import Decision
from migration.names import CILIUM, SYSTEM_NAMESPACE
from migration.rules import addon_values
from operations.cluster import objects
from operations.cluster.cnis import foreign_cnis
from operations.survey import describe
from operations.survey.decisions.base import Decider, Seen, absent, handled, named, refused
from operations.survey.gathered import is_true


def is_there(seen: Seen) -> Decision:
    if seen.vpc_cni.kind == "absent":
        return refused(
            "VPC CNI",
            "no DaemonSet kube-system/aws-node",
            "this journey starts from pods that the VPC CNI wires",
            "Use the journey greenfield for a new cluster",
        )
    kind = "a managed add-on" if seen.vpc_cni.kind == "addon" else "a self-managed DaemonSet"
    return handled("VPC CNI", f"{kind}, {seen.vpc_cni.addon_version or seen.vpc_cni.image}", "pinned to legacy nodes")


def several_cnis(seen: Seen) -> Decision:
    daemonsets = [d for d in seen.gathered.daemonsets if not (seen.begun and _is_our_cilium(d))]
    found = [f"{f.object} {f.problem.split(';')[0]}" for f in foreign_cnis("daemonset", daemonsets, chained=True)]
    operated = describe.installation(seen.gathered)
    kind = ((((operated or {}).get("spec") or {}).get("cni")) or {}).get("type", "AmazonVPC")
    if kind != "AmazonVPC":
        found.append(f"Installation default has cni.type {kind}: this Calico wires pods itself")
    if found:
        return refused(
            "several CNIs",
            objects.some(found),
            "this journey starts from pods that the VPC CNI alone wires",
            "Remove the other one first, or leave this cluster as it is",
        )
    return absent("several CNIs", "no other DaemonSet writes CNI configuration")


def _is_our_cilium(daemonset: Obj) -> bool:
    """Of the release that `install-cilium` makes; Helm itself lets no other release have its objects."""
    marks, release = objects.annotations(daemonset), (SYSTEM_NAMESPACE, CILIUM)
    return (marks.get("meta.helm.sh/release-namespace"), marks.get("meta.helm.sh/release-name")) == release


def security_groups_for_pods(seen: Seen) -> Decision:
    item, policies = "security groups for pods", seen.gathered.objects_of("securitygrouppolicies")
    if policies:
        return refused(
            item,
            named("SecurityGroupPolicy", map(objects.key, policies)).replace("Policys", "Policies"),
            "their pods sit on branch interfaces, which Cilium does not have: their traffic would be let in and out by "
            "other rules",
            "Say the same with network policies, delete these objects and restart their pods",
        )
    if is_true(seen.gathered.env.get("ENABLE_POD_ENI")):
        return handled(item, "ENABLE_POD_ENI=true, and no SecurityGroupPolicy", "nothing uses it")
    return absent(item, "ENABLE_POD_ENI and SecurityGroupPolicy objects")


def custom_networking(seen: Seen) -> Decision:
    item, network = "custom networking", seen.settings.network
    if not is_true(seen.gathered.env.get("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG")):
        return absent(item, "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG is not true")
    configs = seen.gathered.objects_of("eniconfigs")
    subnets = {str((c.get("spec") or {}).get("subnet")) for c in configs}
    groups = {s for c in configs for s in (c.get("spec") or {}).get("securityGroups") or []}
    found = f"pods live in {objects.some(subnets, 9)} with security groups {objects.some(groups, 9) or 'of the node'}"
    lacking = [
        f"{key}: [{', '.join(sorted(there))}]"
        for key, there, here in (
            ("network.podSubnetIds", subnets, set(network.pod_subnet_ids)),
            ("network.securityGroupIds", groups, set(network.security_group_ids)),
        )
        if there and there != here
    ]
    if lacking:
        return refused(
            item, found, "Cilium's interfaces would stand elsewhere than the VPC CNI's", f"Set {' and '.join(lacking)}"
        )
    return handled(item, found, "Cilium's interfaces stand in the same subnets and security groups")


def prefix_delegation(seen: Seen) -> Decision:
    if not is_true(seen.gathered.env.get("ENABLE_PREFIX_DELEGATION")):
        return absent("prefix delegation", "ENABLE_PREFIX_DELEGATION is not true")
    how = (
        "Cilium does the same"
        if seen.settings.cilium.prefix_delegation
        else "new nodes hold fewer pods, and their maxPods says so; cilium.prefixDelegation: true keeps as many"
    )
    return handled("prefix delegation", "ENABLE_PREFIX_DELEGATION=true", how)


def own_policy_agent(seen: Seen) -> Decision:
    item, g = "VPC CNI's own policy agent", seen.gathered
    values = describe.configuration(g.addons.get("vpc-cni"))
    live = g.daemonset("kube-system", "aws-node")
    containers = live["spec"]["template"]["spec"]["containers"] if live else []
    arguments = [a for c in containers for a in (*(c.get("args") or []), *(c.get("command") or []))]
    endpoints = g.objects_of("policyendpoints")
    found = [
        text
        for text, there in (
            ("enableNetworkPolicy in the add-on's configuration", is_true(str(values.get("enableNetworkPolicy", "")))),
            ("--enable-network-policy=true on aws-eks-nodeagent", "--enable-network-policy=true" in arguments),
            (f"{len(endpoints)} PolicyEndpoint objects", bool(endpoints)),
        )
        if there
    ]
    if found:
        return refused(
            item,
            objects.some(found),
            "it enforces besides Calico, so what is allowed today is not what Calico's policies say",
            "Turn enableNetworkPolicy off, check that Calico alone enforces what you want, then survey again",
        )
    return absent(item, "enableNetworkPolicy, aws-eks-nodeagent's arguments and PolicyEndpoint objects")


def egress(seen: Seen) -> Decision:
    env = seen.gathered.env
    surveyed = "pod" if is_true(env.get("AWS_VPC_K8S_CNI_EXTERNALSNAT")) else "node"
    asked = seen.settings.cilium.egress_source or surveyed
    found = f"pods leave the VPC with the address of the {surveyed}"
    if asked != surveyed:
        return handled(
            "egress source", found, f"cilium.egressSource: {asked} changes that: allow-lists of others must follow"
        )
    return handled("egress source", found, "kept")


def configurations(seen: Seen) -> Decision:
    """Whether what the owner configured can be read, kept and added to."""
    item, yaml, unreadable = "add-on configuration", [], []
    for name in ("vpc-cni", "kube-proxy"):
        text = (seen.gathered.addons.get(name) or {}).get("configurationValues") or ""
        try:
            addon_values.parse(text)
        except ValueError as error:
            unreadable.append(f"add-on {name} {error}")
        else:
            yaml += [name] if text.strip() and not text.lstrip().startswith("{") else []
    if unreadable:
        return refused(
            item,
            "; ".join(unreadable),
            "the pin is written into the same configuration",
            "Write it as JSON with `aws eks update-addon --configuration-values`, then survey again",
        )
    if yaml:
        return handled(
            item,
            f"YAML of {' and '.join(yaml)}",
            "the pin is written into the same values as JSON; the way back restores the text letter by letter",
        )
    return absent(item, "every configuration is JSON, or there is none")


def snat_exclusions(seen: Seen) -> Decision:
    item, (blocks, ignored) = "SNAT exclusions", describe.snat_exclusions(seen.gathered.env)
    if not blocks and not ignored:
        return absent(item, "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS")
    found = f"{', '.join(map(str, blocks)) or 'none in force'}"
    if ignored:
        found += f"; aws-node itself ignores {', '.join(ignored)}"
    return handled(item, found, "pods keep their own address to the same blocks on Cilium nodes")


DECIDERS: tuple[Decider, ...] = (
    is_there,
    several_cnis,
    security_groups_for_pods,
    custom_networking,
    prefix_delegation,
    own_policy_agent,
    egress,
    snat_exclusions,
    configurations,
)
