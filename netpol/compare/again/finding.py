"""Which selectors may match some labels, and which members of a growing set a selector matches, without asking all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from netpol.compare.sets import LabelIndex
from netpol.model.named import NAMESPACE_NAMES
from netpol.model.selector import And, In, Or, Selector

K = TypeVar("K")
_MOST_HANDLES = 32
Handles = tuple[tuple[str, str], ...]


class GrowingIndex(LabelIndex):
    """A label index whose members come and go. The number of a member that has gone is not used again."""

    def __init__(self) -> None:
        super().__init__(())

    def add(self, member: int, labels: Mapping[str, str]) -> None:
        bit = 1 << member
        self._members.append((bit, labels))
        self.full |= bit
        for key, known in self._values.items():
            value = labels.get(key)
            if value is not None:
                known[value] = known.get(value, 0) | bit
        self._cache.clear()

    def drop(self, members: int) -> None:
        """Take members away. Whoever asks for a label still sees them: `find` alone speaks for those that are left."""
        self.full &= ~members
        self._cache.clear()

    def find(self, selector: Selector) -> int:
        return super().find(selector) & self.full


class Finder(Generic[K]):
    """Things with selectors, found by a label that a match needs to have."""

    def __init__(self) -> None:
        self._by_label: dict[tuple[str, str], dict[K, None]] = {}
        self._general: dict[K, None] = {}

    def add(self, thing: K, selectors: Iterable[Selector] | None) -> None:
        """`selectors`: one of them has to match; None: the thing may match whatever the labels are."""
        for shelf in self._shelves(selectors):
            shelf[thing] = None

    def drop(self, thing: K, selectors: Iterable[Selector] | None) -> None:
        for shelf in self._shelves(selectors):
            shelf.pop(thing, None)

    def _shelves(self, selectors: Iterable[Selector] | None) -> Iterator[dict[K, None]]:
        handles: list[tuple[str, str]] = []
        for selector in selectors or ():
            some = handles_of(selector)
            if some is None:
                selectors = None
                break
            handles += some
        if selectors is None:
            yield self._general
        for handle in handles if selectors is not None else ():
            yield self._by_label.setdefault(handle, {})

    def candidates(self, labels: Mapping[str, str]) -> dict[K, None]:
        """The things that may match these labels."""
        out = dict(self._general)
        for item in labels.items():
            out.update(self._by_label.get(item, {}))
        return out


def handles_of(selector: Selector) -> Handles | None:
    """Labels of which a match has at least one; None where there is no such list, or a long one."""
    match selector:
        case In(key, values):
            return tuple((key, v) for v in values) if len(values) <= _MOST_HANDLES else None
        case And(terms):
            found = [h for h in map(handles_of, terms) if h is not None]
            # A namespace tells more apart than most labels do.
            return min(found, key=lambda h: (bool(h) and h[0][0] not in NAMESPACE_NAMES, len(h)), default=None)
        case Or(terms):
            parts = [handles_of(term) for term in terms]
            out = [handle for part in parts if part is not None for handle in part]
            return tuple(out) if None not in parts and len(out) <= _MOST_HANDLES else None
    return None
