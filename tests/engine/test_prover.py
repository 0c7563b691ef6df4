"""The prover as a process, under the exact rights of its service account, against a real API server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prover.names import PROOF
from prover.said import Verdict
from sandbox import lifecycle
from tests.engine.bridge_cluster import Api, control_plane, eventually, free_ports
from tests.engine.prover_cluster import NAMESPACE, Provers, policy, prepare, renew_bridge
from tests.engine.replicas import get

pytestmark = pytest.mark.engine

ONLY_WEB = {
    "podSelector": {"matchLabels": {"app": "db"}},
    "policyTypes": ["Ingress"],
    "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}],
}
"""Both engines read it alike."""
BY_ADDRESS = {**ONLY_WEB, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}
"""To Calico pods have addresses, to Cilium identities."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    directory = tmp_path_factory.mktemp("sandbox")
    try:
        found = control_plane(directory)
        prepare(found)
        found.namespace("shop", team="red")
        found.pod("web-1", "10.0.80.1", labels={"app": "web"})
        found.pod("db-1", "10.0.80.2", labels={"app": "db"})
        found.pod("job-1", "10.0.80.3", labels={"app": "job"}, node="new")
        yield found
    finally:
        lifecycle.down(directory, print, purge=True)


@pytest.fixture
def provers(api: Api, tmp_path: Path) -> Iterator[Provers]:
    found = Provers(api, tmp_path)
    policy(api, "db", ONLY_WEB)
    # What a prover of the test before published is no verdict of this one's.
    api.core.replace_namespaced_config_map(PROOF, NAMESPACE, {"metadata": {"name": PROOF}})
    try:
        yield found
        for log in tmp_path.glob("*.log"):
            assert not [line for line in log.read_text().splitlines() if " 403" in line or "Traceback" in line]
    finally:
        found.end()


def test_a_policy_that_differs_is_told_within_seconds_and_so_is_that_it_was_mended(api: Api, provers: Provers):
    [port] = free_ports(1)
    provers.start("one", listen=f"127.0.0.1:{port}")
    assert provers.says("equal").counterexample == ""
    assert get(port, "/readyz") == (200, "equal\n")
    eventually(lambda: provers.trouble() == "", why=provers.trouble)

    began = time.monotonic()
    policy(api, "db", BY_ADDRESS)
    said = provers.says("different", 10)
    assert time.monotonic() - began < 5
    assert "NetworkPolicy shop/db" in said.counterexample
    assert "TCP" in said.counterexample
    assert "while both kinds of nodes run" in said.why
    assert provers.trouble().startswith("different: a flow changes its verdict")
    assert "eks_cilium_prover_different 1\n" in get(port, "/metrics")[1]
    eventually(lambda: "PolicyDifferent" in dict(provers.events()), why=provers.events)
    assert "NetworkPolicy shop/db" in dict(provers.events())["PolicyDifferent"]

    policy(api, "db", ONLY_WEB)
    assert provers.says("equal", 10).why == ""
    eventually(lambda: "PolicyEqual" in dict(provers.events()), why=provers.events)
    assert provers.stop("one") == 0


def test_nothing_happens_and_the_verdict_stays_young(provers: Provers):
    provers.start("one")
    provers.says("equal")
    first = provers.said()
    eventually(lambda: (now := provers.said()) is not None and first is not None and now.beat > first.beat + 1, 20)
    later = provers.said()
    assert first is not None
    assert later is not None
    assert later.since == first.since
    assert later.age < 2


def test_the_other_replica_publishes_when_one_is_killed(api: Api, provers: Provers):
    provers.start("one")
    provers.says("equal")
    provers.start("two")
    eventually(lambda: "equal in" in provers.log("two"), 30, lambda: provers.log("two"))
    assert (said := provers.said()) is not None
    assert said.by == "one"
    provers.kill("one")
    policy(api, "db", BY_ADDRESS)
    eventually(lambda: (now := provers.said()) is not None and now.by == "two", 25, provers.said)
    assert provers.says("different", 10).by == "two"


def test_a_label_of_a_namespace_and_a_new_pod_are_followed(api: Api, provers: Provers):
    by_team = {"from": [{"namespaceSelector": {"matchLabels": {"team": "blue"}}}]}
    block = {"from": [{"ipBlock": {"cidr": "10.0.80.9/32"}}]}
    policy(api, "db", {**ONLY_WEB, "ingress": [by_team, block]})
    provers.start("one")
    provers.says("equal")
    api.pod("late", "10.0.80.9", labels={"app": "other"})
    assert "shop/late" in provers.says("different", 15).counterexample
    api.core.patch_namespace("shop", {"metadata": {"labels": {"team": "blue"}}})
    provers.says("equal", 15)
    api.core.patch_namespace("shop", {"metadata": {"labels": {"team": "red"}}})
    provers.says("different", 15)
    api.delete("late")
    provers.says("equal", 15)


def test_a_bridge_that_is_out_of_step_makes_the_verdict_different(api: Api, provers: Provers):
    renew_bridge(api)
    step: dict[str, object] = {}
    over = threading.Event()

    def holds() -> None:
        while not over.wait(1.0):
            renew_bridge(api, **step)

    holder = threading.Thread(target=holds)
    holder.start()
    try:
        provers.start("one", bridge="eks-cilium-bridge", late_seconds=3)
        provers.says("equal")
        step.update(lag=4.0, behind=1, pods=["shop/web-1"])
        said = provers.says("different", 15)
        assert "the identity bridge has been out of step" in said.why
        assert "shop/web-1" in said.why
        step.clear()
        provers.says("equal", 15)
    finally:
        over.set()
        holder.join()
    assert "nobody renews its Lease" in provers.says("different", 30).why
    assert Verdict.DIFFERENT in provers.trouble()
