"""Exact sets of whole numbers as sorted, disjoint, non-adjacent intervals; addresses and ports are both that."""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

ADDRESS_BITS = {4: 32, 6: 128}
PORT_MAX = 65535
_DIGITS = 20


def whole(text: str, most: int) -> int | None:
    """The number that ASCII digits write; None for every other text, such as "²", and above `most`."""
    if not text.isascii() or not text.isdecimal() or len(text) > _DIGITS:
        return None
    number = int(text)
    return number if number <= most else None


@dataclass(frozen=True, slots=True)
class Ranges:
    """A set of integers; `spans` holds inclusive (first, last) pairs in order."""

    spans: tuple[tuple[int, int], ...] = ()

    @staticmethod
    def of(pairs: Iterable[tuple[int, int]]) -> Ranges:
        """The union of inclusive (first, last) pairs, in any order."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted(pairs):
            if first > last:
                continue
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return Ranges(tuple(merged))

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __contains__(self, value: int) -> bool:
        at = bisect_right(self.spans, (value, 1 << 200)) - 1
        return at >= 0 and value <= self.spans[at][1]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.spans)

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def size(self) -> int:
        return sum(last - first + 1 for first, last in self.spans)

    def __or__(self, other: Ranges) -> Ranges:
        return Ranges.of((*self.spans, *other.spans))

    def __and__(self, other: Ranges) -> Ranges:
        out: list[tuple[int, int]] = []
        mine, theirs = list(self.spans), list(other.spans)
        i = j = 0
        while i < len(mine) and j < len(theirs):
            first, last = max(mine[i][0], theirs[j][0]), min(mine[i][1], theirs[j][1])
            if first <= last:
                out.append((first, last))
            if mine[i][1] < theirs[j][1]:
                i += 1
            else:
                j += 1
        return Ranges(tuple(out))

    def __sub__(self, other: Ranges) -> Ranges:
        out: list[tuple[int, int]] = []
        for first, last in self.spans:
            start = first
            for cut_first, cut_last in other.spans:
                if cut_last < start:
                    continue
                if cut_first > last:
                    break
                if cut_first > start:
                    out.append((start, cut_first - 1))
                start = cut_last + 1
            if start <= last:
                out.append((start, last))
        return Ranges(tuple(out))


def span(network: IPNetwork) -> tuple[int, int]:
    """First and last address of a network, as integers."""
    return int(network.network_address), int(network.broadcast_address)


def of_networks(networks: Iterable[IPNetwork], family: int) -> Ranges:
    """The addresses of the networks that belong to the family (4 or 6)."""
    return Ranges.of(span(n) for n in networks if n.version == family)


def everything(family: int) -> Ranges:
    return Ranges(((0, (1 << ADDRESS_BITS[family]) - 1),))


def to_networks(ranges: Ranges, family: int) -> list[IPNetwork]:
    """The fewest networks that cover exactly these addresses, in order."""
    make: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address] = (
        ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address
    )
    out: list[IPNetwork] = []
    for first, last in ranges:
        out.extend(ipaddress.summarize_address_range(make(first), make(last)))
    return out
