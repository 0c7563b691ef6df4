"""Leaving: the bridge writes no more, and each endpoint of its own goes. What agents wrote stays; so do identities."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bridge.decide import Verb, Write
from bridge.names import LEAVING, MARKER
from bridge.options import Options
from bridge.process.lease import leaving_since
from bridge.process.requests import READS, SECONDS, carry_out
from bridge.seen import CiliumNode, Endpoint, Identity
from kube.lease import DURATION, blank, now, path
from kube.pages import pages
from kube.transport import KubeError, Obj, Response, Transport

_TRIES: Final = 5
_PAUSE: Final = 1.0
_PAGE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Left:
    """What leaving did."""

    deleted: int
    kept: tuple[str, ...]
    """Endpoints with the bridge's label that agents have taken over: they stay."""
    unused: tuple[str, ...]
    """Identities that no endpoint names any more: harmless, Cilium's operator collects them."""


def leave(
    transport: Transport, options: Options, *, seconds: float = 120.0, say: Callable[[str], None] = lambda _: None
) -> Left:
    """Take the bridge out of a cluster. May be stopped anywhere and run again.

    Args:
        seconds: for the whole.
        say: what it does, for people.

    Raises:
        KubeError: the API server refused, or it could not be done in time.
    """
    deadline = time.monotonic() + seconds
    _announce(transport, options, leaving=True)
    say("told the bridge to write no more")
    _wait_for_silence(transport, options, deadline)
    deleted = 0
    for _ in range(_TRIES):
        agents = {a for node in _all(transport, "ciliumnodes") for a in CiliumNode.of(node).addresses}
        marked = [e for e in map(Endpoint.of, _all(transport, "ciliumendpoints", labels=MARKER)) if e.marked]
        kept = [e for e in marked if e.by_agent or e.node in agents]
        ours = [e for e in marked if e not in kept]
        if not ours:
            unused = _unused(transport)
            return Left(deleted, tuple(sorted("/".join(e.key) for e in kept)), unused)
        say(f"{len(ours)} endpoints to delete")
        for endpoint in ours:
            if time.monotonic() > deadline:
                raise KubeError(0, f"not all endpoints are gone after {seconds:.0f} s. Run it again")
            write = Write(verb=Verb.DELETE, key=endpoint.key, uid=endpoint.uid, version=endpoint.version)
            deleted += carry_out(transport, write).carried_out
    raise KubeError(0, f"endpoints of the bridge come back: {_shown(ours)}. Look who writes them, and run it again")


def come_back(transport: Transport, options: Options) -> None:
    """Let the bridge write again.

    Raises:
        KubeError: the API server refused.
    """
    _announce(transport, options, leaving=False)


def _shown(endpoints: list[Endpoint]) -> str:
    return ", ".join("/".join(endpoint.key) for endpoint in endpoints[:5])


def _announce(transport: Transport, options: Options, *, leaving: bool) -> None:
    answer = Response(0, {"message": "nothing was asked"})
    for tried in range(_TRIES):
        time.sleep(min(tried, 1) * _PAUSE)
        there = transport.send("GET", path(options.namespace, options.lease), seconds=SECONDS)
        if _passing(there):
            answer = there
            continue
        if there.status == 404:
            if not leaving:
                return
            lease, method, where = blank(options.namespace, options.lease), "POST", path(options.namespace)
        else:
            lease, method, where = there.value(), "PUT", path(options.namespace, options.lease)
        if bool(leaving_since(lease)) == leaving:
            return
        annotations = {**(lease["metadata"].get("annotations") or {}), LEAVING: now()}
        if not leaving:
            del annotations[LEAVING]
        body = {**lease, "metadata": {**lease["metadata"], "annotations": annotations}}
        answer = transport.send(method, where, body=body, seconds=SECONDS)
        if answer.ok:
            return
    answer.value()


def _passing(answer: Response) -> bool:
    """Whether the same request may be answered a moment later."""
    return answer.status in (0, 429) or answer.status >= 500


def _wait_for_silence(transport: Transport, options: Options, deadline: float) -> None:
    """Until nobody holds the Lease, or its holder has not renewed it for its whole duration."""
    shown, since = "", time.monotonic()
    while True:
        answer = transport.send("GET", path(options.namespace, options.lease), seconds=SECONDS)
        if _passing(answer) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
            continue
        spec = answer.value().get("spec") or {}
        holder, renewed = str(spec.get("holderIdentity") or ""), str(spec.get("renewTime"))
        if not holder:
            return
        if renewed != shown:
            shown, since = renewed, time.monotonic()
        if time.monotonic() - since > DURATION:
            return
        if time.monotonic() > deadline:
            raise KubeError(0, f"{holder} still holds the Lease {options.namespace}/{options.lease}. Run it again")
        time.sleep(0.2)


def _all(transport: Transport, kind: str, labels: str = "") -> list[Obj]:
    def get(asked: str) -> Obj:
        return transport.send("GET", asked, seconds=_PAGE_SECONDS).value()

    query = {"labelSelector": labels} if labels else {}
    return [item for page in pages(get, READS[kind], query) for item in page.get("items") or []]


def _unused(transport: Transport) -> tuple[str, ...]:
    used = {Endpoint.of(endpoint).identity for endpoint in _all(transport, "ciliumendpoints")}
    numbers = sorted(Identity.of(identity).number for identity in _all(transport, "ciliumidentities"))
    return tuple(str(number) for number in numbers if number not in used)
