"""`policies/accepted.yaml`: differences that somebody accepts, as values, or every fault with its line."""

from __future__ import annotations

from datetime import date
from typing import Any

import reading
from netpol.model.accepted import CLOSES, OPENS, Accepted, AcceptedSide
from netpol.model.errors import Place, PolicyError
from netpol.model.ranges import PORT_MAX, Ranges, whole
from netpol.model.values import PROTOCOLS, WITH_PORTS
from netpol.read.common import selector_of
from netpol.read.objects import unread
from netpol.read.reader import Reader, taken
from reading import brief

_BY_NAME = {name.lower(): number for name, number in PROTOCOLS.items()}
_SHORTEST = 10
"""Characters of a reason: fewer say nothing to whoever reads it next year."""


def accepted(text: str, file: str = "<text>") -> tuple[Accepted, ...]:
    """The accepted differences in a file's text; none in an empty one. Raises PolicyError with every fault."""
    try:
        found = reading.documents(text, file, lines=True)
    except reading.Unreadable as error:
        raise unread(error) from None
    out: list[Accepted] = []
    for document in found:
        if document.value is None:
            continue
        out += accepted_in(document.value, file, document.line)
    return tuple(out)


def accepted_in(value: Any, file: str = "<value>", line: int = 0) -> tuple[Accepted, ...]:
    """The accepted differences in the value of a document. Raises PolicyError with every fault."""
    if not isinstance(value, dict):
        raise PolicyError(Place(file, line), "", "must be a mapping with the one field `accepted`")
    return taken(Reader(value, file, line=line), _all)


def _all(reader: Reader) -> tuple[Accepted, ...]:
    found = reader.each("accepted", _one)
    reader.done()
    return found


def _one(reader: Reader, _: int) -> Accepted:
    reason, who = reader.text("reason"), reader.text("who")
    if len(reason.strip()) < _SHORTEST:
        reader.wrong("say in a sentence why the difference is no harm", "reason")
    if not who.strip():
        reader.wrong("say who accepts it", "who")
    source, destination = _side(reader, "from"), _side(reader, "to")
    out = Accepted(
        reason=" ".join(reason.split()),
        who=" ".join(who.split()),
        until=_until(reader),
        source=source,
        destination=destination,
        protocol=_protocol(reader),
        ports=Ranges.of(reader.items("ports", lambda i, item: _port(reader, i, item))),
        change=reader.text("change", "", choices=("", CLOSES, OPENS)),
        place=reader.place(),
    )
    if out.ports and out.protocol not in WITH_PORTS:
        reader.wrong("ports need protocol TCP, UDP or SCTP", "ports")
    if source == destination == AcceptedSide():
        reader.wrong("say which flows are meant: from, to, or both", "to")
    reader.done()
    return out


def _side(reader: Reader, key: str) -> AcceptedSide:
    child = reader.child(key)
    if child is None:
        return AcceptedSide()
    pods = child.child("podSelector")
    out = AcceptedSide(
        namespace=child.text("namespace", ""),
        labels=None if pods is None else selector_of(pods),
        nets=child.networks("nets"),
        nodes=child.flag("nodes"),
    )
    if out.nodes and out.of_pods:
        child.wrong("an end is a node or a pod: leave one of them out", "nodes")
    child.done()
    return out


def _until(reader: Reader) -> date:
    value: Any = reader.raw("until")
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        reader.wrong(f"{'is required' if value is None else brief(value)}: the last day, as 2027-06-30", "until")
        return date.min


def _protocol(reader: Reader) -> int | None:
    value = reader.raw("protocol")
    if value is None:
        return None
    number = _BY_NAME.get(value.lower(), whole(value, 255)) if isinstance(value, str) else value
    if isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= 255:
        return number
    reader.wrong(f"{brief(value)} is not a number 1-255 or one of {', '.join(PROTOCOLS)}", "protocol")
    return None


def _port(reader: Reader, index: int, item: Any) -> tuple[int, int]:
    text = str(item) if isinstance(item, int) and not isinstance(item, bool) else item
    if isinstance(text, str):
        first, colon, last = text.partition(":")
        low, high = whole(first, PORT_MAX), whole(last if colon else first, PORT_MAX)
        if low and high is not None and low <= high:
            return low, high
    raise reader.item_error("ports", index, f"{brief(item)} is not a port or a range 'a:b' within 1-{PORT_MAX}")
