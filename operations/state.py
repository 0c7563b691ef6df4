"""What the stack's own state says, read through the Pulumi CLI: a check that is asked by hand has no other way."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from migration.mark import Own
from operations import command
from operations.evidence import UnknownError

EXPORT_SECONDS: Final = 60.0
_STASH, _COMMAND, _STACK = "pulumi:index:Stash", "command:local:Command", "pulumi:pulumi:Stack"


def own(stack: str, directory: Path) -> Own:
    """What the state says about the mark of the stack; of a stack that was never deployed, nothing.

    Raises:
        UnknownError: the state cannot be read.
    """
    try:
        done = command.run(
            ["pulumi", "stack", "export", "--stack", stack, "--non-interactive"],
            directory=directory,
            seconds=EXPORT_SECONDS,
        )
        return own_of(json.loads(done.out))
    except (command.CommandError, ValueError) as error:
        fix = "Log in to the stack's backend with `pulumi login`; on a machine without its state this stays unknown"
        raise UnknownError(f"cannot be read: {error}", fix, about=f"state of stack {stack}") from None


def own_of(exported: Mapping[str, Any]) -> Own:
    """What an exported state says about the mark of its stack."""
    resources = (exported.get("deployment") or {}).get("resources") or []
    alive = {(r["type"], r["urn"].rsplit("::", 1)[-1]): r for r in resources if not r.get("delete")}
    marker = ((alive.get((_STASH, "marker")) or {}).get("inputs") or {}).get("input") or {}
    settle = ((alive.get((_COMMAND, "settle")) or {}).get("inputs") or {}).get("triggers") or [0]
    outputs = next((r.get("outputs") or {} for (kind, _), r in alive.items() if kind == _STACK), {})
    return Own(
        id=marker.get("id") or None,
        attempt=max(int(marker.get("attempt") or 0), int(settle[0])),
        taken=(_COMMAND, "mark") in alive,
        reached=bool(outputs.get("stage")),
        place=str(marker.get("place") or ""),
        guarded=tuple(marker.get("guarded") or ()),
    )
