"""What the bridge is told: a small JSON file that the stage writes, and Cilium's own configuration in the cluster."""

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Self

from bridge.labels import LabelFilter
from bridge.names import NAME, NAMESPACE
from bridge.patterns import shown

_NUMBER_BITS: Final = 24
_CLUSTERS: Final = (255, 511)
"""Largest ids that clusters of a mesh may have."""
_FIRST: Final = 256
"""Smallest number of an identity in a cluster without an id; those below are Cilium's own."""


class InvalidOptions(ValueError):
    """The options cannot be used; the text names the field, the value and the fix."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the stage means, without its settings and facts."""

    namespace: str = NAMESPACE
    """Of Cilium's configuration, the Lease and the entries of nodes."""
    cilium_config: str = "cilium-config"
    lease: str = NAME
    node_label: str = "cni-plugin"
    """Label that says who wires the pods of a node."""
    cilium_nodes: tuple[str, ...] = ("cilium",)
    """Values of it on nodes whose pods an agent wires, or will wire: the bridge keeps away from them. Every other node
    without a CiliumNode is a legacy node."""
    node_entries: bool = False
    """Also make legacy nodes themselves `remote-node` to Cilium, instead of `world`."""
    pod_ips: bool = True
    """Believe the VPC CNI's annotation until kubelet has said a pod's address."""
    named_ports_label: bool = True
    """Whether the agents make labels of named ports, as 1.20 does."""
    listen: str = "127.0.0.1:9287"
    """Where readiness and metrics are served, a loopback address; empty: nowhere."""
    late_seconds: int = 30
    """A pod without its identity for longer makes the bridge out of step."""

    @classmethod
    def load(cls, text: str) -> Self:
        """The options in a JSON text.

        Raises:
            InvalidOptions: for the first field that cannot be used.
        """
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidOptions(f"the options are no JSON: {error}. The stage writes them: deploy it again") from None
        if not isinstance(found, dict):
            raise InvalidOptions(f"the options are {type(found).__name__}, no JSON object. Deploy the stage again")
        known = {_spelled(field.name): field for field in fields(cls)}
        values: dict[str, Any] = {}
        for key, value in found.items():
            if key not in known:
                raise InvalidOptions(f"options: {shown(key)} is not known. Known are {', '.join(sorted(known))}")
            values[known[key].name] = _checked(key, known[key].default, value)
        made = cls(**values)
        _loopback(made.listen)
        return made

    def dump(self) -> str:
        """The JSON text, always the same for the same options."""
        whole = {_spelled(field.name): getattr(self, field.name) for field in fields(self)}
        return json.dumps(whole, indent=2, sort_keys=True) + "\n"


def _spelled(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _checked(key: str, default: Any, value: Any) -> Any:
    if isinstance(default, tuple):
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise InvalidOptions(f"options: {key} is {shown(value)}. Write a list of texts")
        return tuple(value)
    if type(value) is not type(default):
        raise InvalidOptions(f"options: {key} is {shown(value)}. Write a value like {default!r}")
    if isinstance(value, str) and not value and key != "listen":
        raise InvalidOptions(f"options: {key} is empty. Write a name, or leave it out")
    if key == "lateSeconds" and not 1 <= value <= 3600:
        raise InvalidOptions(f"options: {key} is {shown(value)}. Write 1 to 3600 seconds")
    return value


def _loopback(listen: str) -> None:
    if not listen:
        return
    host, _, port = listen.rpartition(":")
    try:
        fits = ipaddress.ip_address(host.strip("[]")).is_loopback and 0 <= int(port) <= 65_535
    except ValueError:
        fits = False
    if not fits:
        raise InvalidOptions(
            f"options: listen is {shown(listen)}, no loopback address with a port. On a node's network anybody could "
            "ask: write 127.0.0.1:PORT, or leave it empty"
        )


@dataclass(frozen=True, kw_only=True)
class Cilium:
    """What of Cilium's configuration decides about identities."""

    cluster: str
    first: int
    last: int
    """The cluster's range of identities, both ends included."""
    labels: LabelFilter
    ipv4: bool
    ipv6: bool

    @classmethod
    def of(cls, config: Mapping[str, str]) -> Self:
        """Of the data of cilium-config. `bridge/refuses.py` has seen that it can be worked with.

        Raises:
            ValueError: a number is none, or a prefix in `labels` cannot be read.
        """
        most = int(config.get("max-connected-clusters") or _CLUSTERS[0])
        number = int(config.get("cluster-id") or 0)
        if most not in _CLUSTERS or not 0 <= number <= most:
            raise ValueError(f"cluster {shown(number)} of {shown(most)}: there are 0 to 255, or to 511")
        bits = _NUMBER_BITS - most.bit_length()
        return cls(
            cluster=config.get("cluster-name") or "default",
            first=number << bits if number else _FIRST,
            last=((number + 1) << bits) - 1,
            labels=LabelFilter(config.get("labels", "")),
            ipv4=config.get("enable-ipv4", "true") == "true",
            ipv6=config.get("enable-ipv6", "false") == "true",
        )
