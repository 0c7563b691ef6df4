"""Probe pods: on every node of either kind, each ready only while it reaches the other kind and the API server."""

from collections.abc import Sequence
from typing import Any, Final

import pulumi
import pulumi_kubernetes as kubernetes

from components.common import Component, token
from migration.names import CANARY_TAINT, CILIUM_CNI, CNI_LABEL, LEGACY_CNI, SYSTEM_NAMESPACE

NAME: Final = "eks-cilium-probe"
IMAGE: Final = "registry.k8s.io/e2e-test-images/agnhost:2.53"
_PORT: Final = 8080


class Probes(Component):
    """A DaemonSet and a headless Service for each kind of node.

    The Services publish addresses that are not ready: otherwise each kind would wait for the other for ever.
    """

    def __init__(self, *, provider: pulumi.ProviderResource, after: Sequence[pulumi.Resource]) -> None:
        super().__init__(token("nodes", "Probes"), NAME, after=after, provider=provider)
        self.resources: list[pulumi.Resource] = []
        for mine, other in ((LEGACY_CNI, CILIUM_CNI), (CILIUM_CNI, LEGACY_CNI)):
            self.resources += self._probe(mine, other)
        self.register_outputs({})

    def _probe(self, mine: str, other: str) -> list[pulumi.Resource]:
        name = f"{NAME}-{mine}"
        labels = {"app.kubernetes.io/name": NAME, CNI_LABEL: mine}
        metadata: dict[str, Any] = {"name": name, "namespace": SYSTEM_NAMESPACE, "labels": labels}
        service = kubernetes.core.v1.Service(
            name,
            metadata=metadata,
            spec={
                "clusterIP": "None",
                "publishNotReadyAddresses": True,
                "selector": labels,
                "ports": [{"name": "http", "port": _PORT, "targetPort": _PORT}],
            },
            opts=self.kubernetes_child(),
        )
        targets = [f"{NAME}-{other}.{SYSTEM_NAMESPACE}:{_PORT}", "kubernetes.default:443"]
        check = " && ".join(f"/agnhost connect --timeout=2s {target}" for target in targets)
        container = {
            "name": "probe",
            "image": IMAGE,
            "args": ["netexec", f"--http-port={_PORT}"],
            "ports": [{"containerPort": _PORT}],
            "readinessProbe": {
                "exec": {"command": ["sh", "-c", check]},
                "periodSeconds": 5,
                "timeoutSeconds": 6,
                "failureThreshold": 2,
            },
            "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "capabilities": {"drop": ["ALL"]},
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
                        "containers": [container],
                    },
                },
            },
            opts=self.kubernetes_child(custom_timeouts=pulumi.CustomTimeouts(create="10m")),
        )
        return [service, pods]
