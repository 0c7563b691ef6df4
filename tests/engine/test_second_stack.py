"""A second stack, or one that lost its state, meets a cluster that another one has begun to move."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from sandbox import lifecycle
from sandbox.project import Stack
from tests.engine import witness
from tests.engine.hands import (
    MARKS,
    Hands,
    assert_says,
    impatient,
    past_the_guard,
    settings,
    state,
)
from tests.engine.journey import Journey
from tests.engine.witness import differences

pytestmark = pytest.mark.engine


def test_a_second_stack_is_stopped_before_it_undoes_what_the_first_one_did(bound_walk: Journey):
    first = bound_walk.at("pin-legacy")
    objects, things = witness.cluster(first), witness.account(first)
    name = f"{first.stack.name}-again"
    stack = Stack(name=name, directory=first.directory, environment=first.stack.environment)
    second = Journey(stack, "replace")
    facts = lifecycle.ROOT / f"facts.{name}.yaml"
    config = lifecycle.ROOT / f"Pulumi.{name}.yaml"
    try:
        config.unlink(missing_ok=True)
        stack.must("stack", "init", "--no-select")
        facts.write_text((lifecycle.ROOT / f"facts.{first.stack.name}.yaml").read_text())
        stack.configure({**_plain(settings(first)), "stage": "baseline"})
        shown = second.preview()
        assert shown.code != 0, shown
        text = f"belongs to another stack or a lost state: it was written by stack '{first.stack.name}'"
        assert_says(shown, "FAILED  mark-agrees", text)
        halted(second, text, "Deploy with the stack and backend that wrote it")
        # Whoever takes the mark away still has the pins and labels to explain.
        with past_the_guard(Hands(first)):
            Hands(first).delete(MARKS)
        halted(second, "daemonset kube-system/aws-node: is bound to labelled nodes already")
        assert differences(objects, witness.cluster(first)) == []
        assert differences(things, witness.account(first)) == []
    finally:
        facts.unlink(missing_ok=True)
        config.unlink(missing_ok=True)


def halted(second: Journey, *texts: str) -> None:
    """A deploy stops before it makes anything; of a stack that was never deployed the engine makes an empty one."""
    outcome = impatient(second).up()
    assert outcome.code != 0, outcome
    assert_says(outcome, *texts)
    assert [found for found in state(second).values() if not found["type"].startswith("pulumi:providers:")] == []


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = yaml.safe_load(yaml.safe_dump(values))
    return plain
