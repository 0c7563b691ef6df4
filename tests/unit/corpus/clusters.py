"""A cluster of the corpus as its APIs would answer, and the settings that its owner would write."""

from typing import Any

from operations.survey.gathered import Gathered
from tests.unit.corpus import legacy
from tests.unit.corpus.legacy import Legacy
from tests.unit.corpus.shapes import Shape
from tests.unit.survey.cluster import CALICO, INSTALLATION, daemonset, gathered, named, subnet

Obj = dict[str, Any]

_ENV = {
    "plain": {},
    "prefixes": {"ENABLE_PREFIX_DELEGATION": "true"},
    "custom-networking": {"AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": "true"},
    "pod-security-groups": {"ENABLE_POD_ENI": "true"},
    "policy-agent": {},
}


def answers(shape: Shape) -> Gathered:
    """What the survey reads."""
    groups, karpenter = legacy.groups(shape), shape.autoscaler == "karpenter"
    made = [(group, node, instance) for number, group in enumerate(groups) for node, instance in _nodes(group, number)]
    nodes, instances = [node for _, node, _ in made], [instance for _, _, instance in made]
    if karpenter:
        group = Legacy(
            name="default", managed=False, types=("m6i.large",), architecture="x86_64", family=shape.family,
            capacity="spot", labels={"karpenter.sh/nodepool": "default"}, size=1,
        )  # fmt: skip
        for node, instance in legacy.nodes(group, 90):
            nodes.append(node)
            instances.append(instance)
    if shape.fargate == "profile":
        nodes.append(named("fargate-ip-10-0-1-1", labels={"eks.amazonaws.com/compute-type": "fargate"}, spec={}))
    own = [group for group in groups if not group.managed]
    plain = gathered()
    return gathered(
        cluster=plain.cluster
        | {"kubernetesNetworkConfig": {"serviceIpv4Cidr": "172.20.0.0/16", "ipFamily": shape.addresses}},
        nodegroups=[legacy.nodegroup(group) for group in groups if group.managed],
        addons={"vpc-cni": {"addonVersion": "v1.20.4-eksbuild.1"}},
        fargate_profiles=["jobs"] if shape.fargate == "profile" else [],
        instances=instances,
        scaling_group_of={instance["InstanceId"]: group.scaling_group for group, _, instance in made},
        scaling_groups={
            group.scaling_group: legacy.scaling_group(group)
            if not group.managed
            else {"DesiredCapacity": group.size, "MinSize": 1, "MaxSize": 6}
            for group in groups
        },
        templates={group.scaling_group: legacy.template(group) for group in own},
        subnets=[*(subnet(name, zone) for name, zone in legacy.ZONES.items()), *_pod_subnets(shape)],
        nodes=nodes,
        daemonsets=_daemonsets(shape),
        deployments=_deployments(shape),
        webhooks=[named("istio", webhooks=[{"name": "validation.istio.io"}])] if shape.mesh.startswith("istio") else [],
        custom=_custom(shape),
    )


def _nodes(group: Legacy, number: int) -> list[tuple[Obj, Obj]]:
    return list(legacy.nodes(group, 10 * (number + 1)))


def _pod_subnets(shape: Shape) -> list[Obj]:
    return [subnet("subnet-p", "eu-west-1a")] if shape.vpc_cni == "custom-networking" else []


def _daemonsets(shape: Shape) -> list[Obj]:
    env = dict(_ENV[shape.vpc_cni])
    if shape.addresses == "ipv6":
        env |= {"ENABLE_IPv6": "true", "ENABLE_IPv4": "false", "ENABLE_PREFIX_DELEGATION": "true"}
    node = daemonset("kube-system", "aws-node", "amazon-k8s-cni:v1.20.4", env or None)
    if shape.vpc_cni == "policy-agent":
        node["spec"]["template"]["spec"]["containers"].append(
            {"name": "aws-eks-nodeagent", "args": ["--enable-network-policy=true"]}
        )
    found = [node, daemonset("kube-system", "kube-proxy", "kube-proxy:v1.35.0"), CALICO]
    if shape.dns == "nodelocal":
        found.append(daemonset("kube-system", "node-local-dns", "k8s-dns-node-cache:1.26.7"))
    if shape.mesh == "istio-cni":
        found.append(daemonset("istio-system", "istio-cni-node", "install-cni:1.28.0"))
    if shape.gpu == "nvidia":
        found.append(daemonset("kube-system", "nvidia-device-plugin", "k8s-device-plugin:v0.18.0"))
    return found


def _deployments(shape: Shape) -> list[Obj]:
    running = {
        "kube-system/cluster-autoscaler": shape.autoscaler == "cluster-autoscaler",
        "kube-system/karpenter": shape.autoscaler == "karpenter",
        "istio-system/istiod": shape.mesh.startswith("istio"),
        "linkerd/linkerd-proxy-injector": shape.mesh == "linkerd",
    }
    return [
        named(name, namespace, spec={"replicas": 1}, status={"availableReplicas": 1})
        for namespace, name in (key.split("/") for key, there in running.items() if there)
    ]


def _custom(shape: Shape) -> dict[str, list[Obj]]:
    found: dict[str, list[Obj]] = {"installations": [INSTALLATION]}
    if shape.vpc_cni == "custom-networking":
        found["eniconfigs"] = [named("eu-west-1a", spec={"subnet": "subnet-p", "securityGroups": ["sg-9"]})]
    if shape.vpc_cni == "pod-security-groups":
        found["securitygrouppolicies"] = [named("db", "shop")]
    if shape.vpc_cni == "policy-agent":
        found["policyendpoints"] = [named("db-x7kq2", "shop")]
    if shape.autoscaler == "karpenter":
        found["nodepools"] = [named("default", spec={})]
    return found


def written(shape: Shape) -> dict[str, Any]:
    """The stack configuration with a Cilium group for each group that there is, written by hand."""
    return {
        "journey": "replace",
        "stage": "baseline",
        "cluster": {"name": "shop", "adopt": True},
        "network": {"vpcId": "vpc-1", "subnetIds": list(legacy.ZONES), "vpcCidrs": ["10.0.0.0/16"]},
        "cilium": {"groups": [_written(group) for group in legacy.groups(shape)]},
    }


def _written(group: Legacy) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": f"{group.name}-cilium",
        "size": group.size,
        "maxSize": 6,
        "diskGib": 80,
        "labels": dict(group.labels),
    }
    if len(group.types) == 1:
        found["instanceType"] = group.types[0]
    else:
        found["instanceTypes"] = list(group.types)
    if group.family != "AL2023":
        found["amiFamily"] = group.family
    if group.capacity == "spot":
        found["capacityType"] = "spot"
    if group.taints:
        found["taints"] = [dict(taint) for taint in group.taints]
    return found
