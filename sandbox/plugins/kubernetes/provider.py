"""The plugin `pulumi-resource-kubernetes`: every kind by its token, patches, Helm releases."""

from __future__ import annotations

from sandbox.plugins.kubernetes.configured import ConfiguredProvider
from sandbox.plugins.kubernetes.objects import KubernetesObject, KubernetesPatch
from sandbox.plugins.provider import serve
from sandbox.plugins.resource import Resource

RELEASE = "kubernetes:helm.sh/v3:Release"


class KubernetesProvider(ConfiguredProvider):
    """The Kubernetes provider: which type a token is."""

    def __init__(self) -> None:
        super().__init__()
        self._objects, self._patches = KubernetesObject(self), KubernetesPatch(self)

    def resource(self, token: str) -> Resource:
        parts = token.split(":")
        if token == RELEASE:
            from sandbox.plugins.kubernetes.helm_release import Release  # noqa: PLC0415 - most programs need it not

            return Release(self)
        if len(parts) != 3 or parts[1].startswith(("helm.sh/", "yaml/", "kustomize/")):
            return super().resource(token)
        return self._patches if parts[2].endswith("Patch") else self._objects


def main() -> None:
    serve(KubernetesProvider())


if __name__ == "__main__":
    main()
