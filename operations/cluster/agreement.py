"""Whether an object in the cluster says the same as a file: what the API server fills in is no difference. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from kube.transport import Obj
from migration.manifests import Manifest
from operations.cluster import objects

METADATA: Final = frozenset({"apiVersion", "kind", "metadata", "status"})
CALICO_OWN_TIERS: Final = frozenset(
    {"default", "kube-admin", "kube-baseline", "adminnetworkpolicy", "baselineadminnetworkpolicy", "allow-tigera"}
    | {"calico-system"}
)
"""Tiers that Calico or its operator makes itself (calico v3.32)."""
CALICO_OWN_NAMESPACES: Final = frozenset({"calico-system", "calico-apiserver", "tigera-operator"})


def with_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    """A value as the API server stores it: nulls dropped, defaults of the CRD's schema filled in."""
    if isinstance(value, Mapping):
        properties = schema.get("properties") or {}
        more = schema.get("additionalProperties")
        more = more if isinstance(more, Mapping) else {}
        full = {k: with_defaults(v, properties.get(k, more)) for k, v in value.items() if v is not None}
        for key, child in properties.items():
            if key not in full and "default" in child:
                full[key] = child["default"]
        return full
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items") or {}) for item in value]
    return value


def schema_of(crd: Obj | None, api_version: str) -> Mapping[str, Any]:
    """The schema of one version of a CRD; empty when it has none."""
    version = api_version.rsplit("/", 1)[-1]
    for served in ((crd or {}).get("spec") or {}).get("versions") or []:
        if served["name"] == version:
            found: Mapping[str, Any] = (served.get("schema") or {}).get("openAPIV3Schema") or {}
            return found
    return {}


def differences(manifest: Manifest, live: Obj, schema: Mapping[str, Any]) -> list[str]:
    """Paths at which a live object differs from its file; empty when it does not. It may have more labels."""
    labels = objects.labels(objects.as_calico_reads(live))
    unlike = [f"metadata.labels.{key}" for key, value in sorted(manifest.labels.items()) if labels.get(key) != value]
    rules = schema.get("properties") or {}
    wanted = with_defaults(dict(manifest.body), {"properties": {k: v for k, v in rules.items() if k not in METADATA}})
    found = with_defaults({k: v for k, v in live.items() if k not in METADATA}, {})
    return [*unlike, *_unequal(wanted, found, "")]


def _unequal(wanted: Any, found: Any, path: str) -> Iterator[str]:
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key in sorted(wanted.keys() | found.keys(), key=str):
            here = f"{path}.{key}" if path else str(key)
            if key not in wanted or key not in found:
                yield here
            else:
                yield from _unequal(wanted[key], found[key], here)
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, (a, b) in enumerate(zip(wanted, found, strict=True)):
            yield from _unequal(a, b, f"{path}.{index}")
    elif wanted != found:
        yield path or "."


def key_of(kind: str, obj: Obj) -> str:
    """The key that `Manifest.key` gives the same object."""
    place = f"{objects.namespace(obj)}/" if objects.namespace(obj) else ""
    return f"{kind}/{place}{objects.name(obj)}"


def made_by_calico(kind: str, obj: Obj) -> bool:
    """Whether Calico or its operator made an object for itself."""
    if kind == "Tier":
        return objects.name(obj) in CALICO_OWN_TIERS
    owners: Iterable[Obj] = objects.as_calico_reads(obj)["metadata"].get("ownerReferences") or []
    return objects.namespace(obj) in CALICO_OWN_NAMESPACES or any(
        str(o.get("apiVersion", "")).startswith("operator.tigera.io/") for o in owners
    )
