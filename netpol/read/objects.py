"""Objects out of texts and values: lists of every kind unwrapped, each object with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import reading
from netpol.model.errors import Place, PolicyError
from netpol.read.notes import Notes
from netpol.read.reader import Reader, Whole, kind_of
from reading import List, Map, Unreadable


def load_text(text: str, file: str = "<text>", *, notes: Notes | None = None, namespace: str = "") -> list[Reader]:
    """Every object in a YAML text, lists unwrapped; objects without a namespace are in `namespace`.

    Raises PolicyError with the line of each fault, or leaves them in `notes`.
    """
    try:
        found = reading.documents(text, file, lines=True)
    except Unreadable as error:
        raise unread(error) from None
    own = notes or Notes()
    out = [
        reader
        for document in found
        for reader in objects_in(document.value, Place(file, document.line), own, namespace)
    ]
    if notes is None:
        own.fail()
    return out


def unread(error: Unreadable) -> PolicyError:
    return PolicyError(Place(error.file, error.line), "", error.reason, unreadable=True)


def from_objects(objects: Iterable[Mapping[str, Any]], name: str = "<value>", *, namespace: str = "") -> list[Reader]:
    """Readers over plain mappings, such as an API server's answers."""
    notes = Notes()
    out = [reader for item in objects for reader in objects_in(item, Place(name), notes, namespace)]
    notes.fail()
    return out


def objects_in(document: Any, place: Place, notes: Notes, namespace: str) -> Iterator[Reader]:
    """The objects in a value, lists unwrapped; what is wrong goes into the notes."""
    if not isinstance(document, Mapping):
        notes.wrong(PolicyError(place, "", f"an object is a mapping, this is {kind_of(document)}"))
        return
    kind = document.get("kind")
    if not isinstance(kind, str) or not kind.endswith("List") or ("items" not in document and kind != "List"):
        yield Reader(document, place.file, line=place.line, whole=Whole(document, namespace))
        return
    items = document.get("items") or []
    if not isinstance(items, list):
        line = document.lines.get("items", place.line) if isinstance(document, Map) else place.line
        notes.wrong(PolicyError(Place(place.file, line), "items", f"must be a list, is {kind_of(items)}"))
        return
    _not_a_page(document, place, notes)
    lines = items.lines if isinstance(items, List) else ()
    for i, item in enumerate(items):
        at = Place(place.file, lines[i] if i < len(lines) else place.line)
        yield from objects_in(_typed(item, document, kind), at, notes, namespace)


def _not_a_page(document: Mapping[str, Any], place: Place, notes: Notes) -> None:
    """A page of a list is no list: what is on the next ones would be missing in silence."""
    meta = document.get("metadata")
    if not isinstance(meta, Mapping) or not meta.get("continue"):
        return
    line = meta.lines.get("continue", place.line) if isinstance(meta, Map) else place.line
    left = meta.get("remainingItemCount")
    more = f"{left} more items" if isinstance(left, int) else "more items"
    reason = f"this is one page of a list: {more} are not in it. Get all of it: kubectl get -o yaml does"
    notes.wrong(PolicyError(Place(place.file, line), "metadata.continue", reason))


def _typed(item: Any, parent: Mapping[str, Any], kind: str) -> Any:
    """An item of a list of one kind, which need not say its kind itself."""
    if kind == "List" or not isinstance(item, Mapping) or (item.get("kind") and item.get("apiVersion")):
        return item
    out: dict[str, Any] = Map()
    out.update({"apiVersion": parent.get("apiVersion"), "kind": kind.removesuffix("List")})
    out.update((key, value) for key, value in item.items() if value is not None)
    if isinstance(item, Map) and isinstance(out, Map):
        out.line, out.lines = item.line, item.lines
    return out
