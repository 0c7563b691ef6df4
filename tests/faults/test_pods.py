"""Pods that will not go: finalizers, long grace, pods that tolerate everything, pods that nobody would make again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tests.faults.conftest import Ruled
from tests.faults.stage import Stage

DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
PODS = "/api/v1/namespaces/shop/pods"


@contextmanager
def extra(stage: Stage, *, replicas: int = 1, notes: dict[str, str] | None = None, **spec: Any) -> Iterator[None]:
    """A Deployment `extra` for the time of a block; what is left of it afterwards is removed by force."""
    labels = {"app": "extra"}
    containers = [{"name": "extra", "image": "extra"}]
    stage.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "extra", "namespace": "shop"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels, "annotations": notes or {}},
                    "spec": {"containers": containers, **spec},
                },
            },
        }
    )
    try:
        stage.until(lambda: stage.ready("extra") == replicas)
        yield
    finally:
        stage.kube.delete(f"{DEPLOYMENTS}/extra")
        for pod in stage.pods("extra"):
            free(stage, pod)
            stage.kube.delete(f"{PODS}/{pod['metadata']['name']}", grace=0)
        stage.until(lambda: not stage.pods("extra"))


def free(stage: Stage, pod: dict[str, Any]) -> None:
    stage.kube.patch(f"{PODS}/{pod['metadata']['name']}", {"metadata": {"finalizers": None}})


def test_a_finalizer_keeps_the_node_until_it_is_taken_away(stage: Stage):
    with extra(stage):
        held = stage.pods("extra")[0]
        stage.kube.patch(f"{PODS}/{held['metadata']['name']}", {"metadata": {"finalizers": ["example.com/held"]}})
        run = stage.refresh("cilium")
        # its containers stop at once, and kubelet calls it finished: all others are long gone before the 20 s are over
        stage.until(lambda: "its finalizers keep it (example.com/held)" in run.text, 60)
        time.sleep(20)
        assert stage.kube.get(f"/api/v1/nodes/{held['spec']['nodeName']}") is not None
        assert run.running, run.text
        free(stage, held)
        run.wait()
        assert run.code == 0, run.text
        stage.settled("away")


def test_a_long_grace_is_waited_for(stage: Stage):
    with extra(stage, notes={"sandbox/stop-delay": "8s"}, terminationGracePeriodSeconds=60):
        node = stage.pods("extra")[0]["spec"]["nodeName"]
        run = stage.refresh("cilium")
        stage.until(lambda: any(p["metadata"].get("deletionTimestamp") for p in stage.pods("extra")))
        time.sleep(5)
        assert stage.kube.get(f"/api/v1/nodes/{node}") is not None
        run.wait()
        assert run.code == 0, run.text
        stage.settled("away")


def test_a_pod_that_comes_back_to_its_cordoned_node_goes_with_it_in_the_end(stage: Stage, ruled: Ruled):
    """It tolerates everything and can run on old nodes only, so each eviction puts it back where it was."""
    ruled.rules = replace(ruled.rules, exempt=frozenset({"extra"}))
    with extra(stage, tolerations=[{"operator": "Exists"}], nodeSelector={"cni-plugin": "aws"}):
        run = stage.refresh("cilium").wait(180)
        assert run.code == 0, run.text
        assert not stage.nodes("aws")
        stage.kube.patch(f"{DEPLOYMENTS}/extra", {"spec": {"replicas": 0}})


def test_a_pod_without_a_controller_is_never_evicted_and_holds_its_node(stage: Stage):
    node = stage.nodes("aws")[0]["metadata"]["name"]
    stage.kube.call(
        "POST",
        PODS,
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "alone", "namespace": "shop", "labels": {"app": "alone"}},
            "spec": {"nodeName": node, "containers": [{"name": "alone", "image": "alone"}]},
        },
    )
    try:
        run = stage.refresh("cilium", "--deadline", "0.25").wait()
        assert run.code == 1
        assert "has no controller, so nothing would make it again" in run.text
        assert stage.kube.get(f"{PODS}/alone") is not None
        assert stage.kube.get(f"/api/v1/nodes/{node}") is not None
    finally:
        stage.kube.delete(f"{PODS}/alone", grace=0)
    run = stage.refresh("cilium").wait()
    assert run.code == 0, run.text
    stage.settled("away")
