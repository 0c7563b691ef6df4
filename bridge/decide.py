"""From what is seen to what is written. Nothing here asks anybody, and nothing is remembered but what is in `Known`.

The writes of one decision do not depend on each other. What has to come first is decided first, and the rest when it
is seen to be done: an identity before the endpoint that names it, the endpoint that gives up an address before the one
that gets it. So it does not matter between which two writes a bridge is killed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bridge import endpoints, identities
from bridge.endpoints import Wanted
from bridge.identities import Pick
from bridge.known import Known
from bridge.names import PENDING, TOUCHED
from bridge.seen import Endpoint, Key, Pod


class Verb(StrEnum):
    """Kinds of writes. None deletes an identity: Cilium's operator collects those that nobody uses."""

    MAKE_IDENTITY = "make-identity"
    UNMARK_IDENTITY = "unmark-identity"
    MAKE = "make"
    REPLACE = "replace"
    TOUCH = "touch"
    """An annotation alone, so that agents read it again."""
    DELETE = "delete"


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """One request. `uid` and `version`, where they are not empty, must still be those of the object."""

    verb: Verb
    key: Key
    """Of the endpoint; of an identity ("", its number)."""
    body: dict[str, Any] = field(default_factory=dict)
    uid: str = ""
    version: str = ""
    asked_by: frozenset[Key] = frozenset()
    """Keys to look at again once it is done, beside its own."""


@dataclass
class Decision:
    """What is to be done about some keys."""

    keys: set[Key]
    """All that were looked at: those that were asked for, and whatever shares an address with one of them."""
    writes: list[Write] = field(default_factory=list)
    behind: dict[Key, str] = field(default_factory=dict)
    """Keys that are not as they should be -> why."""
    without: set[Key] = field(default_factory=set)
    """Those of them that are pods without their own identity."""
    conflicts: dict[Key, str] = field(default_factory=dict)
    """Keys that stay behind until somebody else does something -> what is wrong."""


def decide(known: Known, keys: Iterable[Key], pick: Pick) -> Decision:
    """What is to be done about these keys, and about all that share an address with one of them."""
    return _Round(known, known.together(keys), pick).decided()


def ours(known: Known, endpoint: Endpoint) -> bool:
    """Whether the bridge wrote this endpoint, and no agent has taken it over."""
    return endpoint.marked and not endpoint.by_agent and not known.agents_address(endpoint.node)


class _Nothing:
    """There should be no endpoint."""


class _Round:
    """One decision in the making."""

    def __init__(self, known: Known, keys: set[Key], pick: Pick) -> None:
        self.known = known
        self.pick = pick
        self.decision = Decision(keys)
        self.asked: dict[frozenset[tuple[str, str]], int] = {}
        self.askers: dict[int, set[Key]] = {}
        self.told: dict[Key, set[str]] = {}

    def decided(self) -> Decision:
        for key in sorted(self.decision.keys):
            there = self.known.endpoints.get(key)
            wanted = self._wanted(key, there)
            if isinstance(wanted, Wanted):
                self._bring(wanted, there)
            elif there is not None and ours(self.known, there):
                if wanted is None:
                    self._tell_again(there)
                else:
                    self._let_go(there)
        self._make_identities()
        self._tell_survivors()
        return self.decision

    def _behind(self, key: Key, why: str, *, without: bool = False, conflict: str = "") -> None:
        self.decision.behind[key] = why
        if without:
            self.decision.without.add(key)
        if conflict:
            self.decision.conflicts[key] = conflict

    # -- what should be there -------------------------------------------------------------------------

    def _wanted(self, key: Key, there: Endpoint | None) -> Wanted | _Nothing | None:
        """What should be there; None: whatever is there stays as it is for now."""
        known = self.known
        pod, node = known.pods.get(key), known.node_of(key)
        if pod is not None:
            return self._wanted_of_pod(pod, there)
        if node is not None and known.options.node_entries and known.legacy(node.name):
            return endpoints.of_node(known, node)
        return _Nothing()

    def _wanted_of_pod(self, pod: Pod, there: Endpoint | None) -> Wanted | _Nothing | None:
        known = self.known
        legacy, addresses = known.legacy(pod.node), known.addresses(pod)
        if not addresses or legacy is False:
            return _Nothing()
        mine = tuple(address for address in addresses if self._winner(address) == pod.key)
        for lost in (address for address in addresses if address not in mine):
            if not pod.leaving and lost in pod.confirmed:
                text = f"pod {_shown(pod.key)} has the address {lost}, and so has pod {_shown(self._winner(lost))}"
                self._behind(pod.key, "another pod has its address", without=True, conflict=text)
        wanted = endpoints.of_pod(known, pod, mine) if mine and legacy else None
        if wanted is not None:
            return wanted
        if not mine or (there is not None and not set(there.addresses) <= set(mine)):
            return _Nothing()
        # A node that has gone, or a namespace not seen yet: no reason to take away what pods live on.
        if there is None:
            what = "node" if legacy is None else "namespace, or an address of its node,"
            self._behind(pod.key, f"its {what} has not been seen", without=True)
        return None

    def _winner(self, address: str) -> Key | None:
        """The pod that has an address: agents keep one endpoint for each, so all others have to go."""
        pods = [self.known.pods[key] for key in self.known.claimants(address)]
        return max(pods, key=lambda pod: self._rank(pod, address)).key if pods else None

    def _rank(self, pod: Pod, address: str) -> tuple[bool, bool, bool, str, str]:
        # What kubelet says counts more than the annotation, which whoever may change a pod may write.
        seen = self.known.legacy(pod.node) is not None
        return (not pod.leaving, seen, address in pod.confirmed, pod.created, pod.uid)

    # -- endpoints ------------------------------------------------------------------------------------

    def _bring(self, wanted: Wanted, there: Endpoint | None) -> None:
        """Make or replace an endpoint, once its identity is there and nobody else of ours has one of its addresses."""
        key = wanted.key
        found = self._number(wanted, there)
        wrong = self._wrong(wanted, there, found)
        if there is not None and not ours(self.known, there):
            if wrong:
                text = f"CiliumEndpoint {_shown(key)} is another writer's, and not what pod {_shown(key)} needs"
                self._behind(key, "somebody else's endpoint is in its place", without=True, conflict=text)
            return
        if wrong:
            self._behind(key, wrong, without=True)
        if found is None or found.make or found.unmark:
            self._ask_for(wanted, found)
        elif not self._rivals(key, wanted.addresses):
            self._write(wanted, there, found.number, wrong)

    def _wrong(self, wanted: Wanted, there: Endpoint | None, found: identities.Number | None) -> str:
        if there is None:
            return "it has no endpoint"
        if found is None or found.make or found.unmark:
            return "its identity is not there"
        word = endpoints.differs(there, wanted, found.number)
        return f"its {word} is not right" if word else ""

    def _write(self, wanted: Wanted, there: Endpoint | None, number: int, wrong: str) -> None:
        if there is None:
            made = Write(verb=Verb.MAKE, key=wanted.key, body=endpoints.body(wanted, number))
            self.decision.writes.append(made)
        elif not wrong:
            self._tell_again(there)
        elif self._may_give_up(there, set(there.addresses) - set(wanted.addresses)):
            touched = self._untold(there) or there.touched.removeprefix(PENDING)
            body = endpoints.body(wanted, number, instead_of=there, touched=touched)
            replaced = Write(verb=Verb.REPLACE, key=there.key, body=body, uid=there.uid, version=there.version)
            self.decision.writes.append(replaced)

    def _let_go(self, there: Endpoint) -> None:
        self.decision.behind.setdefault(there.key, "it should be gone")
        if self._may_give_up(there, there.addresses):
            gone = Write(verb=Verb.DELETE, key=there.key, uid=there.uid, version=there.version)
            self.decision.writes.append(gone)

    def _rivals(self, key: Key, addresses: Iterable[str]) -> bool:
        """Whether another endpoint of ours has one of these addresses."""
        others = {other for address in addresses for other in self.known.holders(address)} - {key}
        return any(ours(self.known, self.known.endpoints[other]) for other in others)

    # -- identities -----------------------------------------------------------------------------------

    def _number(self, wanted: Wanted, there: Endpoint | None) -> identities.Number | None:
        if wanted.reserved:
            return identities.Number(wanted.reserved)
        current = there.identity if there else 0
        return identities.number_for(self.known, wanted.labels, current=current, asked=self.asked, pick=self.pick)

    def _ask_for(self, wanted: Wanted, found: identities.Number | None) -> None:
        if found is None:
            cilium = self.known.cilium
            text = f"pod {_shown(wanted.key)} gets no identity: no number is left from {cilium.first} to {cilium.last}"
            self._behind(wanted.key, "its identity is not there", without=True, conflict=text)
            return
        self.askers.setdefault(found.number, set()).add(wanted.key)
        if found.make:
            self.asked[frozenset(wanted.labels.items())] = found.number

    def _make_identities(self) -> None:
        asked = {number: dict(labels) for labels, number in self.asked.items()}
        for number, keys in self.askers.items():
            name, askers = ("", str(number)), frozenset(keys)
            if number in asked:
                body = identities.body(number, asked[number])
                write = Write(verb=Verb.MAKE_IDENTITY, key=name, body=body, asked_by=askers)
            else:
                version = self.known.identities[number].version
                write = Write(verb=Verb.UNMARK_IDENTITY, key=name, version=version, asked_by=askers)
            self.decision.writes.append(write)

    # -- what agents have to be told again ------------------------------------------------------------

    def _may_give_up(self, there: Endpoint, addresses: Iterable[str]) -> bool:
        """Whether an endpoint may give up addresses now: who keeps one has to know first that it is told again after.

        An agent may have read this one last. When it gives an address up the agent drops it, although the other
        endpoint names it; and a bridge that is killed in between must not forget that.
        """
        ready = True
        for address in addresses:
            winner = self._winner(address)
            survivor = self.known.endpoints.get(winner) if winner and winner != there.key else None
            if survivor is None or address not in survivor.addresses or not ours(self.known, survivor):
                continue
            if there.uid not in _pending(survivor):
                ready = False
                self.told.setdefault(survivor.key, set()).add(there.uid)
        return ready

    def _tell_survivors(self) -> None:
        busy = {write.key for write in self.decision.writes}
        for key, stale in self.told.items():
            if key not in busy:
                survivor = self.known.endpoints[key]
                self._touch(survivor, PENDING + ",".join(sorted(stale | _pending(survivor))))

    def _tell_again(self, there: Endpoint) -> None:
        if text := self._untold(there):
            self.decision.behind.setdefault(there.key, "agents have to be told again")
            self._touch(there, text)

    def _untold(self, there: Endpoint) -> str:
        """Who gave up an address of this endpoint since agents were told of it; empty when there is nothing to tell."""
        gone = self.known.survivors.get(there.key, "")
        if (not gone and not _pending(there)) or self._rivals(there.key, there.addresses):
            return ""
        return gone or there.touched.removeprefix(PENDING)

    def _touch(self, there: Endpoint, text: str) -> None:
        metadata = {"uid": there.uid, "resourceVersion": there.version, "annotations": {TOUCHED: text}}
        self.decision.writes.append(
            Write(verb=Verb.TOUCH, key=there.key, body={"metadata": metadata}, uid=there.uid, version=there.version)
        )


def _pending(endpoint: Endpoint) -> set[str]:
    """uids of those of which this endpoint says that they are about to go."""
    return set(endpoint.touched.removeprefix(PENDING).split(",")) if endpoint.touched.startswith(PENDING) else set()


def _shown(key: Key | None) -> str:
    return "/".join(key or ())
