"""Names that more than one room uses: labels, taints, annotations, objects of the cluster, field managers."""

from typing import Final

PROJECT: Final = "eks-cilium"
"""Name of the Pulumi project, and the namespace of its configuration keys."""

CNI_LABEL: Final = "cni-plugin"
"""Node label that says who wires the pods of a node. Values: `LEGACY_CNI`, `CILIUM_CNI`."""
LEGACY_CNI: Final = "aws"
CILIUM_CNI: Final = "cilium"

AGENT_NOT_READY_TAINT: Final = "node.cilium.io/agent-not-ready"
"""Kept on a new node by kubelet until its Cilium agent is ready (Cilium's own default key)."""
CANARY_TAINT: Final = "eks-cilium.io/canary"
"""Keeps workloads off the canary nodes; the probes tolerate it."""
PROBE: Final = "eks-cilium-probe"
"""The probes' DaemonSets and Services in kube-system are `eks-cilium-probe-<kind of node>`."""
PROBE_PORT: Final = 8080
PROBE_IMAGE: Final = (
    "registry.k8s.io/e2e-test-images/agnhost:2.53"
    "@sha256:99c6b4bb4a1e1df3f0b3752168c89358794d02258ebebc26bf21c29399011a85"
)

BRIDGE: Final = "eks-cilium-bridge"
"""Deployment, service account and Lease in kube-system of what tells Cilium who the pods of legacy nodes are."""
PROVER: Final = "eks-cilium-prover"
"""Deployment, service account and Lease in kube-system of what proves again between two gates."""
PROOF: Final = "eks-cilium-proof"
"""ConfigMap in kube-system in which it publishes."""
ACCEPTED: Final = "policies/accepted.yaml"
"""Beside Pulumi.yaml: where differences that somebody accepts are looked for."""
BRIDGE_IMAGE: Final = (
    "docker.io/library/python:3.13-slim@sha256:6771159cd4fa5d9bba1258caf0b82e6b73458c694d178ad97c5e925c2d0e1a91"
)

ANNOTATION_PREFIX: Final = "eks-cilium.io"
LABELLED_BY_US: Final = f"{ANNOTATION_PREFIX}/labelled"
"""Node annotation: this program put `CNI_LABEL` there, so going back may take it away again."""
CORDONED_BY_US: Final = f"{ANNOTATION_PREFIX}/cordoned"
"""Node annotation: the refresh cordoned this node; `undo` may uncordon it."""
REFRESH_TAINT: Final = f"{ANNOTATION_PREFIX}/leaving"
"""Soft taint (PreferNoSchedule) on every node that a refresh is going to empty."""
REFRESH_LEASE: Final = "eks-cilium-refresh"
"""Lease in kube-system: one refresh at a time."""
EXCLUDE_FROM_LB_LABEL: Final = "node.kubernetes.io/exclude-from-external-load-balancers"

FIELD_MANAGER: Final = "eks-cilium"
"""Field manager of every server-side apply this project makes itself."""
FREEZE_POLICY: Final = "eks-cilium-policy-freeze"
"""ValidatingAdmissionPolicy (and its binding) that keeps Calico policies as they are while both engines enforce."""

GUARD_POLICY: Final = "eks-cilium-guard"
"""ValidatingAdmissionPolicy (and its binding) that refuses the deletion of what nodes need."""
GUARD_DIGEST: Final = f"{ANNOTATION_PREFIX}/guard"
"""Annotation of the mark: digest of the guard that was in force last."""
GUARD_LOG: Final = f"{ANNOTATION_PREFIX}/guard-log"
"""Annotation of the mark: who opened and closed the guard, one line each."""

MAY_GO: Final = f"{ANNOTATION_PREFIX}/may-go"
"""Annotation of a Calico policy that the freeze lets be deleted."""

MARK: Final = "eks-cilium-mark"
"""Role in kube-system: which stack moves this cluster, and how far (`migration/guarding/mark.py`)."""
WORKLOADS: Final = "eks-cilium-workloads"
"""ConfigMap beside it: how workloads stood before the move (`migration/guarding/workloads.py`)."""

SYSTEM_NAMESPACE: Final = "kube-system"
AWS_NODE: Final = "aws-node"
KUBE_PROXY: Final = "kube-proxy"
CALICO_NODE: Final = "calico-node"
CALICO_NAMESPACE: Final = "calico-system"
TIGERA_NAMESPACE: Final = "tigera-operator"
CILIUM: Final = "cilium"
CILIUM_ENVOY: Final = "cilium-envoy"
CILIUM_OPERATOR: Final = "cilium-operator"

CANARY_GROUP: Final = "canary"
"""Name of the node group of the canary nodes; no other group may have it."""
