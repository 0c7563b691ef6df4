"""Whose turn it is: a Lease in the cluster that one of several replicas holds and renews.

Whoever holds it stops writing well before another one may take it. Times are compared on one machine only: another
one's clock says nothing here, but a Lease that did not change for its whole duration has been given up.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from kube.transport import Obj, Transport

DURATION: Final = 8.0
"""Seconds without a renewal after which somebody else may take it."""
RENEWAL: Final = 2.0
"""Seconds between two renewals, or two looks at somebody else's."""
TRUST: Final = 5.0
"""Seconds after the beginning of a renewal for which its holder writes."""
REQUEST: Final = 2.0


def path(namespace: str, name: str = "") -> str:
    """Of one Lease, or of all in a namespace."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace)}/leases" + (f"/{quote(name)}" if name else "")


def now() -> str:
    """As `renewTime` is written."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def blank(namespace: str, name: str) -> Obj:
    """A Lease that nobody holds."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {},
    }


def beside(lease: Obj, annotation: str) -> dict[str, Any]:
    """The JSON object in an annotation of a Lease; empty where there is none that can be read."""
    text = ((lease.get("metadata") or {}).get("annotations") or {}).get(annotation) or "{}"
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Said:
    """What a look at the Lease said last."""

    holder: str = ""
    leaving: str = ""
    """Since when all of them leave; empty while they stay."""
    trouble: str = ""


class Lease(threading.Thread):
    """Takes the Lease when it can, renews it, gives it up at the end.

    Args:
        me: name of this holder, one of its kind.
        beside: annotations that the holder writes with each renewal.
        leaving: since when nobody may hold the Lease that is given; empty while somebody may.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        namespace: str,
        name: str,
        me: str,
        beside: Callable[[], Mapping[str, str]] = dict,
        leaving: Callable[[Obj], str] = lambda _: "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="lease", daemon=True)
        self._transport, self._leasespace, self._lease, self._me = transport, namespace, name, me
        self._beside, self._leaving, self._clock = beside, leaving, clock
        self._halted = threading.Event()
        self._until = float("-inf")
        self._seen: tuple[str, str] = ("", "")
        self._seen_at = clock()
        self.said = Said()

    @property
    def mine(self) -> bool:
        """Whether this one may write now."""
        return self._clock() < self._until

    def run(self) -> None:
        while not self._halted.is_set():
            try:
                self.round()
            except Exception as error:  # without a thread that renews it the Lease would be lost for good
                self.said = Said(trouble=f"{type(error).__name__}: {error}")
            self._halted.wait(RENEWAL)

    def halt(self) -> None:
        """Give it up, so that another one need not wait. Nothing is written after this began."""
        held = self.mine
        self._until = float("-inf")
        self._halted.set()
        if self.is_alive():
            self.join(REQUEST * 2)
        if held:
            self._until = float("-inf")
            self._give_up()

    def round(self) -> None:
        """Look once, and take or renew it if that is this one's turn."""
        began = self._clock()
        answer = self._transport.send("GET", path(self._leasespace, self._lease), seconds=REQUEST)
        if answer.status == 404:
            self._put(blank(self._leasespace, self._lease), began, "POST")
            return
        if not answer.ok:
            self.said = Said(self.said.holder, self.said.leaving, answer.text)
            return
        lease = answer.body
        spec = lease.get("spec") or {}
        holder, leaving = str(spec.get("holderIdentity") or ""), self._leaving(lease)
        self.said = Said(holder, leaving)
        shown = (holder, str(spec.get("renewTime")))
        if shown != self._seen:
            self._seen, self._seen_at = shown, began
        if leaving:
            self._until = float("-inf")
            if holder == self._me:
                self._give_up()
        elif holder in ("", self._me) or began - self._seen_at > DURATION:
            self._put(lease, began, "PUT")

    def _put(self, lease: Obj, began: float, method: str) -> None:
        spec = dict(lease.get("spec") or {})
        taken = spec.get("holderIdentity") != self._me
        spec |= {"holderIdentity": self._me, "leaseDurationSeconds": int(DURATION), "renewTime": now()}
        if taken:
            spec |= {"acquireTime": now(), "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        metadata = dict(lease["metadata"])
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **self._beside()}
        body = {**lease, "metadata": metadata, "spec": spec}
        where = path(self._leasespace, "" if method == "POST" else self._lease)
        if self._halted.is_set():
            return
        answer = self._transport.send(method, where, body=body, seconds=REQUEST)
        if answer.ok:
            self._until = began + TRUST
            self.said = Said(self._me)
        elif answer.status == 409:
            self.said = Said(trouble=answer.text)

    def _give_up(self) -> None:
        where = path(self._leasespace, self._lease)
        answer = self._transport.send("GET", where, seconds=REQUEST)
        spec = answer.body.get("spec") or {}
        if answer.ok and spec.get("holderIdentity") == self._me:
            body: dict[str, Any] = {**answer.body, "spec": {**spec, "holderIdentity": "", "renewTime": now()}}
            self._transport.send("PUT", where, body=body, seconds=REQUEST)
