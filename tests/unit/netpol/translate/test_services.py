"""Rules by service: EndpointSlices decide, and the service's selector and ports are written out."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from netpol import Flow, Grade, World, decide, lint, translate
from netpol.compare.prove import prove
from netpol.translate.manifests import WRITTEN_OUT
from tests.oracles import random_calico
from tests.unit.netpol.worlds import allows, calico, docs, gnp, np, world

DB = "services: {name: db, namespace: red}"
TO_DB = gnp(f"{{egress: [{{action: Allow, destination: {{{DB}}}}}]}}")


def endpoints(name: str, address: str, *, port: int = 5432, ready: str = "true", pod: str = "") -> str:
    target = f", targetRef: {{kind: Pod, name: {pod}, namespace: red}}" if pod else ""
    return (
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n"
        f"metadata: {{name: {name}-x, namespace: red, labels: {{kubernetes.io/service-name: {name}}}}}\n"
        f"endpoints: [{{addresses: [{address}], conditions: {{ready: {ready}}}{target}}}]\n"
        f"ports: [{{name: sql, port: {port}}}]\n"
    )


def service(name: str, selector: str, ports: str) -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: red}}\n"
        f"spec: {{{selector}clusterIP: None, ports: [{ports}]}}\n"
    )


def holds(where: World) -> bool:
    result = translate(where)
    assert result.complete, [str(r) for r in result.refused]
    return prove(where.enforced_by("calico"), where.with_policies(result.policies()).enforced_by("cilium")).equal


@pytest.mark.parametrize(
    ("more", "source", "destination", "port", "allowed"),
    [
        ([], "red/web", "red/db", 5432, True),
        # Not ready, terminating: in the slices all the same.
        ([endpoints("db", "10.0.0.2", ready="false", pod="db")], "red/web", "red/db", 5432, True),
        # What the slices leave out is none of it, whatever the selector says.
        ([endpoints("db", "10.0.9.9")], "red/web", "red/db", 5432, False),
        ([endpoints("db", "10.0.9.9", port=99)], "red/web", "10.0.9.9", 99, True),
    ],
)
def test_slices_decide_whatever_they_say_of_readiness(more, source, destination, port, allowed):
    assert allows(calico(docs(TO_DB, *more)), source, destination, port=port) is allowed


def test_slices_without_a_service_are_enough():
    policy = gnp("{egress: [{action: Allow, destination: {services: {name: lone, namespace: red}}}]}")
    where = calico(docs(policy, endpoints("lone", "8.8.8.8", port=443)), whole=False)
    assert allows(where, "red/web", "8.8.8.8", port=443)
    assert not allows(where, "red/web", "8.8.8.8", port=80)


def test_a_flow_to_the_service_still_goes_to_ready_endpoints_only():
    ready, other = (
        endpoints("db", "10.0.0.2", pod="db"),
        endpoints("db", "10.0.9.9", ready="false").replace("db-x", "db-y"),
    )
    verdict = decide(calico(docs(ready, other)), Flow.of("red/web", "service:red/db", "TCP", 5432))
    assert [path.destination.split(" ")[1] for path in verdict.paths] == ["red/db"]


@pytest.mark.parametrize(
    "policies",
    [
        TO_DB,
        gnp(f"{{selector: app == 'web', ingress: [{{action: Allow, source: {{{DB}}}}}]}}"),
        np("{egress: [{action: Deny, destination: {services: {name: db}}}, {action: Allow}]}"),
        # Numbered target ports, several protocols, and what the rule asks besides.
        docs(
            gnp("{egress: [{action: Allow, protocol: UDP, destination: {services: {name: two, namespace: red}}}]}"),
            service("two", "selector: {app: db}, ", "{name: a, port: 1, targetPort: 9000}, {name: b, port: 53, protocol: UDP}"),
        ),
        # Addresses outside, by hand.
        docs(
            gnp("{egress: [{action: Allow, destination: {services: {name: far, namespace: red}}}]}"),
            service("far", "", "{port: 443}"),
            endpoints("far", "8.8.8.8", port=443),
        ),
        docs(
            gnp("{egress: [{action: Allow, destination: {services: {name: lone, namespace: red}}}]}"),
            endpoints("lone", "8.8.8.8", port=443, ready="false"),
        ),
    ],
    ids=["destination", "source", "deny", "ports", "by hand", "slices alone"],
)  # fmt: skip
def test_a_rule_by_service_is_written_out_and_marked(policies):
    where = world(policies)
    assert holds(where)
    result = translate(where)
    assert result.grade is Grade.BOUND
    assert all(WRITTEN_OUT in m["metadata"]["annotations"] for m in result.manifests)
    (name,) = result.written_out
    assert name.startswith("Service red/")
    assert not [f for f in lint(where) if f.code == "untranslatable"]


def test_pods_that_the_service_will_find_are_found():
    where = world(TO_DB)
    result = translate(where)
    later = replace(where.pods[1], name="db-2")
    peopled = replace(where, pods=(*where.pods, later)).with_policies(result.policies()).enforced_by("cilium")
    assert decide(peopled, Flow.of("red/web", "red/db-2", "TCP", 5432)).allowed


@pytest.mark.parametrize(
    ("policies", "reason"),
    [
        (docs(gnp("{egress: [{action: Allow, destination: {services: {name: lone, namespace: red}}}]}"),
              endpoints("lone", "10.0.0.2", pod="db")), "no Service with a selector"),
        # The slices are not what the selector says: somebody writes them by hand.
        (docs(TO_DB, endpoints("db", "10.0.0.1", port=8080)), "Service red/db"),
    ],
    ids=["pods without selector", "another pod"],
)  # fmt: skip
def test_a_service_that_does_not_say_what_it_means_is_refused(policies, reason):
    result = translate(world(policies))
    assert not result.complete
    assert any(reason in r.reason for r in result.refused), [str(r) for r in result.refused]


def test_random_rules_by_service_are_proved_or_refused():
    complete = 0
    for seed in range(12):
        where = random_calico.world(random.Random(seed), random_calico.SAYABLE_SERVICES, policies=3, pod_count=4)  # noqa: S311
        result = translate(where)
        complete += result.complete and bool(result.written_out)
        assert not result.complete or holds(where)
    assert complete
