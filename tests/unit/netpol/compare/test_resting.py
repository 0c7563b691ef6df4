"""That pods speak few protocols may be assumed, and is said wherever something rests on it."""

from __future__ import annotations

import json

import pytest

from netpol import Grade, from_text, prove, translate
from netpol.compare.resting import NO_OTHERS
from netpol.translate.manifests import ASSUMES
from operations.policy import main
from tests.unit.netpol.worlds import CLUSTER, docs, gnp, knp, np, world

REST = (
    "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: web}\n"
    "spec: {tier: Admin, priority: 1, subject: {namespaces: {matchLabels: {team: red}}}, ingress: ["
    "{action: Accept, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 8080}}}]}, "
    "{action: Deny, from: [{namespaces: {}}]}]}"
)
"""The rest of what pods send is denied; what nodes and addresses send is left to later tiers."""
STAYING = docs(
    gnp("{order: 1, ingress: [{action: Allow, protocol: TCP, destination: {ports: [8080]}}, {action: Deny}]}"),
    knp("{podSelector: {}, policyTypes: [Ingress], ingress: [{}]}"),
)
"""The NetworkPolicy that stays would let in what the rule before it denies."""
PASSED = np(
    "{egress: [{action: Allow, protocol: TCP}, {action: Allow, protocol: UDP}, {action: Allow, protocol: SCTP}, {action: Allow, protocol: ICMP}]}"
)


@pytest.mark.parametrize("policies", [REST, STAYING])
def test_a_port_and_nothing_else_is_said_where_pods_speak_few_protocols(policies):
    refused = translate(world(policies))
    assert any("IP protocol 253" in r.reason for r in refused.refused)
    result = translate(world(policies, other_protocols=False))
    assert result.complete, [str(r) for r in result.refused]
    assert result.proof.rests_on == (NO_OTHERS,)
    assert NO_OTHERS in result.proof.assumptions
    assert all(m["metadata"]["annotations"][ASSUMES] == NO_OTHERS for m in result.manifests)


def test_what_holds_anyway_rests_on_nothing():
    where = world(gnp("{selector: app == 'db', types: [Ingress]}"), other_protocols=False)
    result = translate(where)
    assert (result.complete, result.proof.rests_on) == (True, ())
    assert all(ASSUMES not in m["metadata"]["annotations"] for m in result.manifests)


def test_a_proof_says_on_what_it_rests():
    where = world(PASSED, other_protocols=False)
    open_ = where.with_policies(from_text(np("{egress: [{action: Allow}]}")).policies).enforced_by("calico")
    proof = prove(where.enforced_by("calico"), open_)
    assert (proof.equal, proof.grade, proof.rests_on) == (True, Grade.EXACT, (NO_OTHERS,))
    assert not prove(world(PASSED).enforced_by("calico"), open_).equal


def test_a_difference_in_what_pods_do_speak_is_none_to_assume_away():
    where = world(PASSED, other_protocols=False)
    closed = where.with_policies(from_text(np("{types: [Egress]}")).policies).enforced_by("calico")
    assert not prove(where.enforced_by("calico"), closed).equal


def test_rules_about_another_protocol_are_named_beside_the_assumption():
    where = world(gnp("{egress: [{action: Allow, protocol: 47}]}"), other_protocols=False)
    result = translate(where)
    assert result.complete
    assert f"{NO_OTHERS}, though rules are about protocol 47" in result.proof.assumptions


def test_the_command_line_takes_the_assumption_and_says_it(tmp_path, capsys):
    (tmp_path / "all.yaml").write_text(docs(CLUSTER, REST))
    arguments = ["translate", str(tmp_path / "all.yaml"), "--whole", "--out", str(tmp_path / "out")]
    assert main(arguments) == 1
    capsys.readouterr()
    assert main([*arguments, "--no-other-protocols"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["proof"]["rests_on"] == [NO_OTHERS]
    assert f"assumed: {NO_OTHERS}" in said.err
    assert NO_OTHERS in next((tmp_path / "out").iterdir()).read_text()
    after = ["prove", str(tmp_path / "all.yaml"), "--whole", "--after", str(tmp_path / "out")]
    assert main(after) == 1
    capsys.readouterr()
    assert main([*after, "--no-other-protocols"]) == 0
    assert json.loads(capsys.readouterr().out)["rests_on"] == [NO_OTHERS]
