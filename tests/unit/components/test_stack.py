"""What a state says is still there."""

from typing import Any

import pytest

from components.stack import present
from migration.journeys import Piece

POLICY = "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy"


def entry(kind: str, name: str, **outputs: Any) -> tuple[str, dict[str, Any]]:
    return f"urn:pulumi:dev::eks-cilium::{kind}::{name}", {"type": kind, "outputs": outputs}


def test_groups_belong_to_the_piece_of_the_component_that_names_them():
    component, group = "eks-cilium:nodes:NodeGroups", "aws:eks/nodeGroup:NodeGroup"
    found = present(
        dict(
            [
                entry(component, "legacy-nodes", names=["general"]),
                entry(component, "canary-nodes", names=["canary"]),
                entry(component, "cilium-nodes", names=["workers"]),
                entry(group, "general"),
                entry(group, "workers"),
            ]
        )
    )
    assert found == {Piece.LEGACY_GROUPS, Piece.CILIUM_GROUPS}, "the canary group is gone, only its component is left"


@pytest.mark.parametrize(
    ("kind", "name", "piece"),
    [
        ("aws:eks/addon:Addon", "vpc-cni", Piece.VPC_CNI),
        ("aws:eks/addon:Addon", "kube-proxy", Piece.KUBE_PROXY),
        ("kubernetes:helm.sh/v3:Release", "cilium", Piece.CILIUM),
        ("kubernetes:helm.sh/v3:Release", "tigera-operator", Piece.CALICO),
        ("kubernetes:operator.tigera.io/v1:Installation", "installation", Piece.CALICO),
        ("kubernetes:crd.projectcalico.org/v1:Tier", "Tier/platform", Piece.CALICO_POLICIES),
        ("kubernetes:cilium.io/v2:CiliumNetworkPolicy", "CiliumNetworkPolicy/a/b", Piece.CILIUM_POLICIES),
        (f"{POLICY}Binding", "eks-cilium-policy-freeze", Piece.FREEZE),
        (POLICY, "eks-cilium-guard", Piece.GUARD),
        ("kubernetes:apps/v1:DaemonSet", "eks-cilium-probe-aws", Piece.PROBES),
    ],
)
def test_one_resource_is_enough_for_a_piece_to_be_there(kind: str, name: str, piece: Piece):
    assert present(dict([entry(kind, name)])) == {piece}


def test_what_only_binds_somebody_elses_object_is_no_piece():
    patches = [
        entry("kubernetes:apps/v1:DaemonSetPatch", "kube-proxy"),
        entry("kubernetes:operator.tigera.io/v1:InstallationPatch", "installation"),
    ]
    assert present(dict(patches)) == set()
