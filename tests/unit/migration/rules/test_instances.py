"""The table of instance types is EC2's, and is read and written without a loss."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import reading
from migration.rules import addressing, instances

LARGE = {
    "InstanceType": "m9x.large",
    "BareMetal": False,
    "Hypervisor": "nitro",
    "VCpuInfo": {"DefaultVCpus": 2},
    "MemoryInfo": {"SizeInMiB": 8192},
    "ProcessorInfo": {"SupportedArchitectures": ["i386", "x86_64"]},
    "NetworkInfo": {
        "MaximumNetworkInterfaces": 9,
        "Ipv4AddressesPerInterface": 10,
        "DefaultNetworkCardIndex": 1,
        "NetworkCards": [{"MaximumNetworkInterfaces": 6}, {"MaximumNetworkInterfaces": 3}],
    },
}
METAL = {**LARGE, "InstanceType": "m9x.metal", "BareMetal": True}
METAL.pop("Hypervisor")


def known(name: str) -> instances.InstanceType:
    found = instances.known(name)
    assert found is not None
    return found


def refreshed(*answers: Any):
    return instances.from_ec2(answers, instances.table(), source="test", read="2026-11-28")


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("t3.medium", (3, 6, 2)),
        ("m5.large", (3, 10, 2)),
        ("m5.8xlarge", (8, 30, 32)),
        ("m7g.xlarge", (4, 15, 4)),
        ("trn1.32xlarge", (5, 50, 128)),  # eight network cards: those of the default one
    ],
)
def test_limits_are_those_that_ec2_tells(name, numbers):
    kind = known(name)
    assert (kind.interfaces, kind.addresses_per_interface, kind.vcpus) == numbers


def test_accelerators_architecture_and_hypervisor_are_known():
    assert (known("g5g.xlarge").architecture, known("g5g.xlarge").nvidia) == ("arm64", 1)
    assert (known("trn1.32xlarge").neurons, known("trn1.32xlarge").neuron_cores) == (16, 32)
    assert not known("m4.large").nitro
    assert known("m5.metal").nitro
    assert known("m5.large").branches == 9
    assert instances.known("m5.lrage") is None


def test_every_type_holds_more_pods_under_cilium_than_it_takes_for_itself():
    low = {
        name: addressing.cilium_max_pods(kind, prefix_delegation=False)
        for name, kind in instances.table().types.items()
    }
    assert min(low.values()) >= 4
    assert len(low) > 1300


def test_the_table_says_where_it_is_from():
    held = instances.table()
    assert "DescribeInstanceTypes" in held.source
    assert held.read >= "2026-10-27"
    assert "vpclimits" in held.branches_source


def test_a_table_is_written_as_it_is_read(tmp_path: Path):
    path = tmp_path / "table.json"
    path.write_text(instances.table().text())
    assert path.read_text() == instances.FILE.read_text()
    assert instances.load(path) == instances.table()


def test_a_refresh_takes_the_interfaces_of_the_default_network_card():
    kind = refreshed(LARGE).types["m9x.large"]
    assert (kind.interfaces, kind.addresses_per_interface, kind.architecture) == (3, 10, "x86_64")
    assert kind.branches is None


def test_a_refresh_keeps_what_the_region_does_not_have_and_what_ec2_does_not_tell():
    wider = {**LARGE, "InstanceType": "m5.large", "VCpuInfo": {"DefaultVCpus": 64}}
    now = refreshed(wider)
    assert now.types["m5.large"] == dataclasses.replace(known("m5.large"), vcpus=64)
    assert now.types["c5.large"] == known("c5.large")


def test_bare_metal_takes_prefixes_and_macs_are_no_nodes():
    mac = {**METAL, "InstanceType": "mac9.metal", "ProcessorInfo": {"SupportedArchitectures": ["arm64_mac"]}}
    now = refreshed(METAL, mac)
    assert now.types["m9x.metal"].nitro
    assert "mac9.metal" not in now.types


def test_accelerators_are_counted_over_all_devices():
    gpus = {
        "Gpus": [
            {"Count": 4, "Manufacturer": "NVIDIA", "Name": "L4"},
            {"Count": 1, "Manufacturer": "AMD", "Name": "V520"},
        ]
    }
    neurons = {"NeuronDevices": [{"Count": 6, "CoreInfo": {"Count": 2}}]}
    kind = refreshed({**LARGE, "GpuInfo": gpus, "NeuronInfo": neurons}).types["m9x.large"]
    assert (kind.nvidia, kind.neurons, kind.neuron_cores, kind.others) == (4, 6, 12, "AMD V520")


@pytest.mark.parametrize("text", ["[]", "{}", '{"columns": ["interfaces"]}', "{", '{"columns": 1, "types": []}'])
def test_a_damaged_table_is_one_error_that_names_the_file(tmp_path: Path, text):
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(reading.Unreadable, match=r"table\.json"):
        instances.load(path)
