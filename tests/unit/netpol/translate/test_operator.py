"""What the Tigera operator makes for Calico's own pods is nobody's policy but the operator's."""

from __future__ import annotations

import json

import pytest

from netpol import Flow, decide, lint, translate
from operations.policy import main
from tests.unit.netpol.worlds import CLUSTER, docs, gnp, knp, np, world

OWNER = {"apiVersion": "operator.tigera.io/v1", "kind": "Installation", "name": "default", "uid": "u"}


def owned(policy: str, *, stored: bool) -> str:
    """The policy with the operator as its owner: as Calico shows it, or as it stores it."""
    if not stored:
        return policy.replace("metadata: {", f"metadata: {{ownerReferences: [{json.dumps(OWNER)}], ")
    kept = json.dumps({"ownerReferences": [OWNER]})
    return policy.replace(
        "metadata: {", f"metadata: {{annotations: {{projectcalico.org/metadata: '{kept}'}}, "
    ).replace("projectcalico.org/v3", "crd.projectcalico.org/v1")


DENY = np("{tier: calico-system, order: 1, selector: all(), types: [Ingress, Egress]}", "calico-system.default-deny")
ACCESS = gnp("{tier: calico-system, selector: app == 'db', ingress: [{action: Allow}]}", "calico-system.access")
NATIVE = knp("{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}")


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("policy", [DENY, ACCESS])
def test_the_operators_policies_are_left_out_and_named(policy, stored):
    where = world(docs(owned(policy, stored=stored), gnp("{selector: app == 'web', types: [Egress]}", "mine")))
    result = translate(where)
    assert result.complete
    assert [m["metadata"]["name"] for m in result.manifests] == ["mine"]
    assert [name.rsplit("calico-system.", 1)[-1] for name in result.left_out] in (["default-deny"], ["access"])


def test_a_networkpolicy_of_the_operator_gets_no_copy():
    assert len(translate(world(NATIVE)).manifests) == 1
    result = translate(world(owned(NATIVE, stored=False)))
    assert (result.manifests, result.left_out) == ((), ("NetworkPolicy red/k",))


def test_a_policy_of_somebody_else_in_the_operators_tier_is_theirs():
    result = translate(world(DENY))
    assert [m["metadata"]["name"] for m in result.manifests] == ["calico-system.default-deny"]
    assert result.left_out == ()


def test_it_still_decides_as_long_as_calico_runs_and_lint_leaves_it_alone():
    where = world(owned(DENY, stored=True))
    assert not decide(where.enforced_by("calico"), Flow.of("red/web", "red/db", "TCP", 80)).allowed
    assert lint(where) == ()
    assert lint(world(DENY)) != ()


def test_a_proof_and_a_translation_say_what_they_leave_out(tmp_path, capsys):
    (tmp_path / "all.yaml").write_text(docs(CLUSTER, owned(DENY, stored=True), gnp("{types: [Egress]}", "mine")))
    out = tmp_path / "out"
    assert main(["translate", str(tmp_path / "all.yaml"), "--out", str(out)]) == 0
    answer, text = capsys.readouterr()
    assert json.loads(answer)["left_out"] == ["NetworkPolicy red/calico-system.default-deny"]
    assert "1 policy that the Tigera operator made" in text
    assert main(["prove", str(tmp_path / "all.yaml"), "--after", str(out)]) == 0
    assert (
        "not compared: 1 policy that the Tigera operator made" in json.loads(capsys.readouterr().out)["assumptions"][-1]
    )
