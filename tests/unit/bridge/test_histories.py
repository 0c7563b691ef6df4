"""Random histories of a cluster, with bridges killed between any two writes and agents that forget: what must hold."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from bridge import decide
from bridge.decide import Verb
from bridge.step import missing
from tests.unit.bridge.cluster import shop

ADDRESSES = [f"10.0.80.{n}" for n in range(1, 4)]
NAMES = [f"web-{n}" for n in range(4)]


class History:
    """A cluster to which things happen."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311
        self.cluster = shop(seed=seed)
        self.cluster.node("legacy-2", "10.0.0.22")
        self.agents: dict[tuple[str, str], dict[str, Any]] = {}
        self.identities: set[tuple[str, str]] = set()

    def happen(self) -> None:
        cluster, rng = self.cluster, self.rng
        name = rng.choice(NAMES)
        pod = cluster.objects.get(("Pod", ("shop", name)))
        event = rng.choice(
            (
                "pod",
                "pod",
                "pod",
                "gone",
                "relabelled",
                "leaving",
                "finished",
                "namespace",
                "agent",
                "forget",
                "node",
                "late",
                "late",
            )
        )
        if event == "pod" and pod is None:
            node = rng.choice(("legacy", "legacy", "legacy-2", "new"))
            address = rng.choice(ADDRESSES) if node != "new" else f"10.0.64.{NAMES.index(name)}"
            shown: dict[str, Any] = {"annotated": address} if rng.random() < 0.3 else {"address": address}
            cluster.pod(name, node=node, labels={"app": rng.choice("ab")}, **shown)
        elif event == "gone" and pod is not None:
            cluster.drop("Pod", name, namespace="shop")
        elif event in ("relabelled", "leaving", "finished") and pod is not None:
            changed = copy.deepcopy(pod)
            metadata, status = changed["metadata"], changed["status"]
            if event == "relabelled":
                metadata["labels"] = {"app": rng.choice("abc")}
            elif event == "leaving":
                metadata["deletionTimestamp"] = "2026-01-02T00:00:00Z"
                if rng.random() < 0.5:
                    metadata["annotations"] = {"vpc.amazonaws.com/pod-ips": ""}
            else:
                status["phase"] = "Succeeded"
            cluster.put("Pod", name, namespace="shop", metadata=metadata, spec=changed["spec"], status=status)
        elif event == "namespace":
            cluster.namespace("shop", team=rng.choice(("red", "blue")))
        elif event == "agent" and pod is not None and pod["spec"]["nodeName"] == "new":
            written = cluster.agents(name, f"10.0.64.{NAMES.index(name)}", 300, node="10.0.0.11")
            self.agents["shop", name] = copy.deepcopy(written)
        elif event == "late" and ("shop", name) not in self.agents:
            # What another bridge had still under way: the same pod's endpoint, with an address that it had once.
            labels = {"k8s:app": "late"}
            cluster.identity(299, labels)
            cluster.put(
                "CiliumEndpoint",
                name,
                namespace="shop",
                metadata={"labels": {"eks-cilium.io/bridge": "true"}, "ownerReferences": [{"uid": "before"}]},
                status={
                    "identity": {"id": 299},
                    "networking": {"node": "10.0.0.21", "addressing": [{"ipv4": rng.choice(ADDRESSES)}]},
                },
            )
        elif event == "forget":
            cluster.restart_agent(rng)
        elif event == "node":
            if ("Node", ("", "legacy-2")) in cluster.objects:
                cluster.drop("Node", "legacy-2")
            else:
                cluster.node("legacy-2", "10.0.0.22")

    def write_a_little(self) -> None:
        """The bridge gets so far, in any order, and may be killed there."""
        for _ in range(self.rng.randint(0, 3)):
            writes = self.cluster.decision().writes
            for write in self.rng.sample(writes, self.rng.randint(0, len(writes))):
                assert self.cluster.carry_out(write), write
        # What others did while no bridge looked it cannot know: agents are told again by one that saw it.
        if self.rng.random() < 0.2 and not self.cluster.known.survivors:
            self.cluster.restart()

    def check_always(self) -> None:
        cluster = self.cluster
        for key, written in self.agents.items():
            assert cluster.objects["CiliumEndpoint", key] == written, "an agent's endpoint was touched"
        there = {key for kind, key in cluster.objects if kind == "CiliumIdentity"}
        assert there >= self.identities, "an identity was deleted"
        self.identities = there
        for _, endpoint in self._endpoints():
            number = endpoint["status"]["identity"]["id"]
            assert number == 300 or ("CiliumIdentity", ("", str(number))) in cluster.objects

    def _endpoints(self) -> list[tuple[tuple[str, str], dict[str, Any]]]:
        return [(key, found) for (kind, key), found in self.cluster.objects.items() if kind == "CiliumEndpoint"]

    def check_at_rest(self) -> None:
        cluster = self.cluster
        cluster.settle()
        self.check_always()
        ours = [(key, e) for key, e in self._endpoints() if "id" not in e["status"]]
        held = [address for key, _ in ours for address in cluster.addresses(key[1], key[0])]
        assert len(held) == len(set(held)), "two endpoints have one address"
        for key, _ in ours:
            pod = cluster.objects.get(("Pod", key))
            assert pod is not None, "an endpoint outlives its pod"
            assert pod["spec"]["nodeName"] != "new", "an endpoint is in an agent's place"
            labels = cluster.labels_of(key[1])
            if pod["spec"]["nodeName"] == "legacy" or ("Node", ("", "legacy-2")) in cluster.objects:
                assert labels["k8s:app"] == pod["metadata"]["labels"]["app"]
                namespace = cluster.objects["Namespace", ("", "shop")]["metadata"]["labels"]
                assert labels["k8s:io.cilium.k8s.namespace.labels.team"] == namespace["team"]
            for address in cluster.addresses(key[1]):
                number = cluster.objects["CiliumEndpoint", key]["status"]["identity"]["id"]
                assert cluster.agent.addresses[address] == (key, number), "an agent lost it"
        without = set(missing(cluster.known))
        for name in NAMES:
            pod = cluster.objects.get(("Pod", ("shop", name)))
            if pod is None or pod["spec"]["nodeName"] != "legacy" or pod["status"]["phase"] != "Running":
                continue
            if ("shop", name) not in {key for key, _ in ours} and "deletionTimestamp" not in pod["metadata"]:
                address = pod["status"]["podIP"]
                taken = address in held or ("shop", name) in self.agents
                assert not address or (taken and ("shop", name) in without), "a pod was forgotten"


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_and_wherever_it_is_killed_the_bridge_ends_in_step(seed: int):
    history = History(seed)
    for _ in range(40):
        history.happen()
        history.write_a_little()
        history.check_always()
    history.check_at_rest()


def test_these_histories_are_not_all_alike():
    seen: set[Verb] = set()
    touched = 0
    for seed in range(60):
        history = History(seed)
        for _ in range(40):
            history.happen()
            history.write_a_little()
        seen |= {verb for verb, _ in history.cluster.history}
        touched += any("touched" in str(e["metadata"].get("annotations")) for _, e in history._endpoints())
    assert seen == {Verb.MAKE_IDENTITY, Verb.MAKE, Verb.REPLACE, Verb.TOUCH, Verb.DELETE}
    assert touched > 3


def test_a_bridge_that_tells_no_survivor_would_be_caught(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decide._Round, "_untold", lambda _self, _there: "")
    monkeypatch.setattr(decide._Round, "_may_give_up", lambda *_: True)

    def fails(seed: int) -> bool:
        history = History(seed)
        try:
            for _ in range(40):
                history.happen()
                history.write_a_little()
            history.check_at_rest()
        except (AssertionError, KeyError):
            return True
        return False

    assert any(fails(seed) for seed in range(60))
