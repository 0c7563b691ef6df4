"""Which mixtures of nodes a journey still passes through from a stage on: what continuity is proved for. Pure."""

from typing import Final

from migration.journeys import Journey, Stage

MIXED: Final = "while both kinds of nodes run"
ARRIVED: Final = "once every pod runs on a Cilium node"


def mixtures(journey: Journey, stage: Stage) -> tuple[tuple[str, Stage], ...]:
    """(when it is, in words that end a sentence; the stage that has it), the last stage of the journey last."""
    rest = journey.stages[journey.index[stage.id] :]
    mixed = next((s for s in rest if len(s.wiring) > 1), None)
    return (*(((MIXED, mixed),) if mixed is not None else ()), (ARRIVED, journey.last))
