"""What the engine tests share: walks of `replace`, saved after each stage, made once for the whole run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox import lifecycle
from sandbox.walk import Stack, walk
from tests.engine.journey import Journey, quiet

WALKS = "EKS_CILIUM_TEST_WALKS"
"""Environment variable: a directory in which walks are kept for the next run. For work on one test; never in CI."""
_MATRICES = {"interruptions", "way_back"}
"""Files that try one thing at every stage; with those on somebody else's cluster half an hour together."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the matrices; keeps together, for `-n`, what shares a walk or else a file."""
    for item in items:
        if item.path.parent != Path(__file__).parent:
            continue
        walks = [name for name in ("replace_walk", "adopted_walk") if name in getattr(item, "fixturenames", ())]
        if item.path.stem.removeprefix("test_") in _MATRICES or "adopted_walk" in walks:
            item.add_marker(pytest.mark.matrix)
        item.add_marker(pytest.mark.xdist_group(walks[0] if walks else item.path.stem))


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


@contextmanager
def _walked(factory: pytest.TempPathFactory, name: str, *, start: str, until: str) -> Iterator[Journey]:
    kept = os.environ.get(WALKS)
    directory = Path(kept, name) if kept else factory.mktemp(start)
    try:
        if (directory / "saves" / f"replace-{until}").exists():
            lifecycle.restore(directory, f"replace-{until}", quiet)
        else:
            result = walk(directory, "replace", quiet, stack=name, start=start, until=until, keep=True)
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
