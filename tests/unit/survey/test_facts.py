"""What is surveyed becomes facts that load again, restore exactly, and are not overwritten unseen."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from migration.desired import desired
from migration.facts import Facts, Verdict
from migration.rules import affinity
from operations.survey.cli import write
from operations.survey.surveyed import facts_of, pinned
from tests.unit.survey.cluster import CALICO, INSTALLATION, aws_node, daemonset, gathered, named, settings

AT = "2026-11-21T00:00:00Z"


def facts(**changes: Any) -> Facts:
    return facts_of(gathered(**changes), settings(), AT)


def test_the_written_file_loads_as_the_same_facts(tmp_path: Path):
    path = tmp_path / "facts.shop.yaml"
    assert write(path, facts(), force=False)
    assert Facts.load(path) == facts()
    assert path.read_text().startswith("# What cluster shop was like")


def test_the_networking_add_on_is_kept_letter_by_letter():
    found = facts().vpc_cni
    assert (found.kind, found.addon_version) == ("addon", "v1.20.4-eksbuild.1")
    assert found.configuration == '{"env":{"A":"1"}}'
    assert found.env == {"A": "1"}


def test_a_daemonset_without_an_add_on_is_self_managed():
    assert facts().kube_proxy.kind == "self-managed"
    assert facts(daemonsets=[CALICO], addons={}).vpc_cni.kind == "absent"


def test_groups_carry_sizes_subnets_and_the_security_groups_that_all_their_nodes_have():
    (group,) = facts().groups
    assert (group.min_size, group.desired, group.max_size) == (1, 2, 5)
    assert group.scaling_group == "eks-general"
    assert group.security_group_ids == ("sg-1",)
    assert [s.id for s in facts().subnets] == ["subnet-a", "subnet-b"]


def test_a_group_without_instances_says_what_its_launch_template_says():
    template = {"NetworkInterfaces": [{"Groups": ["sg-7"]}], "InstanceType": "c5.large"}
    groups = [dict(gathered().nodegroups[0]) | {"instanceTypes": []}]
    (group,) = facts(
        instances=[], scaling_group_of={}, nodes=[], nodegroups=groups, templates={"general": template}
    ).groups
    assert group.security_group_ids == ("sg-7",)
    assert group.instance_types == ("c5.large",)


def test_groups_of_this_stack_are_no_legacy_groups():
    plain = gathered()
    ours = [dict(plain.nodegroups[0]) | {"nodegroupName": name, "resources": {}} for name in ("workers", "canary")]
    found = facts_of(dataclasses.replace(plain, nodegroups=[*plain.nodegroups, *ours]), settings(), AT)
    assert [g.name for g in found.groups] == ["general"]


def test_calicos_override_in_the_installation_is_what_going_back_restores():
    own = {"nodeAffinity": {"x": 1}}
    override = {"spec": {"template": {"spec": {"affinity": own}}}}
    installed = named("default", spec={"calicoNodeDaemonSet": override})
    assert facts(custom={"installations": [installed]}).calico.affinity == own
    assert facts(custom={"installations": [INSTALLATION]}).calico.affinity is None


def test_calico_by_manifest_restores_the_daemonsets_own_affinity():
    own = {"nodeAffinity": {"x": 1}}
    live = daemonset("kube-system", "calico-node", "calico/node:v3.31.0", affinity=own)
    found = facts(daemonsets=[aws_node(), live], custom={}).calico
    assert (found.kind, found.namespace, found.version, found.affinity) == ("manifest", "kube-system", "v3.31.0", own)


def test_a_second_survey_of_an_unchanged_cluster_writes_nothing(tmp_path: Path):
    path = tmp_path / "facts.yaml"
    write(path, facts(), force=False)
    before = path.read_text()
    subnets = [dict(s) | {"AvailableIpAddressCount": 1} for s in gathered().subnets]
    later = facts_of(gathered(subnets=subnets), settings(), "2027-01-01T00:00:00Z")
    assert write(path, later, force=False)
    assert path.read_text() == before


def test_a_file_that_says_something_else_is_not_overwritten_and_the_difference_is_shown(tmp_path: Path, capsys):
    path = tmp_path / "facts.yaml"
    write(path, facts(), force=False)
    changed = facts(account="999988887777")
    assert not write(path, changed, force=False)
    shown = capsys.readouterr().err
    assert "-  account: '111122223333'" in shown
    assert "--force" in shown
    assert Facts.load(path).cluster.account == "111122223333"
    assert write(path, changed, force=True)
    assert Facts.load(path).cluster.account == "999988887777"


def test_a_file_by_somebody_else_is_not_overwritten(tmp_path: Path):
    path = tmp_path / "facts.yaml"
    path.write_text("my: notes\n")
    assert not write(path, facts(), force=False)
    assert path.read_text() == "my: notes\n"


def test_a_cluster_that_is_pinned_already_is_recognised():
    live = aws_node()
    live["spec"]["template"]["spec"]["affinity"] = affinity.pin(None, "cni-plugin", "aws")
    assert pinned(gathered(daemonsets=[live])) == ["aws-node"]
    assert pinned(gathered()) == []


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("", []),
        ("10.1.0.0/16", ["10.1.0.0/16"]),
        ("10.1.0.0/16, 10.2.0.0/16", ["10.1.0.0/16", "10.2.0.0/16"]),
        ("10.9.1.1/16,10.9.0.0/16", ["10.9.0.0/16"]),
        ("fd00::/8, 10.1.2.3, office, 10.1.0.0/255.255.0.0, 10.2.0.0/33, ,10.3.0.0/24", ["10.3.0.0/24"]),
    ],
)
def test_excluded_blocks_are_read_as_the_vpc_cni_reads_them(text, blocks):
    found = facts(daemonsets=[aws_node(AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS=text), CALICO])
    assert [str(block) for block in found.exclude_snat_cidrs] == blocks
    assert Facts.model_validate(found.model_dump(mode="json", by_alias=True)) == found


@pytest.mark.parametrize(("value", "source"), [("1", "pod"), ("True", "pod"), ("yes", "node"), ("false", "node")])
def test_a_switch_of_the_vpc_cni_is_read_as_the_vpc_cni_reads_it(value, source):
    assert facts(daemonsets=[aws_node(AWS_VPC_K8S_CNI_EXTERNALSNAT=value), CALICO]).egress_source == source


DIGEST = f"@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("image", "told", "version"),
    [
        (f"calico/node:v3.31.2{DIGEST}", {}, "v3.31.2"),
        (f"registry.local:5000/calico/node{DIGEST}", {"installations": "v3.31.3"}, "v3.31.3"),
        (f"calico/node{DIGEST}", {"clusterinformations": "v3.31.4"}, "v3.31.4"),
        ("calico/node:latest", {"clusterinformations": "v3.31.4"}, "v3.31.4"),
        (f"calico/node{DIGEST}", {}, None),
    ],
)
def test_a_calico_pinned_by_digest_is_asked_elsewhere_for_its_version(image, told, version):
    installed = {**INSTALLATION, "status": {"calicoVersion": told.get("installations", "")}}
    information = named("default", spec={"calicoVersion": told.get("clusterinformations", "")})
    found = facts(
        daemonsets=[aws_node(), daemonset("calico-system", "calico-node", image)],
        custom={"installations": [installed], "clusterinformations": [information]},
    )
    assert found.calico.version == version
    (versions,) = [d for d in found.decisions if d.item == "versions"]
    assert (versions.verdict is Verdict.REFUSED) == (version is None)


@pytest.mark.parametrize("text", ["env:\n  A: '1'\n# a note", '{"env": {"A": "1"}}'])
def test_whatever_the_survey_accepts_can_be_pinned_and_restored_letter_by_letter(text):
    addon = {"addonVersion": "v1.20.4-eksbuild.1", "configurationValues": text}
    found = facts(addons={"vpc-cni": addon})
    assert found.refused == ()
    before, after = (desired(settings(), found, stage).vpc_cni for stage in ("label-legacy", "pin-legacy"))
    assert before is not None
    assert after is not None
    assert before.configuration == text
    values = json.loads(after.configuration or "")
    assert values["env"] == {"A": "1"}
    assert affinity.is_pinned(values["affinity"], "cni-plugin", "aws")


def test_a_configuration_that_cannot_be_read_is_refused():
    found = facts(addons={"vpc-cni": {"addonVersion": "v1", "configurationValues": "- a"}})
    assert [d.item for d in found.refused] == ["add-on configuration"]
