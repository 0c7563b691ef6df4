"""Recovery under the real engine: a deploy that was killed half-way goes on, and makes nothing twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.aws import seed
from tests.engine.project import Project, eventually
from tests.engine.test_plugins_aws import project_in
from tests.unit.plugins_aws.conftest import QUICK
from tests.unit.plugins_aws.world import World, running

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[2]

PROGRAM = """
    import os
    import pulumi_aws as aws
    role = aws.iam.Role("role", assume_role_policy='{"Version": "2012-10-17", "Statement": []}')
    template = aws.ec2.LaunchTemplate("template", instance_type=os.environ.get("SIZE", "m5.large"))
    cluster = aws.eks.Cluster("cluster", name="plain", role_arn=os.environ["CLUSTER_ROLE"],
        vpc_config={"subnet_ids": os.environ["SUBNETS"].split(",")}, version="1.35")
"""
SETTINGS = {
    "journey": "greenfield",
    "stage": "launch",
    "cluster": {"name": "plain"},
    "network": {"vpcId": "vpc-1", "subnetIds": ["subnet-1", "subnet-2"], "vpcCidrs": ["10.0.0.0/16"]},
    "cilium": {"groups": [{"name": "workers", "size": 1}]},
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An account in which a cluster takes a minute to come up."""
    (tmp_path / "account").mkdir()
    delays(tmp_path / "account", cluster=60)
    with running(tmp_path / "account") as world:
        with world.aws.change():
            seed(world.aws)
        yield world


def delays(directory: Path, *, cluster: float) -> None:
    (directory / "world.json").write_text(json.dumps(QUICK | {"cluster_create_delay": cluster}))


@pytest.fixture
def killed(world: World, tmp_path: Path) -> Project:
    """A project whose first deploy was killed while EKS made the cluster."""
    project = project_in(tmp_path, world, PROGRAM)
    config = {f"eks-cilium:{key}": value for key, value in SETTINGS.items()}
    (project.directory / "Pulumi.dev.yaml").write_text(yaml.safe_dump({"config": config}))
    process = project.start("up", "--yes", "--skip-preview")
    eventually(lambda: bool(world.aws.table("eks.clusters")), 60)
    time.sleep(2)  # what the engine writes down of it is written by then
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    return project


def recover(project: Project, *arguments: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "operations", "recover", "--stack", "dev", *arguments],
        cwd=project.directory,
        env=project.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def test_a_killed_deploy_is_recovered_and_goes_on_without_making_anything_twice(killed: Project, world: World):
    before = killed.pulumi("stack", "export")
    code, plan, text = recover(killed)
    assert code == 1, text
    assert plan["locks"], text
    steps = {op["urn"].rsplit("::", 1)[1]: op["step"] for op in plan["operations"]}
    assert steps["cluster"] == "adopt", text
    assert "Run again with --yes" in text
    assert killed.pulumi("stack", "export") == before, "without --yes nothing is changed"

    delays(world.directory, cluster=0)
    code, done, text = recover(killed, "--yes")
    assert code == 0, text
    assert done["acted"]
    assert list((killed.directory / ".recover").glob("dev.*.json"))
    assert killed.resources()["cluster"]["outputs"]["arn"].endswith(":cluster/plain")

    killed.up()
    assert killed.steps() == {}
    assert len(world.aws.table("eks.clusters")) == 1
    assert recover(killed)[0] == 0

    (beside,) = Path(killed.environment["PULUMI_BACKEND_URL"].removeprefix("file://")).rglob("dev.json.attrs")
    beside.write_text("")  # as a kill leaves it in the middle of a write
    code, _, text = recover(killed)
    assert code == 1
    assert f"{beside} is half-written, to be removed" in text
    assert beside.exists()
    code, _, text = recover(killed, "--yes")
    assert code == 0, text
    assert not beside.exists()
    assert killed.resources()["cluster"]["id"] == "plain"


def test_a_running_deploy_of_this_machine_is_left_alone(world: World, tmp_path: Path):
    project = project_in(tmp_path, world, PROGRAM)
    config = {f"eks-cilium:{key}": value for key, value in SETTINGS.items()}
    (project.directory / "Pulumi.dev.yaml").write_text(yaml.safe_dump({"config": config}))
    process = project.start("up", "--yes", "--skip-preview")
    try:
        eventually(lambda: bool(world.aws.table("eks.clusters")), 60)
        code, plan, text = recover(project, "--yes")
        assert code == 1
        assert not plan["acted"]
        assert "runs on this machine" in text
    finally:
        delays(world.directory, cluster=0)
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
