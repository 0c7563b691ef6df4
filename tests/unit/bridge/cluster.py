"""A cluster in memory: objects as the API server has them, a bridge that sees them, and its writes carried out."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any

from bridge.decide import Decision, Verb, Write, decide
from bridge.known import Known
from bridge.options import Cilium, Options
from bridge.seen import CiliumNode, Endpoint, Identity, Key, Namespace, Node, Pod, key_of

WORKS = {
    "identity-allocation-mode": "crd",
    "routing-mode": "native",
    "unmanaged-pod-watcher-interval": "0",
    "enable-ipv4": "true",
}
"""A cilium-config that the bridge works with."""


class Cluster:
    """What the API server has. The bridge sees every change at once, or when `look` says so."""

    def __init__(self, options: Options | None = None, config: dict[str, str] | None = None, seed: int = 1) -> None:
        self.options = options or Options()
        self.cilium = Cilium.of(WORKS | (config or {}))
        self.objects: dict[tuple[str, Key], dict[str, Any]] = {}
        self.history: list[tuple[Verb, Key]] = []
        self._count = itertools.count(1)
        self._random = random.Random(seed)  # noqa: S311
        self.agent = Agent()
        self.restart()

    def restart(self) -> None:
        """A new bridge, which has seen everything and remembers nothing."""
        self.known = Known(self.options, self.cilium)
        for kind, key in self.objects:
            self._see(kind, key)

    def restart_agent(self, rng: random.Random) -> None:
        """An agent that forgot everything and reads all endpoints in some order."""
        self.agent = Agent()
        found = [key for kind, key in self.objects if kind == "CiliumEndpoint"]
        for key in rng.sample(found, len(found)):
            self.agent.sees(key, self.objects["CiliumEndpoint", key])

    # -- people, kubelets, agents ------------------------------------------------------------------------

    def put(self, kind: str, name: str, *, namespace: str = "", **rest: Any) -> dict[str, Any]:
        """Make or replace an object."""
        key = (namespace, name)
        before = self.objects.get((kind, key))
        metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **rest.pop("metadata", {})}
        metadata.setdefault("uid", before["metadata"]["uid"] if before else f"uid-{next(self._count)}")
        metadata.setdefault("creationTimestamp", f"2026-01-01T00:00:{next(self._count):05d}Z")
        metadata["resourceVersion"] = str(next(self._count))
        self.objects[kind, key] = {"kind": kind, "metadata": metadata, **rest}
        self._see(kind, key)
        return self.objects[kind, key]

    def drop(self, kind: str, name: str, *, namespace: str = "") -> None:
        del self.objects[kind, (namespace, name)]
        self._see(kind, (namespace, name))

    def namespace(self, name: str, **labels: str) -> None:
        self.put("Namespace", name, metadata={"labels": {"kubernetes.io/metadata.name": name, **labels}})

    def node(self, name: str, address: str, cni: str = "aws") -> None:
        labels = {"cni-plugin": cni} if cni else {}
        self.put(
            "Node",
            name,
            metadata={"labels": labels},
            status={"addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]},
        )

    def cilium_node(self, name: str, address: str) -> None:
        self.put("CiliumNode", name, spec={"addresses": [{"type": "InternalIP", "ip": address}]})

    def pod(
        self,
        name: str,
        address: str = "",
        *,
        node: str = "legacy",
        namespace: str = "shop",
        labels: dict[str, str] | None = None,
        annotated: str | None = None,
        phase: str = "Running",
        leaving: bool = False,
        ports: Iterable[tuple[str, int]] = (),
        anew: bool = False,
        **spec: Any,
    ) -> dict[str, Any]:
        """A pod; `anew` gives it another uid than the one before of its name."""
        metadata: dict[str, Any] = {"labels": {"app": name} if labels is None else labels}
        if annotated is not None:
            metadata["annotations"] = {"vpc.amazonaws.com/pod-ips": annotated}
        if leaving:
            metadata["deletionTimestamp"] = "2026-01-02T00:00:00Z"
        before = None if anew else self.objects.get(("Pod", (namespace, name)))
        if anew:
            self.objects.pop(("Pod", (namespace, name)), None)
        if before:
            metadata["creationTimestamp"] = before["metadata"]["creationTimestamp"]
        addresses = [{"ip": one} for one in address.split(",") if one]
        return self.put(
            "Pod",
            name,
            namespace=namespace,
            metadata=metadata,
            spec={
                "nodeName": node,
                "serviceAccountName": "default",
                "containers": [{"ports": [{"name": n, "containerPort": p} for n, p in ports]}],
                **spec,
            },
            status={"phase": phase, "podIP": addresses[0]["ip"] if addresses else "", "podIPs": addresses},
        )

    def agents(self, name: str, address: str, number: int, *, node: str, namespace: str = "shop") -> dict[str, Any]:
        """An endpoint that an agent wrote; it takes over what is there, as agents do."""
        before = self.objects.get(("CiliumEndpoint", (namespace, name)), {"metadata": {}})["metadata"]
        kept = {
            field: before[field] for field in ("labels", "ownerReferences", "annotations", "uid") if field in before
        }
        pod = self.objects.get(("Pod", (namespace, name)))
        kept.setdefault("ownerReferences", [{"kind": "Pod", "uid": pod["metadata"]["uid"] if pod else "none"}])
        return self.put(
            "CiliumEndpoint",
            name,
            namespace=namespace,
            metadata=kept,
            status={
                "id": 77,
                "state": "ready",
                "identity": {"id": number},
                "networking": {"node": node, "addressing": [{"ipv4": address}]},
            },
        )

    def identity(self, number: int, labels: dict[str, str], **annotations: str) -> None:
        body: dict[str, Any] = {"metadata": {"annotations": annotations}, "security-labels": labels}
        self.put("CiliumIdentity", str(number), **body)

    # -- the bridge --------------------------------------------------------------------------------------

    def _see(self, kind: str, key: Key) -> set[Key]:
        found = self.objects.get((kind, key))
        if kind == "CiliumEndpoint":
            self.agent.sees(key, found)
        make, put, drop = self._kinds()[kind]
        if found is not None:
            return put(make(copy.deepcopy(found)))
        return drop(key)

    def _kinds(self) -> dict[str, tuple[Callable[[Any], Any], Callable[[Any], set[Key]], Callable[[Key], set[Key]]]]:
        k = self.known
        return {
            "Pod": (Pod.of, k.put_pod, k.drop_pod),
            "Node": (Node.of, k.put_node, lambda key: k.drop_node(key[1])),
            "CiliumNode": (CiliumNode.of, k.put_cilium_node, lambda key: k.drop_cilium_node(key[1])),
            "Namespace": (Namespace.of, k.put_namespace, lambda key: k.drop_namespace(key[1])),
            "CiliumIdentity": (Identity.of, k.put_identity, lambda key: k.drop_identity(int(key[1]))),
            "CiliumEndpoint": (Endpoint.of, k.put_endpoint, k.drop_endpoint),
        }

    def decision(self, *keys: Key) -> Decision:
        return decide(self.known, keys or self.known.everything(), self._random.randint)

    def carry_out(self, write: Write) -> bool:
        """One write, as an API server does it; says whether it was taken."""
        kind = "CiliumIdentity" if "identity" in write.verb else "CiliumEndpoint"
        there = self.objects.get((kind, write.key))
        made = write.verb in (Verb.MAKE, Verb.MAKE_IDENTITY)
        if made == (there is not None):
            return False
        if there is not None:
            metadata = there["metadata"]
            if (write.uid or metadata["uid"], write.version or metadata["resourceVersion"]) != (
                metadata["uid"],
                metadata["resourceVersion"],
            ):
                return False
        self.history.append((write.verb, write.key))
        if write.verb == Verb.DELETE:
            del self.objects[kind, write.key]
        elif write.verb == Verb.UNMARK_IDENTITY:
            assert there is not None
            there["metadata"]["annotations"] = {}
            there["metadata"]["resourceVersion"] = str(next(self._count))
        elif write.verb == Verb.TOUCH:
            assert there is not None
            there["metadata"]["annotations"] = write.body["metadata"]["annotations"]
            there["metadata"]["resourceVersion"] = str(next(self._count))
        else:
            body = copy.deepcopy(write.body)
            body["metadata"].setdefault("uid", f"uid-{next(self._count)}")
            body["metadata"]["resourceVersion"] = str(next(self._count))
            assert key_of(body) == write.key
            self.objects[kind, write.key] = body
        self._see(kind, write.key)
        return True

    def settle(self, rounds: int = 12) -> Decision:
        """Decide and write until there is nothing to write."""
        for _ in range(rounds):
            decision = self.decision()
            if not decision.writes:
                return decision
            for write in decision.writes:
                assert self.carry_out(write), write
        raise AssertionError(f"it does not come to rest: {decision.writes}")

    # -- what is there -----------------------------------------------------------------------------------

    def endpoint(self, name: str, namespace: str = "shop") -> dict[str, Any] | None:
        return self.objects.get(("CiliumEndpoint", (namespace, name)))

    def addresses(self, name: str, namespace: str = "shop") -> list[str]:
        found = self.endpoint(name, namespace)
        return [a for pair in found["status"]["networking"]["addressing"] for a in pair.values()] if found else []

    def labels_of(self, name: str, namespace: str = "shop") -> dict[str, str]:
        """What agents take a pod for: the labels of the identity that its endpoint names."""
        found = self.endpoint(name, namespace)
        assert found, f"{name} has no endpoint"
        number = found["status"]["identity"]["id"]
        labels: dict[str, str] = self.objects["CiliumIdentity", ("", str(number))]["security-labels"]
        return labels


class Agent:
    """What an agent makes of endpoints: address -> (whose, identity), by the rules of Cilium 1.20's
    `pkg/k8s/watchers/cilium_endpoint.go`: the last word counts, and an address goes with whoever had the last word."""

    def __init__(self) -> None:
        self.addresses: dict[str, tuple[Key, int]] = {}
        self._seen: dict[Key, dict[str, int]] = {}

    def sees(self, key: Key, endpoint: dict[str, Any] | None) -> None:
        before = self._seen.pop(key, {})
        now: dict[str, int] = {}
        if endpoint is not None:
            status = endpoint["status"]
            pairs = status["networking"]["addressing"]
            now = {address: status["identity"]["id"] for pair in pairs for address in pair.values()}
            self._seen[key] = now
        self.addresses |= {address: (key, number) for address, number in now.items()}
        for address in before.keys() - now.keys():
            if self.addresses.get(address, ("", 0))[0] == key:
                del self.addresses[address]


def shop(**more: Any) -> Cluster:
    """One legacy node, one node with an agent, one namespace."""
    cluster = Cluster(**more)
    cluster.namespace("shop", team="red")
    cluster.namespace("kube-system")
    cluster.node("legacy", "10.0.0.21")
    cluster.node("new", "10.0.0.11", cni="cilium")
    cluster.cilium_node("new", "10.0.0.11")
    return cluster
