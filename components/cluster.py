"""The EKS cluster: made by this stack, or adopted by name. Either way without a CNI and kube-proxy of its own."""

import json
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_eks as eks
import pulumi_kubernetes as kubernetes

from components.common import Component, token
from migration.facts import Facts
from migration.settings import Settings


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What only the cluster itself knows."""

    name: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    security_group_ids: pulumi.Output[list[str]]
    oidc_provider_arn: pulumi.Output[str]
    oidc_issuer: pulumi.Output[str]
    """Without its scheme."""
    kubeconfig: pulumi.Output[str]
    resources: tuple[pulumi.Resource, ...] = ()
    """What this stack made of it."""


class Cluster(Component):
    """What the other components need of the cluster, whoever made it."""

    def __init__(self, settings: Settings, facts: Facts | None) -> None:
        super().__init__(token("cluster", "Cluster"), settings.cluster.name)
        self.region: pulumi.Output[str] = aws.get_region_output().apply(lambda region: region.region)
        self.partition: pulumi.Output[str] = aws.get_partition_output().apply(lambda it: it.partition)
        found = self._own(settings) if facts is None else _adopted(facts)
        self.name, self.resources = found.name, found.resources
        self.security_group_ids = found.security_group_ids
        self.oidc_provider_arn, self.oidc_issuer = found.oidc_provider_arn, found.oidc_issuer
        self.endpoint_host = found.endpoint.apply(lambda url: url.removeprefix("https://").split(":")[0])
        self.endpoint_port = found.endpoint.apply(_port)
        self.provider = kubernetes.Provider(
            "kubernetes",
            kubeconfig=found.kubeconfig,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(found.resources)),
        )
        self.register_outputs({"name": found.name, "endpoint": found.endpoint})

    def _own(self, settings: Settings) -> _Found:
        chosen, network = settings.cluster, settings.network
        cluster = eks.Cluster(
            chosen.name,
            name=chosen.name,
            version=chosen.version,
            vpc_id=network.vpc_id,
            private_subnet_ids=list(network.subnet_ids),
            endpoint_public_access=chosen.endpoint_public_access,
            endpoint_private_access=chosen.endpoint_private_access,
            public_access_cidrs=[str(block) for block in chosen.public_access_cidrs] or None,
            kubernetes_service_ip_address_range=str(network.service_cidr),
            authentication_mode=eks.AuthenticationMode.API,
            enabled_cluster_log_types=list(chosen.log_types),
            create_oidc_provider=True,
            skip_default_node_group=True,
            skip_default_security_groups=True,
            # Networking is declared by components of our own, stage by stage. `use_default_vpc_cni` means the
            # opposite of what its name says: True makes no add-on (pulumi-eks 4, cluster.ts).
            use_default_vpc_cni=True,
            kube_proxy_addon_options=eks.KubeProxyAddonOptionsArgs(enabled=False),
            coredns_addon_options=eks.CoreDnsAddonOptionsArgs(enabled=False),
            bootstrap_self_managed_addons=False,
            tags=dict(chosen.tags),
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=True,
                transforms=[_bounded(settings.permissions_boundary)] if settings.permissions_boundary else None,
            ),
        )
        if chosen.endpoint_public_access and not chosen.public_access_cidrs:
            pulumi.log.warn(
                "anybody on the internet may reach the API server's endpoint: name those who should in "
                "cluster.publicAccessCidrs, or set cluster.endpointPublicAccess to false"
            )
        return _Found(
            name=cluster.eks_cluster.apply(lambda it: it.name),
            endpoint=cluster.eks_cluster.apply(lambda it: it.endpoint),
            security_group_ids=cluster.eks_cluster.apply(
                lambda it: it.vpc_config.apply(lambda config: [config.cluster_security_group_id])
            ),
            oidc_provider_arn=cluster.oidc_provider_arn,
            oidc_issuer=cluster.oidc_provider_url,
            kubeconfig=cluster.kubeconfig_json,
            resources=(cluster,),
        )


def _adopted(facts: Facts) -> _Found:
    surveyed = facts.cluster
    found = aws.eks.get_cluster_output(name=surveyed.name)
    issuer = surveyed.oidc_issuer.removeprefix("https://")
    provider = f"arn:{surveyed.arn.split(':')[1]}:iam::{surveyed.account}:oidc-provider/{issuer}"
    return _Found(
        name=pulumi.Output.from_input(surveyed.name),
        endpoint=found.endpoint,
        security_group_ids=pulumi.Output.from_input([surveyed.security_group_id]),
        oidc_provider_arn=pulumi.Output.from_input(provider),
        oidc_issuer=pulumi.Output.from_input(issuer),
        kubeconfig=pulumi.Output.all(found.endpoint, found.certificate_authorities).apply(
            lambda args: json.dumps(_kubeconfig(surveyed.name, surveyed.region, args[0], args[1][0]["data"]))
        ),
    )


def _bounded(boundary: str) -> pulumi.ResourceTransform:
    """Bounds the roles among a component's children; `eks.Cluster` has no argument for it."""

    def transform(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
        if args.type_ != "aws:iam/role:Role":
            return None
        return pulumi.ResourceTransformResult({**args.props, "permissionsBoundary": boundary}, args.opts)

    return transform


def _port(endpoint: str) -> int:
    _, _, port = endpoint.removeprefix("https://").partition(":")
    return int(port) if port else 443


def _kubeconfig(name: str, region: str, endpoint: str, authority: str) -> dict[str, Any]:
    """A kubeconfig whose tokens the AWS CLI makes, as `aws eks update-kubeconfig` writes it."""
    arguments = ["--region", region, "eks", "get-token", "--cluster-name", name, "--output", "json"]
    exec_ = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "aws", "args": arguments}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": endpoint, "certificate-authority-data": authority}},
        ],
        "users": [{"name": name, "user": {"exec": exec_}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
