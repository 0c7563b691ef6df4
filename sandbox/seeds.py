"""Where a walk begins: a network in the emulated account, a whole legacy cluster for those who adopt one, workloads.

`owned`: a VPC with three private subnets; the stack makes the cluster. `adopted`: besides, a cluster of somebody else
with managed add-ons, and with what such clusters have and few tests think of: a second block of the VPC, an add-on
configured in YAML, excluded blocks as people write them, images pinned by digest. `self-managed`: a plain one, with
the aws-node, kube-proxy and CoreDNS that EKS puts into a new cluster by itself. Both run Calico by the Tigera
operator, for policy only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import yaml
from kubernetes import config as kubeconfig
from kubernetes import dynamic
from kubernetes.dynamic.exceptions import NotFoundError, ResourceNotFoundError

from sandbox import charts, lifecycle, toolcache
from sandbox.operators import modules
from sandbox.record import ACCOUNT

VPC_CIDR = "10.0.0.0/16"
SECOND_CIDR = "100.64.0.0/16"
KUBERNETES = "1.35"
OFFICE = "203.0.113.0/24"

VPC_CNI_VALUES = """\
# kept by the platform team
env:
  WARM_IP_TARGET: "5"
  AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS: 10.9.1.1/16, fd00::/8, office
"""
"""aws-node masks the host bits of the first block and ignores the other two entries."""

_WORKLOADS = Path(__file__).parent / "workloads"
_POLICIES = Path(__file__).parent / "policies"
_DENY = _POLICIES / "default-deny"
_MANAGER = "sandbox-owner"
_DEADLINE = 120.0
_NODE_POLICIES = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonEKS_CNI_Policy")


@dataclass(frozen=True, kw_only=True)
class Network:
    """Ids of what `network` made."""

    vpc: str
    subnets: tuple[str, ...]


class SeedFailed(RuntimeError):
    """The starting point of a walk did not come to be in time."""


class Account:
    """boto3 clients of the sandbox's emulated account."""

    def __init__(self, directory: Path) -> None:
        settings = lifecycle.environment(directory)
        self._session = boto3.Session(
            aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
            region_name=settings["AWS_REGION"],
        )
        self._endpoint = settings["AWS_ENDPOINT_URL"]
        self.region = settings["AWS_REGION"]

    def __call__(self, service: str) -> Any:
        client: Any = self._session.client(service, endpoint_url=self._endpoint)  # type: ignore[call-overload]
        return client


def settings(
    kind: str, name: str, directory: Path, report: Callable[[str], None], *, deny: bool = False
) -> dict[str, Any]:
    """Make the starting point `kind` for a cluster called `name`; return the stack's settings but journey and stage.

    `deny`: with a policy that denies every pod what no other one allows.

    Raises SeedFailed when the cluster does not come up.
    """
    account = Account(directory)
    found = network(account, name)
    chart_paths = charts.prepare(directory / "charts", toolcache.tigera_crds())
    values: dict[str, Any] = {
        "cluster": {"name": name},
        "network": {"vpcId": found.vpc, "subnetIds": list(found.subnets), "vpcCidrs": [VPC_CIDR]},
        "cilium": {
            "chart": {"name": str(toolcache.cilium_chart())},
            "groups": [{"name": "workers", "instanceType": "m5.large", "size": 3, "maxSize": 6}],
        },
        "soakMinutes": 0,
        "policies": str(policy_files(directory, owned=kind == "owned", deny=deny)),
    }
    if kind == "owned":
        values["cluster"]["version"] = KUBERNETES
        values["cluster"]["publicAccessCidrs"] = [OFFICE]
        values["permissionsBoundary"] = boundary(account)
        values["legacy"] = {
            "groups": [{"name": "general", "instanceType": "m5.large", "size": 3, "maxSize": 6}],
            "calico": {
                "chart": {"name": str(chart_paths["tigera-operator"])},
                "crdsChart": {"name": str(chart_paths["crd.projectcalico.org.v1"])},
            },
        }
        return values
    report(f"making the legacy cluster {name} ({kind})")
    values["cluster"]["adopt"] = True
    values["cluster"]["takeOver"] = True
    if kind == "adopted":
        account("ec2").associate_vpc_cidr_block(VpcId=found.vpc, CidrBlock=SECOND_CIDR)
        values["network"]["vpcCidrs"].append(SECOND_CIDR)
    legacy_cluster(account, name, found, managed_addons=kind == "adopted")
    install_calico(directory, chart_paths, by_digest=kind == "adopted")
    workloads(directory)
    _apply(directory, _POLICIES)
    if deny:
        _apply(directory, _DENY)
    return values


def policy_files(directory: Path, *, owned: bool, deny: bool = False) -> Path:
    """The policy files of a walk, in a directory of its own: a translation is written beside them.

    `owned`: the project's, with the platform team's. Of a cluster that somebody else made, the survey writes them.
    """
    target = directory / lifecycle.POLICIES
    shutil.rmtree(target, ignore_errors=True)
    if owned:
        shutil.copytree(lifecycle.ROOT / "policies" / "network", target)
        for source in (_POLICIES / "platform.yaml", *(_DENY.iterdir() if deny else ())):
            shutil.copy(source, target / "calico")
    else:
        target.mkdir(parents=True)
    return target


def team_policies(directory: Path) -> None:
    """Put what teams say beside the policy files of an owned cluster: its namespaces exist now."""
    shutil.copy(_POLICIES / "teams.yaml", directory / lifecycle.POLICIES / "calico")


def boundary(account: Account) -> str:
    """ARN of a policy that lets everything through: what bounds the roles of a walk."""
    iam, name = account("iam"), "boundary"
    arn = f"arn:aws:iam::{ACCOUNT}:policy/{name}"
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_policy(
            PolicyName=name, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        )
    return arn


def network(account: Account, name: str) -> Network:
    """A VPC with one private subnet of 4091 usable addresses in each of three zones, and a way out by NAT."""
    ec2 = account("ec2")
    vpc = ec2.create_vpc(CidrBlock=VPC_CIDR)["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})

    def subnet(block: str, zone: str) -> str:
        made = ec2.create_subnet(VpcId=vpc, CidrBlock=block, AvailabilityZone=f"{account.region}{zone}")
        return str(made["Subnet"]["SubnetId"])

    def routes(subnets: Iterable[str], **target: str) -> None:
        table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", **target)
        for associated in subnets:
            ec2.associate_route_table(RouteTableId=table, SubnetId=associated)

    private = tuple(subnet(f"10.0.{number * 16}.0/20", zone) for number, zone in enumerate("abc"))
    public = subnet("10.0.240.0/24", "a")
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    routes([public], GatewayId=gateway)
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=public, AllocationId=address)["NatGateway"]["NatGatewayId"]
    routes(private, NatGatewayId=nat)
    tags = [{"Key": "Name", "Value": f"{name}-private"}, {"Key": "kubernetes.io/role/internal-elb", "Value": "1"}]
    ec2.create_tags(Resources=list(private), Tags=tags)
    return Network(vpc=vpc, subnets=private)


def legacy_cluster(account: Account, name: str, found: Network, *, managed_addons: bool) -> None:
    """An EKS cluster with two managed node groups, made by hand as most clusters were."""
    iam, eks = account("iam"), account("eks")
    cluster_role = _role(iam, f"{name}-cluster", "eks.amazonaws.com", ["AmazonEKSClusterPolicy"])
    node_role = _role(iam, f"{name}-node", "ec2.amazonaws.com", _NODE_POLICIES)
    made = eks.create_cluster(
        name=name,
        version=KUBERNETES,
        roleArn=cluster_role,
        resourcesVpcConfig={"subnetIds": list(found.subnets)},
        accessConfig={"authenticationMode": "API_AND_CONFIG_MAP"},
        bootstrapSelfManagedAddons=not managed_addons,
    )
    _await(lambda: eks.describe_cluster(name=name)["cluster"]["status"], "ACTIVE", f"cluster {name}")
    issuer = eks.describe_cluster(name=made["cluster"]["name"])["cluster"]["identity"]["oidc"]["issuer"]
    iam.create_open_id_connect_provider(Url=issuer, ClientIDList=["sts.amazonaws.com"], ThumbprintList=["0" * 40])
    if managed_addons:
        eks.create_addon(
            clusterName=name,
            addonName="vpc-cni",
            configurationValues=VPC_CNI_VALUES,
        )
        eks.create_addon(clusterName=name, addonName="kube-proxy")
    groups = {"general": 2, "batch": 1}
    for group, size in groups.items():
        eks.create_nodegroup(
            clusterName=name,
            nodegroupName=group,
            subnets=list(found.subnets),
            nodeRole=node_role,
            instanceTypes=["m5.large"],
            scalingConfig={"minSize": 0, "desiredSize": size, "maxSize": 6},
            labels={"workload": group},
        )
    for group in groups:

        def state(group: str = group) -> str:
            return str(eks.describe_nodegroup(clusterName=name, nodegroupName=group)["nodegroup"]["status"])

        _await(state, "ACTIVE", f"node group {group}")
    if managed_addons:
        eks.create_addon(clusterName=name, addonName="coredns")
        for addon in ("vpc-cni", "kube-proxy", "coredns"):

            def status(addon: str = addon) -> str:
                return str(eks.describe_addon(clusterName=name, addonName=addon)["addon"]["status"])

            _await(status, "ACTIVE", f"add-on {addon}")


def install_calico(directory: Path, chart_paths: dict[str, Path], *, by_digest: bool = False) -> None:
    """Calico by the Tigera operator for policy only, installed with Helm by the cluster's owner.

    `by_digest`: an ImageSet pins its images, as an admission policy for digests asks for.
    """
    helm = [str(directory / "bin" / "helm"), "--kubeconfig", str(directory / "kubeconfig")]
    common = ["--namespace", "tigera-operator", "--create-namespace"]
    _run([*helm, "install", "calico-crds", str(chart_paths["crd.projectcalico.org.v1"]), *common])
    # Helm maps every object of a chart before it makes the first: a definition that the API server does not serve
    # yet, a moment after it was made, fails the whole installation.
    _await(lambda: _served(directory, "operator.tigera.io/v1", "Installation"), "served", "the kind Installation")
    client = _client(directory)
    if by_digest:
        _await(lambda: _served(directory, "operator.tigera.io/v1", "ImageSet"), "served", "the kind ImageSet")
        client.resources.get(api_version="operator.tigera.io/v1", kind="ImageSet").create(body=_image_set())
    values = {
        "installation": {
            "enabled": True,
            "kubernetesProvider": "EKS",
            "cni": {"type": "AmazonVPC"},
            "calicoNetwork": {"bgp": "Disabled"},
        },
        "apiServer": {"enabled": False},
        "goldmane": {"enabled": False},
        "whisker": {"enabled": False},
    }
    chart = [str(chart_paths["tigera-operator"]), *common, "--values", "-"]
    _run([*helm, "install", "tigera-operator", *chart], stdin=json.dumps(values))

    def ready() -> str:
        try:
            node = client.resources.get(api_version="apps/v1", kind="DaemonSet").get("calico-node", "calico-system")
        except NotFoundError:
            return "absent"
        numbers = node.status.to_dict()
        wanted = numbers.get("desiredNumberScheduled", 0)
        return "ready" if wanted and numbers.get("numberReady") == wanted else json.dumps(numbers)

    _await(ready, "ready", "calico-node")


def _image_set() -> dict[str, Any]:
    images = [f"calico/{name}" for name in ("node", "typha", "kube-controllers")]
    pinned = [{"image": i, "digest": f"sha256:{hashlib.sha256(i.encode()).hexdigest()}"} for i in images]
    return {
        "apiVersion": "operator.tigera.io/v1",
        "kind": "ImageSet",
        "metadata": {"name": f"calico-{modules.CALICO_VERSION}"},
        "spec": {"images": pinned},
    }


def workloads(directory: Path) -> None:
    """Apply the sample workloads and wait until all their pods are ready."""
    _apply(directory, _WORKLOADS)
    _await(lambda: unready(directory) or "none", "none", "workloads")


def _apply(directory: Path, folder: Path) -> None:
    client = _client(directory)
    for manifest in _manifests(folder):
        resource = client.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
        resource.server_side_apply(
            body=manifest, namespace=manifest["metadata"].get("namespace"), field_manager=_MANAGER
        )


def _manifests(folder: Path) -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load_all("\n---\n".join(path.read_text() for path in sorted(folder.glob("*.yaml"))))


def unready(directory: Path) -> str:
    """The sample workloads whose pods are not all ready, in words; empty when all are."""
    client = _client(directory)
    ours = {m["metadata"]["name"] for m in _manifests(_WORKLOADS) if m["kind"] == "Namespace"}
    found = []
    for kind in ("Deployment", "StatefulSet", "DaemonSet"):
        for item in client.resources.get(api_version="apps/v1", kind=kind).get().items:
            if item.metadata.namespace not in ours:
                continue
            numbers = item.status.to_dict()
            ready = numbers.get("numberReady" if kind == "DaemonSet" else "readyReplicas", 0)
            wanted = numbers.get("desiredNumberScheduled", 0) if kind == "DaemonSet" else item.spec.replicas
            if ready != wanted:
                found.append(f"{kind} {item.metadata.name} {ready}/{wanted}")
    return ", ".join(found)


def _served(directory: Path, api_version: str, kind: str) -> str:
    try:
        _client(directory).resources.get(api_version=api_version, kind=kind)
    except (NotFoundError, ResourceNotFoundError):
        return "unknown"
    return "served"


def _client(directory: Path) -> dynamic.DynamicClient:
    return dynamic.DynamicClient(kubeconfig.new_client_from_config(str(directory / "kubeconfig")))


def _role(iam: Any, name: str, service: str, policies: Iterable[str]) -> str:
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
    }
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    for policy in policies:
        iam.attach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
    return str(made["Role"]["Arn"])


def _await(state: Callable[[], str], wanted: str, what: str) -> None:
    deadline = time.monotonic() + _DEADLINE
    while (found := state()) != wanted:
        if time.monotonic() > deadline:
            raise SeedFailed(
                f"{what}: still {found} after {_DEADLINE:.0f} s, expected {wanted}; see the sandbox's logs"
            )
        time.sleep(0.3)


def _run(argv: list[str], stdin: str = "") -> None:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, env=dict(os.environ))
    if done.returncode:
        raise SeedFailed(f"{' '.join(argv)} failed:\n{done.stderr.strip()}")
