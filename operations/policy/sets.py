"""Sets of addresses from AWS's published ranges (ip-ranges.json), as Calico and as Cilium hold them.

The file names services and regions. Everything that AWS has is `AMAZON`; what is in no narrower service is there alone,
most APIs among it. `EC2` is what instances have, anybody's: it is left out of every set.
Source: AWS, VPC user guide, "AWS IP address ranges".
"""

import argparse
import difflib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import reading
from netpol.compare.sizes import MOST_ENTRIES, Size
from netpol.model.ranges import IPNetwork, of_networks, to_networks
from operations.exits import UsageError
from operations.say import say

SET_LABEL: Final = "eks-cilium.io/set"
"""Label of a GlobalNetworkSet by which Calico's rules find it; Cilium's name the group."""
INSTANCES: Final = "EC2"
WITHIN_AMAZON: Final[Mapping[str, str]] = {
    "STS": "pods that take a role by a service account (IRSA) ask it for credentials; EKS Pod Identity does not",
    "ECR": "its API is asked by pods that push or list images; kubelet pulls from the node, which no pod policy meets",
    "EKS": "its API, and the cluster's public endpoint, if pods use it instead of the Service kubernetes.default",
}
"""Services without a name of their own in the file → who needs them."""
_FAMILIES: Final = {4: ("prefixes", "ip_prefix"), 6: ("ipv6_prefixes", "ipv6_prefix")}


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """One line of the published file."""

    network: IPNetwork
    region: str
    service: str


@dataclass(frozen=True, kw_only=True)
class AddressSet:
    """Addresses under a name."""

    name: str
    networks: tuple[IPNetwork, ...]
    """Disjoint, and as few as hold exactly these addresses."""
    listed: int
    """Prefixes of the file that were chosen, before others were left out and the rest put together."""
    made: str
    """When AWS made the file, as the file says it."""

    @property
    def size(self) -> Size:
        """What one rule about the set takes of an endpoint's policy map, for each piece of its ports."""
        return Size(
            what="entries of a policy map for each rule without ports",
            count=len(self.networks),
            most=MOST_ENTRIES,
            where=f"set {self.name}",
            fix="choose fewer services or regions",
        )

    def calico(self) -> dict[str, Any]:
        return {
            "apiVersion": "crd.projectcalico.org/v1",
            "kind": "GlobalNetworkSet",
            "metadata": {"name": self.name, "labels": {SET_LABEL: self.name}},
            "spec": {"nets": [str(n) for n in self.networks]},
        }

    def cilium(self) -> dict[str, Any]:
        return {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumCIDRGroup",
            "metadata": {"name": self.name},
            "spec": {"externalCIDRs": [str(n) for n in self.networks]},
        }


def prefixes(text: str, file: str) -> tuple[tuple[Prefix, ...], str]:
    """Every prefix of a published file, and when it was made.

    Raises:
        UsageError: it is no such file; names the place.
        reading.Unreadable: it is no JSON.
    """
    read = reading.json_value(text, file)
    if not isinstance(read, dict):
        raise UsageError(f"{file}: no object at its top. Take https://ip-ranges.amazonaws.com/ip-ranges.json")
    found = []
    for family, (lists, key) in _FAMILIES.items():
        lines = read.get(lists)
        if not isinstance(lines, list):
            raise UsageError(f"{file}: `{lists}` is missing. Take https://ip-ranges.amazonaws.com/ip-ranges.json")
        for number, line in enumerate(lines):
            found.append(_prefix(line, key, family, f"{file}: {lists}[{number}]"))
    return tuple(found), str(read.get("createDate") or "at a time that it does not say")


def _prefix(line: Any, key: str, family: int, place: str) -> Prefix:
    if not isinstance(line, dict) or not all(isinstance(line.get(k), str) for k in (key, "region", "service")):
        raise UsageError(f"{place}: expected texts {key}, region and service. Take the file anew")
    try:
        network = ipaddress.ip_network(line[key])
    except ValueError as error:
        raise UsageError(f"{place}: {reading.brief(line[key])} is no network: {error}. Take the file anew") from None
    if network.version != family:
        raise UsageError(f"{place}: {network} is not of IPv{family}. Take the file anew")
    return Prefix(network=network, region=line["region"], service=line["service"])


def chosen(
    known: Sequence[Prefix],
    *,
    name: str,
    services: Sequence[str],
    regions: Sequence[str],
    without: Sequence[IPNetwork] = (),
    families: Sequence[int] = (4,),
    made: str = "",
) -> AddressSet:
    """The addresses of some services in some regions, but those of instances and of `without`.

    Raises:
        UsageError: the file knows no such service or region, or nothing is left.
    """
    for what, asked, there in (
        ("service", services, {p.service for p in known}),
        ("region", regions, {p.region for p in known}),
    ):
        for one in asked:
            if one not in there:
                near = difflib.get_close_matches(one, sorted(there), 3, 0.4) or sorted(there)[:8]
                raise UsageError(f"--{what} {one}: the file knows no such {what}. It knows {', '.join(near)}")
    if INSTANCES in services:
        raise UsageError(
            f"--service {INSTANCES}: these are the addresses of everybody's instances, not of an API, and are left out "
            "of every set. Name the services that are meant"
        )
    wanted = [p for p in known if p.service in services and p.region in regions and p.network.version in families]
    networks: list[IPNetwork] = []
    for family in families:
        left = of_networks((p.network for p in wanted), family)
        left -= of_networks((p.network for p in known if p.service == INSTANCES), family)
        left -= of_networks(without, family)
        networks += to_networks(left, family) if left else []
    if not networks:
        raise UsageError(
            f"nothing is left of {', '.join(services)} in {', '.join(regions)}: {len(wanted)} prefixes, all of which "
            f"{INSTANCES} has as well, or --except names. Choose other services or regions"
        )
    return AddressSet(name=name, networks=tuple(networks), listed=len(wanted), made=made)


# -- the command ------------------------------------------------------------------------------------


def answer(arguments: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    """Exit code and what is told in JSON.

    Raises:
        UsageError: an argument or the file cannot be used, or the set does not fit into a policy map.
    """
    known, made = prefixes(reading.text_of(arguments.aws_ranges, MOST_BYTES), str(arguments.aws_ranges))
    found = chosen(
        known,
        name=arguments.name,
        services=arguments.service,
        regions=arguments.region,
        without=[_network(text) for text in arguments.without],
        families=[int(f) for f in arguments.families.split(",")],
        made=made,
    )
    if found.size.over:
        raise UsageError(f"{found.size}: Cilium would not enforce all of it. {found.size.fix}")
    say(f"{found.listed} prefixes, made {found.made}, without {INSTANCES} and put together: {found.size}")
    if "AMAZON" in arguments.service:
        for service, why in WITHIN_AMAZON.items():
            say(f"in it, without a name of its own: {service}: {why}")
        say(
            "not in it: interface endpoints of your VPC, whose addresses are the VPC's. What pods need of the above, "
            "let them reach there, or leave its addresses out with --except"
        )
    written = _write(found, arguments.out) if arguments.out else []
    if not written:
        say(reading.dump_all([found.calico(), found.cilium()]))
    return 0, {
        "set": found.name,
        "prefixes": found.listed,
        "networks": [str(n) for n in found.networks],
        "entries": found.size.count,
        "mostEntries": found.size.most,
        "written": [str(path) for path in written],
    }


MOST_BYTES: Final = 32 * 1024 * 1024
"""The published file has about 2 MB."""


def _network(text: str) -> IPNetwork:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise UsageError(f"--except {reading.brief(text)}: {error}. Write a network, such as 192.0.2.0/24") from None


def _write(found: AddressSet, directory: Path) -> list[Path]:
    """The files, written anew: a set of the same name is what is brought up to date."""
    written = []
    for engine, manifest in (("calico", found.calico()), ("cilium", found.cilium())):
        path = directory / engine / f"set.{found.name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        head = f"# Made by `policy sets` from AWS's ranges of {found.made}; make it anew when AWS publishes others.\n"
        path.write_text(head + reading.dump(manifest), encoding="utf-8")
        written.append(path)
    return written
