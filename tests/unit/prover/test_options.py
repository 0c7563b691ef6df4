"""What the stage tells the prover: read back as it was written, or refused with the field."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

import pytest

from components.prover import options as told_by_stage
from migration.desired import desired
from migration.journeys import REPLACE
from migration.settings import Settings
from netpol.model.world import Engine, Recognition
from prover.options import InvalidOptions, Options
from tests.unit.migration.examples import raw
from tests.unit.prover.cluster import options

EXCEPTED = {
    "reason": "nobody uses this port any more",
    "who": "a team",
    "until": "2027-01-01",
    "to": {"namespace": "shop"},
    "protocol": "TCP",
    "ports": [80, "90:99"],
}


def test_options_are_read_back_as_they_were_written():
    some = options(
        bridge="eks-cilium-bridge",
        pod_blocks=(ipaddress.ip_network("10.0.0.0/16"),),
        calico_version=(3, 30),
        accepted=(EXCEPTED,),
        before=frozenset(),
    )
    assert Options.load(some.dump()) == some
    assert some.dump() == Options.load(some.dump()).dump()
    assert [a.who for a in some.excepted()] == ["a team"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        ('{"moment": []}', "'moment' is not known"),
        ('{"moments": [{"name": "x", "nodes": {}}]}', "nodes are legacy and cilium"),
        (
            '{"moments": [{"name": "x", "nodes": {"legacy": {"engines": ["calicoo"], "recognised": "world"}}}]}',
            "calicoo",
        ),
        ('{"moments": [{"name": "x"}]}', "moments"),
        ('{"before": "calico"}', "write a list"),
        ('{"calicoVersion": "3"}', "calicoVersion"),
        ('{"podBlocks": ["10.0.0.1/16"]}', "podBlocks"),
        ('{"listen": "0.0.0.0:80"}', "anybody could ask"),
        ('{"lateSeconds": true}', "1 to 3600"),
        ('{"lease": ""}', "write a text"),
        ('{"accepted": [{"reason": "short"}]}', "Correct policies/accepted.yaml"),
        ('{"accepted": ["all"]}', "list of mappings"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_field_and_the_fix(text: str, why: str):
    with pytest.raises(InvalidOptions, match=why):
        Options.load(text)


def test_a_stage_names_each_mixture_that_is_to_come_and_who_enforced_before():
    settings = Settings.load(raw(stage="canary"))
    found = told_by_stage(settings, None, desired(settings, None, "canary"), (EXCEPTED,))
    mixed, arrived = found.moments
    assert mixed.kinds["legacy"].engines == {Engine.CALICO}
    assert mixed.kinds["legacy"].recognised is Recognition.BRIDGE
    assert mixed.kinds["cilium"].engines == {Engine.CILIUM}
    assert set(arrived.kinds) == {"cilium"}
    assert found.before == {Engine.CALICO}
    assert found.bridge == "eks-cilium-bridge"
    assert json.loads(found.dump())["accepted"] == [EXCEPTED]
    for stage in ("install-cilium", "move-workloads", "release"):
        assert stage in REPLACE.index
        assert told_by_stage(settings, None, desired(settings, None, stage), ()).moments == found.moments


def test_the_file_of_accepted_differences_is_the_one_that_gates_read(tmp_path: Path):
    from components.prover import accepted  # noqa: PLC0415

    assert accepted(tmp_path / "accepted.yaml") == ()
    (tmp_path / "accepted.yaml").write_text(json.dumps({"accepted": [EXCEPTED]}))
    assert accepted(tmp_path / "accepted.yaml") == (EXCEPTED,)
