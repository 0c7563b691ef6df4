"""`refresh plan`: waves, what is foreseen, and the shortest time."""

import statistics
from dataclasses import asdict, dataclass
from typing import Any, Final

from operations.refresh.blockers import Blocker
from operations.refresh.blockers.judge import Surroundings, judge
from operations.refresh.engine.engine import Engine
from operations.refresh.model.request import RefreshRequest
from operations.refresh.model.terms import Goal, duration
from operations.refresh.model.values import BudgetKey
from operations.refresh.model.world import World
from operations.refresh.plan.bound import Bound, Times, lower_bound
from operations.refresh.plan.waves import waves

SHOWN_NODES: Final = 6
SHOWN_FINDINGS: Final = 40


@dataclass(frozen=True)
class Plan:
    """What a run would do."""

    request: RefreshRequest
    total: int
    waves: tuple[tuple[str, ...], ...]
    foreseen: tuple[Blocker, ...]
    bound: Bound

    @property
    def stops(self) -> tuple[Blocker, ...]:
        return tuple(found for found in self.foreseen if found.stops)

    def text(self) -> str:
        request, lines = self.request, []
        lines.append(
            f"refresh to {request.target}: {self.total} {request.source} nodes, {request.strategy}, node budget "
            f"{request.node_budget} ({request.node_budget.of(self.total)} at once)"
        )
        lines.append(f"{'wave':>6}  {'nodes':>5}  names")
        for number, wave in enumerate(self.waves, 1):
            more = f" and {len(wave) - SHOWN_NODES} more" if len(wave) > SHOWN_NODES else ""
            lines.append(f"{number:>6}  {len(wave):>5}  {', '.join(wave[:SHOWN_NODES])}{more}")
        binding = self.bound.binding
        lines.append(f"at least {duration(self.bound.seconds)}, bound by {binding.name}: {binding.text}")
        for found in self.foreseen[:SHOWN_FINDINGS]:
            lines.append(f"  {found.weight:7} {found.object}: {found.problem}")
            if found.fix:
                lines.append(f"          {found.fix}")
        if len(self.foreseen) > SHOWN_FINDINGS:
            lines.append(f"  and {len(self.foreseen) - SHOWN_FINDINGS} more")
        if not self.stops:
            lines.append("nothing stops it")
        return "\n".join(lines)

    def json(self) -> dict[str, Any]:
        return {
            "command": "refresh plan",
            "to": self.request.target,
            "strategy": self.request.strategy,
            "budget": str(self.request.node_budget),
            "nodes": self.total,
            "waves": [list(wave) for wave in self.waves],
            "seconds_at_least": round(self.bound.seconds),
            "bound_by": {"name": self.bound.binding.name, "text": self.bound.binding.text},
            "foreseen": [asdict(found) for found in self.foreseen],
        }


def plan(world: World, request: RefreshRequest, goal: Goal, around: Surroundings, times: Times | None = None) -> Plan:
    """The plan for the world as it is. Nothing is changed."""
    return Plan(
        request,
        len(world.old),
        waves(world, request, goal.total),
        judge(world, request, goal, around),
        bound(Engine(world, request, goal), times),
    )


def bound(engine: Engine, times: Times | None = None) -> Bound:
    """The shortest time for what is left to do, told before it is done."""
    missing = max(0, engine.sizing.needed_at_the_end - len(engine.world.ready_new))
    world, request = engine.world, engine.request
    return lower_bound(world, request, times or Times(), new_missing=missing, turnarounds=turnarounds(world))


def turnarounds(world: World) -> dict[BudgetKey, float]:
    """How long a pod of each budget takes to be ready: the median over its pods, as their conditions say."""
    took: dict[BudgetKey, list[float]] = {}
    for pod in world.pods.values():
        for key in pod.budgets if pod.took else ():
            took.setdefault(key, []).append(pod.took)
    return {key: max(1.0, statistics.median(times)) for key, times in took.items()}
