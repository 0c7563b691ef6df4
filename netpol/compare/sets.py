"""Sets as integers, one bit per member: of pod classes, of packets, of peers."""

# ruff: noqa: PLR0911 - one branch per kind of value reads best

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from netpol.model.selector import All, And, Global, Has, In, Not, NotIn, Or, Selector, Text


def bits(mask: int) -> Iterator[int]:
    """The positions of the ones, ascending."""
    # Searching the digits is several times faster than arithmetic on a number of a thousand bits.
    digits = bin(mask)[:1:-1]
    at = digits.find("1")
    while at >= 0:
        yield at
        at = digits.find("1", at + 1)


Row = tuple[tuple[int, int], ...]
"""(cells, allowed peers) pairs; the cells are disjoint and cover everything."""


Product = tuple[int, int]
"""(cells, peers): every packet of these cells with every one of these peers."""


class LabelIndex:
    """Selectors answered with sets: which members carry which label."""

    def __init__(self, labels: Iterable[tuple[int, Mapping[str, str]]]) -> None:
        self._members = [(1 << member, mapping) for member, mapping in labels]
        self.full = union(bit for bit, _ in self._members)
        self._values: dict[str, dict[str, int]] = {}
        self._cache: dict[Selector, int] = {}

    def values(self, key: str) -> dict[str, int]:
        """Who carries each value of the label. Few of all labels are ever asked for."""
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = {}
            for bit, mapping in self._members:
                value = mapping.get(key)
                if value is not None:
                    found[value] = found.get(value, 0) | bit
        return found

    def find(self, selector: Selector) -> int:
        """The members that the selector matches."""
        found = self._cache.get(selector)
        if found is None:
            found = self._cache[selector] = self._find(selector)
        return found

    def _find(self, selector: Selector) -> int:
        match selector:
            case All() | Global():
                return self.full
            case Has(key):
                return union(self.values(key).values())
            case In(key, values):
                return self._one_of(key, values)
            case NotIn(key, values):
                return self.full & ~self._one_of(key, values)
            case Text(key):
                return union(m for v, m in self.values(key).items() if selector.accepts(v))
            case Not(inner):
                return self.full & ~self.find(inner)
            case And(terms):
                out = self.full
                for term in terms:
                    out &= self.find(term)
                return out
            case Or(terms):
                return union(self.find(term) for term in terms)
        raise TypeError(f"not a selector: {selector!r}")

    def _one_of(self, key: str, values: Iterable[str]) -> int:
        known = self.values(key)
        return union(known.get(v, 0) for v in values)


def union(masks: Iterable[int]) -> int:
    out = 0
    for mask in masks:
        out |= mask
    return out


def refine(parts: Iterable[int], masks: Iterable[int]) -> list[int]:
    """The coarsest partition that is finer than `parts` and than each of `masks`."""
    out = list(parts)
    for mask in masks:
        divided: list[int] = []
        for part in out:
            inside = part & mask
            if inside and inside != part:
                divided.append(inside)
                divided.append(part & ~mask)
            else:
                divided.append(part)
        out = divided
    return out


def overlay(parts: Sequence[int], others: Sequence[int]) -> list[int]:
    """The common refinement of two partitions (what lies in no part of one is left out)."""
    if len(parts) == 1:
        return [o & parts[0] for o in others if o & parts[0]]
    if set(parts) == set(others):
        return list(parts)
    names: dict[int, int] = {}
    for number, other in enumerate(others):
        for member in bits(other):
            names[member] = number
    out: list[int] = []
    for part in parts:
        divided: dict[int, int] = {}
        for member in bits(part):
            number = names.get(member, -1)
            if number >= 0:
                divided[number] = divided.get(number, 0) | 1 << member
        out += divided.values()
    return out


def merged(row: list[tuple[int, int]]) -> Row:
    """The row in its one form: equal rows are equal values."""
    by_peers: dict[int, int] = {}
    for cells, peers in row:
        by_peers[peers] = by_peers.get(peers, 0) | cells
    return tuple((cells, peers) for peers, cells in sorted(by_peers.items()))
