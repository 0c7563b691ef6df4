"""What files say of agents and families, beside the policies."""

from __future__ import annotations

import json

import pytest

from netpol import from_text, prove
from operations.policy import main
from tests.unit.netpol.worlds import CLUSTER, ccnp, docs, gnp, world

FELIX = "apiVersion: {api}\nkind: FelixConfiguration\nmetadata: {{name: default}}\nspec: {spec}\n"


@pytest.mark.parametrize("api", ["projectcalico.org/v3", "crd.projectcalico.org/v1"])
def test_what_calicos_agents_are_told_beyond_the_model_is_named_by_every_proof(api: str):
    spec = "{bpfEnabled: true, defaultEndpointToHostAction: Drop, reportingInterval: 0s}"
    where = world(FELIX.format(api=api, spec=spec)).enforced_by("calico")
    said = " ".join(prove(where, where).assumptions)
    assert "FelixConfiguration default switches eBPF on" in said
    assert "defaultEndpointToHostAction 'Drop'" in said


def test_settings_of_calicos_agents_that_change_no_verdict_are_not_told():
    spec = "{bpfEnabled: false, defaultEndpointToHostAction: Accept}"
    where = world(FELIX.format(api="projectcalico.org/v3", spec=spec)).enforced_by("calico")
    assert "Felix" not in " ".join(prove(where, where).assumptions)


@pytest.mark.parametrize(
    ("rule", "families"),
    [
        ("{action: Allow}", {4}),
        ("{action: Allow, destination: {nets: [10.0.0.0/8]}}", {4}),
        ("{action: Allow, destination: {nets: ['2001:db8::/32']}}", {4, 6}),
        ("{action: Allow, ipVersion: 4}", {4, 6}),
        ("{action: Deny, protocol: ICMPv6}", {4, 6}),
    ],
)
def test_who_writes_rules_for_ipv6_has_it_unless_addresses_say_otherwise(rule: str, families: set[int]):
    policy = gnp(f"{{selector: all(), types: [Egress], egress: [{rule}]}}")
    assert from_text(policy).families == families
    assert from_text(docs(CLUSTER, policy)).families == {4}
    assert from_text(policy, families=frozenset((4,))).families == {4}


def test_a_rule_for_ipv6_is_not_lost_in_silence_where_only_the_other_side_has_it(tmp_path, capsys):
    (tmp_path / "before.yaml").write_text(gnp("{selector: all(), types: [Egress], egress: [{action: Allow}]}"))
    (tmp_path / "after.yaml").write_text(
        ccnp("{endpointSelector: {}, egress: [{toEntities: [all]}], egressDeny: [{toCIDR: ['2001:db8::/32']}]}")
    )
    assert main(["prove", str(tmp_path / "before.yaml"), "--after", str(tmp_path / "after.yaml")]) == 1
    assert "2001:db8" in json.dumps(json.loads(capsys.readouterr().out)["counterexamples"])


def test_the_configuration_of_cilium_counts_where_the_files_hold_it(tmp_path, capsys):
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    (tmp_path / "own.yaml").write_text(
        ccnp("{endpointSelector: {matchLabels: {app: db}}, ingress: [{fromEndpoints: [{matchLabels: {app: none}}]}]}")
    )
    flow = ["--engine", "cilium", "--from", "red/web", "--to", "red/db", "--port", "80"]
    assert main(["explain", str(tmp_path), *flow]) == 1
    (tmp_path / "config.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config, namespace: kube-system}\n"
        "data: {enable-policy: never}\n"
    )
    assert main(["explain", str(tmp_path), *flow]) == 0
    (tmp_path / "config.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config, namespace: kube-system}\n"
        "data: {enable-policy: perhaps}\n"
    )
    assert main(["explain", str(tmp_path), *flow]) == 2
    assert "Write default, always or never" in capsys.readouterr().err


CONFIG = (
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: cilium-config, namespace: {0}}}\ndata: {{enable-policy: {1}}}\n"
)


def test_the_configuration_beside_the_policies_to_compare_with_is_theirs(tmp_path, capsys):
    (tmp_path / "before").mkdir()
    (tmp_path / "after").mkdir()
    deny = "{selector: app == 'db', types: [Ingress], ingress: [{action: Deny}]}"
    (tmp_path / "before" / "all.yaml").write_text(docs(CLUSTER, gnp(deny)))
    (tmp_path / "after" / "c.yaml").write_text(ccnp("{endpointSelector: {matchLabels: {app: db}}, ingress: [{}]}"))
    asked = ["prove", str(tmp_path / "before"), "--whole", "--after", str(tmp_path / "after")]
    assert main(asked) == 0
    (tmp_path / "after" / "config.yaml").write_text(CONFIG.format("kube-system", "never"))
    assert main(asked) == 1
    (tmp_path / "after" / "other.yaml").write_text(CONFIG.format("elsewhere", "default"))
    assert main(asked) == 64
    assert "given twice, and not alike" in capsys.readouterr().err
