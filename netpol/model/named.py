"""What policies name: namespaces, which exist for those who write the policies, and address families."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass

from netpol.model.identity import NAMESPACE, NAMESPACE_LABELS
from netpol.model.selector import In, Selector, atoms
from netpol.model.values import ICMP6, CiliumService, Meta, Policy, ServiceRef

GIVEN_BY_KUBERNETES = "kubernetes.io/metadata.name"
_NAME = "projectcalico.org/name"
NAMESPACE_NAMES = frozenset(
    {
        f"pcns.{GIVEN_BY_KUBERNETES}",
        NAMESPACE_LABELS + GIVEN_BY_KUBERNETES,
        "projectcalico.org/namespace",
        f"pcns.{_NAME}",
        NAMESPACE,
    }
)
"""Keys under which an engine asks for the name of a pod's namespace."""
_KEYS = NAMESPACE_NAMES | {GIVEN_BY_KUBERNETES}


def namespaces_named(policies: Iterable[Policy]) -> set[str]:
    """The namespaces that the policies stand in, and those that their selectors and services name."""
    out: set[str] = set()
    for policy in policies:
        out |= {n for n in _names(policy, "") if n}
    return out


def names_six(value: object) -> bool:
    """Whether a policy, or any value within one, is about IPv6 by a network, a version or a protocol."""
    if isinstance(value, ipaddress.IPv6Network | ipaddress.IPv6Address):
        return True
    if isinstance(value, Selector | Meta | str):
        return False
    if isinstance(value, tuple):
        return any(map(names_six, value))
    if not is_dataclass(value):
        return False
    # Who tells versions apart has both.
    told_apart = getattr(value, "ip_version", None) is not None or getattr(value, "family", None) == 6
    protocols = (getattr(value, name, None) for name in ("protocol", "not_protocol"))
    return told_apart or ICMP6 in protocols or any(names_six(getattr(value, one.name)) for one in fields(value))


def _names(value: object, field: str) -> Iterator[str]:
    if isinstance(value, Selector):
        for atom in atoms(value):
            if isinstance(atom, In) and (atom.key in _KEYS or (atom.key == _NAME and field == "namespace_selector")):
                yield from atom.values
    elif isinstance(value, Meta | ServiceRef | CiliumService):
        yield value.namespace
    elif isinstance(value, tuple):
        for item in value:
            yield from _names(item, field)
    elif is_dataclass(value):
        for one in fields(value):
            yield from _names(getattr(value, one.name), one.name)
