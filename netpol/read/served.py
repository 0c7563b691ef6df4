"""Addresses that every node serves itself, as the pods that serve them say."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

POD_IDENTITY_AGENT = "eks-pod-identity-agent"
POD_IDENTITY = ("169.254.170.23", "fd00:ec2::23")
"""Where the agent answers on every node (Amazon EKS user guide, Pod Identity)."""


def served_by(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """Of one pod: those of the Pod Identity agent and of node-local DNS caches.

    A cache says its addresses in its arguments (`-localip`), also the cluster's DNS service where it stands in for it.
    """
    out: dict[str, None] = {}
    labels = pod["metadata"].get("labels") or {}
    if labels.get("app.kubernetes.io/name") == POD_IDENTITY_AGENT:
        out |= dict.fromkeys(POD_IDENTITY)
    for container in pod["spec"].get("containers") or ():
        words = [str(w) for w in (*(container.get("command") or ()), *(container.get("args") or ()))]
        for at, word in enumerate(words):
            name, equals, value = word.lstrip("-").partition("=")
            if name == "localip" and word.startswith("-"):
                told = value if equals else next(iter(words[at + 1 :]), "")
                out |= dict.fromkeys(a.strip() for a in told.split(",") if _is_address(a.strip()))
    return tuple(out)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
