"""Probe pods: on every node of either kind, each ready only while it reaches the other kind and the API server."""

from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components.cluster import Cluster
from components.common import Component, token
from components.deploy import Deploy
from migration.journeys import Piece
from migration.names import CANARY_TAINT, CILIUM_CNI, CNI_LABEL, LEGACY_CNI, PROBE, PROBE_PORT, SYSTEM_NAMESPACE
from migration.settings import Settings

_LABELS = {"app.kubernetes.io/name": PROBE}


def probes(deploy: Deploy, cluster: Cluster, *, after: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
    """The probes, while there are nodes of both kinds."""
    if Piece.PROBES not in deploy.wanted.pieces:
        return []
    return Probes(deploy.settings, provider=cluster.provider, after=after).resources


class Probes(Component):
    """A DaemonSet and a headless Service for each kind of node, and a policy for both.

    The Services publish addresses that are not ready: otherwise each kind would wait for the other for ever.
    """

    def __init__(
        self, settings: Settings, *, provider: pulumi.ProviderResource, after: Sequence[pulumi.Resource]
    ) -> None:
        super().__init__(token("nodes", "Probes"), PROBE, after=after, provider=provider)
        self._image = settings.probes.image
        blocks = () if settings.bridge.enabled else settings.network.vpc_cidrs
        self._policy = self._closed([str(block) for block in blocks])
        self.resources: list[pulumi.Resource] = [self._policy]
        for mine, other in ((LEGACY_CNI, CILIUM_CNI), (CILIUM_CNI, LEGACY_CNI)):
            self.resources += self._probe(mine, other)
        self.register_outputs({})

    def _closed(self, blocks: Sequence[str]) -> pulumi.Resource:
        """Nothing but what a probe tries is let through.

        Without the bridge the VPC's blocks stand beside the label: a pod on a legacy node is an address to Cilium.
        With it they would be a difference: blocks find pods for Calico, and none for Cilium.
        """
        probes = [{"podSelector": {"matchLabels": _LABELS}}, *({"ipBlock": {"cidr": block}} for block in blocks)]
        answering = [{"protocol": "TCP", "port": PROBE_PORT}]
        asking = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
        return kubernetes.networking.v1.NetworkPolicy(
            PROBE,
            metadata={"name": PROBE, "namespace": SYSTEM_NAMESPACE, "labels": _LABELS},
            spec={
                "podSelector": {"matchLabels": _LABELS},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": probes, "ports": answering}],
                # Where names are resolved and the API server answers differs from cluster to cluster.
                "egress": [
                    {"to": probes, "ports": answering},
                    {"ports": [*asking, {"protocol": "TCP", "port": 443}]},
                ],
            },
            opts=self.kubernetes_child(),
        )

    def _probe(self, mine: str, other: str) -> list[pulumi.Resource]:
        name = f"{PROBE}-{mine}"
        labels = {**_LABELS, CNI_LABEL: mine}
        metadata: dict[str, Any] = {"name": name, "namespace": SYSTEM_NAMESPACE, "labels": labels}
        service = kubernetes.core.v1.Service(
            name,
            metadata=metadata,
            spec={
                "clusterIP": "None",
                "publishNotReadyAddresses": True,
                "selector": labels,
                "ports": [{"name": "tcp", "port": PROBE_PORT, "targetPort": PROBE_PORT}],
            },
            opts=self.kubernetes_child(),
        )
        targets = [f"{PROBE}-{other}.{SYSTEM_NAMESPACE}:{PROBE_PORT}", "kubernetes.default:443"]
        check = " && ".join(f"/agnhost connect --timeout=2s {target}" for target in targets)
        container = {
            "name": "probe",
            "image": self._image,
            # Accepts a connection, writes the pod's name and closes: no request is ever read. Its sister `netexec`
            # runs whatever anybody asks it to (test/images/agnhost, Kubernetes 1.34).
            "args": ["serve-hostname", "--http=false", "--tcp", f"--port={PROBE_PORT}"],
            "ports": [{"containerPort": PROBE_PORT}],
            "readinessProbe": {
                "exec": {"command": ["sh", "-c", check]},
                "periodSeconds": 5,
                "timeoutSeconds": 6,
                "failureThreshold": 2,
            },
            "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        }
        pods = kubernetes.apps.v1.DaemonSet(
            name,
            metadata=metadata,
            spec={
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "nodeSelector": {CNI_LABEL: mine},
                        "tolerations": [{"key": CANARY_TAINT, "operator": "Exists"}],
                        "automountServiceAccountToken": False,
                        # It waits for a minute after SIGTERM otherwise, and holds nothing that could be lost.
                        "terminationGracePeriodSeconds": 1,
                        "containers": [container],
                    },
                },
            },
            opts=self.kubernetes_child(after=[self._policy], custom_timeouts=pulumi.CustomTimeouts(create="10m")),
        )
        return [service, pods]
