"""What a campaign counts: only what takes part where a case is decided."""

# ruff: noqa: S311

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from netpol import from_objects
from netpol.decide.models import cilium_model
from netpol.model.packets import Party
from tests.oracles import incomplete, random_shapes
from tests.oracles.campaign import WANTED, Result
from tests.oracles.kinds import Parts
from tests.oracles.random_cilium import Case
from tests.unit.netpol.worlds import cilium


def test_a_kind_takes_part_only_where_its_rule_selects_the_end():
    spec = {
        "endpointSelector": {"matchLabels": {"app": "web"}},
        "enableDefaultDeny": {"ingress": False},
        "ingressDeny": [{"fromEntities": ["world"], "toPorts": [{"ports": [{"port": "80", "endPort": 90}]}]}],
        "egress": [{"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.0.0.0/24"]}]}],
    }
    policy: dict[str, Any] = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "p", "namespace": "red"},
        "spec": spec,
    }
    where = cilium("").with_policies(from_objects([policy]).policies)
    parts = Parts(Case(world=where, objects=[policy], ends=[], flows=[], config={}), cilium_model(where))
    web, database = (Party(pod=pod, node=where.node_of(pod)) for pod in where.pods[:2])
    assert parts.at("ingress", web) == {
        "CiliumNetworkPolicy",
        "ingressDeny",
        "entity world",
        "port range",
        "enableDefaultDeny ingress false",
    }
    assert parts.at("egress", web) == {"CiliumNetworkPolicy", "egress", "toCIDRSet", "except", "no ports"}
    assert parts.at("ingress", database) == frozenset()


def test_what_took_part_too_seldom_is_named():
    result = Result(seed=1, cases=1000, allowed=500)
    result.parts.update(dict.fromkeys(WANTED, 10))
    assert result.rare() == []
    result.parts["entity health"] = 9
    assert result.rare() == ["entity health"]


def test_a_campaign_of_mostly_one_verdict_is_not_balanced():
    assert Result(seed=1, cases=100, allowed=20).balanced()
    assert not Result(seed=1, cases=100, allowed=19).balanced()
    assert not Result(seed=1, cases=100, allowed=81).balanced()


def test_every_shape_that_people_use_is_in_at_least_one_of_a_hundred_random_worlds():
    result = incomplete.Result(cases=300)
    for number in range(result.cases):
        incomplete.whole_world(random.Random(number), result.shapes)
    assert result.rare() == []
    result.shapes["host endpoints only"] = 2
    assert result.rare() == ["host endpoints only"]


def test_an_object_says_the_same_as_calico_stores_it():
    rng = random.Random(1)
    held = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet", "metadata": {"name": "s", "labels": {"role": "outside"}}, "spec": {"nets": ["8.8.8.0/24"]}}  # fmt: skip
    (before,) = from_objects([held]).policies
    objects, any_stored = random_shapes.stored(rng, [held], share=1.0)
    (after,) = from_objects(objects).policies
    assert any_stored
    assert "labels" not in objects[0]["metadata"]
    assert before.meta.labels == after.meta.labels == {"role": "outside"}


@pytest.mark.parametrize("seed", range(5))
def test_what_the_shapes_are_made_of_can_be_read(seed):
    seen: Counter[str] = Counter()
    for number in range(20):
        made = random_shapes.some(random.Random(f"{seed}/{number}"), share=1.0)
        seen.update(made)
        assert len(from_objects([one for objects in made.values() for one in objects]).policies) == len(made)
    assert set(seen) == set(random_shapes.SHAPES) - {"metadata in an annotation"}
