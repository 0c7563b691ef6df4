"""Port names of init containers, sidecars among them: Calico counts them, Cilium does not."""

from __future__ import annotations

import pytest

from netpol import World
from netpol.compare import graded
from netpol.compare.prove import Equality, Grade, prove
from netpol.translate.translation import translate
from tests.unit.netpol.worlds import allows, calico, cilium, docs, knp, np, world

POD = (
    "apiVersion: v1\nkind: Pod\nmetadata: {name: mesh, namespace: red, labels: {app: mesh}}\n"
    "spec: {nodeName: n1, initContainers: [%s], containers: [%s]}\nstatus: {podIP: 10.0.1.9}\n"
)
PROXY = "{name: proxy, restartPolicy: Always, ports: [{name: metrics, containerPort: 15090}]}"
MAIN = "{name: main}"
SIDECAR, PLAIN = POD % (PROXY, MAIN), POD % (MAIN, PROXY)
INGRESS = {
    "Calico's": np("{selector: app == 'mesh', ingress: [{action: Allow, protocol: TCP, destination: {ports: [metrics]}}]}"),
    "Kubernetes'": knp("{podSelector: {matchLabels: {app: mesh}}, ingress: [{ports: [{port: metrics}]}]}"),
}  # fmt: skip
EGRESS = knp(
    "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: metrics}]}]}"
)


def both(*texts: str) -> tuple[World, World]:
    return calico(docs(*texts)), cilium(docs(*texts))


@pytest.mark.parametrize("policy", [*INGRESS.values(), EGRESS])
def test_calico_reads_the_port_names_of_sidecars_and_cilium_does_not(policy):
    before, after = both(SIDECAR, policy)
    assert allows(before, "red/web", "red/mesh", port=15090)
    assert not allows(before, "red/web", "red/mesh", port=15091)
    if policy != INGRESS["Calico's"]:
        assert not allows(after, "red/web", "red/mesh", port=15090)
        assert prove(before, after).verdict is Equality.DIFFERENT
        assert prove(*both(PLAIN, policy)).equal


@pytest.mark.parametrize("policy", INGRESS.values())
def test_a_rule_that_a_sidecars_port_name_decides_is_refused_with_the_number_to_write(policy):
    refused = translate(world(docs(SIDECAR, policy))).refused
    assert refused
    assert "red/mesh has the port name metrics of an init container" in refused[0].reason
    assert "Write 15090" in refused[0].reason
    assert translate(world(docs(PLAIN, policy))).complete


def test_of_pods_to_come_it_is_assumed_that_they_name_no_ports_so():
    proof = graded.prove(*both(PLAIN, EGRESS))
    assert (proof.verdict, proof.grade) == (Equality.EQUAL, Grade.EXACT)
    assert any("not in init containers" in line for line in proof.assumptions)
    same = calico(EGRESS)
    assert not any("init containers" in line for line in graded.prove(same, same).assumptions)


def test_of_a_name_that_two_containers_declare_cilium_knows_the_last_number_and_calico_both():
    pod = """
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: red, labels: {app: two}}
spec:
  nodeName: n1
  containers:
  - {name: a, ports: [{name: http, containerPort: 80}]}
  - {name: b, ports: [{name: http, containerPort: 8080}]}
status: {podIPs: [{ip: 10.0.0.7}]}
"""
    where = world(docs(pod, knp("{podSelector: {matchLabels: {app: two}}, ingress: [{ports: [{port: http}]}]}")))
    verdicts = {
        engine: [allows(where.enforced_by(engine), "red/web", "red/two", port=port) for port in (80, 8080)]
        for engine in ("calico", "cilium")
    }
    assert verdicts == {"calico": [True, True], "cilium": [False, True]}
    found = prove(where.enforced_by("calico"), where.enforced_by("cilium"))
    assert not found.equal
