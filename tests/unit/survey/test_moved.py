"""While the journey is under way, what may move is read again; what this program changed itself stays as surveyed."""

from pathlib import Path
from typing import Any

import pytest

from migration.desired import desired
from migration.facts import Facts, Verdict
from migration.journeys import REPLACE
from migration.rules import affinity
from operations.survey.cli import show, text
from operations.survey.moved import Fixed, moved
from operations.survey.surveyed import facts_of
from tests.unit.survey.cluster import CALICO, INSTALLATION, aws_node, daemonset, gathered, instance, named, settings

PIN = affinity.pin(None, "cni-plugin", "aws")
PIN_VALUES = '{"affinity":{"nodeAffinity":{}},"env":{"A":"1","ANNOTATE_POD_IP":"true"}}'
PROXY = "kube-proxy:v1.35.0"


def before(**changes: Any) -> Facts:
    return facts_of(gathered(**changes), settings(), "2026-11-01T00:00:00Z")


def aws(version: str = "v1.20.4-eksbuild.1", values: str = PIN_VALUES) -> dict[str, Any]:
    return {"vpc-cni": {"addonVersion": version, "configurationValues": values}}


def daemonsets(calico: Any = CALICO, *, proxy: str = PROXY, pin: Any = PIN, **env: str) -> list[Any]:
    live = aws_node(ANNOTATE_POD_IP="true", **env)
    live["spec"]["template"]["spec"]["affinity"] = pin
    return [live, daemonset("kube-system", "kube-proxy", proxy, affinity=pin), calico]


def now(asked: dict[str, Any] | None = None, facts: Facts | None = None, **changes: Any) -> tuple[Facts, list[Fixed]]:
    """The facts after the cluster has moved; everything is pinned and labelled by then."""
    live = gathered(**{"addons": aws(), "daemonsets": daemonsets(), **changes})
    stage, chosen = REPLACE["canary"], settings(**(asked or {}))
    found, fixed = moved(facts or before(), facts_of(live, chosen, "2026-11-20T00:00:00Z", stage), chosen, stage)
    return found, list(fixed)


def without_time(facts: Facts) -> Facts:
    return facts.model_copy(update={"moved_at": None, "decisions": ()})


def test_nothing_moves_where_only_this_program_has_changed_something(tmp_path: Path):
    found, fixed = now()
    assert fixed == []
    assert without_time(found) == without_time(before())
    path = tmp_path / "facts.yaml"
    path.write_text(text(before()))
    assert not show(path, found)


def test_versions_move_and_originals_stay(tmp_path: Path, capsys):
    calico = daemonset("calico-system", "calico-node", "quay.io/calico/node:v3.32.4")
    cluster = dict(gathered().cluster) | {"version": "1.34"}
    found, fixed = now(
        facts=before(cluster=dict(cluster) | {"version": "1.33"}),
        cluster=cluster,
        addons=aws("v1.23.1-eksbuild.1"),
        daemonsets=daemonsets(calico, proxy="kube-proxy:v1.35.4", NEW_SWITCH="on"),
    )
    assert fixed == []
    assert (found.cluster.version, found.calico.version) == ("1.34", "v3.32.4")
    assert found.vpc_cni.addon_version == "v1.23.1-eksbuild.1"
    assert found.vpc_cni.env == {"A": "1", "NEW_SWITCH": "on"}
    assert found.vpc_cni.configuration == before().vpc_cni.configuration
    assert found.vpc_cni.affinity == before().vpc_cni.affinity
    assert found.kube_proxy.image == "kube-proxy:v1.35.4"
    assert (found.surveyed_at, found.moved_at) == ("2026-11-01T00:00:00Z", "2026-11-20T00:00:00Z")
    path = tmp_path / "facts.yaml"
    path.write_text(text(before()))
    assert show(path, found)
    assert "+  addon_version: v1.23.1-eksbuild.1" in capsys.readouterr().err.replace("addonVersion", "addon_version")
    path.write_text(text(found))
    assert Facts.load(path) == found


def test_the_declared_add_on_follows_the_facts_forward_and_back():
    found, _ = now(addons=aws("v1.23.1-eksbuild.1"))
    for stage in ("label-legacy", "pin-legacy", "install-cilium"):
        wanted = desired(settings(), found, stage).vpc_cni
        assert wanted is not None
        assert wanted.version == "v1.23.1-eksbuild.1"
    back = desired(settings(), found, "label-legacy").vpc_cni
    assert back is not None
    assert back.configuration == before().vpc_cni.configuration


def test_a_configuration_of_the_owners_moves_without_what_this_program_put_there():
    found, fixed = now(addons=aws(values='{"affinity":{"x":1},"env":{"A":"2","ANNOTATE_POD_IP":"true"}}'))
    assert fixed == []
    assert found.vpc_cni.configuration == '{"env": {"A": "2"}}'


def test_blocks_and_groups_move_and_emptied_groups_keep_what_they_were():
    block = {"CidrBlock": "100.64.0.0/16", "CidrBlockState": {"State": "associated"}}
    plain = gathered()
    own = dict(plain.vpc) | {"CidrBlockAssociationSet": [{"CidrBlock": "10.0.0.0/16"}, block]}
    emptied = dict(plain.nodegroups[0]) | {"scalingConfig": {"minSize": 0, "desiredSize": 0, "maxSize": 5}}
    emptied |= {"labels": {"team": "shop", "cni-plugin": "aws"}}
    more = dict(plain.nodegroups[0]) | {"nodegroupName": "spot", "tags": {"eks-cilium.io/labelled": "true"}}
    ours = dict(plain.nodegroups[0]) | {"nodegroupName": "workers"}
    found, fixed = now(vpc=own, nodegroups=[emptied, more, ours])
    assert fixed == []
    assert [str(b) for b in found.cluster.vpc_cidrs] == ["10.0.0.0/16", "100.64.0.0/16"]
    assert [g.name for g in found.groups] == ["general", "spot"]
    assert found.groups[0] == before().groups[0]
    assert [s.id for s in found.subnets] == ["subnet-a", "subnet-b"]


@pytest.mark.parametrize(
    ("about", "changes"),
    [
        ("cluster shop", {"account": "999988887777"}),
        ("aws-node", {"addons": {}}),
        ("aws-node", {"daemonsets": daemonsets(pin={"nodeAffinity": {"other": 1}})}),
        ("aws-node", {"addons": aws(values="- a")}),
        ("Calico", {"daemonsets": daemonsets()[:2], "custom": {}}),
        ("Calico", {"custom": {}}),
        ("egress source", {"daemonsets": daemonsets(AWS_VPC_K8S_CNI_EXTERNALSNAT="true")}),
    ],
)
def test_what_may_not_move_is_refused_with_the_reason(about, changes):
    found, fixed = now(**changes)
    assert found == before()
    assert about in {one.about for one in fixed}
    assert all(one.problem and one.fix for one in fixed)


def test_a_new_group_does_not_change_the_security_groups_of_ciliums_interfaces_unsaid():
    both = [instance(number, "sg-1", "sg-2") for number in (1, 2)]
    spot = {**gathered().nodegroups[0], "nodegroupName": "spot", "resources": {}}
    live: dict[str, Any] = {
        "instances": both,
        "nodegroups": [*gathered().nodegroups, spot],
        "templates": {"spot": {"SecurityGroupIds": ["sg-1"]}},
    }
    found, fixed = now(facts=before(instances=both), **live)
    assert [(one.about, one.problem) for one in fixed] == [
        ("security groups of the nodes", "those that all groups share were sg-1, sg-2, are now sg-1")
    ]
    found, fixed = now({"network__securityGroupIds": ["sg-1", "sg-2"]}, before(instances=both), **live)
    assert (fixed, [g.name for g in found.groups]) == ([], ["general", "spot"])


def test_an_egress_source_that_is_said_explicitly_may_move():
    asked, live = {"cilium__egressSource": "node"}, daemonsets(AWS_VPC_K8S_CNI_EXTERNALSNAT="true")
    found, fixed = now(asked, daemonsets=live)
    assert (fixed, found.egress_source) == ([], "pod")


def test_versions_move_within_the_table_only():
    found, fixed = now(cluster=dict(gathered().cluster) | {"version": "1.37"})
    assert fixed == []
    assert [d.item for d in found.decisions if d.verdict is Verdict.REFUSED] == ["versions"]


def test_what_the_stage_has_removed_is_kept_as_surveyed():
    stage = REPLACE["retire-legacy"]
    live = gathered(addons={}, daemonsets=[CALICO], custom={"installations": [INSTALLATION]})
    found, fixed = moved(before(), facts_of(live, settings(), "2026-11-20T00:00:00Z", stage), settings(), stage)
    assert fixed == ()
    assert (found.vpc_cni, found.kube_proxy) == (before().vpc_cni, before().kube_proxy)


def test_an_override_of_calico_by_its_owner_may_not_move_and_our_pin_is_none():
    def installed(term: Any) -> dict[str, Any]:
        override = {"spec": {"template": {"spec": {"affinity": term}}}}
        return {"custom": {"installations": [named("default", spec={"calicoNodeDaemonSet": override})]}}

    assert now(**installed(PIN))[1] == []
    assert [one.about for one in now(**installed({"nodeAffinity": {"x": 1}}))[1]] == ["Calico"]
