"""What an instance's user data tells kubelet: labels, taints, pods, and which cluster to join.

Understood: nodeadm's NodeConfig (alone or as a part of a MIME message; several are merged, as nodeadm
does), shell scripts that hand flags to kubelet (`--node-labels=`, `--register-with-taints=`,
`--max-pods=`, /etc/eks/bootstrap.sh CLUSTER), Bottlerocket's TOML.
"""

from __future__ import annotations

import base64
import binascii
import email
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import yaml

__all__ = ["Registration", "parse"]


_NODE_CONFIG = re.compile(r"""["']?kind["']?:\s*["']?NodeConfig\b""")
"""JSON is YAML too."""
_TOML = re.compile(r"^\s*\[settings\b", re.MULTILINE)


@dataclass
class Registration:
    """What kubelet registers its node with. `cluster` is None when the user data names none."""

    labels: dict[str, str] = field(default_factory=dict)
    taints: list[dict[str, str]] = field(default_factory=list)
    max_pods: int | None = None
    cluster: str | None = None


def parse(user_data: str, family: str = "") -> Registration:
    """Read user data as a launch template holds it: base64 of MIME, YAML, TOML or a script.

    Args:
        family: what reads it: "bottlerocket" knows TOML alone, "amazon-linux-2023" all but TOML; left out: anything.
    """
    found = Registration()
    for kind, text in _parts(_decoded(user_data)):
        if family and (family == "bottlerocket") != bool(_TOML.search(text)):
            continue  # that system makes nothing of it
        if kind == "application/node.eks.aws" or _NODE_CONFIG.search(text):
            for document in yaml.safe_load_all(text):
                if isinstance(document, dict) and document.get("kind") == "NodeConfig":
                    _node_config(document.get("spec") or {}, found)
        elif _TOML.search(text):
            _bottlerocket(tomllib.loads(text).get("settings", {}), found)
        else:
            _script(text, found)
    return found


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return text


def _parts(text: str) -> Iterable[tuple[str, str]]:
    if not text.lstrip().lower().startswith(("mime-version:", "content-type:")):
        yield "", text
        return
    for part in email.message_from_string(text.lstrip()).walk():
        if not part.is_multipart():
            payload = part.get_payload(decode=True)
            yield part.get_content_type(), payload.decode() if isinstance(payload, bytes) else ""


def _node_config(spec: dict[str, Any], found: Registration) -> None:
    found.cluster = (spec.get("cluster") or {}).get("name") or found.cluster
    kubelet = spec.get("kubelet") or {}
    config = kubelet.get("config") or {}
    found.max_pods = config.get("maxPods") or found.max_pods
    for taint in config.get("registerWithTaints") or []:
        found.taints.append({key: str(taint[key]) for key in ("key", "value", "effect") if taint.get(key)})
    _flags(" ".join(kubelet.get("flags") or []), found)


def _bottlerocket(settings: dict[str, Any], found: Registration) -> None:
    kubernetes = settings.get("kubernetes", {})
    found.cluster = kubernetes.get("cluster-name") or found.cluster
    found.max_pods = kubernetes.get("max-pods") or found.max_pods
    found.labels.update({key: str(value) for key, value in kubernetes.get("node-labels", {}).items()})
    for key, values in kubernetes.get("node-taints", {}).items():
        for value in values if isinstance(values, list) else [values]:
            found.taints += _taints(f"{key}={value}")


def _script(text: str, found: Registration) -> None:
    bootstrap = re.search(r"/etc/eks/bootstrap\.sh\s+['\"]?([\w-]+)", text)
    if bootstrap:
        found.cluster = bootstrap[1]
    _flags(text, found)


def _flags(text: str, found: Registration) -> None:
    for labels in re.findall(r"--node-labels[= ]['\"]?([^\s'\"]+)", text):
        pairs = (pair.partition("=") for pair in labels.split(",") if pair)
        found.labels.update({key: value for key, _, value in pairs})
    for taints in re.findall(r"--register-with-taints[= ]['\"]?([^\s'\"]+)", text):
        found.taints += _taints(taints)
    for number in re.findall(r"--max-pods[= ]['\"]?(\d+)", text):
        found.max_pods = int(number)


def _taints(text: str) -> list[dict[str, str]]:
    """`key=value:Effect,key:Effect` as taints."""
    taints = []
    for entry in text.split(","):
        head, _, effect = entry.rpartition(":")
        key, _, value = head.partition("=")
        if key and effect:
            taints.append({"key": key, "effect": effect} | ({"value": value} if value else {}))
    return taints
