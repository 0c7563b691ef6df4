"""What a Kubernetes provider is configured with: a cluster, a namespace, and how far it may go there."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

from sandbox.plugins.child import Children
from sandbox.plugins.kubernetes.client import Client, Kubeconfig
from sandbox.plugins.kubernetes.rules import truthy
from sandbox.plugins.operation import CheckFailed, Diff, Operation, ProviderError
from sandbox.plugins.provider import Provider
from sandbox.plugins.values import Properties, differences, has_unknown

_MUTABLE = {
    "ConfigMap": ("enableConfigMapMutable", "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE"),
    "Secret": ("enableSecretMutable", "PULUMI_K8S_ENABLE_SECRET_MUTABLE"),
}


class ConfiguredProvider(Provider):
    """One configured provider: one cluster."""

    settle = 5.0
    """Seconds for which a kind that is not served yet is looked for again when an object of it is created."""

    def __init__(self) -> None:
        super().__init__("kubernetes", version="4.34.2")
        self.children = Children()
        self._lock = threading.Lock()
        self._client: Client | None = None

    def check_config(self, news: Properties) -> Properties:
        if truthy(news.get("enableServerSideApply", True)):
            return news
        raise CheckFailed({"enableServerSideApply": "the sandbox's stand-in knows server-side apply only"})

    def diff_config(self, olds: Properties, news: Properties) -> Diff:
        changes = differences(olds, news)
        return Diff(changes, self._moved(olds, news) if changes else [])

    def _moved(self, olds: Properties, news: Properties) -> list[str]:
        """The changes that mean another cluster; everything in the old one then has to be made again."""
        before, after = olds.get("clusterIdentifier"), news.get("clusterIdentifier")
        if before and after and not has_unknown(after):
            return ["clusterIdentifier"] if before != after else []
        keys = [key for key in ("kubeconfig", "context", "cluster") if olds.get(key) != news.get(key)]
        if not keys or any(has_unknown(news.get(key)) for key in keys):
            return []
        try:
            clusters = [
                Kubeconfig.load(c.get("kubeconfig"), c.get("context"), c.get("cluster")).cluster for c in (olds, news)
            ]
        except (ProviderError, OSError, ValueError):
            return []
        return keys if clusters[0] != clusters[1] else []

    def client(self) -> Client:
        """The client of the configured cluster, made at its first use: a preview may need none."""
        with self._lock:
            if self._client is None:
                get = self.config.get
                self._client = Client(Kubeconfig.load(get("kubeconfig"), get("context"), get("cluster")))
            return self._client

    def namespace(self) -> str:
        """Where objects without a namespace go."""
        return str(self.config.get("namespace") or self.client().config.namespace)

    def mutable(self) -> dict[str, bool]:
        """Kinds whose data may change in place; as upstream, ConfigMaps and Secrets are replaced unless set."""
        return {kind: self._setting(key, variable) for kind, (key, variable) in _MUTABLE.items()}

    def patch_force(self) -> bool:
        """Whether every patch takes conflicting fields over."""
        return self._setting("enablePatchForce", "PULUMI_K8S_ENABLE_PATCH_FORCE")

    def delete_unreachable(self) -> bool:
        """Whether objects of a cluster that does not answer count as gone."""
        return self._setting("deleteUnreachable", "PULUMI_K8S_DELETE_UNREACHABLE")

    def _setting(self, key: str, variable: str) -> bool:
        return truthy(self.config.get(key, os.environ.get(variable)))

    def invoke(self, op: Operation, token: str, args: Properties) -> Properties:
        if token != "kubernetes:yaml:decode":  # noqa: S105
            return super().invoke(op, token, args)
        import yaml  # noqa: PLC0415 slow, rarely used

        documents: list[Any] = [item for item in yaml.safe_load_all(args.get("text", "")) if item]
        return {"result": json.loads(json.dumps(documents, default=str))}

    def cancel(self) -> None:
        if not self.cancelled.is_set():
            self.children.kill_all()
