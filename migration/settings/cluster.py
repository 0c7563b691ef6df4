"""The section `cluster`, and what contradicts itself in it."""

import re
from collections.abc import Iterable, Mapping
from itertools import starmap
from typing import Literal

from pydantic import Field, field_validator

from migration.rules import aws_rules, versions
from migration.rules.deployers import InvalidDeployer, canonical
from migration.settings.model import Block, Model
from migration.settings.problem import Problem


class Cluster(Model):
    """The EKS cluster: owned by this stack, or adopted by name."""

    name: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z_-]{0,99}$")
    adopt: bool = False
    """The cluster exists and belongs to somebody else: nothing of theirs is recreated, replaced or deleted."""
    take_over: bool = False
    """Adopted clusters only: `retire-legacy` also deletes the owner's vpc-cni and kube-proxy add-ons."""
    version: str = versions.KUBERNETES_DEFAULT
    """Kubernetes minor version of an owned cluster, for example "1.35"."""
    endpoint_public_access: bool = True
    endpoint_private_access: bool = True
    public_access_cidrs: tuple[Block, ...] = ()
    """Blocks from which the public endpoint of an owned cluster may be reached, whoever deploys among them. Left out:
    from anywhere, which each preview says."""
    admins: tuple[str, ...] = ()
    """ARNs of IAM roles or users that get AmazonEKSClusterAdminPolicy on an owned cluster, besides whoever makes it."""
    log_types: tuple[Literal["api", "audit", "authenticator", "controllerManager", "scheduler"], ...] = ("audit",)
    tags: Mapping[str, str] = Field(default_factory=dict)

    @field_validator("version")
    @classmethod
    def _is_a_minor(cls, value: str) -> str:
        if not re.fullmatch(r"1\.[0-9]{1,3}", value):
            raise ValueError('expected a minor version in quotes, such as "1.35"')
        return value


def cluster_problems(cluster: Cluster) -> Iterable[Problem]:
    """What contradicts itself in the section, or would be refused after the deploy has begun."""
    yield from _administrator_problems(cluster)
    yield from _endpoint_problems(cluster)
    yield from _name_problems(cluster)


_PRINCIPAL = "Write arn:aws:iam::ACCOUNT:role/NAME or …:user/NAME"


def _administrator_problems(cluster: Cluster) -> Iterable[Problem]:
    seen: dict[str, int] = {}
    for index, entry in enumerate(cluster.admins):
        key = f"cluster.admins.{index}"
        try:
            principal = canonical(entry)
        except InvalidDeployer as error:
            yield Problem(key, entry, error.reason, _PRINCIPAL if "user:NAME" in error.fix else error.fix)
            continue
        if not principal.startswith("arn:"):
            yield Problem(
                key, entry, "is not an IAM role or user, and EKS gives access entries to nobody else", _PRINCIPAL
            )
        elif aws_rules.service_role(entry):
            yield Problem(key, entry, "is a role of an AWS service, and EKS gives it no access entry", _PRINCIPAL)
        elif principal in seen:
            yield Problem(key, entry, f"is the same as cluster.admins.{seen[principal]}", "Name each once")
        seen.setdefault(principal, index)


def _endpoint_problems(cluster: Cluster) -> Iterable[Problem]:
    blocks = cluster.public_access_cidrs
    shown = [str(block) for block in blocks]
    if cluster.adopt:
        if blocks:
            yield Problem(
                "cluster.publicAccessCidrs",
                shown,
                "the endpoint of an adopted cluster is its owner's",
                "Remove the key",
            )
        return
    if not cluster.endpoint_public_access and not cluster.endpoint_private_access:
        yield Problem(
            "cluster.endpointPrivateAccess",
            False,
            "nobody could reach the API server: the public endpoint is off too",
            "Turn one of the two on",
        )
    if not blocks:
        return
    if not cluster.endpoint_public_access:
        yield Problem(
            "cluster.publicAccessCidrs",
            shown,
            "there is no public endpoint: endpointPublicAccess is false",
            "Remove one of the two keys",
        )
    elif not cluster.endpoint_private_access:
        yield Problem(
            "cluster.endpointPrivateAccess",
            False,
            "nodes would reach the API server by its public endpoint, from addresses that publicAccessCidrs may lack",
            "Set it to true",
        )
    yield from starmap(Problem, aws_rules.public_access("cluster.publicAccessCidrs", blocks))


LONGEST_CLUSTER_NAME = 43
"""Of an owned cluster: IAM takes role names of 64 characters, and its role is called NAME-eksRole-role-1234567."""


def _name_problems(cluster: Cluster) -> Iterable[Problem]:
    """What EKS, IAM or the AWS provider would refuse after the deploy has begun."""
    if cluster.adopt:
        return
    name = cluster.name
    if len(name) > LONGEST_CLUSTER_NAME:
        yield Problem(
            "cluster.name",
            name,
            f"has {len(name)} characters, and the name of the cluster's role would be too long for IAM",
            f"Use at most {LONGEST_CLUSTER_NAME}",
        )
