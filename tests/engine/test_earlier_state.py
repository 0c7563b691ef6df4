"""A state that an earlier version made goes on: nothing of it is replaced or deleted, and nobody does a step by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import charts, toolcache
from sandbox.lifecycle import ROOT
from sandbox.project import Stack
from tests.engine.project import environment
from tests.unit.plugins_aws.conftest import QUICK
from tests.unit.plugins_aws.world import REGION, running

pytestmark = pytest.mark.engine

STATE = Path(__file__).parent / "states" / "owned-baseline.json"
"""`stack export` of an owned cluster at `baseline` with three administrators, made by the version of 2026-11-27 on the
sandbox. CHARTS stands for a directory of that machine."""
NAME = "earlier"
ADMINS = [f"arn:aws:iam::111122223333:role/{name}" for name in ("platform", "teams/support", "ci")]
_ENTRY = "aws:eks/accessEntry:AccessEntry"


@pytest.fixture
def earlier(tmp_path: Path) -> Iterator[Stack]:
    """The stack with that state. Its cluster is gone: the engine compares without one."""
    paths = charts.prepare(tmp_path / "charts", toolcache.tigera_crds())
    (tmp_path / "account").mkdir()
    (tmp_path / "account" / "world.json").write_text(json.dumps(QUICK))
    with running(tmp_path / "account") as world:
        tools = toolcache.ensure(print)["pulumi"].parent
        given = environment(tmp_path, tools) | world.environment() | {"AWS_REGION": REGION}
        stack = Stack(name=NAME, directory=tmp_path, environment=os.environ | given)
        settings = ROOT / f"Pulumi.{NAME}.yaml"
        settings.unlink(missing_ok=True)
        try:
            stack.must("stack", "init", "--no-select")
            file = tmp_path / "state.json"
            file.write_text(STATE.read_text().replace("CHARTS", str(tmp_path / "charts")))
            stack.must("stack", "import", "--file", str(file))
            configure(stack, ADMINS, paths)
            yield stack
        finally:
            settings.unlink(missing_ok=True)


def configure(stack: Stack, admins: list[str], paths: dict[str, Path] | None = None) -> None:
    path = ROOT / f"Pulumi.{NAME}.yaml"
    content: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
    if paths is not None:
        content["config"] = yaml.safe_load(STATE.with_suffix(".yaml").read_text())
        content["config"]["eks-cilium:legacy"]["calico"] = {
            "chart": {"name": str(paths["tigera-operator"])},
            "crdsChart": {"name": str(paths["crd.projectcalico.org.v1"])},
        }
    content["config"]["eks-cilium:cluster"]["admins"] = admins
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def steps(stack: Stack) -> dict[str, str]:
    """URN -> operation of a preview, without what stays the same."""
    code, answer = stack.pulumi("preview", "--json")
    found = json.loads(answer[answer.index("{") :])
    wrong = [it["message"] for it in found.get("diagnostics", ()) if it["severity"] == "error" and "message" in it]
    # The preview is whole; then it says that the cluster is gone.
    assert code == 1, answer[-3000:] + stack.tail("pulumi")
    assert len(wrong) == 1, wrong
    assert f"cluster {NAME}: does not exist" in wrong[0]
    return {step["urn"]: step["op"] for step in found["steps"] if step["op"] != "same"}


@pytest.mark.parametrize("admins", [ADMINS, ADMINS[::-1], [*ADMINS, "arn:aws:iam::111122223333:user/new"]])
def test_an_earlier_state_previews_without_a_replacement_or_a_deletion(earlier: Stack, admins: list[str]):
    configure(earlier, admins)
    found = steps(earlier)
    assert [f"{op} {urn}" for urn, op in found.items() if "delete" in op or "replace" in op] == []
    entries = [
        f"{op} {urn.rsplit('::', 1)[1]}" for urn, op in found.items() if "accessEntry" in urn or "accessPolicy" in urn
    ]
    assert entries == ["create 111122223333/user/new"] * (2 * (len(admins) - len(ADMINS)))


def test_an_administrator_whom_an_earlier_state_protects_goes_one_deploy_later(earlier: Stack):
    configure(earlier, ADMINS[1:])
    code, answer = earlier.pulumi("preview")
    assert code != 0
    assert f"{ADMINS[0]}: is an administrator in the state of an earlier version" in answer + earlier.tail("pulumi")
