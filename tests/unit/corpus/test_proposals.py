"""What the survey proposes for each cluster of the corpus are settings, and the groups that its owner would write."""

import json
from typing import Any

import pytest
import yaml

from migration.settings import NodeGroup, Settings
from operations.survey.propose import section
from tests.unit.corpus import legacy
from tests.unit.corpus.clusters import answers, written
from tests.unit.corpus.shapes import CORPUS, Shape


def proposed(shape: Shape) -> dict[str, Any]:
    text = section(answers(shape), list(legacy.ZONES), set())
    found: dict[str, Any] = yaml.safe_load(text)["eks-cilium:cilium"]
    return found


@pytest.mark.parametrize("name", CORPUS)
def test_a_proposal_is_a_section_of_settings_that_mirrors_the_groups(name):
    values, by_hand = written(CORPUS[name]), Settings.load(written(CORPUS[name]))
    found = Settings.load(values | {"cilium": proposed(CORPUS[name])})
    assert {mirrored(group) for group in found.cilium.groups} == {mirrored(group) for group in by_hand.cilium.groups}


def mirrored(group: NodeGroup) -> str:
    """All that it says; one type may stand under either key."""
    said = group.model_dump(mode="json", exclude={"instance_type", "instance_types"})
    return json.dumps(said | {"types": group.types}, sort_keys=True)
