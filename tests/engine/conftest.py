"""What the engine tests share: walks of `replace`, saved after each stage, made once for the whole run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox import lifecycle
from sandbox.walk import Stack, walk
from tests.engine.journey import Journey, quiet

_MATRICES = {
    "checks",
    "destroy",
    "freeze",
    "gates",
    "interruptions",
    "recover",
    "refresh",
    "refusals",
    "unlabelled",
    "way_back",
}
"""Files that try one thing in many places, the best part of an hour together: `make matrix`."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the matrices; keeps together, for `-n`, what shares a walk or else a file."""
    for item in items:
        if item.path.parent != Path(__file__).parent:
            continue
        if item.path.stem.removeprefix("test_") in _MATRICES:
            item.add_marker(pytest.mark.matrix)
        walks = [name for name in ("replace_walk", "adopted_walk") if name in getattr(item, "fixturenames", ())]
        item.add_marker(pytest.mark.xdist_group(walks[0] if walks else item.path.stem))


@pytest.fixture(scope="session")
def replace_walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    """The journey `replace` on a cluster that the stack owns; `at(stage)` puts everything back to a stage."""
    with _walked(tmp_path_factory.mktemp("replace"), "sandbox-tests-replace", start="owned") as journey:
        yield journey


@pytest.fixture(scope="session")
def adopted_walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    """The journey on a cluster of somebody else, who lets the add-ons be taken over, as far as `canary`."""
    directory = tmp_path_factory.mktemp("adopted")
    with _walked(directory, "sandbox-tests-adopted", start="adopted", until="canary") as journey:
        yield journey


@contextmanager
def _walked(directory: Path, name: str, *, start: str, until: str | None = None) -> Iterator[Journey]:
    result = walk(directory, "replace", quiet, stack=name, start=start, until=until, keep=True)
    try:
        assert not result.failed, result.failed
        environment = over(lifecycle.environment(directory))
        yield Journey(Stack(name=name, directory=directory, environment=environment), "replace")
    finally:
        lifecycle.down(directory, quiet, purge=True)


def over(environment: dict[str, str]) -> dict[str, str]:
    """The environment of a sandbox over the present one."""
    merged = {**os.environ, **environment}
    merged.pop("KUBECONFIG", None)
    return merged
