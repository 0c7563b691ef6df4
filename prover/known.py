"""What is known of a cluster, and the world that it makes. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final

from netpol.decide.copies import without_copies, without_operators
from netpol.decide.missing import services
from netpol.model.ranges import IPNetwork
from netpol.model.values import Policy
from netpol.model.world import CiliumOptions, Pod, Rest, Slice, World
from netpol.read.world import Parts, from_parts
from prover import cilium_config
from prover.counting import counted
from prover.kinds import CLUSTER_POLICIES, NODES, PODS, SERVICES, SLICES, Read
from prover.options import Options

_SHOWN: Final = 3
_API_SERVER: Final = ("default", "kubernetes")
"""The service whose endpoints Cilium knows as `kube-apiserver`."""


class Undecided(Exception):
    """The world cannot be told; the text says why, and what to do."""


@dataclass(kw_only=True)
class Known:
    """Everything that was read.

    `put`, `drop` and `all_of` say whether anything changed that a verdict has to cover. Most events change nothing:
    a pod's or node's status that moves on, an object of a service that no policy names. And of those that change
    something, a pod like others that were proved costs a look and no more: that is for the kept proof to see
    (`netpol.compare.again`), which knows what policies ask for.
    """

    options: Options
    config: Mapping[str, str] | None = None
    """Of Cilium; None where there is none yet."""
    laid_over: tuple[Mapping[str, Any], ...] = ()
    """CiliumNodeConfigs, which agents of some nodes read besides."""
    calico_version: tuple[int, int] | None = None
    """Of the Calico that runs, where it tells it."""
    trouble: str = ""
    """Why where Calico's policies are cannot be told."""
    things: dict[str, dict[tuple[str, str], Read]] = field(default_factory=dict)
    served: bool = True
    """Whether some policy names a service: else objects of services decide nothing. Unknown counts as yes."""

    def put(self, kind: str, read: Read) -> bool:
        there = self.things.setdefault(kind, {})
        before = there.get(read.key)
        if before == read:
            return False
        there[read.key] = read
        return self._matters(kind, before, read)

    def drop(self, kind: str, key: tuple[str, str]) -> bool:
        before = self.things.get(kind, {}).pop(key, None)
        return before is not None and self._matters(kind, before)

    def all_of(self, kind: str, reads: Iterable[Read]) -> bool:
        """Everything of a kind."""
        now = {read.key: read for read in reads}
        gone = [key for key in self.things.get(kind, {}) if key not in now]
        changed = [self.drop(kind, key) for key in gone] + [self.put(kind, read) for read in now.values()]
        return any(changed)

    def forget(self, kind: str) -> None:
        """A kind is not read any more."""
        self.things.pop(kind, None)

    def _matters(self, kind: str, *reads: Read | None) -> bool:
        found = [read for read in reads if read is not None]
        if all(read.value is None and not read.problem and not read.serves for read in found):
            return False
        if kind == SERVICES:
            return self.served
        if kind == SLICES:
            return self.served or any(isinstance(r.value, Slice) and _of(r.value) == _API_SERVER for r in found)
        return True

    # -- the world --------------------------------------------------------------------------------------

    def world(self, today: date) -> World:
        """The world as it is known, enforced by nobody.

        Raises:
            Undecided: something in it cannot be read.
            UndecidableError: nobody knows what Cilium's configuration comes to.
        """
        self._complete()
        parts = Parts()
        nodes = self.things.get(NODES, {})
        newest = next((kind for kind in CLUSTER_POLICIES if self.things.get(kind)), "")
        for kind, reads in self.things.items():
            if kind in CLUSTER_POLICIES and kind != newest:
                continue
            for read in reads.values():
                value = read.value
                if isinstance(value, Pod) and ("", value.node) not in nodes:
                    # Its node is seen a moment later, or was seen to go a moment before.
                    if value.host_network:
                        continue
                    value = replace(value, node="")
                if value is not None:
                    parts.put(value)
        world = from_parts(
            parts,
            rest=Rest.ABSENT,
            calico_version=self.calico_version or self.options.calico_version,
            cilium=self._cilium(),
            pod_cidrs=self.options.pod_blocks,
            apiserver=tuple(sorted(self._api_server(parts.slices), key=str)),
            host_addresses=tuple(map(ipaddress.ip_address, self._serving())),
            accepted=tuple(a for a in self.options.excepted() if not a.expired(today)),
        )
        world, _ = without_operators(without_copies(world)[0])
        self.served = any(True for _ in services(world))
        # Without a rule that names one, a service that comes or goes would have everything proved again.
        return world if self.served else replace(world, services=(), slices=())

    def _complete(self) -> None:
        problems = [self.trouble] if self.trouble else []
        problems += [read.problem for reads in self.things.values() for read in reads.values() if read.problem]
        if problems:
            more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            raise Undecided("; ".join(problems[:_SHOWN]) + more)

    def _cilium(self) -> CiliumOptions:
        config = self.config or {}
        cilium_config.refuse_laid_over(self.laid_over, config)
        return cilium_config.options(config, self.options.cilium_version, counted)

    def _api_server(self, slices: Iterable[Slice]) -> set[IPNetwork]:
        found = [backend for one in slices if _of(one) == _API_SERVER for backend in one.backends]
        return {ipaddress.ip_network(backend.address) for backend in found}

    def _serving(self) -> tuple[str, ...]:
        serving = (read.serves for read in self.things.get(PODS, {}).values() if read.serves)
        return tuple(sorted({address for addresses in serving for address in addresses}))

    @property
    def policies(self) -> int:
        """How many there are, for people."""
        return sum(isinstance(r.value, Policy) for reads in self.things.values() for r in reads.values())


def _of(one: Slice) -> tuple[str, str]:
    return one.namespace, one.service


def version_of(image: str) -> tuple[int, int] | None:
    """(major, minor) by the tag of an image; None for one by digest alone, or of a tag in words."""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    found = re.match(r"v?(\d+)\.(\d+)(?:[.-]|$)", tag)
    return (int(found[1]), int(found[2])) if found else None
