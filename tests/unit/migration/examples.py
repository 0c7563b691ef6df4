"""Settings and facts that several tests start from."""

from typing import Any

from migration.facts import Facts
from migration.settings import Settings

SUBNETS = ["subnet-0a", "subnet-0b", "subnet-0c"]


def raw(**over: Any) -> dict[str, Any]:
    """The configuration of an owned cluster on the journey `replace`."""
    values: dict[str, Any] = {
        "journey": "replace",
        "stage": "baseline",
        "cluster": {"name": "staging"},
        "network": {"vpcId": "vpc-0", "subnetIds": SUBNETS, "vpcCidrs": ["10.0.0.0/16"]},
        "legacy": {"groups": [{"name": "general", "size": 3}]},
        "cilium": {"groups": [{"name": "workers", "size": 3}]},
    }
    return values | over


def owned(**over: Any) -> Settings:
    return Settings.load(raw(**over))


def adopted(**over: Any) -> Settings:
    values = raw(cluster={"name": "prod", "adopt": True}, **over)
    del values["legacy"]
    return Settings.load(values)


def greenfield(**over: Any) -> Settings:
    return Settings.load(raw(journey="greenfield", stage="launch", **over))


def facts(**over: Any) -> Facts:
    values: dict[str, Any] = {
        "format": 1,
        "surveyedAt": "2026-01-01T00:00:00Z",
        "cluster": {
            "name": "prod",
            "arn": "arn:aws:eks:eu-west-1:111122223333:cluster/prod",
            "account": "111122223333",
            "region": "eu-west-1",
            "version": "1.35",
            "vpcId": "vpc-0",
            "vpcCidrs": ["10.0.0.0/16"],
            "serviceCidr": "172.20.0.0/16",
            "oidcIssuer": "https://oidc.example/id/1",
            "securityGroupId": "sg-cluster",
        },
        "vpcCni": {"kind": "addon", "addonVersion": "v1.21.1-eksbuild.1", "configuration": None, "affinity": TERM},
        "kubeProxy": {"kind": "addon", "addonVersion": "v1.35.0-eksbuild.2", "affinity": TERM},
        "calico": {"kind": "operator", "version": "v3.32.1", "namespace": "calico-system"},
        "groups": [
            {"name": "old", "kind": "managed", "desired": 3, "maxSize": 6, "securityGroupIds": ["sg-a", "sg-b"]},
            {"name": "older", "kind": "managed", "desired": 1, "maxSize": 2, "securityGroupIds": ["sg-a"]},
        ],
        "subnets": [],
        "egressSource": "node",
        "decisions": [],
    }
    return Facts.model_validate(values | over)


TERM = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]},
                {"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}]},
            ]
        }
    }
}
