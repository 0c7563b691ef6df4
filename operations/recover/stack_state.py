"""The state of a stack as `pulumi stack export` writes it: its pending operations, and edits of it. Pure."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reading.failure import UNKNOWN, Failure

Obj = dict[str, Any]


class DamagedState(Failure, ValueError):
    """What the backend exported is no state."""

    exit_code = UNKNOWN


@dataclass(frozen=True)
class Pending:
    """An operation that was under way when the deploy ended."""

    kind: str
    """creating | updating | deleting | reading | importing"""
    urn: str
    type: str
    """Resource type without its parents, for example "aws:eks/nodeGroup:NodeGroup"."""
    resource: Obj

    @property
    def name(self) -> str:
        return self.urn.rsplit("::", 1)[-1]

    @property
    def inputs(self) -> Obj:
        return self.resource.get("inputs") or {}


def pending(state: Mapping[str, Any]) -> list[Pending]:
    """Pending operations, in the order in which they began."""
    found = (state.get("deployment") or {}).get("pending_operations") or []
    return [
        Pending(str(op["type"]), op["resource"]["urn"], str(op["resource"]["type"]), op["resource"]) for op in found
    ]


def loaded(text: str) -> Obj:
    """An exported state.

    Raises:
        DamagedState: the text is none; what this room reads of it is there otherwise.
    """
    try:
        found = json.loads(text)  # every number as it is: the state is written back
    except (ValueError, RecursionError) as error:
        raise DamagedState(f"the exported state is not JSON: {error}. Export it anew") from None
    deployment = found.get("deployment") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(deployment, dict | None):
        raise DamagedState("the exported state has no deployment. Export it anew with `pulumi stack export`")
    known = (deployment or {}).get("resources") or []
    begun = (deployment or {}).get("pending_operations") or []
    if not isinstance(known, list) or not isinstance(begun, list):
        raise DamagedState("the exported state has no lists of resources and pending operations. Export it anew")
    operations = [op for op in begun if isinstance(op, dict) and isinstance(op.get("type"), str)]
    each = [*known, *(op.get("resource") for op in operations)]
    if len(operations) < len(begun) or not all(map(_is_resource, each)):
        raise DamagedState("the exported state has a resource without URN or type. Export it anew")
    return found


def _is_resource(found: object) -> bool:
    return (
        isinstance(found, dict)
        and all(isinstance(found.get(key), str) for key in ("urn", "type"))
        and all(isinstance(found.get(key), dict | None) for key in ("inputs", "outputs"))
    )


def resources(state: Mapping[str, Any]) -> list[Obj]:
    return list((state.get("deployment") or {}).get("resources") or [])


def settled(state: Mapping[str, Any], adopted: Mapping[str, str], dropped: Sequence[str]) -> Obj:
    """A state in which operations are no longer pending.

    Args:
        adopted: URN → id, of creates whose object exists: they become finished resources. Where the URN is there
            already, the create was half of a replacement: the older object is then marked for deletion, as the engine
            does itself.
        dropped: URNs of operations that are forgotten.
    """
    edited = copy.deepcopy(dict(state))
    deployment = edited["deployment"]
    kept, found = [], list(deployment.get("resources") or [])
    for operation in deployment.get("pending_operations") or []:
        urn = operation["resource"]["urn"]
        if operation["type"] == "creating" and urn in adopted:
            for older in found:
                if older["urn"] == urn and not older.get("delete"):
                    older["delete"] = True
            found.append(_finished(operation["resource"], adopted[urn]))
        elif urn not in dropped:
            kept.append(operation)
    deployment["resources"] = found
    deployment["pending_operations"] = kept
    return edited


def _finished(resource: Mapping[str, Any], identity: str) -> Obj:
    """The resource as if its create had returned; a refresh reads the outputs that only the provider knows."""
    made = copy.deepcopy(dict(resource))
    made["id"] = identity
    made["outputs"] = {**copy.deepcopy(made.get("inputs") or {}), **(made.get("outputs") or {})}
    return made
