"""Network policies from files: one resource for each document, named after the object."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components.cluster import Cluster
from components.common import Component, token
from components.deploy import Deploy
from components.guarding.gate import Established
from migration.manifests import Manifest
from migration.names import MAY_GO


def calico_policies(deploy: Deploy, cluster: Cluster, *, after: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
    """The files of Calico's policies, as long as the stage has them."""
    wanted = deploy.wanted.calico
    if wanted is None or not wanted.policies:
        return []
    return NetworkPolicies(
        "calico",
        deploy.policies["calico"],
        protect=wanted.protect_policies,
        annotations={MAY_GO: "true"} if wanted.may_go else None,
        provider=cluster.provider,
        after=after,
    ).objects


def cilium_policies(deploy: Deploy, cluster: Cluster, *, after: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
    """The files of Cilium's policies, behind the kinds that its operator registers."""
    wanted = deploy.wanted.cilium
    if wanted is None:
        return []
    return NetworkPolicies(
        "cilium",
        deploy.policies["cilium"],
        protect=wanted.protect_policies,
        provider=cluster.provider,
        after=[Established(deploy.stack, after=after).command],
    ).objects


class NetworkPolicies(Component):
    """The policies of one engine. The program deploys files only, never what it reads from a cluster.

    `annotations` are put on every object besides its own.
    """

    def __init__(
        self,
        engine: str,
        manifests: Sequence[Manifest],
        *,
        protect: bool,
        annotations: Mapping[str, str] | None = None,
        provider: pulumi.ProviderResource,
        after: Sequence[pulumi.Resource],
    ) -> None:
        super().__init__(token("policy", "NetworkPolicies"), f"{engine}-policies", after=after, provider=provider)
        self._protect, self._annotations = protect, dict(annotations or {})
        # Tiers and sets first: policies refer to them.
        referred = [self._object(m, after=[]) for m in manifests if not m.kind.endswith("Policy")]
        policies = [self._object(m, after=referred) for m in manifests if m.kind.endswith("Policy")]
        self.objects = [*referred, *policies]
        self.register_outputs({"count": len(manifests)})

    def _object(self, manifest: Manifest, *, after: Sequence[pulumi.Resource]) -> pulumi.Resource:
        metadata = {
            "name": manifest.name,
            "namespace": manifest.namespace,
            "labels": dict(manifest.labels) or None,
            "annotations": {**manifest.annotations, **self._annotations} or None,
        }
        told = {key: value for key, value in metadata.items() if value is not None}
        opts = self.kubernetes_child(after=after, protect=self._protect)
        if manifest.body.keys() <= {"spec"}:
            return kubernetes.apiextensions.CustomResource(
                manifest.key,
                api_version=manifest.api_version,
                kind=manifest.kind,
                metadata=told,
                **manifest.body,
                opts=opts,
            )
        return _Whole(manifest, told, opts)


class _Whole(pulumi.CustomResource):
    """An object with fields beside `spec`, such as `specs` of a Cilium policy: the SDK's own class takes no other."""

    def __init__(self, manifest: Manifest, metadata: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        props = {"apiVersion": manifest.api_version, "kind": manifest.kind, "metadata": metadata, **manifest.body}
        super().__init__(f"kubernetes:{manifest.api_version}:{manifest.kind}", manifest.key, props, opts)
