"""What the stack's own state says, read through the Pulumi CLI: a check that is asked by hand has no other way."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import programs
import reading
from migration.guarding.mark import Own
from operations.evidence import UnknownError

EXPORT_SECONDS: Final = 60.0
_STASH, _COMMAND, _STACK = "pulumi:index:Stash", "command:local:Command", "pulumi:pulumi:Stack"


def own(stack: str, directory: Path) -> Own:
    """What the state says about the mark of the stack; of a stack that was never deployed, nothing.

    Raises:
        UnknownError: the state cannot be read.
    """
    try:
        done = programs.run(
            ["pulumi", "stack", "export", "--stack", stack, "--non-interactive"],
            directory=directory,
            seconds=EXPORT_SECONDS,
        )
        return own_of(loaded(done.out))
    except (programs.CommandError, ValueError) as error:
        fix = "Log in to the stack's backend with `pulumi login`; on a machine without its state this stays unknown"
        raise UnknownError(f"cannot be read: {error}", fix, about=f"state of stack {stack}") from None


def own_of(exported: Mapping[str, Any]) -> Own:
    """What an exported state says about the mark of its stack.

    Raises:
        ValueError: it is no state.
    """
    try:
        return _own(exported)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError) as error:
        raise ValueError(f"it is not the state of a stack: {type(error).__name__} {error}") from None


def loaded(text: str) -> Any:
    """An exported state, every number as it is there.

    Raises:
        ValueError: the text is not JSON.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _own(exported: Mapping[str, Any]) -> Own:
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


def told(text: str) -> Own:
    """What a deploy says about its own state, as JSON.

    Raises:
        ValueError: it says nothing that a deploy says.
    """
    found = reading.json_value(text)
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - the text is wrong, not its type
    known = {"id": str, "attempt": int, "taken": bool, "reached": bool, "place": str, "guarded": list, "deploys": bool}
    for key, value in found.items():
        if key not in known:
            raise ValueError(f"there is no {key[:40]!r}: use {', '.join(known)}")
        right = type(value) is known[key] or (key == "id" and value is None)
        if not right or (key == "guarded" and not all(isinstance(piece, str) for piece in value)):
            raise ValueError(f"{key} is {json.dumps(value)[:80]}, not of the kind {known[key].__name__}")
    own: Any = {key: tuple(value) if key == "guarded" else value for key, value in found.items()}
    return Own(**own)
