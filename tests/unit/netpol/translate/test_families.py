"""Rules of IPv4 and of IPv6 that mean one thing are said as one thing."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from netpol import World, translate
from netpol.compare.prove import prove
from tests.unit.netpol.worlds import docs, gnp, np, world


def dual(policies: str) -> World:
    """The small cluster, its pods and nodes with an address of each family."""
    where = world(policies, families=frozenset((4, 6)))
    pods = [
        replace(p, addresses=(*p.addresses, ipaddress.ip_address(f"fd00:1::{i + 1}"))) for i, p in enumerate(where.pods)
    ]
    nodes = [
        replace(n, addresses=(*n.addresses, ipaddress.ip_address(f"fd00:2::{i + 1}")))
        for i, n in enumerate(where.nodes)
    ]
    return replace(where, pods=tuple(pods), nodes=tuple(nodes))


ALLOW_4, ALLOW_6 = "{action: Allow, destination: {nets: [0.0.0.0/0]}}", "{action: Allow, destination: {nets: ['::/0']}}"
PODS_4, PODS_6 = "source: {nets: [10.0.0.0/16]}", "source: {nets: ['fd00:1::/32']}"


@pytest.mark.parametrize(
    "policies",
    [
        gnp(f"{{egress: [{ALLOW_4}, {ALLOW_6}]}}"),
        # Between the two stands something else, or they are in policies of their own.
        gnp(f"{{egress: [{ALLOW_4}, {{action: Deny, protocol: TCP, destination: {{nets: [8.8.8.8/32]}}}}, {ALLOW_6}]}}"),
        docs(gnp(f"{{order: 1, egress: [{ALLOW_4}]}}", "four"), gnp(f"{{order: 2, egress: [{ALLOW_6}]}}", "six")),
        gnp("{egress: [{action: Allow, ipVersion: 4}, {action: Allow, ipVersion: 6}]}"),
        # A block for each family, one port.
        gnp(f"{{ingress: [{{action: Allow, protocol: TCP, {PODS_4}, destination: {{ports: [80]}}}},"
            f" {{action: Allow, protocol: TCP, {PODS_6}, destination: {{ports: [80]}}}}]}}"),
        # More ports of one family than of the other, but not altogether.
        gnp(f"{{ingress: [{{action: Allow, protocol: TCP, {PODS_4}, destination: {{ports: ['80:90']}}}},"
            f" {{action: Allow, protocol: TCP, {PODS_6}, destination: {{ports: ['80:85']}}}},"
            f" {{action: Allow, protocol: TCP, {PODS_6}, destination: {{ports: ['86:90']}}}}]}}"),
        gnp(f"{{ingress: [{{action: Allow, protocol: TCP, {PODS_4}, destination: {{ports: [http]}}}},"
            f" {{action: Allow, protocol: TCP, {PODS_6}, destination: {{ports: [http]}}}}]}}"),
        # A VPC of two blocks, each in a rule of its own.
        gnp("{ingress: [{action: Allow, source: {nets: [10.0.0.0/24]}}, {action: Allow, source: {nets: [10.0.1.0/24]}},"
            f" {{action: Allow, {PODS_6}}}]}}"),
        gnp(f"{{ingress: [{{action: Deny, {PODS_4}}}, {{action: Deny, {PODS_6}}}, {{action: Allow}}]}}"),
        docs(
            np("{order: 1, egress: [{action: Deny, destination: {nets: [0.0.0.0/0]}}, {action: Deny, destination: {nets: ['::/0']}}]}"),
            gnp("{order: 5000, egress: [{action: Allow}]}"),
        ),
    ],
    ids=["all", "apart", "policies", "ipVersion", "blocks", "ports", "named", "two blocks", "denies", "deny all"],
)  # fmt: skip
def test_what_is_said_of_each_family_apart_is_said_of_both(policies):
    where = dual(policies)
    result = translate(where)
    assert result.complete, [str(r) for r in result.refused]
    assert prove(where.enforced_by("calico"), where.with_policies(result.policies()).enforced_by("cilium")).equal


def test_two_rules_for_all_of_each_family_become_one_for_all():
    both = ", ".join(
        f"{{action: Allow, protocol: TCP, destination: {{nets: ['{net}'], ports: [443]}}}}"
        for net in ("0.0.0.0/0", "::/0")
    )
    (manifest,) = translate(dual(gnp(f"{{egress: [{both}]}}"))).manifests
    assert manifest["spec"]["egress"] == [
        {"toEntities": ["all"], "toPorts": [{"ports": [{"port": "443", "protocol": "TCP"}]}]}
    ]
    assert manifest["spec"]["description"] == "GlobalNetworkPolicy g: egress[0], egress[1]"


@pytest.mark.parametrize(
    "policies",
    [
        gnp(f"{{egress: [{ALLOW_4}]}}"),
        gnp(f"{{egress: [{ALLOW_4}, {{action: Allow, protocol: TCP, destination: {{nets: ['::/0']}}}}]}}"),
        gnp("{egress: [{action: Allow, ipVersion: 6}]}"),
    ],
    ids=["one", "less of one", "ipVersion"],
)
def test_what_holds_for_one_family_only_is_refused(policies):
    result = translate(dual(policies))
    assert not result.complete
    assert any("one address family" in r.reason or "family" in r.reason for r in result.refused)
