"""Names under which the prover is known in a cluster. What is shipped imports no other room that has names."""

from typing import Final

NAME: Final = "eks-cilium-prover"
"""Deployment, ServiceAccount, Lease, field manager, ConfigMap with the pack."""
PROOF: Final = "eks-cilium-proof"
"""ConfigMap in which it publishes."""
NAMESPACE: Final = "kube-system"
