"""The section `cilium`, and which of its chart values the journey does not bear."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field

from migration.rules import versions
from migration.rules.chart.fits import Chosen
from migration.rules.chart.keys import value_errors
from migration.rules.chart.rules import refusals
from migration.settings.model import Chart, Model
from migration.settings.nodes import Canary, NodeGroup
from migration.settings.problem import Problem


class Cilium(Model):
    """Cilium as it is installed, and the nodes it wires."""

    version: str = versions.CILIUM_DEFAULT
    chart: Chart = Chart(name="cilium", repository="https://helm.cilium.io")
    cluster_name: str = Field(default="default", pattern=r"^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$")
    """Name in a cluster mesh. Fixed at the first install."""
    cluster_id: int = Field(default=0, ge=0, le=127)
    """Id in a cluster mesh, 1 to 127; 0 without one. Fixed at the first install."""
    egress_source: Literal["node", "pod"] | None = None
    """Source address of pods that leave the VPC. Left out: as surveyed; `node` on an owned cluster."""
    prefix_delegation: bool = False
    """Give interfaces /28 prefixes instead of single addresses: more pods a node, more fragmented subnets."""
    operator_replicas: int = Field(default=2, ge=1, le=5)
    values: Mapping[str, Any] = Field(default_factory=dict)
    """Further chart values, checked against the pinned chart. What the journey rests on is refused, with the setting to
    use instead; tolerations and `operator.extraEnv` add to what is needed anyway."""
    groups: tuple[NodeGroup, ...] = Field(min_length=1)
    canary: Canary = Canary()


_CHART_MINOR = ".".join(versions.CILIUM_DEFAULT.split(".")[:2])


def chart_problems(cilium: Cilium, journey: str) -> Iterable[Problem]:
    """The values that the chart does not take, and those that the journey does not bear."""
    chosen = Chosen(
        journey=journey,
        version=cilium.version,
        cluster_name=cilium.cluster_name,
        cluster_id=cilium.cluster_id,
        prefix_delegation=cilium.prefix_delegation,
        operator_replicas=cilium.operator_replicas,
    )
    found = set()
    for path, value, reason in value_errors(cilium.values):
        found.add(path)
        yield Problem(f"cilium.values.{path}", value, reason, f"See the values of the Cilium chart {_CHART_MINOR}")
    for path, value, reason, instead in refusals(cilium.values, chosen):
        if path not in found:
            yield Problem(f"cilium.values.{path}", value, reason, instead)
