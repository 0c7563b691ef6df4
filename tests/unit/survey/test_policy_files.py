"""Calico's policies of somebody else's cluster as files: the same each time, and never over what people wrote."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from kube.transport import Obj
from migration import manifests
from migration.facts import Facts
from migration.guarding.freeze import digest
from netpol import policies_from_files, policies_from_objects
from netpol.model.values import CalicoPolicy
from operations.access import context as contexts
from operations.access.context import Context
from operations.survey import cli, policy_files
from operations.survey.gathered import Gathered
from tests.unit.survey.cluster import gathered, named, settings

STORED = "crd.projectcalico.org/v1"
OPERATOR = {"apiVersion": "operator.tigera.io/v1", "kind": "Tier", "name": "x", "uid": "1"}


def stored(name: str, namespace: str = "", labels: dict[str, str] | None = None, **spec: Any) -> Obj:
    """An object as Calico's API server stores it: its metadata is in an annotation."""
    told = {"labels": labels or {}, "uid": "u-1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    obj = named(name, namespace, spec=spec)
    obj["metadata"] |= {
        "annotations": {"projectcalico.org/metadata": json.dumps(told), "note": "kept"},
        "uid": "9",
        "resourceVersion": "77",
        "managedFields": [{"manager": "kubectl"}],
    }
    return obj


TIER = named("platform", spec={"order": 100})
SET = stored("auditors", labels={"list": "audit"}, nets=["203.0.113.0/24"])
GLOBAL = stored(
    "platform.deny", tier="platform", selector="app == 'web'", types=["Egress"], egress=[{"action": "Deny"}]
)
LOCAL = stored("default.db", "shop", selector="all()", types=["Ingress"], ingress=[{"action": "Allow"}])


def cluster(**changes: Any) -> Gathered:
    its = {"tiers": [TIER], "globalnetworksets": [SET], "globalnetworkpolicies": [GLOBAL], "networkpolicies": [LOCAL]}
    return gathered(custom={**gathered().custom, **its, **changes})


def content(root: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (root / "calico").iterdir()}


def test_each_object_becomes_one_file_that_means_what_calico_reads(tmp_path: Path):
    policy_files.write(cluster(), tmp_path)
    assert sorted(content(tmp_path)) == [
        "globalnetworkpolicy.platform.deny.yaml",
        "globalnetworkset.auditors.yaml",
        "networkpolicy.shop.default.db.yaml",
        "tier.platform.yaml",
    ]
    files = {m.key: m for m in manifests.load(tmp_path, "calico")}
    assert files["GlobalNetworkSet/auditors"].labels == {"list": "audit"}
    assert files["GlobalNetworkPolicy/platform.deny"].annotations == {"note": "kept"}
    live = [{"apiVersion": STORED, "kind": "GlobalNetworkPolicy", **GLOBAL}]
    read = policies_from_objects(live)
    told = policies_from_files([tmp_path / "calico" / "globalnetworkpolicy.platform.deny.yaml"])
    policies = [[(p.egress, p.selector) for p in found if isinstance(p, CalicoPolicy)] for found in (told, read)]
    assert len(policies[0]) == 1
    assert policies[0] == policies[1]
    for word in ("managedFields", "resourceVersion", "uid", "creationTimestamp", "projectcalico.org/metadata"):
        assert not any(word in text for text in content(tmp_path).values()), word


def test_the_same_cluster_gives_the_same_bytes_in_whatever_order_it_answers(tmp_path: Path):
    more = stored("platform.allow", tier="platform", selector="all()")
    policy_files.write(cluster(globalnetworkpolicies=[GLOBAL, more]), tmp_path / "a")
    policy_files.write(cluster(globalnetworkpolicies=[more, GLOBAL]), tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_file_follows_the_cluster_and_goes_with_its_object(tmp_path: Path):
    policy_files.write(cluster(), tmp_path)
    looser = stored("platform.deny", tier="platform", selector="app == 'api'")
    done = policy_files.write(cluster(globalnetworkpolicies=[looser], tiers=[]), tmp_path)
    assert [path.name for path in done.removed] == ["tier.platform.yaml"]
    assert "app == 'api'" in content(tmp_path)["globalnetworkpolicy.platform.deny.yaml"]
    assert done.notes == ()


def test_what_calico_and_its_operator_made_for_themselves_is_in_no_file(tmp_path: Path):
    own = stored("default.operator", "calico-system", selector="all()")
    owned = named("allow-tigera.x")
    owned["metadata"]["ownerReferences"] = [OPERATOR]
    tiers = [named("default"), named("kube-admin")]
    policy_files.write(cluster(networkpolicies=[own], globalnetworkpolicies=[owned], tiers=tiers), tmp_path)
    assert sorted(content(tmp_path)) == ["globalnetworkset.auditors.yaml"]


def test_files_of_people_are_never_touched_and_are_told_where_they_say_something_else(tmp_path: Path):
    folder = tmp_path / "calico"
    folder.mkdir()
    theirs = f"apiVersion: {STORED}\nkind: Tier\nmetadata: {{name: platform}}\nspec: {{order: 7}}\n"
    gone = f"apiVersion: {STORED}\nkind: Tier\nmetadata: {{name: gone}}\n"
    (folder / "ours.yaml").write_text(theirs)
    (folder / "gone.yaml").write_text(gone)
    done = policy_files.write(cluster(), tmp_path)
    assert "tier.platform.yaml" not in content(tmp_path)
    assert (content(tmp_path)["ours.yaml"], content(tmp_path)["gone.yaml"]) == (theirs, gone)
    assert len(done.notes) == 2
    assert any("ours.yaml:1: Tier/platform is another in the cluster: spec.order" in note for note in done.notes)
    assert any("gone.yaml:1: Tier/gone is not in the cluster" in note for note in done.notes)


@pytest.mark.parametrize("link", [False, True])
def test_a_file_that_somebody_edited_is_theirs_from_then_on(tmp_path: Path, link: bool):
    policy_files.write(cluster(), tmp_path)
    path = tmp_path / "calico" / "tier.platform.yaml"
    edited = path.read_text().replace("100", "50")
    if link:
        path.unlink()
        (tmp_path / "elsewhere").write_text(edited)
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text(edited)
    done = policy_files.write(cluster(), tmp_path)
    assert path.read_text() == edited
    assert path not in done.written
    assert "spec.order" in done.notes[0]
    assert policy_files.write(cluster(tiers=[]), tmp_path).removed == ()
    assert path.read_text() == edited


def test_where_somebodys_file_has_the_name_of_one_it_stays_and_that_is_told(tmp_path: Path):
    (tmp_path / "calico").mkdir()
    path = tmp_path / "calico" / "tier.platform.yaml"
    path.write_text("# to do\n")
    done = policy_files.write(cluster(), tmp_path)
    assert path.read_text() == "# to do\n"
    assert "does not hold tier.platform" in done.notes[0]


def test_nothing_is_written_beside_a_file_that_cannot_be_read(tmp_path: Path):
    (tmp_path / "calico").mkdir()
    (tmp_path / "calico" / "broken.yaml").write_text("a: [")
    with pytest.raises(manifests.InvalidManifest, match=r"broken\.yaml"):
        policy_files.write(cluster(), tmp_path)
    assert sorted(content(tmp_path)) == ["broken.yaml"]


def test_a_file_put_into_the_cluster_again_changes_nothing_that_decides(tmp_path: Path):
    for plural, kind, obj in (("globalnetworkpolicies", "GlobalNetworkPolicy", GLOBAL), ("tiers", "Tier", TIER)):
        said = policy_files.as_file(kind, obj)
        live = {**obj, "metadata": {**obj["metadata"], "annotations": said["metadata"].get("annotations", {})}}
        assert digest(plural, said) == digest(plural, live)


def test_each_stack_has_a_directory_of_its_own_unless_its_settings_name_one():
    assert policy_files.directory("policies/network", "prod") == Path("policies/network.prod")
    assert policy_files.directory("network/eu", "prod") == Path("network/eu")


# -- the command ------------------------------------------------------------------------------------


def survey(monkeypatch: pytest.MonkeyPatch, directory: Path, found: Gathered, *words: str, **changes: Any) -> Obj:
    """What `survey` prints for an adopted cluster."""
    context = Context(
        stack="prod",
        settings=settings(**changes),
        facts=Facts.load(directory / "facts.prod.yaml") if "--moved" in words else None,
        kube=None,  # type: ignore[arg-type]
        aws=None,  # type: ignore[arg-type]
        directory=directory,
    )
    monkeypatch.setattr(contexts.Context, "load", lambda *_, **__: context)
    monkeypatch.setattr(cli, "gather", lambda *_: found)
    parser = argparse.ArgumentParser()
    cli.fill(parser)
    told: list[Obj] = []
    monkeypatch.setattr(cli, "_print", told.append)
    cli.run(parser.parse_args(words))
    return told[0]


def test_the_survey_writes_them_into_the_stacks_own_directory_and_says_which_setting_reads_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    told = survey(monkeypatch, tmp_path, cluster())
    root = tmp_path / "policies" / "network.prod"
    assert (told["policies"]["directory"], len(told["policies"]["written"])) == (str(root), 4)
    assert len(content(root)) == 4
    assert "set eks-cilium:policies to policies/network.prod" in capsys.readouterr().err
    again = survey(monkeypatch, tmp_path, cluster(tiers=[]), policies="policies/network.prod")
    assert [Path(path).name for path in again["policies"]["removed"]] == ["tier.platform.yaml"]
    assert "set eks-cilium:policies" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "follows"), [("label-legacy", True), ("install-cilium", False), ("retire-calico", False)]
)
def test_until_both_engines_enforce_the_files_follow_the_cluster_and_then_the_other_way_round(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: str, follows: bool
):
    survey(monkeypatch, tmp_path, cluster())
    before = content(tmp_path / "policies" / "network.prod")
    told = survey(monkeypatch, tmp_path, cluster(tiers=[]), "--moved", stage=stage)
    assert (told["policies"] is not None) == follows
    assert (content(tmp_path / "policies" / "network.prod") == before) != follows


def test_a_look_with_out_and_a_cluster_without_calico_write_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert survey(monkeypatch, tmp_path, cluster(), "--out", str(tmp_path / "x.yaml"))["policies"] is None
    bare = gathered(daemonsets=gathered().daemonsets[:2], custom={})
    assert survey(monkeypatch, tmp_path, bare)["policies"] is None
    assert not (tmp_path / "policies").exists()
