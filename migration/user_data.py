"""User data of launch templates: what kubelet registers a node with, in the form that the node's system reads."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from migration.node_groups import Group
from migration.rules import extra_user_data

_BOUNDARY: Final = "//"
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def node_user_data(group: Group) -> str:
    """Base64 of the user data of a group, which EKS merges with its own for managed groups.

    Labels and taints go through kubelet and not through the node group's API, which applies them only after the node
    has registered: for a moment pods could run on a node that nothing wires.
    """
    text = _bottlerocket(group) if group.ami_family == "Bottlerocket" else _amazon_linux(group)
    return base64.b64encode(text.encode()).decode()


# -- Amazon Linux -------------------------------------------------------------------------------------


def _amazon_linux(group: Group) -> str:
    """A MIME document with a nodeadm `NodeConfig`, and what people add.

    Source: awslabs/amazon-eks-ami, nodeadm API `node.eks.aws/v1alpha1`: flags are appended, config is merged.
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
    parts = [(extra_user_data.NODE_CONFIG, f"---\n{yaml.safe_dump(config, sort_keys=False, width=10_000).rstrip()}")]
    if extra := group.extra_user_data:
        parts.append((extra_user_data.media_type(extra), extra.rstrip("\n")))
    boundary = _BOUNDARY
    while any(f"--{boundary}" in body for _, body in parts):
        boundary += "="
    lines = ["MIME-Version: 1.0", f'Content-Type: multipart/mixed; boundary="{boundary}"', ""]
    for kind, body in parts:
        lines += [f"--{boundary}", f"Content-Type: {kind}", "", body, ""]
    return "\n".join([*lines, f"--{boundary}--", ""])


# -- Bottlerocket -------------------------------------------------------------------------------------


def _bottlerocket(group: Group) -> str:
    """TOML, with what people add merged into it.

    Source: bottlerocket.dev, settings.kubernetes: of one key of a taint there may be several values.
    """
    taints: dict[str, list[str]] = {}
    for taint in group.kubelet_taints:
        taints.setdefault(taint.key, []).append(f"{taint.value}:{taint.effect}")
    ours: dict[str, Any] = {"max-pods": group.max_pods, "node-labels": dict(sorted(group.kubelet_labels.items()))}
    if taints:
        ours["node-taints"] = taints
    tree = extra_user_data.toml(group.extra_user_data or "")
    settings = tree.setdefault("settings", {})
    settings["kubernetes"] = settings.get("kubernetes", {}) | ours
    return "\n".join(_table(tree, ())).lstrip("\n") + "\n"


def _table(tree: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """The lines of a TOML table: values first, then the tables in it."""
    inner = {key: value for key, value in tree.items() if isinstance(value, Mapping)}
    if path and (len(inner) < len(tree) or not tree):
        yield f"\n[{'.'.join(map(_key, path))}]"
    for key, value in tree.items():
        if key not in inner:
            yield f"{_key(key)} = {_value(value)}"
    for key, value in inner.items():
        yield from _table(value, (*path, key))


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _text(text: str) -> str:
    """A basic string: JSON's escapes are TOML's, but for DEL, which JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(key)} = {_value(inner)}' for key, inner in value.items())}}}"
    return str(value)
