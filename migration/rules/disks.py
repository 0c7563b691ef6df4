"""What EBS takes of a node's volume: sizes, IOPS and throughput by type.

Source: EC2 API reference (LaunchTemplateEbsBlockDeviceRequest); EBS user guide, "Amazon EBS volume types".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from migration.rules.aws_rules import Found

DiskType = Literal["gp3", "gp2", "io1", "io2"]
_KEY: Final = re.compile(
    r"arn:aws[a-z-]{0,20}:kms:[a-z0-9-]{1,40}:[0-9]{12}:(key|alias)/[\w/-]{1,256}|[0-9a-f-]{36}|alias/[\w/-]{1,256}",
    re.ASCII,
)


@dataclass(frozen=True)
class _Kind:
    most_gib: int
    iops: tuple[int, int] | None
    per_gib: int
    """IOPS that each GiB allows."""


_KINDS: Final = {
    "gp3": _Kind(65_536, (3_000, 80_000), 500),
    "gp2": _Kind(16_384, None, 0),
    "io1": _Kind(16_384, (100, 64_000), 50),
    "io2": _Kind(65_536, (100, 256_000), 1_000),
}
_THROUGHPUT: Final = (125, 2_000)
"""MiB/s, of gp3 alone; a quarter MiB/s for each IOPS at most."""
_BASE_IOPS: Final = 3_000


def problems(
    key: str, *, gib: int, kind: DiskType, iops: int | None, throughput: int | None, kms_key: str | None
) -> Iterator[Found]:
    """Why EBS makes no such volume. `key`: of the group, to which fields are added."""
    about = _KINDS[kind]
    if gib > about.most_gib:
        yield f"{key}.diskGib", gib, f"{kind} has at most {about.most_gib} GiB", "Make it smaller, or use gp3"
    if about.iops is None and iops is not None:
        yield f"{key}.diskIops", iops, f"{kind} takes none: its IOPS follow its size", "Remove it, or use gp3"
    elif about.iops is not None and kind != "gp3" and iops is None:
        yield f"{key}.diskIops", None, f"{kind} has no IOPS of its own accord", "Set it, or use gp3"
    elif about.iops is not None and iops is not None:
        low, high = about.iops
        if not low <= iops <= high:
            yield f"{key}.diskIops", iops, f"{kind} takes {low} to {high}", "Choose such a number"
        elif iops > max(low, gib * about.per_gib):
            reason = f"{kind} takes {about.per_gib} for each GiB, and this one has {gib} GiB"
            yield f"{key}.diskIops", iops, reason, "Make the disk larger, or ask for less"
    if throughput is not None:
        low, high = _THROUGHPUT
        if kind != "gp3":
            yield f"{key}.diskThroughput", throughput, f"{kind} takes none", "Remove it, or use gp3"
        elif not low <= throughput <= high:
            yield f"{key}.diskThroughput", throughput, f"gp3 takes {low} to {high} MiB/s", "Choose such a number"
        elif throughput * 4 > (iops or _BASE_IOPS):
            reason = f"gp3 takes a quarter MiB/s for each of its {iops or _BASE_IOPS} IOPS"
            yield f"{key}.diskThroughput", throughput, reason, f"Set diskIops to {throughput * 4} or more"
    if kms_key is not None and not _KEY.fullmatch(kms_key):
        yield f"{key}.diskKmsKey", kms_key, "is not a KMS key", "Write its ARN, its id or alias/NAME"
