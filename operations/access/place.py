"""Where the stack is: the stage that its last finished deploy exported."""

import json

import programs
from migration.journeys import Journey, Stage
from operations.access.context import Context
from operations.exits import UsageError

OUTPUT_SECONDS = 60


def next_stage(context: Context, journey: Journey) -> Stage | None:
    """The stage that the next deploy enters; None when the journey is at its end.

    It is the configured one when the configuration is ahead of the stack, else the one after the stack's.
    """
    configured = context.settings.stage
    if configured not in journey.index:
        raise UsageError(f"{journey.name} has no stage {configured!r}: choose one of {', '.join(journey.index)}")
    return following(journey, configured, deployed(context))


def following(journey: Journey, configured: str, reached: str | None) -> Stage | None:
    """The same, pure. `reached` is None when nothing was deployed, or when that cannot be told."""
    if reached is None or reached not in journey.index or reached != configured:
        return journey[configured]
    after = journey.index[configured] + 1
    return journey.stages[after] if after < len(journey.stages) else None


def deployed(context: Context) -> str | None:
    """The stack's output `stage`; None without the pulumi CLI, without outputs, or when it does not answer."""
    asked = ["pulumi", "stack", "output", "--json", "--stack", context.stack]
    try:
        said = json.loads(programs.run(asked, directory=context.directory, seconds=OUTPUT_SECONDS).out)
    except (programs.CommandError, ValueError):
        return None
    stage = said.get("stage") if isinstance(said, dict) else None
    return stage if isinstance(stage, str) else None
