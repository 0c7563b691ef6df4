"""Addresses that nodes serve themselves: what they keep from being exact, and how to say that they are not there."""

from __future__ import annotations

import ipaddress
import json

import pytest

from netpol import translate
from netpol.compare.prove import prove
from netpol.model.world import CiliumOptions
from operations.cluster.traffic import host_addresses
from operations.policy import main
from tests.unit.netpol.worlds import CLUSTER, docs, gnp, world

VPC = gnp("{egress: [{action: Allow, destination: {nets: [10.0.0.0/8]}}]}")


def test_a_rule_over_the_vpcs_block_is_exact_where_nodes_serve_nothing_else():
    refused = translate(world(VPC))
    (reason,) = {r.reason for r in refused.refused}
    assert "10.1.0.1 is meant, 169.254.20.10, 169.254.170.23 are not" in reason
    where = world(VPC, host_addresses=())
    result = translate(where)
    assert result.complete, [str(r) for r in result.refused]
    assert prove(where.enforced_by("calico"), where.with_policies(result.policies()).enforced_by("cilium")).equal


@pytest.mark.parametrize("nets", ["10.0.0.0/16, 10.1.0.2/32", "10.0.0.0/16, 10.1.0.0/31"])
def test_cidrs_that_find_nodes_say_some_of_the_other_nodes(nets):
    policy = gnp(f"{{ingress: [{{action: Allow, source: {{nets: [{nets}]}}}}]}}")
    options = CiliumOptions(cidr_match_nodes=True)
    assert not translate(world(policy)).complete
    where = world(policy, cilium=options)
    result = translate(where)
    assert result.complete, [str(r) for r in result.refused]
    assert prove(where.enforced_by("calico"), where.with_policies(result.policies()).enforced_by("cilium")).equal


def test_the_command_line_says_which_addresses_nodes_serve(tmp_path, capsys):
    (tmp_path / "all.yaml").write_text(docs(CLUSTER, VPC))
    arguments = ["translate", str(tmp_path / "all.yaml"), "--whole"]
    assert main(arguments) == 1
    assert main([*arguments, "--host-address", "169.254.170.23"]) == 1
    capsys.readouterr()
    assert main([*arguments, "--host-address", "none"]) == 0
    assert json.loads(capsys.readouterr().out)["complete"]
    # A cache that stands in the VPC's block is held by the rule.
    assert main([*arguments, "--host-address", "10.99.0.10"]) == 0
    for wrong in (["169.254.0.0/16"], ["none", "169.254.170.23"]):
        assert main([*arguments, *(w for a in wrong for w in ("--host-address", a))]) == 64


def pod(name: str, labels: dict[str, str], *words: str) -> dict[str, object]:
    return {
        "kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "kube-system", "labels": labels},
        "spec": {"containers": [{"name": "c", "args": list(words)}]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pods", "found"),
    [
        ([], ()),
        ([pod("web", {"app": "web"}, "--localipx", "1.2.3.4")], ()),
        ([pod("a", {"app.kubernetes.io/name": "eks-pod-identity-agent"}, "--port", "80")], ("169.254.170.23", "fd00:ec2::23")),
        ([pod("d", {"k8s-app": "node-local-dns"}, "-localip", "169.254.20.10,172.20.0.10", "-conf", "x")], ("169.254.20.10", "172.20.0.10")),
        ([pod("d", {"app": "cache"}, "--localip=169.254.25.10")], ("169.254.25.10",)),
        ([pod("d", {"app": "cache"}, "-localip")], ()),
    ],
)  # fmt: skip
def test_what_runs_says_which_addresses_nodes_serve(pods, found):
    assert host_addresses(pods) == found
    assert all(ipaddress.ip_address(a) for a in found)
