"""How each engine sees a world: made once for each world, and kept with it."""

from __future__ import annotations

from netpol.decide.calico import CalicoModel
from netpol.decide.cilium import CiliumModel
from netpol.model.world import World


def calico_model(world: World, *, kubernetes_only: bool = False) -> CalicoModel:
    """The world's Calico model, made once; `kubernetes_only` as in CalicoModel."""
    return world.derived.once(("calico", kubernetes_only), lambda: CalicoModel(world, kubernetes_only=kubernetes_only))


def cilium_model(world: World) -> CiliumModel:
    """The world's Cilium model, made once."""
    return world.derived.once("cilium", lambda: CiliumModel(world))
