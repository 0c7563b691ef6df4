"""`journey`: print the stages of a journey."""

import argparse
import json
from typing import Any

from migration.journeys import JOURNEYS, Journey


def fill(command: Any) -> None:
    command.add_argument("journey", choices=sorted(JOURNEYS))
    command.add_argument("--json", action="store_true", help="only the ids, as a JSON list")
    command.set_defaults(run=_journey)


def _journey(args: argparse.Namespace) -> int:
    journey = JOURNEYS[args.journey]
    if args.json:
        print(json.dumps([stage.id for stage in journey.stages]))
    else:
        print(journey_text(journey))
    return 0


def journey_text(journey: Journey) -> str:
    """The stages for people: title, gate, way back."""
    lines = [f"{journey.name}: {journey.title}"]
    for number, stage in enumerate(journey.stages, 1):
        back = "yes" if stage.reversible and number > 1 else "-" if number == 1 else "none"
        lines += [
            f"\n{number}. {stage.id}: {stage.title}",
            f"   gate      {', '.join(stage.gate) or '-'}",
            f"   settle    {', '.join(stage.settle) or '-'}",
            f"   way back  {back}",
        ]
        if stage.unproved:
            lines.append(f"   unproved  {', '.join(stage.unproved)}")
    return "\n".join(lines)
