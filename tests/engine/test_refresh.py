"""A real control plane, an emulated account, and the refresh as people start it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.refresh_cluster import Moving

pytestmark = pytest.mark.engine
BUDGETS = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets"


REFUSED = "refused  names of node groups: 1 node group: workers"


class Watch(threading.Thread):
    """Looks at the cluster again and again, by itself, for what must never be."""

    def __init__(self, cluster: Moving) -> None:
        super().__init__(daemon=True)
        self.cluster, self.wrong, self._halt = cluster, list[str](), threading.Event()
        self.looks = 0

    def run(self) -> None:
        while not self._halt.wait(0.1):
            for app, least in (("web", 6), ("ledger", 2)):
                ready = sum(1 for p in self.cluster.pods(app) if _healthy(p))
                if ready < least:
                    self.wrong.append(f"{app}: {ready} pods ready, its budget wants {least}")
            self.looks += 1

    def stop(self) -> list[str]:
        self._halt.set()
        self.join()
        assert self.looks, "it never looked"
        return self.wrong


def _healthy(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or []
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moving]:
    """Shared: each test ends with every workload on legacy nodes."""
    directory: Path = tmp_path_factory.mktemp("moving")
    moving = Moving(directory)
    try:
        moving.up()
        code, _, text = moving.run("survey")
        # The new nodes are there already, so a migration would be refused; a refresh asks the facts for the old ones.
        assert code == 1, text
        assert [line for line in text.splitlines() if line.startswith("refused")] == [REFUSED], text
        yield moving
    finally:
        moving.down()


@pytest.fixture
def watched(cluster: Moving) -> Iterator[Moving]:
    watch = Watch(cluster)
    watch.start()
    yield cluster
    assert watch.stop() == []


def on_their_way(cluster: Moving, cni: str = "aws") -> list[str]:
    return [n["metadata"]["name"] for n in cluster.nodes(cni) if n["spec"].get("unschedulable")]


def back(cluster: Moving) -> None:
    code, _, text = cluster.run("refresh", "run", "--to", "legacy")
    assert code == 0, text
    assert cluster.sizes("general") == (1, 3, 9)
    assert cluster.sizes("workers") == (0, 0, 9)
    assert len(cluster.nodes("aws")) == 3
    assert not cluster.nodes("cilium")


def test_there_and_back_again_ends_where_it_began_and_a_second_run_has_nothing_to_do(watched: Moving):
    code, plan, text = watched.run("refresh", "plan", "--to", "cilium")
    assert code == 0, text
    assert sum(len(wave) for wave in plan["waves"]) == 3

    code, done, text = watched.run("refresh", "run", "--to", "cilium", "--budget", "2")
    assert code == 0, text
    assert (done["verdict"], done["done"], done["total"]) == ("passed", 3, 3)
    assert not watched.nodes("aws")
    assert watched.sizes("general") == (0, 0, 9)
    assert watched.sizes("workers") == (0, 3, 9)

    nodes = {n["metadata"]["uid"] for n in watched.nodes("cilium")}
    code, _, text = watched.run("refresh", "run", "--to", "cilium")
    assert code == 0
    assert "nothing to do" in text
    assert {n["metadata"]["uid"] for n in watched.nodes("cilium")} == nodes
    back(watched)
    code, _, text = watched.run("refresh", "run", "--to", "legacy")
    assert "nothing to do" in text
    assert code == 0


def test_a_run_that_is_killed_goes_on_where_it_was(watched: Moving):
    process = watched.start("refresh", "run", "--to", "cilium")
    watched.until(lambda: len(watched.nodes("aws")) < 3 or on_their_way(watched))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    code, done, text = watched.run("refresh", "run", "--to", "cilium")
    assert code == 0, text
    assert done["total"] == 3
    back(watched)


def test_an_interrupted_run_stops_cleanly_and_gives_the_lease_back(watched: Moving):
    process = watched.start("refresh", "run", "--to", "cilium")
    watched.until(lambda: len(watched.nodes("aws")) < 3 or on_their_way(watched))
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 1, text
    assert "Run again to go on" in text
    assert watched.lease()["spec"].get("holderIdentity", "") == ""
    back(watched)


def test_a_second_operator_is_kept_away_and_can_pause_the_first(watched: Moving):
    watched.kube.patch(f"{BUDGETS}/web", {"spec": {"maxUnavailable": 0}})
    process = watched.start("refresh", "run", "--to", "cilium")
    try:
        watched.until(lambda: on_their_way(watched))
        code, _, text = watched.run("refresh", "run", "--to", "cilium")
        assert code == 1, text
        assert "runs a refresh of this cluster now" in text
        code, status, _ = watched.run("refresh", "status")
        assert status["holder"]
        assert any("shop/web" in wait["reason"] for wait in status["waits"])
        code, said, text = watched.run("refresh", "pause")
        assert said["running"], text
        _, text = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "stopped, paused" in text
    finally:
        process.kill()
        watched.kube.patch(f"{BUDGETS}/web", {"spec": {"maxUnavailable": 2}})
    back(watched)


def test_a_budget_that_allows_nothing_is_foreseen_and_ends_the_run_at_its_deadline(watched: Moving):
    watched.kube.patch(f"{BUDGETS}/web", {"spec": {"maxUnavailable": 0}})
    try:
        time.sleep(1)  # the disruption controller counts
        code, plan, text = watched.run("refresh", "plan", "--to", "cilium")
        assert code == 1
        assert any("shop/web" in found["object"] for found in plan["foreseen"]), text
        code, done, text = watched.run("refresh", "run", "--to", "cilium", "--deadline", "0.2")
        assert code == 1
        assert done["stopped"] == "the time is over"
        assert "nodes done. Run again to go on" in text
        assert len(watched.pods("web")) >= 8
    finally:
        watched.kube.patch(f"{BUDGETS}/web", {"spec": {"maxUnavailable": 2}})
    code, _, text = watched.run("refresh", "undo")
    assert code == 0, text
    assert not on_their_way(watched)
    assert watched.sizes("general") == (1, 3, 9)
    nodes = watched.nodes("aws")
    assert not any("leaving" in str(n["spec"].get("taints")) for n in nodes)
    assert not any("exclude-from-external" in str(n["metadata"]["labels"]) for n in nodes)
    back(watched)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--to", "cilium", "--strategy", "yolo"), "there is no strategy"),
        (("--to", "cilium", "--budget", "0"), "moves no node"),
        (("--to", "cilium", "--deadline", "0"), "is not a number of minutes"),
        (("--to", "mars"), "invalid choice"),
    ],
)
def test_bad_input_gets_one_clear_error_and_touches_nothing(cluster: Moving, arguments: tuple[str, ...], words: str):
    code, _, text = cluster.run("refresh", "run", *arguments)
    assert code == 64, text
    assert words in text
    assert not on_their_way(cluster)


def test_a_group_that_does_not_exist_is_named_and_nothing_is_touched(cluster: Moving):
    path = cluster.project / "Pulumi.one.yaml"
    before = path.read_text()
    try:
        path.write_text(before.replace("name: workers", "name: nobody"))
        code, _, text = cluster.run("refresh", "run", "--to", "cilium")
    finally:
        path.write_text(before)
    assert code == 64, text
    assert "no node group nobody" in text
    assert not on_their_way(cluster)
