"""An emulated account for each test, behind one endpoint and one set of real boto3 clients; time stands still."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from sandbox.aws import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Aws, Endpoint, Settings
from sandbox.aws.registry import each_tick
from sandbox.aws.seeding import seed
from sandbox.aws.state import Json

REGION = "eu-west-1"


class Account:
    """The account under test. `settings` is what world.json would say."""

    def __init__(self, endpoint: Endpoint, client: Callable[[str], Any], settings: Json) -> None:
        self.aws = Aws(None, REGION, Settings(None))
        self.aws.settings._values = settings
        self.aws.endpoint = endpoint.url
        self.aws.kubernetes = lambda: ("https://127.0.0.1:1", "Q0E=")
        self.time = time.time()
        self.aws.now = lambda: self.time  # type: ignore[method-assign]
        endpoint.aws = endpoint._server.aws = self.aws
        self.settings = settings
        self.url = endpoint.url
        self.client = client
        with self.aws.change():
            self.seed = seed(self.aws)

    def pass_time(self, seconds: float, step: float = 0.1) -> None:
        """Let the clockwork run for so long."""
        for _ in range(round(seconds / step)):
            self.time += step
            each_tick(self.aws)

    def cluster(self, name: str = "demo", **more: Any) -> Json:
        """An ACTIVE cluster."""
        self.client("eks").create_cluster(
            name=name,
            roleArn=self.seed["cluster_role"],
            resourcesVpcConfig={"subnetIds": self.seed["private_subnets"]},
            **{"accessConfig": {"authenticationMode": "API"}, **more},
        )
        self.pass_time(1)
        found: Json = self.client("eks").describe_cluster(name=name)["cluster"]
        return found

    def nodegroup(self, name: str = "ng", *, size: int = 3, ready: bool = True, **more: Any) -> Json:
        """A node group whose nodes are there, ACTIVE when they are ready."""
        self.client("eks").create_nodegroup(
            clusterName="demo",
            nodegroupName=name,
            subnets=self.seed["private_subnets"],
            nodeRole=self.seed["node_role"],
            scalingConfig={"minSize": 1, "maxSize": 9, "desiredSize": size},
            **{"instanceTypes": ["m5.large"], **more},
        )
        self.pass_time(1)
        if ready:
            self.ready()
        return self.describe(name)

    def ready(self) -> None:
        """All instances are Ready nodes, as `sandbox.cluster.nodes` would write it."""
        for instance in self.aws.table("ec2.instances").values():
            instance.setdefault("node", {"name": instance["PrivateDnsName"]})["ready"] = True
        self.pass_time(0.5)

    def describe(self, name: str = "ng") -> Json:
        """The node group as EKS shows it."""
        found: Json = self.client("eks").describe_nodegroup(clusterName="demo", nodegroupName=name)["nodegroup"]
        return found

    def scaling_group(self, **values: Any) -> str:
        """A self-managed group over the three private subnets."""
        template = self.client("ec2").create_launch_template(
            LaunchTemplateName=f"template-{values.get('name', 'own')}",
            LaunchTemplateData={"InstanceType": "m5.large", "ImageId": "ami-1"},
        )["LaunchTemplate"]["LaunchTemplateId"]
        name = str(values.pop("name", "own"))
        sizes = {"MinSize": 0, "MaxSize": 9, "DesiredCapacity": 3}
        self.client("autoscaling").create_auto_scaling_group(
            AutoScalingGroupName=name,
            VPCZoneIdentifier=",".join(self.seed["private_subnets"]),
            LaunchTemplate={"LaunchTemplateId": template, "Version": "$Latest"},
            **{**sizes, **values},
        )
        self.pass_time(1)
        return name

    def members(self, name: str = "own") -> list[Json]:
        """The instances of a scaling group."""
        groups = self.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])
        found: list[Json] = groups["AutoScalingGroups"][0]["Instances"]
        return found

    def free(self) -> dict[str, int]:
        """Free addresses by subnet."""
        subnets = self.client("ec2").describe_subnets()["Subnets"]
        return {subnet["SubnetId"]: subnet["AvailableIpAddressCount"] for subnet in subnets}


@pytest.fixture(scope="session")
def endpoint() -> Iterator[Endpoint]:
    """One server for all tests; each test puts its own account behind it."""
    server = Endpoint(Aws(None, REGION, Settings(None))).start(clockwork=False)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def client(endpoint: Endpoint) -> Callable[[str], Any]:
    """Real boto3 clients by service, made once."""
    made: dict[str, Any] = {}

    def get(service: str) -> Any:
        if service not in made:
            connect: Any = boto3.client
            made[service] = connect(
                service,
                endpoint_url=endpoint.url,
                region_name=REGION,
                aws_access_key_id=ACCESS_KEY_ID,
                aws_secret_access_key=SECRET_ACCESS_KEY,
                config=Config(retries={"total_max_attempts": 1}),
            )
        return made[service]

    return get


@pytest.fixture
def account(endpoint: Endpoint, client: Callable[[str], Any]) -> Account:
    """A fresh, seeded account."""
    return Account(endpoint, client, {})
