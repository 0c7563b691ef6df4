"""CustomResourceDefinitions of Cilium and Calico, read from their Go modules and never kept here."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from sandbox import toolcache
from sandbox.operators.kube import Object

CALICO_VERSION = "v3.32.1"
"""The Calico release whose CRDs the pinned Tigera operator carries."""

_AGENTS_WAIT_FOR = ("ciliumnodes", "ciliumidentities", "ciliumendpoints")
_OPERATOR_KINDS = (
    *("apiservers", "gatewayapis", "goldmanes", "imagesets", "installations", "istios"),
    *("managementclusterconnections", "tigerastatuses", "whiskers"),
)


def _definitions(files: Iterable[Path]) -> tuple[Object, ...]:
    found: list[Any] = []
    for file in sorted(files):
        found += yaml.load_all(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return tuple(item for item in found if item)


@functools.cache
def cilium_definitions() -> tuple[Object, ...]:
    """The CRDs that Cilium's operator registers when it starts; those that agents wait for come first."""
    found = _definitions(toolcache.cilium_crds())
    return tuple(sorted(found, key=lambda d: d["spec"]["names"]["plural"] not in _AGENTS_WAIT_FOR))


@functools.cache
def cilium_schema_version() -> str:
    """The version that Cilium's operator puts on its CRDs as a label."""
    module = toolcache.module_dir("github.com/cilium/cilium")
    source = (module / "pkg/k8s/apis/cilium.io/register.go").read_text()
    line = next(line for line in source.splitlines() if "CustomResourceDefinitionSchemaVersion =" in line)
    return line.split('"')[1]


def calico_files(crds: Path) -> list[Path]:
    """Files of the crd.projectcalico.org CRDs, and of the ClusterNetworkPolicy that Calico serves as well.

    `crds` is the directory that `sandbox.toolcache.tigera_crds` names.
    """
    return sorted(
        [*crds.glob("calico/v1.crd.projectcalico.org/*.yaml"), *crds.glob("calico/policy.networking.k8s.io/*.yaml")]
    )


def tigera_files(crds: Path) -> list[Path]:
    """Files of the operator.tigera.io CRDs that belong to the open-source variant."""
    found = (crds / "operator" / f"operator.tigera.io_{plural}.yaml" for plural in _OPERATOR_KINDS)
    return [file for file in found if file.exists()]


@functools.cache
def calico_definitions() -> tuple[Object, ...]:
    """The CRDs that the Tigera operator keeps up to date with `-manage-crds=true`."""
    crds = toolcache.tigera_crds()
    return _definitions([*calico_files(crds), *tigera_files(crds)])
