"""A network and the roles to start from: what every test and every example stack needs besides the cluster."""

from __future__ import annotations

import ipaddress
import json

from sandbox.aws.ec2.core import set_tags
from sandbox.aws.ec2.gateways import (
    allocate_address,
    attach_internet_gateway,
    create_internet_gateway,
    create_nat_gateway,
)
from sandbox.aws.ec2.network import associate_route_table, create_route, make_route_table, make_subnet, make_vpc
from sandbox.aws.iam import attach_role_policy, create_role
from sandbox.aws.state import Aws, Json

__all__ = ["seed"]

_NODE_POLICIES = ("AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryPullOnly")


def seed(aws: Aws, name: str = "sandbox", cidr: str = "10.0.0.0/16") -> Json:
    """Make a VPC with three private /20 and three public /26 subnets, routes, and two roles; once by `name`.

    Returns {vpc, private_subnets, public_subnets, cluster_role, node_role}: ids and ARNs. A second call
    with the same name returns the same. Hold `aws.lock`, or post {name, cidr} to /sandbox/seed.
    """
    seeds = aws.table("seeds")
    if name in seeds:
        again: Json = seeds[name]
        return again
    vpc = make_vpc(aws, cidr, {"Name": name})
    vpc["attributes"]["EnableDnsHostnames"] = True
    blocks = list(ipaddress.IPv4Network(cidr).subnets(new_prefix=20))
    small = list(blocks[-1].subnets(new_prefix=26))
    private: list[str] = []
    public: list[str] = []
    for index, zone in enumerate(aws.zones()):
        tags = {"Name": f"{name}-private-{zone[-1]}", "kubernetes.io/role/internal-elb": "1"}
        private.append(make_subnet(aws, vpc["VpcId"], str(blocks[index]), zone, tags)["SubnetId"])
        tags = {"Name": f"{name}-public-{zone[-1]}", "kubernetes.io/role/elb": "1"}
        public.append(make_subnet(aws, vpc["VpcId"], str(small[index]), zone, tags, public=True)["SubnetId"])
    gateway = create_internet_gateway(aws, {})["InternetGateway"]["InternetGatewayId"]
    attach_internet_gateway(aws, {"InternetGatewayId": gateway, "VpcId": vpc["VpcId"]})
    address = allocate_address(aws, {})["AllocationId"]
    nat = create_nat_gateway(aws, {"SubnetId": public[0], "AllocationId": address})["NatGateway"]["NatGatewayId"]
    for label, places, target in (
        ("private", private, {"NatGatewayId": nat}),
        ("public", public, {"GatewayId": gateway}),
    ):
        table = make_route_table(aws, vpc)["RouteTableId"]
        set_tags(aws, table, {"Name": f"{name}-{label}"})
        create_route(aws, {"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0", **target})
        for place in places:
            associate_route_table(aws, {"RouteTableId": table, "SubnetId": place})
    roles = {}
    for label, service, policies in (
        ("cluster", "eks.amazonaws.com", ("AmazonEKSClusterPolicy",)),
        ("node", "ec2.amazonaws.com", _NODE_POLICIES),
    ):
        trusted = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
        role = create_role(aws, {"RoleName": f"{name}-{label}", "AssumeRolePolicyDocument": document})["Role"]
        for policy in policies:
            attach_role_policy(aws, {"RoleName": role["RoleName"], "PolicyArn": f"arn:aws:iam::aws:policy/{policy}"})
        roles[label] = role["Arn"]
    seeds[name] = {
        "vpc": vpc["VpcId"], "private_subnets": private, "public_subnets": public,
        "cluster_role": roles["cluster"], "node_role": roles["node"],
    }  # fmt: skip
    made: Json = seeds[name]
    return made
