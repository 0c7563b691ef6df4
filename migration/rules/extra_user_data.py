"""What people add to the user data of nodes: read as the node's own system reads it, and kept off what this program and
EKS write there.

Amazon Linux 2023 takes a nodeadm `NodeConfig`, a shell script or cloud-config; Bottlerocket takes TOML. Fields are
checked as far as the node's system would refuse them: of nodeadm its own, of Bottlerocket the sections of `settings`;
what stands below a section, Bottlerocket alone can judge.

Source: awslabs/amazon-eks-ami, nodeadm API node.eks.aws/v1alpha1; bottlerocket.dev, settings reference of 1.65.
"""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import reading
from migration.rules.images import Family

MOST_BYTES: Final = 16 * 1024
"""Of all user data of an instance (EC2 API reference, RequestLaunchTemplateData)."""
NODE_CONFIG: Final = "application/node.eks.aws"
SHELL: Final = "text/x-shellscript"
CLOUD_CONFIG: Final = "text/cloud-config"

_SPEC: Final = {"cluster", "containerd", "instance", "kubelet", "featureGates"}
_KUBELET: Final = {"config", "flags"}
_FLAGS: Final = ("--node-labels", "--register-with-taints", "--max-pods")
_CONFIG: Final = {"maxPods": "maxPods", "registerWithTaints": "taints"}
_SECTIONS: Final = {
    *("autoscaling", "aws", "boot", "bootstrap-commands", "bootstrap-containers", "cloudformation"),
    *("container-registry", "container-runtime", "container-runtime-plugins", "dns", "host-containers", "kernel"),
    *("kubelet-device-plugins", "kubelet-dra-drivers", "kubernetes", "metrics", "motd", "network", "ntp"),
    *("nvidia-container-runtime", "oci-defaults", "oci-hooks", "pki", "updates"),
}
_OURS: Final = {"node-labels": "labels", "node-taints": "taints", "max-pods": "maxPods"}
_EKS: Final = frozenset({"api-server", "cluster-certificate", "cluster-name"})

Refusal = tuple[str, str]
"""Reason and fix."""


def media_type(text: str) -> str:
    """What a text for Amazon Linux is; empty for what it does not take."""
    if text.startswith("#!"):
        return SHELL
    if text.startswith("#cloud-config"):
        return CLOUD_CONFIG
    return NODE_CONFIG if "NodeConfig" in text else ""


def toml(text: str) -> dict[str, Any]:
    """Bottlerocket's form.

    Raises:
        ValueError: it is no TOML.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def problems(family: Family, text: str) -> Iterator[Refusal]:
    """Why a text cannot stand in the user data of a family's nodes."""
    if "\x00" in text:
        yield "has a character that no user data has", "Remove it"
        return
    yield from _bottlerocket(text) if family == "Bottlerocket" else _amazon_linux(text)


def _bottlerocket(text: str) -> Iterator[Refusal]:
    try:
        found = toml(text)
    except ValueError as error:
        yield f"is not TOML: {error}", "Write Bottlerocket's settings as TOML"
        return
    for name in found.keys() - {"settings"}:
        yield f"Bottlerocket knows no {name}", "Write everything below settings"
    settings = found.get("settings", {})
    if not isinstance(settings, dict):
        yield "its settings are no table", "Write them as [settings.SECTION]"
        return
    for name in sorted(settings.keys() - _SECTIONS):
        yield f"Bottlerocket for Kubernetes has no settings.{name}", "Correct its name"
    kubernetes = settings.get("kubernetes", {})
    if not isinstance(kubernetes, dict):
        yield "its settings.kubernetes is no table", "Write it as [settings.kubernetes]"
        return
    for name in sorted(kubernetes.keys() & (_OURS.keys() | _EKS)):
        yield _taken(f"settings.kubernetes.{name}", _OURS.get(name))


def _amazon_linux(text: str) -> Iterator[Refusal]:
    kind = media_type(text)
    if not kind:
        yield (
            "is neither a NodeConfig nor a script nor cloud-config",
            "Begin it with apiVersion: node.eks.aws/v1alpha1, #!/bin/bash or #cloud-config",
        )
    elif kind == NODE_CONFIG:
        yield from _node_config(text)
    else:
        for flag in _FLAGS:
            if flag in text:
                yield _taken(flag, {"--node-labels": "labels", "--register-with-taints": "taints"}.get(flag, "maxPods"))


def _node_config(text: str) -> Iterator[Refusal]:
    try:
        found = reading.value(text, "extraUserData", strictly=True)
    except reading.Unreadable as error:
        yield f"is not YAML: {error.reason.rstrip('.')}", "Write one NodeConfig"
        return
    if not isinstance(found, Mapping) or found.get("kind") != "NodeConfig":
        yield "is not a NodeConfig", "Write kind: NodeConfig"
        return
    if found.get("apiVersion") != "node.eks.aws/v1alpha1":
        yield f"nodeadm knows no apiVersion {reading.brief(found.get('apiVersion'))}", "Write node.eks.aws/v1alpha1"
    spec = found.get("spec")
    spec = spec if isinstance(spec, Mapping) else {}
    for name in sorted(spec.keys() - _SPEC):
        yield f"nodeadm has no spec.{name}", "Correct its name"
    if "cluster" in spec:
        yield _taken("spec.cluster", None)
    kubelet = spec.get("kubelet")
    kubelet = kubelet if isinstance(kubelet, Mapping) else {}
    for name in sorted(kubelet.keys() - _KUBELET):
        yield f"nodeadm has no spec.kubelet.{name}", "Correct its name"
    config = kubelet.get("config")
    for name in sorted((config if isinstance(config, Mapping) else {}).keys() & _CONFIG.keys()):
        yield _taken(f"spec.kubelet.config.{name}", _CONFIG[name])
    flags = kubelet.get("flags")
    for flag in flags if isinstance(flags, list | tuple) else ():
        name = str(flag).split("=")[0].split()[0] if str(flag).split() else ""
        if name in _FLAGS:
            yield _taken(name, {"--node-labels": "labels", "--register-with-taints": "taints"}.get(name, "maxPods"))


def _taken(name: str, setting: str | None) -> Refusal:
    if setting is None:
        return f"{name} is written by EKS, for the cluster that the node joins", "Remove it"
    return f"{name} is written by this program", f"Remove it, and use the group's {setting}"
