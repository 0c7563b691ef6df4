"""Who may administer an owned cluster: an access entry for each principal, whatever its place in the list."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import grpc
import pulumi
import pulumi_aws as aws
from pulumi_aws._utilities import get_version

from components import stack
from components.common import Component, token
from migration.administrators import Access, refusals
from migration.settings import Settings
from migration.transition import Refused

_ENTRY: Final = "aws:eks/accessEntry:AccessEntry"
_ASSOCIATION: Final = "aws:eks/accessPolicyAssociation:AccessPolicyAssociation"
_OF_THE_CLUSTER: Final = "eks:index:Cluster$"
"""In the URN of an entry that an earlier version had the cluster's component make: named by index, and protected."""

_NONE: Final = ("ResourceNotFoundException", "couldn't find resource", "empty result")
"""How the provider says that there is none (terraform-provider-aws, internal/service/eks and internal/tfresource)."""


def accesses(resources: Mapping[str, Any]) -> tuple[Access, ...]:
    """The access entries and their policies in a state.

    Args:
        resources: URN -> {type, outputs}, as the engine answers.
    """
    return tuple(
        Access(
            principal=str((entry.get("outputs") or {}).get("principalArn") or ""),
            urn=urn,
            policy=entry["type"] == _ASSOCIATION,
            protected=_OF_THE_CLUSTER in urn,
        )
        for urn, entry in resources.items()
        if entry["type"] in {_ENTRY, _ASSOCIATION}
    )


def refuse(settings: Settings, resources: Mapping[str, Any], *, starts: bool) -> None:
    """Refuse, before anything is registered, a list of administrators that AWS or the engine would stop at half-way.

    Args:
        resources: of the state, as the engine answers.
        starts: whether this deploy makes the cluster.

    Raises:
        Refused: with everything that is wrong.
    """
    if settings.cluster.adopt:
        return
    earlier = accesses(resources)
    mine = {access.principal for access in earlier if not access.policy}
    wanted = settings.cluster.admins
    new, gone = [arn for arn in wanted if arn not in mine], sorted(mine - set(wanted))
    if not new and not gone:
        return
    made = any(entry["type"] == "aws:eks/cluster:Cluster" for entry in resources.values())
    problems = refusals(
        wanted,
        earlier,
        caller=str(aws.get_caller_identity().arn),
        creates=starts and not made,
        existing=[arn for arn in new if made and _exists(settings.cluster.name, arn)],
    )
    if problems:
        raise Refused("the administrators of the cluster cannot be these:\n" + "\n".join(f"  - {p}" for p in problems))


def _exists(cluster: str, principal: str) -> bool:
    """Whether EKS has an access entry for a principal."""
    wanted = {"clusterName": cluster, "principalArn": principal}
    try:
        stack.invoke("aws:eks/getAccessEntry:getAccessEntry", wanted, version=get_version())
    except grpc.RpcError as error:
        said = str(error.details())
        if any(words in said for words in _NONE):
            return False
        raise Refused(
            f"whether {principal} has an access entry of the cluster {cluster} cannot be told: {said}\n"
            "Allow the caller eks:DescribeAccessEntry, or try again"
        ) from None
    return True


def administer(
    settings: Settings,
    cluster: pulumi.Input[str],
    *,
    partition: pulumi.Input[str],
    earlier: Mapping[str, Any],
    after: Sequence[pulumi.Resource],
) -> list[pulumi.Resource]:
    """The administrators of an owned cluster; none of one that is adopted."""
    if settings.cluster.adopt or not settings.cluster.admins:
        return []
    return Administrators(
        settings.cluster.admins,
        cluster=cluster,
        cluster_name=settings.cluster.name,
        partition=partition,
        earlier=earlier,
        after=after,
    ).resources


class Administrators(Component):
    """One entry for each principal. None is protected: who leaves is taken out of the list, and that is all."""

    def __init__(
        self,
        principals: Iterable[str],
        *,
        cluster: pulumi.Input[str],
        cluster_name: str,
        partition: pulumi.Input[str],
        earlier: Mapping[str, Any],
        after: Sequence[pulumi.Resource],
    ) -> None:
        super().__init__(token("cluster", "Administrators"), f"{cluster_name}-administrators", after=after)
        found = accesses(earlier)
        policy = pulumi.Output.format("arn:{0}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy", partition)
        self.resources: list[pulumi.Resource] = []
        for principal in principals:
            # An ARN has "::" in it, which parts a URN: account and name tell principals apart as well.
            name = "/".join(principal.split(":")[4:])
            mine = [access for access in found if access.principal == principal and access.protected]
            entry = aws.eks.AccessEntry(
                name,
                cluster_name=cluster,
                principal_arn=principal,
                opts=self.child(aliases=[access.urn for access in mine if not access.policy]),
            )
            allowed = aws.eks.AccessPolicyAssociation(
                name,
                cluster_name=cluster,
                principal_arn=principal,
                policy_arn=policy,
                access_scope=aws.eks.AccessPolicyAssociationAccessScopeArgs(type="cluster"),
                opts=self.child(after=[entry], aliases=[access.urn for access in mine if access.policy]),
            )
            self.resources += [entry, allowed]
        self.register_outputs({})
