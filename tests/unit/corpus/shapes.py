"""Thirty clusters as the field has them: which shapes there are, and which of them stand together.

Eleven properties; every two values of two properties that occur together in the field occur together in one of the
clusters. Most clusters have at most one thing that the journey `replace` refuses, as most clusters do; what is rare is
gathered in a few.
"""

from dataclasses import dataclass, fields
from itertools import combinations
from typing import Final

VALUES: Final = {
    "groups": ("managed", "self-managed", "mixed"),
    "architecture": ("x86_64", "arm64", "both"),
    "family": ("AL2023", "Bottlerocket"),
    "capacity": ("on-demand", "spot"),
    "autoscaler": ("none", "cluster-autoscaler", "karpenter"),
    "dns": ("coredns", "nodelocal"),
    "mesh": ("none", "istio-sidecar", "istio-cni", "linkerd"),
    "vpc_cni": ("plain", "prefixes", "custom-networking", "pod-security-groups", "policy-agent"),
    "addresses": ("ipv4", "ipv6"),
    "fargate": ("none", "profile"),
    "gpu": ("none", "nvidia"),
}
"""Property → its values."""

NEVER: Final = {
    ("vpc_cni", "plain", "addresses", "ipv6"): "the VPC CNI gives IPv6 addresses out of prefixes only",
    ("vpc_cni", "custom-networking", "addresses", "ipv6"): "the VPC CNI has it for IPv4 only",
}
"""Two values that no cluster has → why."""


@dataclass(frozen=True)
class Shape:
    """A cluster, by the value that it has of each property."""

    groups: str
    architecture: str
    family: str
    capacity: str
    autoscaler: str
    dns: str
    mesh: str
    vpc_cni: str
    addresses: str
    fargate: str
    gpu: str

    @property
    def pairs(self) -> frozenset[tuple[str, str, str, str]]:
        names = [field.name for field in fields(self)]
        return frozenset((a, getattr(self, a), b, getattr(self, b)) for a, b in combinations(names, 2))


_ROWS: Final = """
ordinary      managed      x86_64 AL2023       on-demand none               coredns   none          plain               ipv4 none    none
autoscaled    managed      x86_64 AL2023       on-demand cluster-autoscaler coredns   none          prefixes            ipv4 none    none
graviton      managed      arm64  AL2023       on-demand none               coredns   none          plain               ipv4 none    none
both-kinds    managed      both   AL2023       on-demand cluster-autoscaler coredns   istio-sidecar prefixes            ipv4 none    none
rocket        managed      both   Bottlerocket spot      cluster-autoscaler coredns   none          plain               ipv4 none    none
own-groups    self-managed x86_64 AL2023       on-demand none               coredns   none          plain               ipv4 none    none
models        managed      x86_64 AL2023       on-demand cluster-autoscaler coredns   none          prefixes            ipv4 none    nvidia
spot-fleet    mixed        x86_64 AL2023       spot      cluster-autoscaler coredns   none          plain               ipv4 none    none
pools         managed      x86_64 AL2023       spot      karpenter          coredns   none          prefixes            ipv4 none    none
linked        mixed        x86_64 AL2023       on-demand none               coredns   linkerd       plain               ipv4 none    nvidia
own-subnets   self-managed arm64  Bottlerocket spot      cluster-autoscaler coredns   none          custom-networking   ipv4 none    none
two-enforcers managed      x86_64 Bottlerocket on-demand cluster-autoscaler coredns   istio-sidecar policy-agent        ipv4 none    nvidia
dense         mixed        both   Bottlerocket spot      none               coredns   istio-sidecar prefixes            ipv4 none    none
pod-groups    managed      both   AL2023       spot      cluster-autoscaler coredns   linkerd       pod-security-groups ipv4 none    none
arm-pools     self-managed arm64  AL2023       spot      karpenter          coredns   linkerd       prefixes            ipv4 none    nvidia
agents        mixed        x86_64 AL2023       spot      none               coredns   none          policy-agent        ipv4 none    nvidia
near-dns      self-managed arm64  Bottlerocket on-demand cluster-autoscaler nodelocal istio-sidecar plain               ipv4 none    nvidia
far-subnets   managed      both   Bottlerocket on-demand none               coredns   linkerd       custom-networking   ipv4 none    nvidia
branches      mixed        x86_64 AL2023       spot      none               coredns   none          pod-security-groups ipv4 none    nvidia
arm-subnets   mixed        arm64  AL2023       spot      none               coredns   istio-sidecar custom-networking   ipv4 none    none
rocket-pools  managed      x86_64 Bottlerocket on-demand karpenter          coredns   none          plain               ipv4 none    none
meshed        self-managed both   Bottlerocket spot      cluster-autoscaler coredns   istio-cni     prefixes            ipv4 none    nvidia
heavy-1       mixed        x86_64 AL2023       spot      karpenter          nodelocal istio-cni     prefixes            ipv6 profile nvidia
heavy-2       managed      arm64  Bottlerocket on-demand none               nodelocal istio-cni     pod-security-groups ipv6 profile nvidia
heavy-3       self-managed both   Bottlerocket on-demand karpenter          nodelocal istio-cni     policy-agent        ipv6 none    none
heavy-4       self-managed arm64  AL2023       spot      karpenter          coredns   istio-sidecar pod-security-groups ipv6 profile none
heavy-5       mixed        arm64  Bottlerocket spot      cluster-autoscaler nodelocal linkerd       policy-agent        ipv6 profile nvidia
heavy-6       managed      both   AL2023       on-demand cluster-autoscaler nodelocal none          prefixes            ipv6 profile nvidia
heavy-7       managed      both   Bottlerocket spot      karpenter          coredns   istio-cni     plain               ipv4 profile none
heavy-8       self-managed x86_64 AL2023       on-demand karpenter          nodelocal istio-cni     custom-networking   ipv4 profile none
"""

CORPUS: Final = {name: Shape(*values) for name, *values in map(str.split, _ROWS.strip().splitlines())}
"""Name → shape."""
