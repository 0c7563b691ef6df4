"""A refresh while policy is not proved: it begins nothing new, says why, and goes on by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import lifecycle
from tests.engine.bridge_cluster import Api, eventually
from tests.engine.prover_cluster import Provers, policy, prepare
from tests.engine.refresh_cluster import Moving

pytestmark = [pytest.mark.engine, pytest.mark.matrix]

WEB = {
    "podSelector": {"matchLabels": {"app": "ledger"}},
    "policyTypes": ["Ingress"],
    "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}],
}
BY_ADDRESS = {**WEB, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Moving]:
    found = Moving(tmp_path / "sandbox", proved=True)
    try:
        found.up()
        code, _, text = found.run("survey")
        assert code == 1, text  # the new nodes are there already, which a migration would be refused for
        yield found
    finally:
        lifecycle.down(found.directory, print, purge=True)


@pytest.fixture
def provers(moving: Moving, tmp_path: Path) -> Iterator[Provers]:
    api = Api(moving.directory)
    prepare(api)
    policy(api, "ledger", WEB)
    found = Provers(api, tmp_path / "prover")
    try:
        found.start("one")
        found.says("equal", 60)
        yield found
    finally:
        found.end()


def moved(moving: Moving) -> set[str]:
    """Names of the pods and legacy nodes there are: a refresh that does anything changes them."""
    pods = {pod["metadata"]["uid"] for app in ("web", "ledger") for pod in moving.pods(app)}
    return pods | {node["metadata"]["name"] for node in moving.nodes("aws")}


def test_a_policy_changed_in_the_middle_pauses_the_refresh_until_it_is_mended(moving: Moving, provers: Provers):
    run = moving.start("refresh", "run", "--to", "cilium", "--json")
    before = moved(moving)
    eventually(lambda: moved(moving) != before, 60)
    policy(provers.api, "ledger", BY_ADDRESS)
    changed = time.monotonic()
    provers.says("different", 10)
    _, status, told = moving.run("refresh", "status")
    assert "a flow changes its verdict" in status["unproved"]
    assert "nothing new is begun while policy is not proved" in told
    time.sleep(max(0.0, changed + 15 - time.monotonic()))  # ten seconds to pause, and what is under way ends
    still = moved(moving)
    time.sleep(8)
    assert moved(moving) == still
    assert moving.nodes("aws")
    assert run.poll() is None

    policy(provers.api, "ledger", WEB)
    out, said = run.communicate(timeout=180)
    assert run.returncode == 0, said
    assert json.loads(out)["done"] == moving.size
    progress: list[dict[str, Any]] = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert any("a flow changes its verdict" in line.get("unproved", "") for line in progress)
