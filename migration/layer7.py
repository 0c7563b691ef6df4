"""Policies that only Cilium's proxy can enforce. Pure.

Without the proxy (`l7Proxy: false`) agents refuse such a policy as a whole, the plain rules in it too
(pkg/policy, Cilium 1.20): what it was to allow is cut off, what it was to deny is open.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from migration.manifests import Manifest
from migration.settings import Settings

_DIRECTIONS: Final = ("ingress", "ingressDeny", "egress", "egressDeny")


def lacking_proxy(settings: Settings, manifests: Iterable[Manifest]) -> list[Manifest]:
    """Policies that need the proxy, where the settings switch it off."""
    if settings.cilium.values.get("l7Proxy") not in {False, "false"}:
        return []
    return [manifest for manifest in manifests if any(map(_needs_proxy, _rules(manifest.body)))]


def _rules(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    several = body.get("specs")
    for spec in (body.get("spec"), *(several if isinstance(several, list) else ())):
        for direction in _DIRECTIONS if isinstance(spec, Mapping) else ():
            found = spec.get(direction)
            yield from (rule for rule in found if isinstance(rule, Mapping)) if isinstance(found, list) else ()


def _needs_proxy(rule: Mapping[str, Any]) -> bool:
    if rule.get("toFQDNs"):
        return True
    ports = rule.get("toPorts")
    found = [port for port in ports if isinstance(port, Mapping)] if isinstance(ports, list) else []
    return any(port.get(key) for port in found for key in ("rules", "listener", "terminatingTLS", "originatingTLS"))
