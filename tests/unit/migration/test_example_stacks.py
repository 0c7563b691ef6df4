"""The example stacks are valid: people copy them."""

from pathlib import Path

import pytest
import yaml

from migration.journeys import JOURNEYS
from migration.names import PROJECT
from migration.settings import Settings

ROOT = Path(__file__).parents[3]
EXAMPLES = ["adopted", "greenfield", "staging"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_stack_loads_and_stands_at_the_first_stage_of_its_journey(name: str):
    config = yaml.safe_load((ROOT / f"Pulumi.{name}.yaml").read_text())["config"]
    prefix = f"{PROJECT}:"
    settings = Settings.load({k.removeprefix(prefix): v for k, v in config.items() if k.startswith(prefix)})
    assert settings.stage == JOURNEYS[settings.journey].first.id


def test_every_journey_has_an_example():
    journeys = {
        yaml.safe_load((ROOT / f"Pulumi.{name}.yaml").read_text())["config"][f"{PROJECT}:journey"] for name in EXAMPLES
    }
    assert journeys == set(JOURNEYS)
