"""What deciders look at, and the three answers they give."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from migration.facts import CalicoFacts, DaemonSetFacts, Decision, GroupFacts, SubnetFacts, Verdict
from migration.settings import Settings
from operations.cluster import objects
from operations.survey.gathered import Gathered


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was gathered, what it was described as, and what the stack asks for."""

    gathered: Gathered
    settings: Settings
    vpc_cni: DaemonSetFacts
    calico: CalicoFacts
    groups: tuple[GroupFacts, ...]
    subnets: tuple[SubnetFacts, ...]
    begun: bool = False
    """Whether the journey has begun: what it adds itself is not counted then."""


Decider = Callable[[Seen], Decision]


def absent(item: str, looked_at: str) -> Decision:
    """Not there; `looked_at` says where it would have been seen."""
    return Decision(item=item, verdict=Verdict.ABSENT, found=f"none: {looked_at}")


def handled(item: str, found: str, how: str) -> Decision:
    return Decision(item=item, verdict=Verdict.HANDLED, found=found, reason=how)


def refused(item: str, found: str, why: str, way_out: str) -> Decision:
    return Decision(item=item, verdict=Verdict.REFUSED, found=found, reason=why, way_out=way_out)


def named(kind: str, names: Iterable[str]) -> str:
    """`"3 nodes: a, b, c"`."""
    found = sorted(names)
    return f"{objects.count(len(found), kind)}: {objects.some(found)}"
