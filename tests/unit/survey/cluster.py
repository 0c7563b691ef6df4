"""An ordinary legacy cluster as its APIs would answer, to be changed by tests."""

from dataclasses import replace
from typing import Any

from migration.settings import Settings
from operations.survey.gathered import Gathered

Obj = dict[str, Any]
ISSUER = "https://oidc.eks.eu-west-1.amazonaws.com/id/ABC"


def settings(**changes: Any) -> Settings:
    values: Obj = {
        "journey": "replace",
        "stage": "baseline",
        "cluster": {"name": "shop", "adopt": True},
        "network": {"vpcId": "vpc-1", "subnetIds": ["subnet-a", "subnet-b"], "vpcCidrs": ["10.0.0.0/16"]},
        "cilium": {"groups": [{"name": "workers", "size": 3}]},
    }
    for path, value in changes.items():
        here = values
        *parents, last = path.split("__")
        for part in parents:
            here = here.setdefault(part, {})
        here[last] = value
    return Settings.load(values)


def named(name: str, namespace: str = "", labels: Obj | None = None, **rest: Any) -> Obj:
    meta: Obj = {"name": name, "labels": labels or {}}
    if namespace:
        meta["namespace"] = namespace
    return {"metadata": meta, **rest}


def daemonset(namespace: str, name: str, image: str, env: Obj | None = None, **spec: Any) -> Obj:
    container: Obj = {"name": name, "image": image}
    if env:
        container["env"] = [{"name": k, "value": v} for k, v in env.items()]
    return named(name, namespace, spec={"template": {"spec": {"containers": [container], **spec}}})


def aws_node(**env: str) -> Obj:
    return daemonset("kube-system", "aws-node", "602401143452.dkr.ecr/amazon-k8s-cni:v1.20.4", {"A": "1", **env})


CALICO = daemonset("calico-system", "calico-node", "quay.io/calico/node:v3.32.1")
INSTALLATION = named("default", spec={"cni": {"type": "AmazonVPC"}, "variant": "Calico"})


def node(number: int, labels: Obj | None = None, kernel: str = "6.12.40-63.114.amzn2023.x86_64") -> Obj:
    own = {"eks.amazonaws.com/nodegroup": "general", "kubernetes.io/os": "linux", **(labels or {})}
    return named(
        f"ip-10-0-0-{number}",
        labels={k: v for k, v in own.items() if v},
        spec={"providerID": f"aws:///eu-west-1a/i-{number}"},
        status={"nodeInfo": {"kernelVersion": kernel}},
    )


def instance(number: int, *groups: str) -> Obj:
    return {
        "InstanceId": f"i-{number}",
        "InstanceType": "m5.large",
        "SubnetId": "subnet-a",
        "SecurityGroups": [{"GroupId": group} for group in groups or ("sg-1",)],
    }


def subnet(name: str, zone: str) -> Obj:
    return {
        "SubnetId": name,
        "AvailabilityZone": zone,
        "CidrBlock": "10.0.0.0/20" if zone.endswith("a") else "10.0.16.0/20",
        "AvailableIpAddressCount": 4000,
    }


def gathered(**changes: Any) -> Gathered:
    """The cluster, with whole fields of `Gathered` exchanged."""
    plain = Gathered(
        account="111122223333",
        region="eu-west-1",
        cluster={
            "name": "shop",
            "arn": "arn:aws:eks:eu-west-1:111122223333:cluster/shop",
            "version": "1.35",
            "resourcesVpcConfig": {"vpcId": "vpc-1", "clusterSecurityGroupId": "sg-1"},
            "kubernetesNetworkConfig": {"serviceIpv4Cidr": "172.20.0.0/16", "ipFamily": "ipv4"},
            "identity": {"oidc": {"issuer": ISSUER}},
        },
        vpc={"VpcId": "vpc-1", "CidrBlock": "10.0.0.0/16"},
        nodegroups=[
            {
                "nodegroupName": "general",
                "scalingConfig": {"minSize": 1, "desiredSize": 2, "maxSize": 5},
                "subnets": ["subnet-a", "subnet-b"],
                "instanceTypes": ["m5.large"],
                "labels": {"team": "shop"},
                "resources": {"autoScalingGroups": [{"name": "eks-general"}]},
            }
        ],
        addons={"vpc-cni": {"addonVersion": "v1.20.4-eksbuild.1", "configurationValues": '{"env":{"A":"1"}}'}},
        oidc_providers=[f"arn:aws:iam::111122223333:oidc-provider/{ISSUER.removeprefix('https://')}"],
        instances=[instance(1), instance(2, "sg-1", "sg-2")],
        scaling_group_of={"i-1": "eks-general", "i-2": "eks-general"},
        scaling_groups={"eks-general": {"DesiredCapacity": 2, "MinSize": 1, "MaxSize": 5}},
        subnets=[subnet("subnet-a", "eu-west-1a"), subnet("subnet-b", "eu-west-1b"), subnet("subnet-c", "eu-west-1c")],
        route_tables=[
            {
                "Associations": [{"Main": True}],
                "Routes": [{"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1"}],
            }
        ],
        nodes=[node(1), node(2)],
        daemonsets=[aws_node(), daemonset("kube-system", "kube-proxy", "kube-proxy:v1.35.0"), CALICO],
        custom={"installations": [INSTALLATION]},
    )
    return replace(plain, **changes)
