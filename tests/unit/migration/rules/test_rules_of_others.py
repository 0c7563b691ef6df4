"""What kubelet, EKS and EC2 would refuse is refused before a deploy, all of it in one error."""

import itertools
import random
import time
from ipaddress import IPv4Network
from typing import Any

import pytest

from migration.rules import addressing
from migration.settings import InvalidSettings, Settings
from tests.unit.migration.examples import raw

NETWORK = {"vpcId": "vpc-0", "subnetIds": ["subnet-0a", "subnet-0b"], "vpcCidrs": ["10.0.0.0/16"]}


def problems(**over: Any) -> list[str]:
    try:
        Settings.load(raw(**over))
    except InvalidSettings as error:
        return [str(problem) for problem in error.problems]
    return []


def labelled(**labels: str) -> list[str]:
    return problems(cilium={"groups": [{"name": "workers", "size": 3, "labels": labels}]})


GOOD = (
    {"zone": "a"},
    {"example.com/team": ""},
    {"node.kubernetes.io/role": "web"},
    {"x.kubelet.kubernetes.io/y": "z"},
    {"A_b.c-d": "A_b.c-1"},
    {"k" * 63: "v" * 63},
    {f"{'d' * 250}.io/k": "v"},
    {"notkubernetes.io/a": "b"},
)


@pytest.mark.parametrize("labels", GOOD)
def test_labels_that_kubelet_takes_are_taken(labels):
    assert labelled(**labels) == []


BAD = {
    ("zone", "a,cni-plugin=aws"): "is not a label value",
    ("zone", "a b"): "is not a label value",
    ("zone", "-a"): "is not a label value",
    ("zone", "a\n"): "is not a label value",
    ("zone", "ä"): "is not a label value",
    ("zone", "v" * 64): "is not a label value",
    ("a,b", "c"): "is not a label key",
    ("a=b", "c"): "is not a label key",
    ("", "c"): "is not a label key",
    ("a/", "c"): "is not a label key",
    ("/a", "c"): "is not a label key",
    ("a/b/c", "d"): "is not a label key",
    ("Example.com/a", "b"): "not a domain name",
    ("k" * 64, "v"): "is not a label key",
    (f"{'d' * 251}.io/k", "v"): "not a domain name",
    ("cni-plugin", "aws"): "is set by this program",
    ("cni-plugin", "cilium"): "is set by this program",
    ("eks-cilium.io/leaving", "x"): "is set by this program",
    ("node.kubernetes.io/exclude-from-external-load-balancers", "true"): "is set by this program",
    ("eks.amazonaws.com/nodegroup", "other"): "is set by EKS",
    ("kubernetes.io/hostname", "x"): "is set by kubelet",
    ("topology.kubernetes.io/zone", "x"): "is set by kubelet",
    ("node-role.kubernetes.io/worker", ""): "kubelet does not start with it",
    ("kubernetes.io/team", "x"): "kubelet does not start with it",
    ("x.k8s.io/team", "x"): "kubelet does not start with it",
    ("node-restriction.kubernetes.io/team", "x"): "kubelet does not start with it",
}


@pytest.mark.parametrize("label", BAD, ids=range(len(BAD)))
def test_labels_that_kubelet_refuses_or_that_are_ours_are_refused(label):
    (found,) = labelled(**dict([label]))
    assert found.startswith(f"cilium.groups.0.labels.{label[0]}".rstrip("."))
    assert BAD[label] in found


def test_labels_of_legacy_groups_and_too_many_of_them_are_refused_too():
    labels = {f"key-{n}": "v" * 60 for n in range(200)}
    (found,) = problems(legacy={"groups": [{"name": "general", "size": 3, "labels": labels}]})
    assert "legacy.groups.0.labels: have" in found


def test_the_public_endpoint_may_be_reached_from_blocks_that_the_internet_has():
    assert cluster(publicAccessCidrs=["203.0.113.0/24", "198.51.100.7/32"]) == []
    assert cluster(publicAccessCidrs=["0.0.0.0/0"]) == []
    (found,) = cluster(publicAccessCidrs=["203.0.113.0/24", "10.1.0.0/16"])
    assert found.startswith('cluster.publicAccessCidrs.1 = "10.1.0.0/16": the internet carries no address')
    assert "same as cluster.publicAccessCidrs.0" in cluster(publicAccessCidrs=["203.0.113.0/24"] * 2)[0]
    many = [f"203.0.{n}.0/24" for n in range(41)]
    assert "at most 40 blocks" in cluster(publicAccessCidrs=many)[0]


def test_no_choice_of_endpoints_leaves_somebody_without_a_way_to_the_api_server():
    assert "nobody could reach the API server" in cluster(endpointPublicAccess=False, endpointPrivateAccess=False)[0]
    shut_off = cluster(endpointPrivateAccess=False, publicAccessCidrs=["203.0.113.0/24"])
    assert "nodes would reach the API server by its public endpoint" in shut_off[0]
    assert "there is no public endpoint" in cluster(endpointPublicAccess=False, publicAccessCidrs=["203.0.113.0/24"])[0]
    adopted = raw(cluster={"name": "prod", "adopt": True, "publicAccessCidrs": ["203.0.113.0/24"]})
    del adopted["legacy"]
    with pytest.raises(InvalidSettings, match="endpoint of an adopted cluster is its owner's"):
        Settings.load(adopted)


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::111122223333:policy/boundary",
        "arn:aws-cn:iam::111122223333:policy/team/boundary",
        "arn:aws-us-gov:iam::aws:policy/PowerUserAccess",
    ],
)
def test_a_permissions_boundary_is_the_arn_of_a_policy(arn):
    assert problems(permissionsBoundary=arn) == []


@pytest.mark.parametrize("arn", ["boundary", "arn:aws:iam::1:policy/b", "arn:aws:iam::111122223333:role/b", "", "a\n"])
def test_what_is_no_permissions_boundary_is_refused(arn):
    (found,) = problems(permissionsBoundary=arn)
    assert "is not the ARN of an IAM policy. Write it as arn:aws:iam::111122223333:policy/NAME" in found


@pytest.mark.parametrize("image", ["agnhost", "agnhost:2.53", "agnhost@sha256:abc", "a b@sha256:" + "0" * 64, "", 1])
def test_an_image_without_its_digest_is_refused(image):
    (found,) = problems(probes={"image": image})
    assert found.startswith("probes.image")


def network(**over: Any) -> list[str]:
    return problems(network=NETWORK | over)


AWS = {
    "an int as a block": (lambda: network(vpcCidrs=[167772160]), "network.vpcCidrs.0 = 167772160: expected a block"),
    "a netmask": (lambda: network(peerCidrs=["10.9.0.0/255.255.0.0"]), "expected a block"),
    "no length": (lambda: network(peerCidrs=["10.9.0.0"]), "expected a block"),
    "host bits": (lambda: network(vpcCidrs=["10.0.0.1/16"]), "host bits set"),
    "a large VPC": (lambda: network(vpcCidrs=["10.0.0.0/8"]), "from /16 to /28"),
    "a small VPC": (lambda: network(vpcCidrs=["10.0.0.0/29"]), "from /16 to /28"),
    "a block twice": (lambda: network(vpcCidrs=["10.0.0.0/16"] * 2), "network.vpcCidrs.1"),
    "large services": (lambda: network(serviceCidr="172.0.0.0/8"), "from /12 to /24"),
    "small services": (lambda: network(serviceCidr="172.20.0.0/25"), "from /12 to /24"),
    "public services": (lambda: network(serviceCidr="100.64.0.0/16"), "within 10.0.0.0/8"),
    "one subnet twice": (lambda: network(subnetIds=["subnet-0a"] * 2), "is the same as network.subnetIds.0"),
    "a pod subnet twice": (lambda: network(podSubnetIds=["subnet-0a"] * 2), "is the same as network.podSubnetIds.0"),
    "a group twice": (lambda: network(securityGroupIds=["sg-1"] * 2), "is the same as network.securityGroupIds.0"),
    "17 groups": (lambda: network(securityGroupIds=[f"sg-{n}" for n in range(17)]), "at most 16 security groups"),
    "a subnet of a group": (lambda: group(subnetIds=["sg-1"]), "cilium.groups.0.subnetIds.0"),
    "a subnet of a group twice": (lambda: group(subnetIds=["subnet-1"] * 2), "cilium.groups.0.subnetIds.1"),
    "no nodes": (lambda: group(maxSize=0), "cilium.groups.0.maxSize = 0"),
    "negative nodes": (lambda: group(size=-1), "cilium.groups.0.size = -1"),
    "a long group": (lambda: group(name="g" * 64), "cilium.groups.0.name"),
    "a large disk": (lambda: group(diskGib=10**30), "cilium.groups.0.diskGib"),
    "a type": (lambda: group(instanceType="large", maxPods=10), "cilium.groups.0.instanceType"),
    "a long cluster": (lambda: cluster(name="c" * 101), "cluster.name"),
    "a cluster above IAM": (lambda: cluster(name="c" * 44), "Use at most 43"),
    "a version": (lambda: cluster(version="1.\uff13\uff15"), "cluster.version"),
    "a log twice": (lambda: cluster(logTypes=["api", "api"]), "cluster.logTypes.1"),
    "a tag of AWS": (lambda: cluster(tags={"aws:x": "y"}), "cluster.tags.aws:x"),
    "a long tag": (lambda: cluster(tags={"x": "y" * 257}), "cluster.tags.x"),
    "51 tags": (lambda: cluster(tags={f"k{n}": "v" for n in range(51)}), "at most 50 tags"),
    "no ARN": (lambda: cluster(admins=["ops"]), "cluster.admins.0"),
    "a session": (lambda: cluster(admins=["arn:aws:sts::111122223333:assumed-role/ops/me"]), "one session"),
    "an account": (lambda: cluster(admins=["arn:aws:iam::111122223333:root"]), "the whole account"),
    "a short account": (lambda: cluster(admins=["arn:aws:iam::1:role/ops"]), "not the ARN"),
    "a long role": (lambda: cluster(admins=["arn:aws:iam::111122223333:role/" + "r" * 65]), "none above 64"),
    "a service's role": (
        lambda: cluster(admins=["arn:aws:iam::111122223333:role/aws-service-role/eks.amazonaws.com/A"]),
        "role of an AWS service",
    ),
}  # fmt: skip


def group(**over: Any) -> list[str]:
    return problems(cilium={"groups": [{"name": "workers", "size": 3} | over]})


def cluster(**over: Any) -> list[str]:
    return problems(cluster={"name": "staging"} | over)


@pytest.mark.parametrize("case", AWS)
def test_what_aws_refuses_is_refused_with_its_key(case):
    found, expected = AWS[case][0](), AWS[case][1]
    assert len(found) == 1, found
    assert expected in found[0]


def test_wrong_types_and_wrong_values_come_in_one_error():
    found = problems(
        stage=3,
        cluster={"name": "staging", "admins": ["ops"]},
        network=NETWORK | {"vpcCidrs": [167772160], "subnetIds": ["subnet-1", "subnet-1"], "serviceCidr": "10.0.0.0/8"},
        cilium={
            "groups": [{"name": "a", "size": "many"}, {"name": "canary", "size": 1, "labels": {"cni-plugin": "x"}}]
        },
        unheard="of",
    )
    keys = [line.split(" ")[0].rstrip(":") for line in found]
    assert sorted(keys) == [
        "cilium.groups.0.size",
        "cilium.groups.1.labels.cni-plugin",
        "cilium.groups.1.name",
        "cluster.admins.0",
        "network.serviceCidr",
        "network.subnetIds.1",
        "network.vpcCidrs.0",
        "stage",
        "unheard",
    ]


@pytest.mark.parametrize(
    "over",
    [
        {"journey": "sideways", "legacy": None},
        {"journey": [], "network": NETWORK | {"podCidr": "10.9.0.0/16"}},
        {"cluster": {"name": "c" * 60, "adopt": "perhaps"}},
        {"cluster": 3, "legacy": None},
        {"cluster": {"name": "staging", "version": 1.3}, "cilium": {"version": "1.18.3", "groups": [{"name": "a", "size": 1}]}},
        {"network": NETWORK | {"serviceCidr": "172.30.0.0", "peerCidrs": ["172.20.0.0/16"]}},
        {"cilium": {"groups": [{"name": "a", "size": 1, "instanceType": "x9.large", "maxPods": 0}]}},
    ],
    ids=range(7),
)  # fmt: skip
def test_a_wrong_value_makes_up_no_other_problem(over):
    assert len(problems(**over)) == 1


def test_overlaps_are_those_that_comparing_each_pair_finds():
    rng = random.Random(7)  # noqa: S311 - no secret
    for _ in range(300):
        blocks = {
            name: tuple(
                IPv4Network((rng.randrange(16) << 28, rng.choice((2, 3, 4, 4))), strict=False)
                for _ in range(rng.randint(0, 5))
            )
            for name in "abc"
        }
        pairs: set[Any] = {
            (one, two, *sorted((x, y)))
            for one, two in itertools.combinations("abc", 2)
            for x in blocks[one]
            for y in blocks[two]
            if x.overlaps(y)
        }
        found = {(o.first, o.second, *sorted((o.first_block, o.second_block))) for o in addressing.overlaps(blocks)}
        assert found <= pairs
        # Each block that overlaps one of another name is named with one of that name.
        assert {(o[:2], block) for o in found for block in o[2:]} >= {(o[:2], max(o[2:], key=_inner)) for o in pairs}


def _inner(block: IPv4Network) -> int:
    return block.prefixlen


@pytest.mark.growth
def test_thousands_of_blocks_and_of_unknown_keys_are_answered_at_once():
    began = time.process_time()
    many = [f"10.{n // 256}.{n % 256}.0/24" for n in range(3000)]
    assert len(network(vpcCidrs=many, peerCidrs=many)) >= 3000
    assert len(problems(**{f"key{n}": 1 for n in range(2000)})) == 2000
    assert time.process_time() - began < 5
