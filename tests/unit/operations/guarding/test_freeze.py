"""What is kept of frozen policies, and how a policy of somebody else's cluster is changed meanwhile."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from migration.guarding.freeze import KEPT, Record, digest, file_digests
from migration.manifests import InvalidManifest, load
from operations.access.context import Context
from operations.commands.freeze import Unproved, proved
from operations.evidence import UnknownError
from operations.guarding import freeze
from tests.unit.operations import test_continuity as c
from tests.unit.operations import world as w
from tests.unit.operations.world import World

FILE = """apiVersion: crd.projectcalico.org/v1
kind: GlobalNetworkPolicy
metadata: {name: default.x}
spec: {selector: %s}
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An adopted cluster with two policies, of which one stands in a file, not as it is in the cluster."""
    made = w.mixed_world(tmp_path, adopted=True)
    for name in ("default.x", "default.y"):
        made.add(w.thing("GlobalNetworkPolicy", name, spec={"selector": "all()", "order": 10}))
    say(made, "app == 'a'")
    return made


def equal(_: Context) -> str:
    """A proof that holds."""
    return "equal"


def say(world: World, selector: str) -> None:
    folder = world.directory / world.settings.policies / "calico"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x.yaml").write_text(FILE % selector)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, world: World) -> list[str]:
    """Keys of what is written; writing is replacing the body."""
    keys: list[str] = []

    def write(_: Any, manifest: Any) -> None:
        keys.append(manifest.key)
        world.find(manifest.kind, manifest.name)["spec"] = dict(manifest.body["spec"])

    monkeypatch.setattr(freeze, "write", write)
    return keys


def test_the_first_deploy_takes_what_is_there_and_writes_nothing(world: World, written: list[str]):
    record = freeze.keep(world.context, None, equal)
    assert written == []
    assert {"globalnetworkpolicies/default.x", "globalnetworkpolicies/default.y"} <= set(record.objects)


def test_on_an_adopted_cluster_a_changed_file_is_written_and_its_digests_are_renewed(world: World, written: list[str]):
    before = freeze.keep(world.context, None, equal)
    say(world, "app == 'b'")
    after = freeze.keep(world.context, before, equal)
    assert written == ["GlobalNetworkPolicy/default.x"]
    assert world.find("GlobalNetworkPolicy", "default.x")["spec"] == {"selector": "app == 'b'"}
    changed = {key for key in after.objects if after.objects[key] != before.objects.get(key)}
    assert changed == {"globalnetworkpolicies/default.x"}
    assert freeze.keep(world.context, after, equal) == after
    assert written == ["GlobalNetworkPolicy/default.x"]


def test_what_somebody_else_changed_is_not_taken_in_with_a_changed_file(world: World, written: list[str]):
    before = freeze.keep(world.context, None, equal)
    say(world, "app == 'b'")
    world.find("GlobalNetworkPolicy", "default.y")["spec"]["selector"] = "app == 'c'"
    with pytest.raises(freeze.Thawed, match=r"globalnetworkpolicies/default\.y is not as it was"):
        freeze.keep(world.context, before, equal)
    assert written == []


def test_a_policy_whose_tier_is_missing_is_not_written(world: World, written: list[str]):
    before = freeze.keep(world.context, None, equal)
    (world.directory / world.settings.policies / "calico" / "t.yaml").write_text(
        "apiVersion: crd.projectcalico.org/v1\nkind: GlobalNetworkPolicy\nmetadata: {name: platform.t}\n"
        "spec: {tier: platform}\n"
    )
    with pytest.raises(InvalidManifest, match=r"t\.yaml:1: tier 'platform' of .* is not in the cluster"):
        freeze.keep(world.context, before, equal)
    assert written == []


def test_a_record_survives_the_state_and_a_damaged_one_says_so(world: World):
    record = freeze.keep(world.context, None, equal)
    kept = {"urn": f"urn::{KEPT}", "custom": True, "outputs": {"stdout": record.dump()}}
    other = {"urn": f"urn::{KEPT}", "custom": False}
    assert freeze.of_state({"deployment": {"resources": [other, kept]}}) == record
    assert freeze.of_state({"deployment": {"resources": [other]}}) is None
    for text in ("", "[]", json.dumps({"objects": {}})):
        with pytest.raises(ValueError, match=r".+"):
            Record.load(text)


def test_what_a_version_before_kept_is_read_and_says_that_nothing_was_proved_of_it():
    assert Record.load('{"objects":{"tiers/x":"1"},"files":{}}') == Record(objects={"tiers/x": "1"}, files={})
    with pytest.raises(ValueError, match="does not say what was proved"):
        Record.load('{"objects":{},"files":{},"proof":1}')


def test_what_is_kept_is_what_the_proof_judged_not_what_the_gate_saw_before_the_freeze(tmp_path: Path):
    world = c.cluster(tmp_path, "install-cilium", c.allow("web", "db"))
    c.file(tmp_path, "cilium", c.cilium("web", "db"))
    c.file(tmp_path, "calico", FILE.replace("default.x", "default.db") % "app == 'db'")
    world.add(
        w.thing("CiliumClusterwideNetworkPolicy", "db", apiVersion="cilium.io/v2", spec=reading_spec("web", "db"))
    )
    record = freeze.keep(world.context, None, proved)
    assert "once every pod runs on a Cilium node: equal" in record.proof

    # After the gate, before the freeze: its file still says what the gate proved.
    world.find("GlobalNetworkPolicy", "default.db")["spec"]["ingress"][0]["source"]["selector"] = "app == 'job'"
    with pytest.raises(Unproved) as stopped:
        freeze.keep(world.context, None, proved)
    for text in ("shop/job-1", "is allowed today", "would be denied", f"--replace '**{KEPT}'"):
        assert text in str(stopped.value)


def test_a_proof_that_cannot_be_made_keeps_nothing(tmp_path: Path):
    world = c.cluster(tmp_path, "install-cilium", c.calico("default.db", {"selector": "this is none"}))
    with pytest.raises(UnknownError, match="this is none"):
        freeze.keep(world.context, None, proved)


def test_what_changes_while_it_is_proved_is_not_kept(world: World):
    def prove(_: Context) -> str:
        world.find("GlobalNetworkPolicy", "default.y")["spec"]["selector"] = "app == 'c'"
        return "equal"

    with pytest.raises(freeze.Thawed, match=r"while it was proved:\n  - globalnetworkpolicies/default\.y is not"):
        freeze.keep(world.context, None, prove)


def test_a_digest_changes_with_what_decides_and_with_nothing_else():
    policy = w.thing("GlobalNetworkPolicy", "p", spec={"order": 1})
    same = {**policy, "metadata": {**policy["metadata"], "resourceVersion": "9", "managedFields": [{"manager": "x"}]}}
    same["metadata"]["annotations"] = {"eks-cilium.io/may-go": "true"}
    assert digest("globalnetworkpolicies", policy) == digest("globalnetworkpolicies", same)
    assert digest("globalnetworkpolicies", policy) != digest("globalnetworkpolicies", {**policy, "spec": {"order": 2}})
    felix = w.thing("FelixConfiguration", "default", spec={"logSeverityScreen": "Info", "bpfEnabled": False})
    quiet = {**felix, "spec": {"logSeverityScreen": "Error", "bpfEnabled": False}}
    assert digest("felixconfigurations", felix) == digest("felixconfigurations", quiet)
    assert digest("felixconfigurations", felix) != digest(
        "felixconfigurations", {**felix, "spec": {"bpfEnabled": True}}
    )


def reading_spec(source: str, to: str) -> Any:
    return yaml.safe_load(c.cilium(source, to))["spec"]


def test_files_count_by_what_they_say_not_by_where_they_stand(world: World):
    folder = world.directory / world.settings.policies
    before = file_digests(load(folder, "calico"))
    (folder / "calico" / "x.yaml").rename(folder / "calico" / "moved.yaml")
    assert file_digests(load(folder, "calico")) == before
