"""Calico by the Tigera operator, enforcing policy only; on an adopted cluster just the binding of calico-node."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components.cluster import Cluster
from components.common import Component, token
from components.deploy import Deploy
from migration.desired import CalicoDesired
from migration.names import CALICO_NODE, FIELD_MANAGER, TIGERA_NAMESPACE
from migration.settings import Calico as CalicoSettings
from migration.settings import Chart

_OPERATOR_API = "operator.tigera.io/v1"
_PATCH_ANNOTATIONS = {"pulumi.com/patchForce": "true", "pulumi.com/patchFieldManager": FIELD_MANAGER}


def calico_parts(deploy: Deploy, cluster: Cluster, *, after: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
    """Calico, or the binding of somebody else's; nothing once it is gone."""
    wanted, legacy = deploy.wanted.calico, deploy.settings.legacy
    if wanted is None:
        return []
    return Calico(wanted, legacy.calico if legacy else None, provider=cluster.provider, after=after).resources


class Calico(Component):
    """`resources` is what policies and the nodes' pods have to wait for."""

    def __init__(
        self,
        wanted: CalicoDesired,
        settings: CalicoSettings | None,
        *,
        provider: pulumi.ProviderResource,
        after: Sequence[pulumi.Resource],
    ) -> None:
        super().__init__(token("network", "Calico"), "calico", after=after, provider=provider)
        if wanted.owned and settings is not None:
            self.resources = self._install(wanted, settings)
        else:
            self.resources = [self._bind(wanted)]
        self.register_outputs({})

    def _install(self, wanted: CalicoDesired, settings: CalicoSettings) -> list[pulumi.Resource]:
        # Not the releases' own doing: Helm leaves a namespace that it has made behind.
        namespace = kubernetes.core.v1.Namespace(
            TIGERA_NAMESPACE,
            metadata={"name": TIGERA_NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
            opts=self.kubernetes_child(protect=wanted.protect),
        )
        # Since v3.32 the operator's chart carries no CRDs: they are a chart of their own.
        crds = self._release(
            "calico-crds", settings.crds_chart, settings.version, {}, wanted.protect, after=[namespace]
        )
        operator = self._release(
            "tigera-operator",
            settings.chart,
            settings.version,
            {
                "installation": {"enabled": False},
                "apiServer": {"enabled": False},
                "goldmane": {"enabled": False},
                "whisker": {"enabled": False},
            },
            wanted.protect,
            after=[crds],
        )
        installation = kubernetes.apiextensions.CustomResource(
            "installation",
            api_version=_OPERATOR_API,
            kind="Installation",
            metadata={"name": "default"},
            spec={
                "kubernetesProvider": "EKS",
                "cni": {"type": "AmazonVPC"},
                "calicoNetwork": {"bgp": "Disabled"},
                **_override(wanted.affinity),
            },
            opts=self.kubernetes_child(after=[operator], protect=wanted.protect),
        )
        return [crds, operator, installation]

    def _release(
        self,
        name: str,
        chart: Chart,
        version: str,
        values: Mapping[str, Any],
        protect: bool,
        *,
        after: Sequence[pulumi.Resource],
    ) -> pulumi.Resource:
        repository = kubernetes.helm.v3.RepositoryOptsArgs(repo=chart.repository) if chart.repository else None
        return kubernetes.helm.v3.Release(
            name,
            name=name,
            namespace=TIGERA_NAMESPACE,
            chart=chart.name,
            repository_opts=repository,
            version=version if chart.repository else None,
            values=values,
            skip_await=True,  # the gates wait, and say what is missing
            opts=self.kubernetes_child(after=after, protect=protect),
        )

    def _bind(self, wanted: CalicoDesired) -> pulumi.Resource:
        options = self.kubernetes_child(retain_on_delete=True)
        if wanted.namespace is not None:
            return kubernetes.apps.v1.DaemonSetPatch(
                CALICO_NODE,
                metadata={"name": CALICO_NODE, "namespace": wanted.namespace, "annotations": _PATCH_ANNOTATIONS},
                spec={"template": {"spec": {"affinity": wanted.affinity}}} if wanted.affinity else None,
                opts=options,
            )
        return kubernetes.apiextensions.CustomResourcePatch(
            "installation",
            api_version=_OPERATOR_API,
            kind="Installation",
            metadata={"name": "default", "annotations": _PATCH_ANNOTATIONS},
            spec=_override(wanted.affinity) or None,
            opts=options,
        )


def _override(affinity: Mapping[str, Any] | None) -> dict[str, Any]:
    """calico-node's affinity in an Installation; typha stays free to move."""
    if affinity is None:
        return {}
    return {"calicoNodeDaemonSet": {"spec": {"template": {"spec": {"affinity": dict(affinity)}}}}}
