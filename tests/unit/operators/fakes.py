"""A cluster and an EC2 in memory, with the behaviour of the real ones that the controllers rely on."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sandbox.operators import kube
from sandbox.operators.addresses import Instance, Interface, Network, NoAddressError, Subnet
from sandbox.operators.kube import Cluster, Kind, Object


class FakeCluster(Cluster):
    """Objects by kind, namespace and name; every change counts up resourceVersion."""

    def __init__(self) -> None:
        self.stored: dict[Kind, dict[tuple[str, str], Object]] = {}
        self.numbers = itertools.count(1)
        self.writes: list[tuple[str, str, str]] = []

    def list(self, kind: Kind) -> list[Object]:
        return copy.deepcopy([*self.stored.get(kind, {}).values()])

    def get(self, kind: Kind, name: str, namespace: str = "") -> Object:
        return self.stored[kind][namespace, name]

    def put(self, kind: Kind, body: Object) -> Object:
        number = next(self.numbers)
        meta = {"uid": f"uid-{number}", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
        body = copy.deepcopy({**body, "metadata": {**meta, **body["metadata"], "resourceVersion": str(number)}})
        self.stored.setdefault(kind, {})[_key(body)] = body
        return body

    def create(self, kind: Kind, body: Object) -> bool:
        if _key(body) in self.stored.get(kind, {}):
            return False
        self.writes.append(("create", kind.kind, kube.name(body)))
        self.put(kind, body)
        return True

    def apply(self, kind: Kind, body: Object, manager: str) -> None:
        self.writes.append(("apply", kind.kind, kube.name(body)))
        seen = self.stored.get(kind, {}).get(_key(body))
        if seen is None:
            self.put(kind, body)
        else:
            _merge(seen, copy.deepcopy(body))

    def patch(self, kind: Kind, target: Object, body: Object, subresource: str = "") -> bool:
        seen = self.stored.get(kind, {}).get(_key(target))
        meta = body.get("metadata", {})
        if seen is None or any(
            meta.get(k, seen["metadata"][k]) != seen["metadata"][k] for k in ("uid", "resourceVersion")
        ):
            return False
        self.writes.append(("patch", kind.kind, kube.name(target)))
        conditions = body.get("status", {}).get("conditions")
        if conditions is not None and not kind.custom:
            changed = {c["type"] for c in conditions}
            kept = [c for c in seen.get("status", {}).get("conditions", []) if c["type"] not in changed]
            body = {**body, "status": {**body["status"], "conditions": [*kept, *conditions]}}
        _merge(seen, copy.deepcopy(body))
        seen["metadata"]["resourceVersion"] = str(next(self.numbers))
        return True

    def delete(self, kind: Kind, target: Object) -> None:
        self.writes.append(("delete", kind.kind, kube.name(target)))
        self.stored.get(kind, {}).pop(_key(target), None)


def _key(body: Object) -> tuple[str, str]:
    return kube.namespace(body), kube.name(body)


def _merge(into: dict[str, Any], change: Mapping[str, Any]) -> None:
    for key, value in change.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


class FakeNetwork(Network):
    """One subnet per zone with `room` addresses; instances with 3 interfaces of 4 addresses."""

    def __init__(self, room: int = 100) -> None:
        self.instances: dict[str, Instance] = {}
        self.room = {"subnet-a": room, "subnet-b": room}
        self.made: list[Mapping[str, str]] = []
        self.hosts = itertools.count(10)

    def launch(self, name: str, subnet: str = "subnet-a") -> None:
        primary = Interface(f"eni-{name}", 0, subnet, self._address(subnet), groups=("sg-node",))
        self.instances[name] = Instance(name, "t3.small", 3, 4, (primary,))

    def _address(self, subnet: str) -> str:
        if self.room[subnet] < 1:
            raise NoAddressError(subnet)
        self.room[subnet] -= 1
        return f"10.0.0.{next(self.hosts)}"

    def instance(self, instance_id: str) -> Instance | None:
        return self.instances.get(instance_id)

    def subnets(self) -> Sequence[Subnet]:
        return [Subnet(s, "vpc-1", f"zone-{s[-1]}", "10.0.0.0/24", {"for": s[-1]}) for s in self.room]

    def free(self, subnet_id: str) -> int:
        return self.room.get(subnet_id, 0)

    def assign(self, interface_id: str, count: int) -> None:
        self._change(interface_id, lambda i: (*i.secondary, *(self._address(i.subnet) for _ in range(count))))

    def unassign(self, interface_id: str, addresses: Iterable[str]) -> None:
        gone = set(addresses)
        subnet = next(i.subnet for n in self.instances.values() for i in n.interfaces if i.id == interface_id)
        self.room[subnet] += len(gone)
        self._change(interface_id, lambda i: tuple(a for a in i.secondary if a not in gone))

    def _change(self, interface_id: str, how: Any) -> None:
        for name, instance in self.instances.items():
            interfaces = tuple(replace(i, secondary=how(i)) if i.id == interface_id else i for i in instance.interfaces)
            self.instances[name] = replace(instance, interfaces=interfaces)

    def attach(self, instance_id: str, *, subnet: str, groups: Sequence[str], addresses: int, description: str,
               tags: Mapping[str, str], delete_on_termination: bool) -> None:  # fmt: skip
        instance = self.instances[instance_id]
        number = len(instance.interfaces)
        secondary = tuple(self._address(subnet) for _ in range(addresses))
        made = Interface(
            f"eni-{instance_id}-{number}", number, subnet, self._address(subnet),
            description=description, secondary=secondary, groups=tuple(groups), tags=dict(tags),
        )  # fmt: skip
        self.made.append(tags)
        self.instances[instance_id] = replace(instance, interfaces=(*instance.interfaces, made))


# -- objects -----------------------------------------------------------------------------------------


def node(name: str, **labels: str) -> Object:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux", **labels}},
        "spec": {"providerID": f"aws:///zone-a/i-{name}"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "False"}],
        },
    }


def pod(name: str, on: str = "", *, namespace: str = "apps", labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None, owner: tuple[str, str] | None = None, ready: bool = False,
        host: bool = False, env: Mapping[str, str] | None = None) -> Object:  # fmt: skip
    refs = [{"kind": owner[0], "name": owner[1], "uid": f"uid-{owner[1]}", "controller": True}] if owner else []
    return {
        "metadata": {
            "name": name, "namespace": namespace, "uid": f"uid-{namespace}-{name}", "labels": dict(labels or {}),
            "annotations": dict(annotations or {}), "ownerReferences": refs,
        },
        "spec": {
            "nodeName": on, "hostNetwork": host,
            "containers": [{"name": "main", "env": [{"name": k, "value": v} for k, v in (env or {}).items()]}],
        },
        "status": {
            "phase": "Running" if ready else "Pending",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }  # fmt: skip


def agent(cni: str, on: str, *, ready: bool = True, **env: str) -> Object:
    """The pod of aws-node or cilium on a node."""
    name = {"aws": "aws-node", "cilium": "cilium"}[cni]
    return pod(
        f"{name}-{on}", on, namespace="kube-system", labels={"k8s-app": name},
        owner=("DaemonSet", name), ready=ready, host=True, env=env,
    )  # fmt: skip


def cilium_config(**data: str) -> Object:
    defaults = {
        "ipam": "eni",
        "write-cni-conf-when-ready": "/host/etc/cni/net.d/05-cilium.conflist",
        "cni-exclusive": "true",
        "cluster-name": "east",
        "enable-policy": "default",
        "set-cilium-node-taints": "true",
        "remove-cilium-node-taints": "true",
        "set-cilium-is-up-condition": "true",
        "cilium-endpoint-gc-interval": "5m0s",
    }
    changed = {key.replace("_", "-"): value for key, value in data.items()}
    return {"metadata": {"name": "cilium-config", "namespace": "kube-system"}, "data": {**defaults, **changed}}


def cilium_node(name: str, *addresses: str) -> Object:
    allocated = [{"pool": "default", "cidrs": [f"{a}/32" for a in addresses]}] if addresses else []
    return {
        "metadata": {"name": name},
        "spec": {
            "addresses": [{"type": "CiliumInternalIP", "ip": addresses[0]}] if addresses else [],
            "health": {"ipv4": addresses[1]} if len(addresses) > 1 else {},
            "ipam": {"pools": {"allocated": allocated}},
        },
    }
