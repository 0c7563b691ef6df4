"""One emulated account for all tests of the AWS stand-in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.aws import seed
from tests.unit.plugins_aws.world import Driver, World, running

QUICK: dict[str, float] = {
    "cluster_create_delay": 0,
    "cluster_delete_delay": 0,
    "update_delay": 0,
    "launch_delay": 0,
    "terminate_delay": 0,
}
QUICK |= {"late_labels_delay": 0, "addon_delay": 0, "nodegroup_drain_time": 0.2, "nodegroup_create_deadline": 0.5}


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The account, with delays of nothing."""
    directory = tmp_path_factory.mktemp("account")
    (directory / "world.json").write_text(json.dumps(QUICK))
    with running(directory) as world:
        yield world


@pytest.fixture(scope="package")
def engine(world: World) -> Driver:
    """The stand-in."""
    return Driver()


@pytest.fixture(scope="package")
def network(world: World) -> dict[str, Any]:
    """Ids of a VPC, subnets and roles."""
    with world.aws.change():
        return seed(world.aws)


@pytest.fixture(scope="package")
def cluster(engine: Driver, network: dict[str, Any]) -> str:
    """The name of a cluster."""
    news = {
        "name": "demo",
        "roleArn": network["cluster_role"],
        "vpcConfig": {"subnetIds": network["private_subnets"]},
        "accessConfig": {"authenticationMode": "API"},
        "version": "1.35",
    }
    return engine.create("aws:eks/cluster:Cluster", news).id
