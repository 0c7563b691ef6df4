"""The stack configuration as one typed, validated value.

`Settings.load` takes what stands under the project's keys in `Pulumi.<stack>.yaml` and gives back a frozen value, or
raises `InvalidSettings` with *everything* that is wrong, each entry naming key, value, reason and fix. Each section of
the configuration has a file of its name, with what it refuses.
"""

from migration.settings.addon import Addon
from migration.settings.legacy import Calico
from migration.settings.model import Block, Chart, Model
from migration.settings.nodes import NodeGroup
from migration.settings.problem import InvalidSettings, Problem
from migration.settings.settings import JourneyName, Settings

__all__ = [
    "Addon",
    "Block",
    "Calico",
    "Chart",
    "InvalidSettings",
    "JourneyName",
    "Model",
    "NodeGroup",
    "Problem",
    "Settings",
]
