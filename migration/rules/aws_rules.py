"""What AWS takes of a cluster, its node groups and their network: refused here, before a deploy has begun.

Source: EKS API reference (CreateCluster, CreateNodegroup, KubernetesNetworkConfigRequest, VpcConfigRequest, Tag), EKS
user guide (subnet and access entry considerations, quotas), IAM reference ("IAM ARNs"), VPC user guide ("VPC CIDR
blocks"), EC2 quotas (security groups per interface).
"""

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network
from typing import Final

PRIVATE: Final = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
MOST_SECURITY_GROUPS: Final = 16
MOST_TAGS: Final = 50
MOST_PUBLIC_BLOCKS: Final = 40
_POLICY: Final = re.compile(r"arn:aws[a-z-]{0,20}:iam::([0-9]{12}|aws):policy/[\w+=,.@/-]{1,512}", re.ASCII)
_TAG: Final = re.compile(r"[\w\s+\-=._:/@]*")
_SERVICE_ROLE: Final = re.compile(r":role/aws-service-role/")
_IDS: Final = {
    "subnet": re.compile(r"subnet-[0-9a-z]{1,40}"),
    "sg": re.compile(r"sg-[0-9a-z]{1,40}"),
}
_CALLED: Final = {"subnet": "subnet", "sg": "security group"}

Found = tuple[str, object, str, str]
"""Key, value, reason, fix."""


def services(block: IPv4Network) -> Iterator[Found]:
    if not 12 <= block.prefixlen <= 24 or not any(block.subnet_of(private) for private in PRIVATE):
        yield (
            "network.serviceCidr",
            str(block),
            "EKS takes a block from /12 to /24 within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16",
            "Choose such a block",
        )


def vpc(blocks: Sequence[IPv4Network]) -> Iterator[Found]:
    for index, block in enumerate(blocks):
        if not 16 <= block.prefixlen <= 28:
            yield (
                f"network.vpcCidrs.{index}",
                str(block),
                "a VPC has blocks from /16 to /28",
                "Write the VPC's own block",
            )
    yield from twice("network.vpcCidrs", blocks)


def ids(key: str, kind: str, found: Sequence[str]) -> Iterator[Found]:
    """A list of ids of one kind, `subnet` or `sg`."""
    for index, one in enumerate(found):
        if not _IDS[kind].fullmatch(one):
            fix = f"Write it as {kind}-0123456789abcdef0"
            yield f"{key}.{index}", one, f"is not the id of a {_CALLED[kind]}", fix
    yield from twice(key, found)


def security_groups(key: str, found: Sequence[str]) -> Iterator[Found]:
    yield from ids(key, "sg", found)
    if len(found) > MOST_SECURITY_GROUPS:
        yield key, len(found), f"an interface has at most {MOST_SECURITY_GROUPS} security groups", "Name fewer"


def twice(key: str, found: Sequence[Hashable]) -> Iterator[Found]:
    """Entries of a list that stand in it before."""
    seen: dict[Hashable, int] = {}
    for index, one in enumerate(found):
        if (first := seen.setdefault(one, index)) != index:
            shown = one if isinstance(one, str) else str(one)
            yield f"{key}.{index}", shown, f"is the same as {key}.{first}", "Name each once"


def public_access(key: str, blocks: Sequence[IPv4Network]) -> Iterator[Found]:
    """Blocks from which the public endpoint may be reached."""
    for index, block in enumerate(blocks):
        if private := next((one for one in PRIVATE if block.overlaps(one) and block.prefixlen), None):
            reason = f"the internet carries no address of {private}, and EKS refuses such a block"
            yield f"{key}.{index}", str(block), reason, "Write the public addresses of those who may reach it"
    yield from twice(key, blocks)
    if len(blocks) > MOST_PUBLIC_BLOCKS:
        yield key, len(blocks), f"EKS takes at most {MOST_PUBLIC_BLOCKS} blocks", "Put neighbouring ones together"


def policy(key: str, arn: str) -> Iterator[Found]:
    if not _POLICY.fullmatch(arn):
        yield key, arn, "is not the ARN of an IAM policy", "Write it as arn:aws:iam::111122223333:policy/NAME"


def tags(key: str, found: Mapping[str, str]) -> Iterator[Found]:
    for name, value in found.items():
        if not 1 <= len(name) <= 128 or not _TAG.fullmatch(name) or name.lower().startswith("aws:"):
            reason = "is not a tag key: 1 to 128 letters, digits, spaces and + - = . _ : / @, not beginning with aws:"
            yield f"{key}.{name}", value, reason, "Choose such a key"
        elif len(value) > 256 or not _TAG.fullmatch(value):
            reason = "is not a tag value: at most 256 letters, digits, spaces and + - = . _ : / @"
            yield f"{key}.{name}", value, reason, "Choose such a value"
    if len(found) > MOST_TAGS:
        yield key, len(found), f"a resource has at most {MOST_TAGS} tags", "Use fewer"


def service_role(arn: str) -> bool:
    """Whether a principal is a role of an AWS service, to which EKS gives no access entry."""
    return bool(_SERVICE_ROLE.search(arn))
