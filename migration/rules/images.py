"""Machine images of managed node groups: which of EKS's kinds fits which instance types.

Source: EKS API reference (Nodegroup, amiType) and user guide, "Use EKS-optimized accelerated AMIs".
"""

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from migration.rules import instances
from migration.rules.aws_rules import Found
from migration.rules.instances import Architecture, InstanceType

Family = Literal["AL2023", "Bottlerocket"]
Variant = Literal["standard", "nvidia", "neuron", "fips", "nvidia-fips"]

DATA_DISK: Final = {"AL2023": "/dev/xvda", "Bottlerocket": "/dev/xvdb"}
"""Family → device of the volume that holds images and what pods write. Bottlerocket's system has one of its own."""
MOST_TYPES: Final = 20
"""Of one group (EKS API reference, CreateNodegroup)."""

_VARIANTS: Final = {
    ("AL2023", "x86_64"): ("standard", "nvidia", "neuron"),
    ("AL2023", "arm64"): ("standard", "nvidia"),
    ("Bottlerocket", "x86_64"): ("standard", "nvidia", "fips", "nvidia-fips"),
    ("Bottlerocket", "arm64"): ("standard", "nvidia", "fips", "nvidia-fips"),
}
"""Family and architecture → variants that EKS has."""
_WORD: Final = {"x86_64": "x86_64", "arm64": "ARM_64"}


def known(types: Sequence[str]) -> list[InstanceType]:
    """Those of some types that the table has."""
    return [kind for kind in map(instances.known, types) if kind is not None]


def architecture(types: Sequence[str], asked: Architecture | None) -> Architecture:
    """As asked, or as the types are."""
    if asked is not None:
        return asked
    kinds = known(types)
    return kinds[0].architecture if kinds else "x86_64"


def variant(types: Sequence[str], asked: Variant | None) -> Variant:
    """As asked, or what the types' accelerators need."""
    if asked is not None:
        return asked
    kinds = known(types)
    if any(kind.nvidia for kind in kinds):
        return "nvidia"
    return "neuron" if any(kind.neurons for kind in kinds) else "standard"


def ami_type(family: Family, architecture: Architecture, variant: Variant) -> str:
    """EKS's name of an image kind, such as AL2023_x86_64_STANDARD."""
    word = _WORD[architecture]
    if family == "AL2023":
        return f"AL2023_{word}_{variant.upper()}"
    return f"BOTTLEROCKET_{word}" + ("" if variant == "standard" else f"_{variant.upper().replace('-', '_')}")


def every_ami_type() -> Iterator[str]:
    """All kinds that a group may have."""
    for (family, machine), variants in _VARIANTS.items():
        for one in variants:
            yield ami_type(family, machine, one)  # type: ignore[arg-type]


def problems(
    key: str,
    types: Sequence[str],
    *,
    asked: Architecture | None,
    family: Family,
    asked_variant: Variant | None,
) -> Iterator[Found]:
    """Why no image fits all types of a group.

    Args:
        key: of the group, to which fields are added.
    """
    kinds = {name: kind for name in types if (kind := instances.known(name)) is not None}
    machines = {kind.architecture for kind in kinds.values()}
    if len(machines) > 1:
        shown = ", ".join(f"{name} is {kind.architecture}" for name, kind in kinds.items())
        yield f"{key}.instanceTypes", list(types), f"{shown}: no image runs on both", "Make a group of each"
        return
    if asked is not None and machines and machines != {asked}:
        yield f"{key}.architecture", asked, f"{', '.join(kinds)}: {next(iter(machines))}", "Leave it out"
        return
    yield from _variant_problems(f"{key}.variant", kinds, architecture(types, asked), family, asked_variant)


def _variant_problems(
    key: str, kinds: dict[str, InstanceType], machine: Architecture, family: Family, asked: Variant | None
) -> Iterator[Found]:
    found = variant(tuple(kinds), asked)
    if found not in _VARIANTS[family, machine]:
        if asked is None:
            reason = f"{', '.join(n for n, k in kinds.items() if k.neurons)} has Neuron devices, and EKS has no"
            reason += f" {family} image with their driver"
            fix = "Use amiFamily AL2023" if family != "AL2023" else "Use types of x86_64"
            yield key, None, reason, f"{fix}; or set {key} to standard if the driver comes another way"
        else:
            there = ", ".join(_VARIANTS[family, machine])
            yield key, asked, f"EKS has no such {family} image for {machine}", f"Choose one of {there}"
        return
    for word, has in (("nvidia", "nvidia"), ("neuron", "neurons")):
        without = [name for name, kind in kinds.items() if not getattr(kind, has)]
        if found.startswith(word) and without:
            what = "NVIDIA GPU" if word == "nvidia" else "Neuron device"
            yield key, asked, f"{', '.join(without)} has no {what}", "Make a group of each kind"
