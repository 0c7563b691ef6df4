"""The rights that a refresh needs and no others, made from the calls it makes: RBAC rules and an IAM policy."""

import json
from typing import Any, Final

import yaml

from migration.names import SYSTEM_NAMESPACE
from operations.refresh.cluster import cloud, kube

NAME: Final = "eks-cilium-refresh"
GROUP: Final = "eks-cilium-refresh"
"""Kubernetes group to which an EKS access entry maps the IAM role that runs the refresh."""
HEAD: Final = "# Made by `python -m operations refresh rights`. Change the code, not this file.\n"
RIGHTS: Final = "What a refresh needs is printed by `refresh rights` and `refresh rights --iam`"
PLAN_READS: Final = (
    ("", "persistentvolumes", ("list",)),
    ("discovery.k8s.io", "endpointslices", ("list",)),
    ("apps", "daemonsets", ("list",)),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", ("list",)),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", ("list",)),
)
"""What `plan` reads besides."""
PLAN_CALLS: Final = (("ec2", "DescribeSubnets", "read"),)
ALWAYS: Final = (("eks", "DescribeCluster", "read"), ("sts", "GetCallerIdentity", "read"))
"""To find the cluster, and to make sure that it is the right one."""


def missing(asked: kube.Kube) -> list[str]:
    """Rights in the cluster that a run needs and this identity has not, in words."""
    found = []
    for group, resource, verbs in kube.CALLS:
        where = {"namespace": SYSTEM_NAMESPACE} if resource in kube.NAMED else {}
        for verb in verbs:
            named = where | {"name": kube.NAMED[resource]} if where and verb != "create" else where
            if not asked.may(group, resource, verb, **named):
                found.append(f"{verb} {resource}")
    return found


def rbac() -> str:
    """ClusterRole and bindings, and a Role for the objects that are asked for by name, as YAML documents."""
    whole = [*kube.CALLS, *PLAN_READS]
    rules = [
        {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
        for group, resource, verbs in whole
        if resource not in kube.NAMED
    ]
    there = []
    for group, resource, verbs in whole:
        if resource in kube.NAMED:
            what = {"apiGroups": [group], "resources": [resource]}
            by_name = [v for v in verbs if v != "create"]
            there.append(what | {"resourceNames": [kube.NAMED[resource]], "verbs": by_name})
            there += [what | {"verbs": ["create"]}] if "create" in verbs else []
    documents = [
        _object("ClusterRole", {"rules": rules}),
        _object("ClusterRoleBinding", _binding("ClusterRole")),
        _object("Role", {"rules": there}, SYSTEM_NAMESPACE),
        _object("RoleBinding", _binding("Role"), SYSTEM_NAMESPACE),
    ]
    return HEAD + "---\n".join(yaml.safe_dump(d, sort_keys=False, width=120) for d in documents)


def _object(kind: str, body: dict[str, Any], namespace: str = "") -> dict[str, Any]:
    metadata = {"name": NAME} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, **body}


def _binding(kind: str) -> dict[str, Any]:
    return {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": NAME},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": GROUP}],
    }


def iam(cluster: str = "CLUSTER", account: str = "ACCOUNT", region: str = "REGION") -> str:
    """The IAM policy, as JSON. Reads cannot be bound to a cluster (Auto Scaling, EC2 and Elastic Load Balancing know
    no resources for them); changes are, by name or by the tag that EKS puts on its groups.

    Args:
        cluster, account, region: put into the ARNs and conditions.
    """
    calls = [*cloud.CALLS, *PLAN_CALLS, *ALWAYS]
    reads = [f"{service}:{action}" for service, action, kind in calls if kind == "read"]
    writes: dict[str, list[str]] = {}
    for service, action, kind in calls:
        if kind == "write":
            writes.setdefault(service, []).append(f"{service}:{action}")
    where: dict[str, dict[str, Any]] = {
        "eks": {"Resource": f"arn:aws:eks:{region}:{account}:nodegroup/{cluster}/*/*"},
        "autoscaling": {
            "Resource": "*",
            "Condition": {"StringEquals": {f"aws:ResourceTag/kubernetes.io/cluster/{cluster}": "owned"}},
        },
        "elasticloadbalancing": {
            "Resource": f"arn:aws:elasticloadbalancing:{region}:{account}:targetgroup/*/*",
        },
    }
    statements: list[dict[str, Any]] = [
        {"Sid": "Look", "Effect": "Allow", "Action": sorted(reads), "Resource": "*"},
        *(
            {"Sid": f"Change{service.capitalize()}", "Effect": "Allow", "Action": sorted(actions), **where[service]}
            for service, actions in sorted(writes.items())
        ),
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2) + "\n"
