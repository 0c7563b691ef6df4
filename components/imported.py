"""Taking in what is somebody else's: an import changes nothing of it, and later only what the stage names changes.

An import whose inputs differ from what is read is not refused: the engine imports and then *updates* (Pulumi 3.255),
and what a program leaves out counts as emptied. So everything is ignored but what the stage asks for, and a hook looks
at what is left, in the preview as well.
"""

from collections.abc import Collection, Mapping
from typing import Any

import pulumi
from pulumi._types import input_type_py_to_pulumi_names

from migration.guarding.imported import unasked
from reading.failure import Failure

_TAGS_OF_THE_PROVIDER = "tagsAll"
"""Computed, and changed by `aws:defaultTags`."""


def others(arguments: type, declared: Collection[str]) -> list[str]:
    """Every input of a resource type that is not declared, for `ignore_changes`.

    Args:
        arguments: the SDK's class of its arguments.
        declared: names as the engine has them.
    """
    names = set(input_type_py_to_pulumi_names(arguments).values()) | {_TAGS_OF_THE_PROVIDER}
    return sorted(names - set(declared))


def untouched(what: str, stage: str, asked: Mapping[str, Collection[str]]) -> pulumi.ResourceHookBinding:
    """Hooks that stop a deploy, or its preview, which would change an imported thing where the stage does not ask.

    Args:
        what: the thing, for people.
        asked: input -> keys within it that may change.
    """

    def update(args: pulumi.ResourceHookArgs) -> None:
        if found := unasked(args.old_inputs or {}, args.new_inputs or {}, asked):
            raise ImportedChangeError(_text(f"would change {', '.join(found)} of {what}", stage))

    def create(_: pulumi.ResourceHookArgs) -> None:
        raise ImportedChangeError(_text(f"would replace {what}", stage))

    options = pulumi.ResourceHookOptions(on_dry_run=True)
    return pulumi.ResourceHookBinding(
        before_update=[pulumi.ResourceHook(f"{what} is not changed", update, options)],
        before_create=[pulumi.ResourceHook(f"{what} is not replaced", create, options)],
    )


class ImportedChangeError(Failure):
    """A deploy would change what is somebody else's."""


def _text(problem: str, stage: str) -> str:
    return (
        f"this deploy {problem}, which belongs to the cluster's owner, and {stage} does not ask for that. Nothing "
        "of it was changed. Survey again and read the difference: `python -m operations survey`"
    )


def state_of(resources: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    """Outputs of one resource in a state; empty when it has none."""
    for urn, entry in resources.items():
        if entry["type"] == kind and urn.split("::")[-1] == name:
            found: Mapping[str, Any] = entry.get("outputs") or {}
            return found
    return {}
