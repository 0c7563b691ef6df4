"""Informers: what a controller sees before it has been told everything."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from sandbox.cache import Informer
from sandbox.operators.adapters import WorldCluster
from sandbox.operators.kube import IMAGE_SETS
from sandbox.world import KubeError
from sandbox.world import World as SandboxWorld

ITEM = {"metadata": {"name": "calico-v3", "resourceVersion": "1"}}


class Source:
    """An API server that answers a list when it is told to."""

    def __init__(self, answer: Any) -> None:
        self.may_answer, self._answer = threading.Event(), answer

    def list(self, path: str) -> dict[str, Any]:
        self.may_answer.wait(10)
        if isinstance(self._answer, Exception):
            raise self._answer
        return {"items": self._answer, "metadata": {"resourceVersion": "1"}}

    def watch(self, path: str, revision: str, seconds: int) -> Any:
        raise OSError("no watch here")


class World:
    def __init__(self, source: Source) -> None:
        self._source = source

    def informer(self, path: str) -> Informer:
        informer = Informer(self._source, path)
        informer.start()
        return informer


def listed(source: Source) -> list[dict[str, Any]]:
    timer = threading.Timer(0.2, source.may_answer.set)
    timer.start()
    return WorldCluster(World(source)).list(IMAGE_SETS)  # type: ignore[arg-type]


def test_custom_objects_that_are_not_read_yet_are_waited_for():
    assert listed(Source([ITEM])) == [ITEM]


def test_a_kind_that_is_not_served_lists_as_empty():
    assert listed(Source(KubeError("GET", "/apis", 404, {"reason": "NotFound"}))) == []


def test_below_a_group_that_is_not_served_the_refusal_is_plain_text_and_still_a_refusal():
    world = SandboxWorld.__new__(SandboxWorld)
    world.open = lambda *_, **__: SimpleNamespace(status=404, data=b"404 page not found\n")  # type: ignore[method-assign, assignment]
    with pytest.raises(KubeError, match="404 page not found") as refused:
        world.call("GET", "/apis/operator.tigera.io/v1/imagesets")
    assert refused.value.status == 404
