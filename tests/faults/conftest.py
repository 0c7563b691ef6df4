"""One small cluster for all fault tests. Each begins and ends at home: every workload on legacy nodes, nothing marked."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.faults.history import Rules
from tests.faults.stage import NODES, Stage


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        "faults: breaks what a node refresh stands on, on a real control plane",
        "core: the quick part of the fault tests, for every change",
    ):
        config.addinivalue_line("markers", line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "faults" in item.path.parts:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("faults"))
    try:
        yield stage.up()
    finally:
        stage.down()


class Ruled:
    """Rules of the test at hand; a test may loosen them where it breaks something itself."""

    def __init__(self) -> None:
        self.rules = Rules(node_budget=1, floor=NODES - 1, zone_cap=1)


@pytest.fixture
def ruled() -> Ruled:
    return Ruled()


@pytest.fixture
def stage(cluster: Stage, ruled: Ruled) -> Iterator[Stage]:
    """The cluster at home, watched; afterwards it is brought home, whatever the test has left."""
    cluster.settled("home")
    cluster.balance("general")
    since = time.time()
    yield cluster
    found = cluster.seen(since, ruled.rules)
    again = cluster.refresh("legacy").wait()
    assert found == []
    assert again.code == 0, again.text
    state = cluster.settled("home")
    assert state["marked"] == [], state
    assert state["suspended"] == [], state
