"""What the prover is told: a small JSON file that the stage writes. What is live is read in the cluster."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Self

from netpol.model.accepted import Accepted
from netpol.model.errors import PolicyError
from netpol.model.ranges import IPNetwork
from netpol.model.world import Engine, Recognition
from netpol.read.accepted import accepted_in
from prover.names import NAME, NAMESPACE, PROOF
from prover.places import CILIUM, LEGACY, Kind, Moment
from reading import brief

_AGAIN: Final = "The stage writes them: deploy it again"


class InvalidOptions(ValueError):
    """The options cannot be used; the text names the field, the value and the fix."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the stage means, without its settings and facts."""

    moments: tuple[Moment, ...] = ()
    """The mixtures of nodes that are compared with how it was before."""
    before: frozenset[Engine] = frozenset({Engine.CALICO})
    """Who enforced policy everywhere before the journey."""
    namespace: str = NAMESPACE
    """Of Cilium's configuration, the Leases and what is published."""
    cilium_config: str = "cilium-config"
    lease: str = NAME
    proof: str = PROOF
    """ConfigMap in which it publishes; it has to be there."""
    bridge: str = ""
    """Lease of the identity bridge, which has to be in step; empty: there is none."""
    node_label: str = "cni-plugin"
    """Label that says who wires the pods of a node."""
    cilium_nodes: tuple[str, ...] = ("cilium",)
    """Values of it on nodes whose pods Cilium wires."""
    calico_version: tuple[int, int] = (3, 32)
    """Where the one that runs does not tell its own."""
    cilium_version: tuple[int, int] = (1, 20)
    pod_blocks: tuple[IPNetwork, ...] = ()
    """Where pods may be."""
    accepted: tuple[Mapping[str, Any], ...] = ()
    """Differences that somebody accepts, as `policies/accepted.yaml` has them."""
    listen: str = "127.0.0.1:9288"
    """Where readiness and metrics are served, a loopback address; empty: nowhere."""
    late_seconds: int = 30
    """A bridge that is out of step for longer makes the verdict *different*."""

    def excepted(self) -> tuple[Accepted, ...]:
        """The accepted differences as values."""
        return accepted_in({"accepted": list(self.accepted)}, "options") if self.accepted else ()

    @classmethod
    def load(cls, text: str) -> Self:
        """The options in a JSON text.

        Raises:
            InvalidOptions: for the first field that cannot be used.
        """
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidOptions(f"the options are no JSON: {error}. {_AGAIN}") from None
        if not isinstance(found, dict):
            raise InvalidOptions(f"the options are {type(found).__name__}, no JSON object. {_AGAIN}")
        known = {_spelled(field.name): field.name for field in fields(cls)}
        values: dict[str, Any] = {}
        for key, value in found.items():
            if key not in known:
                raise InvalidOptions(f"options: {brief(key)} is not known. Known are {', '.join(sorted(known))}")
            try:
                values[known[key]] = _READ[known[key]](value)
            except (TypeError, ValueError, KeyError, AttributeError) as error:
                raise InvalidOptions(f"options: {key} is {brief(value)}: {error}. {_AGAIN}") from None
        made = cls(**values)
        try:
            made.excepted()
        except PolicyError as error:
            raise InvalidOptions(f"options: accepted: {error}. Correct policies/accepted.yaml, and deploy") from None
        return made

    def dump(self) -> str:
        """The JSON text, always the same for the same options."""
        whole = {_spelled(field.name): _plain(getattr(self, field.name)) for field in fields(self)}
        return json.dumps(whole, indent=2, sort_keys=True) + "\n"


def _spelled(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _plain(value: Any) -> Any:  # noqa: PLR0911 - a line for each kind of value
    match value:
        case Moment():
            return {"name": value.name, "nodes": {kind: _plain(how) for kind, how in sorted(value.kinds.items())}}
        case Kind():
            return {"engines": sorted(value.engines), "recognised": str(value.recognised)}
        case frozenset():
            return sorted(value)
        case (int(), int()):
            return ".".join(map(str, value))
        case tuple():
            return [_plain(item) for item in value]
        case Mapping() | str() | int():
            return value
    return str(value)


def _moment(value: Any) -> Moment:
    nodes = value["nodes"]
    if not nodes or nodes.keys() - {LEGACY, CILIUM}:
        raise ValueError(f"nodes are {LEGACY} and {CILIUM}")
    kinds = {
        kind: Kind(engines=_engines(how["engines"]), recognised=Recognition(how["recognised"]))
        for kind, how in nodes.items()
    }
    return Moment(name=_text(value["name"]), kinds=kinds)


def _engines(value: Any) -> frozenset[Engine]:
    return frozenset(Engine(item) for item in _list(value))


def _version(value: Any) -> tuple[int, int]:
    first, second = _text(value).split(".")
    return int(first), int(second)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("write a text")
    return value


def _words(value: Any) -> str:
    return value if value == "" else _text(value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("write a list")  # noqa: TRY004 - told as every other fault
    return value


def _seconds(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 3600:
        raise ValueError("write 1 to 3600 seconds")
    return value


def _loopback(value: Any) -> str:
    if value == "":
        return ""
    host, _, port = _text(value).rpartition(":")
    if not ipaddress.ip_address(host.strip("[]")).is_loopback or not 0 <= int(port) <= 65_535:
        raise ValueError("on a node's network anybody could ask: write 127.0.0.1:PORT, or leave it empty")
    return str(value)


def _mappings(value: Any) -> tuple[Mapping[str, Any], ...]:
    found = _list(value)
    if not all(isinstance(item, dict) for item in found):
        raise ValueError("write a list of mappings")
    return tuple(found)


_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "moments": lambda value: tuple(map(_moment, _list(value))),
    "before": _engines,
    "namespace": _text,
    "cilium_config": _text,
    "lease": _text,
    "proof": _text,
    "bridge": _words,
    "node_label": _text,
    "cilium_nodes": lambda value: tuple(map(_text, _list(value))),
    "calico_version": _version,
    "cilium_version": _version,
    "pod_blocks": lambda value: tuple(ipaddress.ip_network(_text(item)) for item in _list(value)),
    "accepted": _mappings,
    "listen": _loopback,
    "late_seconds": _seconds,
}
