"""The target's fixed sizes are counted as Cilium's agents fill them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netpol import translate
from netpol.compare import sizes as counted
from netpol.compare.sizes import sizes
from tests.unit.netpol.worlds import ccnp, cilium, gnp, world


def entries(*rules: str, direction: str = "egress") -> int:
    policy = ccnp(f"{{endpointSelector: {{matchLabels: {{app: db}}}}, {direction}: [{', '.join(rules)}]}}")
    return sizes(cilium(policy))[0].count


PORT = "toPorts: [{ports: [%s]}]"


@pytest.mark.parametrize(
    ("rules", "count"),
    [
        (["{toEntities: [all]}"], 1),
        (["{toEndpoints: [{}]}"], 3),
        (["{toEndpoints: [{matchLabels: {app: web, 'k8s:io.kubernetes.pod.namespace': red}}]}"], 1),
        # Twice the same is once.
        (["{toEndpoints: [{}]}", "{toEndpoints: [{}]}"], 3),
        (["{toCIDR: [8.8.8.0/24, 9.9.9.0/24]}"], 2),
        # A network holds the narrower ones that anybody names, and the world all of them.
        (["{toCIDR: [8.0.0.0/8]}", "{toCIDR: [8.8.8.0/24], " + PORT % '{port: "80", protocol: TCP}' + "}"], 3),
        (["{toEntities: [world], " + PORT % '{port: "80", protocol: TCP}' + "}", "{toCIDR: [8.8.8.0/24]}"], 3),
        (["{toEntities: [world], " + PORT % '{port: "80", protocol: ANY}' + "}"], 3),
        # 1-65535 takes one piece for each power of two, 8000-8003 one, 8001-8003 two.
        (["{toEntities: [host], " + PORT % '{port: "1", endPort: 65535, protocol: TCP}' + "}"], 16),
        (["{toEntities: [host], " + PORT % '{port: "8000", endPort: 8003, protocol: TCP}' + "}"], 1),
        (["{toEntities: [host], " + PORT % '{port: "8001", endPort: 8003, protocol: TCP}' + "}"], 2),
        (["{toEntities: [host], icmps: [{fields: [{family: IPv4, type: 8}, {family: IPv4, type: 3}]}]}"], 2),
    ],
)  # fmt: skip
def test_entries_of_a_policy_map_are_identities_times_pieces_of_ports(rules, count):
    assert entries(*rules) == count


def test_identities_are_sets_of_labels_that_the_filter_lets_through():
    where = cilium(ccnp("{endpointSelector: {}, ingress: [{}]}"))
    assert sizes(where)[1].count == 3
    web = where.pods[0]
    twins = [replace(web, name=f"web-{i}", labels={**web.labels, "pod-template-hash": str(i)}) for i in range(5)]
    assert sizes(replace(where, pods=(*where.pods, *twins)))[1].count == 3
    own = [replace(web, name=f"web-{i}", labels={**web.labels, "run": str(i)}) for i in range(5)]
    size = sizes(replace(where, pods=(*where.pods, *own)))[1]
    assert size.count == 8
    assert "leaves out run (5 values)" in size.fix


@pytest.mark.parametrize(("name", "fix"), [("MOST_ENTRIES", "bpf.policyMapMax"), ("MOST_IDENTITIES", "label filter")])
def test_more_than_there_is_is_refused_with_a_way_out(monkeypatch, name, fix):
    policy = gnp("{egress: [{action: Allow, protocol: TCP, destination: {nets: [8.8.8.0/24], ports: ['8001:8003']}}]}")
    assert translate(world(policy)).complete
    monkeypatch.setattr(counted, name, 1)
    result = translate(world(policy))
    assert not result.complete
    (refusal,) = result.refused
    assert fix in refusal.way_out
    assert " of 1 " in refusal.reason
