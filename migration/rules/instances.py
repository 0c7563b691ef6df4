"""What each EC2 instance type has: interfaces, addresses, processors, accelerators.

The table is a file beside this one, with its source and its date. `python -m operations instances --refresh FILE` makes
it anew from EC2.
"""

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

import reading

FILE: Final = Path(__file__).with_suffix(".json")
REFRESH: Final = f"python -m operations instances --refresh {FILE.parent.parent.name}/{FILE.parent.name}/{FILE.name}"
"""The command that makes the table anew."""

Architecture = Literal["x86_64", "arm64"]
_ARCHITECTURES: Final = ("x86_64", "arm64")


@dataclass(frozen=True, kw_only=True)
class InstanceType:
    """One type, from EC2 DescribeInstanceTypes."""

    interfaces: int
    """Interfaces of the default network card: neither the VPC CNI nor Cilium uses another one."""
    addresses_per_interface: int
    """IPv4 addresses, the primary one included."""
    vcpus: int
    memory_mib: int
    hypervisor: Literal["nitro", "xen", "metal"]
    architecture: Architecture
    nvidia: int = 0
    """NVIDIA GPUs."""
    neurons: int = 0
    """Neuron devices (Inferentia, Trainium)."""
    neuron_cores: int = 0
    """Cores of all of them."""
    others: str = ""
    """Accelerators of other makers, by name."""
    branches: int | None = None
    """Branch interfaces of its trunk, for security groups for pods; 0 without a trunk, None where nobody says."""

    @property
    def nitro(self) -> bool:
        """Whether its interfaces take /28 prefixes: on Nitro and bare metal (Cilium 1.20, pkg/aws/ipam/node.go,
        IsPrefixDelegated)."""
        return self.hypervisor != "xen"


@dataclass(frozen=True, kw_only=True)
class Table:
    """All types, and where the table is from."""

    source: str
    read: str
    """When the source said so, as YYYY-MM-DD."""
    branches_source: str
    """Where the branch interfaces are from: EC2 does not tell them."""
    types: Mapping[str, InstanceType]

    def text(self) -> str:
        """The file's text: a type a line, so that a refresh shows what has changed."""
        head = {
            "source": self.source,
            "read": self.read,
            "branchesSource": self.branches_source,
            "columns": [field.name for field in fields(InstanceType)],
        }
        lines = [f"  {json.dumps(name)}: {json.dumps(astuple(self.types[name]))}" for name in sorted(self.types)]
        return f'{json.dumps(head, indent=1)[:-2]},\n "types": {{\n' + ",\n".join(lines) + "\n }\n}\n"


def load(path: Path = FILE) -> Table:
    """The table in a file.

    Raises:
        reading.Unreadable: it is no such table.
        FileNotFoundError
    """
    held = reading.json_value(reading.text_of(path), str(path))
    columns = [field.name for field in fields(InstanceType)]
    try:
        order = [held["columns"].index(column) for column in columns]
        types = {
            name: InstanceType(**{c: row[at] for c, at in zip(columns, order, strict=True)})
            for name, row in held["types"].items()
        }
        return Table(source=held["source"], read=held["read"], branches_source=held["branchesSource"], types=types)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"is no table of instance types: {error}. Take the committed {FILE.name}"
        raise reading.Unreadable(str(path), 0, reason) from None


@functools.cache
def _held() -> Table:
    return load()


def known(name: str) -> InstanceType | None:
    """The type called `name`; None for one that the table does not have."""
    return _held().types.get(name)


def table() -> Table:
    """The table that this program decides by."""
    return _held()


def from_ec2(answers: Iterable[Mapping[str, Any]], before: Table, *, source: str, read: str) -> Table:
    """The table from answers of EC2 DescribeInstanceTypes.

    A region has only some types, so those of `before` that it does not name stay. So do all branch interfaces. Types of
    Macs are left out: EKS has no nodes of them.

    Raises:
        KeyError, IndexError: an answer lacks what EC2 always tells.
    """
    types = dict(before.types)
    for answer in answers:
        architecture = next((a for a in answer["ProcessorInfo"]["SupportedArchitectures"] if a in _ARCHITECTURES), None)
        if architecture is not None:
            name = answer["InstanceType"]
            branches = types[name].branches if name in types else None
            types[name] = _type(answer, architecture, branches)
    return Table(source=source, read=read, branches_source=before.branches_source, types=types)


def _type(answer: Mapping[str, Any], architecture: Any, branches: int | None) -> InstanceType:
    network = answer["NetworkInfo"]
    neurons = (answer.get("NeuronInfo") or {}).get("NeuronDevices") or []
    gpus = (answer.get("GpuInfo") or {}).get("Gpus") or []
    others = [
        f"{one['Manufacturer']} {one['Name']}"
        for one in (
            *(g for g in gpus if g["Manufacturer"] != "NVIDIA"),
            *(a for a in (answer.get("InferenceAcceleratorInfo") or {}).get("Accelerators") or [] if not neurons),
            *((answer.get("FpgaInfo") or {}).get("Fpgas") or []),
            *((answer.get("MediaAcceleratorInfo") or {}).get("Accelerators") or []),
        )
    ]
    return InstanceType(
        interfaces=network["NetworkCards"][network.get("DefaultNetworkCardIndex", 0)]["MaximumNetworkInterfaces"],
        addresses_per_interface=network["Ipv4AddressesPerInterface"],
        vcpus=answer["VCpuInfo"]["DefaultVCpus"],
        memory_mib=answer["MemoryInfo"]["SizeInMiB"],
        hypervisor="metal" if answer["BareMetal"] else answer["Hypervisor"],
        architecture=architecture,
        nvidia=sum(g["Count"] for g in gpus if g["Manufacturer"] == "NVIDIA"),
        neurons=sum(n["Count"] for n in neurons),
        neuron_cores=sum(n["Count"] * n["CoreInfo"]["Count"] for n in neurons),
        others=", ".join(others),
        branches=branches,
    )
