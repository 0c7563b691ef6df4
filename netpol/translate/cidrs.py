"""Sets of addresses as Cilium writes them: CIDRs, or CIDRs with exceptions."""

from __future__ import annotations

import ipaddress
from typing import Any

from netpol.model.ranges import IPNetwork, Ranges, to_networks
from netpol.translate.boxes import FULL


def cidr_set(ranges: Ranges, family: int, *, world: bool = True) -> list[dict[str, Any]]:
    """The addresses as CIDRs, or as one CIDR with exceptions where that is shorter.

    `world`: whether a whole family may be the one CIDR, which finds no nodes, also where other CIDRs do.
    """
    plain = to_networks(ranges, family)
    holes = to_networks(FULL[family] - ranges, family)
    best: list[dict[str, Any]] = [{"cidr": str(n)} for n in plain]
    if world and holes and len(holes) < len(plain):
        whole = "0.0.0.0/0" if family == 4 else "::/0"
        best = [{"cidr": whole, "except": [str(n) for n in holes]}]
    bounded = _bounded(ranges, family)
    if bounded is not None and not world and not bounded[0].prefixlen:
        bounded = None
    if bounded is not None and 1 + len(bounded[1]) < len(best) + sum(len(b.get("except", ())) for b in best):
        best = [{"cidr": str(bounded[0])}]
        if bounded[1]:
            best[0]["except"] = [str(n) for n in bounded[1]]
    return best


def _bounded(ranges: Ranges, family: int) -> tuple[IPNetwork, list[IPNetwork]] | None:
    """The smallest network around everything, and what to except from it."""
    first, last = ranges.spans[0][0], ranges.spans[-1][1]
    size = 32 if family == 4 else 128
    prefix = size - (first ^ last).bit_length()
    make = ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address
    network = ipaddress.ip_network(f"{make(first)}/{prefix}", strict=False)
    inside = Ranges(((int(network[0]), int(network[-1])),))
    return network, to_networks(inside - ranges, family)
