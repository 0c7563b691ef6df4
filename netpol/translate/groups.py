"""Calico's network sets as CiliumCIDRGroups: rules name them, so that a set's networks stand in one place.

A group has no exceptions and no part of it can be named. Where a rule means only some addresses of a set, they are
written out instead, and the policy says so (`eks-cilium/written-out`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from netpol.decide import calico
from netpol.decide.calico import CalicoModel
from netpol.model.ranges import Ranges, of_networks
from netpol.model.values import CidrGroup, Entity, Meta, NetworkSet
from netpol.translate.naming import Taken, fitting, free

KIND = "CiliumCIDRGroup"


class Groups:
    """The groups of one world's network sets."""

    def __init__(self, model: CalicoModel, families: Iterable[int], taken: Taken = ()) -> None:
        """`taken`: objects that are there already."""
        self.model = model
        self.families = tuple(families)
        self.names: dict[Meta, str] = {}
        theirs = {name for kind, _, name in taken if kind == KIND}
        for known, _ in sorted(model.sets, key=lambda s: (s[0].meta.namespace, s[0].meta.name)):
            self.names[known.meta] = name = free(name_of(known.meta), theirs)
            theirs.add(name)

    @property
    def values(self) -> tuple[CidrGroup, ...]:
        return tuple(
            CidrGroup(meta=Meta(kind=KIND, name=self.names[s.meta], api="cilium.io/v2"), nets=s.nets)
            for s, _ in self.model.sets
        )

    def found_by(self, entity: Entity, namespace: str) -> tuple[tuple[NetworkSet, ...], tuple[NetworkSet, ...]]:
        """The sets that one side of a rule finds and takes whole, and those of which it takes or leaves a part."""
        wanted, unwanted = calico.entity_selectors(entity, namespace)
        whole: list[NetworkSet] = []
        parts: list[NetworkSet] = []
        for one, labels in self.model.sets:
            left_out = unwanted is not None and unwanted.matches(labels)
            if wanted is not None and wanted.matches(labels):
                (parts if left_out or entity.nets or entity.not_nets else whole).append(one)
            elif left_out:
                parts.append(one)
        return tuple(whole), tuple(parts)

    def named(self, sets: Sequence[NetworkSet], space: tuple[Ranges, Ranges]) -> list[NetworkSet]:
        """Those of the sets of which every address is in the space, so that a rule may name them."""
        out = []
        for one in sets:
            own = {f: of_networks(one.nets, f) for f in self.families}
            # To agents of one family the whole of the other is the whole world.
            wide = any(n.prefixlen == 0 for n in one.nets)
            if any(own.values()) and not wide and not any(own[f] - space[0 if f == 4 else 1] for f in own):
                out.append(one)
        return out

    def manifests(self, names: Iterable[str], source: str) -> list[dict[str, Any]]:
        """The groups of these names; `source`: the annotation that says of what each was made."""
        wanted = set(names)
        return [
            {
                "apiVersion": "cilium.io/v2",
                "kind": KIND,
                "metadata": {"name": self.names[s.meta], "annotations": {source: f"{s.meta} ({s.meta.api})"}},
                "spec": {"externalCIDRs": [str(n) for n in s.nets]},
            }
            for s, _ in self.model.sets
            if self.names[s.meta] in wanted
        ]


def name_of(meta: Meta) -> str:
    """A group's name: that of a global set, or `NAMESPACE.NAME`."""
    name = f"{meta.namespace}.{meta.name}" if meta.namespace else meta.name
    return fitting(re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip("-.") or "set")
