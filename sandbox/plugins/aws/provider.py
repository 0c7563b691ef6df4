"""The plugin `pulumi-resource-aws`: its types, its functions, its settings."""

from __future__ import annotations

from sandbox.plugins.aws.account import Account, AwsError
from sandbox.plugins.aws.ec2_groups import SecurityGroup, Tag
from sandbox.plugins.aws.ec2_rules import SecurityGroupEgressRule, SecurityGroupIngressRule, SecurityGroupRule
from sandbox.plugins.aws.ec2_template import LaunchTemplate
from sandbox.plugins.aws.eks_addon import AccessEntry, AccessPolicyAssociation, Addon, PodIdentityAssociation
from sandbox.plugins.aws.eks_cluster import Cluster
from sandbox.plugins.aws.eks_nodes import NodeGroup
from sandbox.plugins.aws.functions import FUNCTIONS
from sandbox.plugins.aws.iam import (
    InstanceProfile,
    OpenIdConnectProvider,
    Policy,
    Role,
    RolePolicy,
    RolePolicyAttachment,
)
from sandbox.plugins.aws.resource import AwsResource
from sandbox.plugins.operation import Diff, Operation, ProviderError
from sandbox.plugins.provider import Provider, serve
from sandbox.plugins.values import Properties, differences

VERSION = "7.51.1"
TYPES: tuple[type[AwsResource], ...] = (
    AccessEntry,
    AccessPolicyAssociation,
    Addon,
    Cluster,
    InstanceProfile,
    LaunchTemplate,
    NodeGroup,
    OpenIdConnectProvider,
    PodIdentityAssociation,
    Policy,
    Role,
    RolePolicy,
    RolePolicyAttachment,
    SecurityGroup,
    SecurityGroupEgressRule,
    SecurityGroupIngressRule,
    SecurityGroupRule,
    Tag,
)


class AwsProvider(Provider):
    """The AWS provider, as far as this project uses it."""

    def __init__(self) -> None:
        self._account: Account | None = None
        super().__init__("aws", version=VERSION)
        self.resources = {kind.schema.token: kind(self) for kind in TYPES}

    @property
    def account(self) -> Account:
        """The account that `configure` named."""
        if self._account is None:
            raise ProviderError("the AWS provider was used before it was configured")
        return self._account

    def configure(self, config: Properties) -> None:
        """Takes the settings; a wrong one is refused here."""
        super().configure(config)
        self._account = Account(config)

    def diff_config(self, olds: Properties, news: Properties) -> Diff:
        """Another region is another provider."""
        changes = differences(olds, news)
        return Diff(changes, [path for path in changes if path == "region"])

    def invoke(self, op: Operation, token: str, args: Properties) -> Properties:
        """One of the functions."""
        function = FUNCTIONS.get(token)
        if function is None:
            return super().invoke(op, token, args)
        try:
            return function(self.account, args)
        except AwsError as error:
            raise ProviderError(f"invoking {token}: {error}") from error


def main() -> None:
    """Serves the engine."""
    serve(AwsProvider())
