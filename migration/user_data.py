"""User data of launch templates: what kubelet registers a node with."""

import base64

import yaml

from migration.desired import Group

_BOUNDARY = "//"


def node_user_data(group: Group) -> str:
    """Base64 of a MIME document with a nodeadm `NodeConfig`, which EKS merges with its own for managed groups.

    Labels and taints go through kubelet and not through the node group's API, which applies them only after the node
    has registered: for a moment pods could run on a node that nothing wires.

    Source: awslabs/amazon-eks-ami, nodeadm API `node.eks.aws/v1alpha1`.
    """
    labels = ",".join(f"{key}={value}" for key, value in sorted(group.kubelet_labels.items()))
    flags = [f"--node-labels={labels}"]
    if group.kubelet_taints:
        flags.append(f"--register-with-taints={','.join(map(str, group.kubelet_taints))}")
    config = {
        "apiVersion": "node.eks.aws/v1alpha1",
        "kind": "NodeConfig",
        "spec": {"kubelet": {"config": {"maxPods": group.max_pods}, "flags": flags}},
    }
    text = "\n".join(
        [
            "MIME-Version: 1.0",
            f'Content-Type: multipart/mixed; boundary="{_BOUNDARY}"',
            "",
            f"--{_BOUNDARY}",
            "Content-Type: application/node.eks.aws",
            "",
            "---",
            yaml.safe_dump(config, sort_keys=False, width=10_000).rstrip(),
            "",
            f"--{_BOUNDARY}--",
            "",
        ]
    )
    return base64.b64encode(text.encode()).decode()
