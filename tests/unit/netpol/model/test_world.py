"""What was worked out about a world hangs on it, and is no part of its value."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

from netpol.decide.models import calico_model, cilium_model
from tests.unit.netpol.worlds import calico, gnp

POLICY = gnp("{selector: all(), egress: [{action: Deny}]}")


def test_a_model_is_made_once_for_a_world_and_an_engine():
    world = calico(POLICY)
    assert calico_model(world) is calico_model(world)
    assert cilium_model(world) is cilium_model(world)
    assert calico_model(world) is not calico_model(world, kubernetes_only=True)


def test_a_changed_world_has_models_of_its_own():
    world = calico(POLICY)
    assert calico_model(world).policies
    assert not calico_model(replace(world, policies=())).policies


def test_models_change_neither_equality_nor_what_is_shown():
    asked, untouched = calico(POLICY), calico(POLICY)
    calico_model(asked)
    assert asked == untouched
    assert repr(asked) == repr(untouched)


def test_models_go_when_their_world_goes():
    world = calico(POLICY)
    model = weakref.ref(calico_model(world))
    assert model() is not None
    del world
    gc.collect()
    assert model() is None
