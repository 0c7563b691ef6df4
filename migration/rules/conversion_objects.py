"""Small questions to the objects of a Calico that the Tigera operator has not installed. Pure."""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, Final

Obj = dict[str, Any]
KUBERNETES_OWN: Final = frozenset(
    {
        "deprecated.daemonset.template.generation",
        "deployment.kubernetes.io/revision",
        "scheduler.alpha.kubernetes.io/critical-pod",
    }
)
"""Annotations that Kubernetes itself sets."""


def first_pool(pools: Iterable[Obj], family: int) -> tuple[Obj | None, Obj | None]:
    """The pool that the operator takes of a family, and one that it falls over on its way there."""
    ordered = list(pools)
    for wanted in ("default-ipv", ""):
        for pool in ordered:
            cidr = str(spec_of(pool).get("cidr") or "")
            try:
                network = ipaddress.ip_interface(cidr if "/" in cidr else "no length").network
            except ValueError:
                return None, pool
            if network.version == family and pool["metadata"]["name"].startswith(wanted):
                return pool, None
    return None, None


def spec_of(obj: Obj) -> Obj:
    found: Obj = obj.get("spec") or {}
    return found


def pod_of(workload: Obj) -> Obj:
    pod: Obj = workload["spec"]["template"].get("spec") or {}
    return pod


def container_of(pod: Obj, name: str) -> Obj | None:
    containers = [*(pod.get("containers") or []), *(pod.get("initContainers") or [])]
    return next((c for c in containers if c["name"] == name), None)


def entry_of(container: Obj, variable: str) -> Obj | None:
    return next((e for e in container.get("env") or [] if e["name"] == variable), None)


def unexpected(metadata: Mapping[str, Any], allowed: tuple[str, str] | None = None) -> list[str]:
    """Annotations that the operator does not look past."""
    return [
        key
        for key, value in (metadata.get("annotations") or {}).items()
        if key not in KUBERNETES_OWN and not key.startswith("kubectl.kubernetes.io") and (key, value) != allowed
    ]
