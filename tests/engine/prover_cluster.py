"""Provers as processes of their own under their service account's rights, against a real API server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from netpol.model.world import Engine, Recognition
from prover.names import NAME, PROOF
from prover.options import Options
from prover.places import Kind, Moment
from prover.said import Said, Seen
from prover.ship import manifests
from sandbox import toolcache
from tests.engine.bridge_cluster import Api, eventually
from tests.engine.replicas import Replicas

NAMESPACE = "kube-system"
_LEGACY = Kind(engines=frozenset({Engine.CALICO}), recognised=Recognition.BRIDGE)
_CILIUM = Kind(engines=frozenset({Engine.CILIUM}), recognised=Recognition.CILIUM)
MOMENTS = (
    Moment(name="while both kinds of nodes run", kinds={"legacy": _LEGACY, "cilium": _CILIUM}),
    Moment(name="once every pod runs on a Cilium node", kinds={"cilium": _CILIUM}),
)


def options(**more: Any) -> Options:
    return Options(moments=MOMENTS, **({"listen": ""} | more))


def prepare(api: Api) -> None:
    """Kinds of Cilium's policies, rights, and where is published; as a stage makes them."""
    for path in toolcache.cilium_crds():
        if any(word in path.name for word in ("networkpolicies", "ciliumcidrgroups")):
            api.extensions.create_custom_resource_definition(yaml.safe_load(path.read_text()))
    api.core.create_namespaced_service_account(NAMESPACE, {"metadata": {"name": NAME}})
    told = options(bridge="eks-cilium-bridge")
    cluster_role, cluster_binding, role, binding = manifests.rights(told)
    api.rbac.create_cluster_role(cluster_role)
    api.rbac.create_cluster_role_binding(cluster_binding)
    api.rbac.create_namespaced_role(NAMESPACE, role)
    api.rbac.create_namespaced_role_binding(NAMESPACE, binding)
    api.core.create_namespaced_config_map(NAMESPACE, manifests.published(told))


class Provers(Replicas):
    """Provers, and what they publish."""

    def __init__(self, api: Api, folder: Path, python: str = sys.executable) -> None:
        super().__init__(api, folder, NAME, ("prover.pyz", manifests.pack()), python)
        self.seen = Seen()

    def start(self, name: str, **more: Any) -> subprocess.Popen[bytes]:
        """One replica."""
        path = self.folder / f"{name}.json"
        path.write_text(options(**more).dump())
        return self.begin(name, self.command("run", path, name))

    def said(self) -> Said | None:
        """What is published now."""
        found = self.api.core.read_namespaced_config_map(PROOF, NAMESPACE)
        return Said.of(found.data or {})

    def trouble(self) -> str:
        """Why nothing may rest on it, to a reader that asks again and again."""
        at = time.monotonic()
        self.seen.look(self.said(), at=at, wall=time.time())
        return self.seen.trouble(at=time.monotonic())

    def says(self, verdict: str, seconds: float = 30.0) -> Said:
        """Wait until it says so."""
        eventually(lambda: (found := self.said()) is not None and found.verdict == verdict, seconds, self.said)
        found = self.said()
        assert found is not None
        return found

    def events(self) -> list[tuple[str, str]]:
        """(reason, message) of the Events about what is published."""
        found = self.api.core.list_namespaced_event(NAMESPACE, field_selector=f"involvedObject.name={PROOF}")
        return [(one.reason, one.message) for one in found.items]


def policy(api: Api, name: str, spec: dict[str, Any], namespace: str = "shop") -> None:
    """A NetworkPolicy that says this from now on."""
    networking = client.NetworkingV1Api(api.core.api_client)
    body = {"metadata": {"name": name}, "spec": spec}
    try:
        networking.create_namespaced_network_policy(namespace, body)
    except client.ApiException as error:
        if error.status != 409:
            raise
        there = networking.read_namespaced_network_policy(name, namespace)
        body["metadata"]["resourceVersion"] = there.metadata.resource_version
        networking.replace_namespaced_network_policy(name, namespace, body)


def renew_bridge(api: Api, **step: Any) -> None:
    """The bridge's Lease, as its holder writes it."""
    said = {"complete": True, "lag": 0.0, "behind": 0, "without": 0, "pods": [], "conflicts": [], "blind": ""} | step
    metadata = {"name": "eks-cilium-bridge", "annotations": {"eks-cilium.io/step": json.dumps(said)}}
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() % 10**9 // 1000:06d}Z"
    spec = {"holderIdentity": "one", "leaseDurationSeconds": 8, "renewTime": stamp}
    try:
        api.leases.create_namespaced_lease(NAMESPACE, {"metadata": metadata, "spec": spec})
    except client.ApiException as error:
        if error.status != 409:
            raise
        api.leases.patch_namespaced_lease(metadata["name"], NAMESPACE, {"metadata": metadata, "spec": spec})
