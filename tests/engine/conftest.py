"""What the engine tests share: walks of `replace`, saved after each stage, made once for the whole run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from sandbox import charts, lifecycle, toolcache
from sandbox.project import Stack
from sandbox.walk import walk
from tests.engine.journey import Journey, quiet

WALKS = "EKS_CILIUM_TEST_WALKS"
"""Environment variable: a directory in which walks are kept for the next run. For work on one test; never in CI."""
_MATRICES = {"test_interruptions", "test_way_back", "test_adopted", "test_switched_off"}
"""Files that try one thing at every stage, half an hour together."""
_OF_ONE_WALK = {
    "test_walk",
    "test_continuity",
    "test_gates",
    "test_move",
    "test_refusals",
    "test_unlabelled",
    "test_freeze",
    "test_destroy",
    "test_switched_off",
    "test_interruptions",
    "test_way_back",
    "test_past_the_gate",
}
"""Files that start from `replace_walk`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.stem in _MATRICES:
            item.add_marker(pytest.mark.matrix)


class _Together(LoadScopeScheduling):  # type: ignore[misc]
    """Shares tests out so that each walk, and the cluster of the fault tests, is made by one process only."""

    def _split_scope(self, nodeid: str) -> str:
        path = Path(nodeid.partition("::")[0])
        if path.stem in _OF_ONE_WALK:
            return "the walk"
        return path.parent.name if path.parent.name == "faults" else path.stem


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Together:
    """What `-n` uses. The groups of `--dist loadgroup` (xdist 3.8) are lost under pytest 9.2."""
    return _Together(config, log)


@pytest.fixture(scope="session")
def replace_walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    """The journey `replace` on a cluster that the stack owns; `at(stage)` puts everything back to a stage."""
    with _walked(tmp_path_factory, "sandbox-tests-replace", start="owned", until="retire-calico") as journey:
        yield journey


@pytest.fixture(scope="session")
def adopted_walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    """The journey on a cluster of somebody else, who lets the add-ons be taken over, as far as `canary`."""
    with _walked(tmp_path_factory, "sandbox-tests-adopted", start="adopted", until="canary") as journey:
        yield journey


@pytest.fixture(scope="session")
def bound_walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    """The same as far as `pin-legacy`."""
    with _walked(tmp_path_factory, "sandbox-tests-bound", start="adopted", until="pin-legacy") as journey:
        yield journey


@contextmanager
def _walked(factory: pytest.TempPathFactory, name: str, *, start: str, until: str) -> Iterator[Journey]:
    kept = os.environ.get(WALKS)
    directory = Path(kept, name) if kept else factory.mktemp(start)
    try:
        if (directory / "saves" / f"replace-{until}").exists():
            lifecycle.restore(directory, f"replace-{until}", quiet)
            charts.prepare(directory / "charts", toolcache.tigera_crds())
        else:
            result = walk(directory, "replace", print, stack=name, start=start, until=until, keep=True, previews=False)
            assert not result.failed, result.failed
            assert not result.violations, f"{result.violations} violations, see {directory}/walk/{name}/watch.jsonl"
            assert not result.unenforced_instants, f"unenforced, see {directory}/walk/{name}/watch.jsonl"
        environment = over(lifecycle.environment(directory))
        yield Journey(Stack(name=name, directory=directory, environment=environment), "replace")
    finally:
        lifecycle.down(directory, quiet, purge=not kept)


def over(environment: dict[str, str]) -> dict[str, str]:
    """The environment of a sandbox over the present one."""
    merged = {**os.environ, **environment}
    merged.pop("KUBECONFIG", None)
    return merged
