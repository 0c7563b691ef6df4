"""What Cilium's operator does while one of its pods is Ready (Cilium 1.20, IPAM mode ENI).

Registers the CRDs, validates policies, gives nodes addresses, taints and untaints nodes, and collects garbage.
Sources: operator/cmd, operator/watchers/node_taint.go, pkg/aws/ipam, operator/{endpointgc,identitygc,unmanagedpods}.
"""

from __future__ import annotations

import datetime
import json
import logging
import re
import time
from collections.abc import Callable, Iterable

from sandbox.operators import agents, cilium_policy, kube, modules
from sandbox.operators.addresses import Instance, Network, Placement, grow
from sandbox.operators.agents import CILIUM
from sandbox.operators.cni import now
from sandbox.operators.kube import Cluster, Object

log = logging.getLogger(__name__)

TAINT = "node.cilium.io/agent-not-ready"
SCHEMA_LABEL = "io.cilium.k8s.crd.schema.version"
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def seconds(duration: str) -> float:
    """A Go duration such as `15m0s` or `500ms`, in seconds; 0 for an empty one."""
    return sum(float(n) * _UNITS[u] for n, u in re.findall(r"([0-9.]+)(ms|h|m|s)", duration))


class CiliumOperator:
    """One pass does all its jobs; nothing happens while no operator pod is Ready."""

    name = "cilium-operator"

    def __init__(
        self,
        cluster: Cluster,
        network: Network,
        definitions: Callable[[], Iterable[Object]] = modules.cilium_definitions,
        schema_version: Callable[[], str] = modules.cilium_schema_version,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.cluster = cluster
        self.network = network
        self._definitions = definitions
        self._schema_version = schema_version
        self._clock = clock
        self._unused_since: dict[str, float] = {}
        self._restarted = 0.0

    def reconcile(self) -> None:
        """Everything that the operator looks after, once."""
        pods = self.cluster.list(kube.PODS)
        config = agents.cilium_config(self.cluster)
        if not config or not agents.operator_ready(pods):
            return
        self._register()
        self._validate_policies()
        self._mark_nodes(pods, config)
        if config.get("ipam") == "eni":
            self._give_addresses(config)
        self._collect_nodes()
        self._collect_endpoints(pods, config)
        self._collect_identities(config)
        self._restart_unmanaged(pods, config)

    # -- definitions and policies -----------------------------------------------------------------

    def _register(self) -> None:
        version = self._schema_version()
        seen = {kube.name(d): d for d in self.cluster.list(kube.DEFINITIONS)}
        for definition in self._definitions():
            name, labels = kube.name(definition), {SCHEMA_LABEL: version}
            if name not in seen:
                body = {"metadata": {"name": name, "labels": labels}, "spec": definition["spec"]}
                self.cluster.create(kube.DEFINITIONS, body)
            elif kube.labels(seen[name]).get(SCHEMA_LABEL) != version:
                change = {"metadata": {"labels": labels}, "spec": definition["spec"]}
                self.cluster.patch(kube.DEFINITIONS, seen[name], change)

    def _validate_policies(self) -> None:
        for kind in (kube.CILIUM_POLICIES, kube.CILIUM_CLUSTER_POLICIES):
            for policy in self.cluster.list(kind):
                wanted = cilium_policy.validity(policy, now())
                if wanted is not None:
                    others = [c for c in policy.get("status", {}).get("conditions") or [] if c["type"] != "Valid"]
                    status = {"status": {"conditions": [*others, wanted]}}
                    self.cluster.patch(kind, policy, status, "status")

    # -- nodes ------------------------------------------------------------------------------------

    def _mark_nodes(self, pods: list[Object], config: dict[str, str]) -> None:
        key = config.get("agent-not-ready-taint-key", TAINT)
        running = agents.on_nodes(pods)
        for node in self.cluster.list(kube.NODES):
            agent = running.get(kube.name(node), {}).get(CILIUM)
            if agent is None:
                continue
            taints = node["spec"].get("taints") or []
            tainted = any(t["key"] == key for t in taints)
            if not kube.ready(agent):
                if not tainted and config.get("set-cilium-node-taints") == "true":
                    self._set_taints(node, [*taints, {"key": key, "effect": "NoSchedule"}])
                continue
            if tainted and config.get("remove-cilium-node-taints") == "true":
                self._set_taints(node, [t for t in taints if t["key"] != key])
            if config.get("set-cilium-is-up-condition") == "true":
                self._set_network_available(node)

    def _set_taints(self, node: Object, taints: list[Object]) -> None:
        # The list is replaced as a whole: the revision keeps a taint that others set meanwhile.
        body = {
            "metadata": {"resourceVersion": node["metadata"]["resourceVersion"]},
            "spec": {"taints": taints or None},
        }
        self.cluster.patch(kube.NODES, node, body)

    def _set_network_available(self, node: Object) -> None:
        seen = kube.condition(node, "NetworkUnavailable")
        if (seen.get("status"), seen.get("reason")) == ("False", "CiliumIsUp"):
            return
        wanted = {
            "type": "NetworkUnavailable",
            "status": "False",
            "reason": "CiliumIsUp",
            "message": "Cilium is running on this node",
            "lastHeartbeatTime": now(),
            "lastTransitionTime": now(),
        }
        self.cluster.patch(kube.NODES, node, {"status": {"conditions": [wanted]}}, "status")

    # -- addresses --------------------------------------------------------------------------------

    def _give_addresses(self, config: dict[str, str]) -> None:
        for node in self.cluster.list(kube.CILIUM_NODES):
            spec = node["spec"]
            instance = self.network.instance(spec.get("instance-id") or "")
            if instance is None:
                continue
            first = int(spec.get("eni", {}).get("first-interface-index", 0))
            requests = spec.get("ipam", {}).get("pools", {}).get("requested") or []
            needed = sum(r.get("needed", {}).get("ipv4-addrs", 0) for r in requests)
            missing = needed - len(instance.secondary(first))
            if missing > 0 and grow(self.network, instance, missing, self._placement(spec, instance, config)):
                instance = self.network.instance(instance.id) or instance
            self._publish_addresses(node, instance, first)

    def _placement(self, spec: Object, instance: Instance, config: dict[str, str]) -> Placement:
        eni = spec["eni"]
        subnets = self.network.subnets()
        zone = [s for s in subnets if s.zone == eni["availability-zone"] and s.vpc == eni["vpc-id"]]
        if ids := eni.get("subnet-ids"):
            zone = [s for s in zone if s.id in ids]
        elif tags := eni.get("subnet-tags"):
            zone = [s for s in zone if kube.contains(dict(s.tags), tags)]
        else:
            zone = [s for s in zone if s.id == eni.get("node-subnet-id", instance.primary.subnet)]
        managed = {
            "io.cilium/cilium-managed": "true",
            "io.cilium/cluster-name": config.get("cluster-name", "default"),
        }
        gc_tags = json.loads(config.get("eni-gc-tags") or "{}") or managed
        return Placement(
            description=f"Cilium-CNI ({instance.id})",
            tags={**gc_tags, **json.loads(config.get("eni-tags") or "{}")},
            # A subnet that is asked for and not there must not become "any subnet".
            subnets=tuple(s.id for s in sorted(zone, key=lambda s: -self.network.free(s.id)))
            or ("no-matching-subnet",),
            groups=tuple(eni.get("security-groups") or ()),
            first_interface=int(eni.get("first-interface-index", 0)),
            delete_on_termination=bool(eni.get("delete-on-termination", True)),
        )

    def _publish_addresses(self, node: Object, instance: Instance, first: int) -> None:
        cidrs = [f"{address}/32" for address in instance.secondary(first)]
        allocated = [{"pool": "default", "cidrs": cidrs}] if cidrs else []
        if not kube.contains(node["spec"].get("ipam", {}).get("pools", {}).get("allocated"), allocated):
            self.cluster.patch(kube.CILIUM_NODES, node, {"spec": {"ipam": {"pools": {"allocated": allocated}}}})
        subnets = {s.id: s for s in self.network.subnets()}
        enis = {
            i.id: {
                "id": i.id,
                "ip": i.address,
                "mac": i.mac,
                "number": i.number,
                "description": i.description,
                "availability-zone": subnets[i.subnet].zone,
                "subnet": {"id": i.subnet, "cidr": subnets[i.subnet].cidr},
                "vpc": {"id": subnets[i.subnet].vpc},
                "addresses": list(i.secondary),
                "security-groups": list(i.groups),
                "tags": dict(i.tags),
            }
            for i in instance.interfaces
        }
        seen = node.get("status", {}).get("eni", {}).get("enis") or {}
        gone = dict.fromkeys(seen.keys() - enis.keys())
        if gone or not kube.contains(seen, enis):
            self.cluster.patch(kube.CILIUM_NODES, node, {"status": {"eni": {"enis": {**gone, **enis}}}}, "status")

    # -- garbage ----------------------------------------------------------------------------------

    def _collect_nodes(self) -> None:
        names = {kube.name(n) for n in self.cluster.list(kube.NODES)}
        for item in self.cluster.list(kube.CILIUM_NODES):
            kept = kube.annotations(item).get("cilium.io/do-not-gc") == "true"
            if kube.name(item) not in names and not kept:
                self.cluster.delete(kube.CILIUM_NODES, item)

    def _collect_endpoints(self, pods: list[Object], config: dict[str, str]) -> None:
        """Endpoints without a pod, after the grace that Cilium gives them; those that others own are kept."""
        grace = seconds(config.get("cilium-endpoint-gc-interval", ""))
        uids = {p["metadata"]["uid"] for p in pods if not kube.finished(p)}
        names = {(kube.namespace(p), kube.name(p)) for p in pods if not kube.finished(p)}
        for item in self.cluster.list(kube.CILIUM_ENDPOINTS):
            owners = item["metadata"].get("ownerReferences") or []
            if any(ref["kind"] != "Pod" for ref in owners) or self._age(item) < grace:
                continue
            alive = any(ref["uid"] in uids for ref in owners) if owners else _key(item) in names
            if not alive and grace:
                self.cluster.delete(kube.CILIUM_ENDPOINTS, item)

    def _collect_identities(self, config: dict[str, str]) -> None:
        timeout = seconds(config.get("identity-heartbeat-timeout", "")) or 1800.0
        used = {
            str(e.get("status", {}).get("identity", {}).get("id")) for e in self.cluster.list(kube.CILIUM_ENDPOINTS)
        }
        unused = [i for i in self.cluster.list(kube.CILIUM_IDENTITIES) if kube.name(i) not in used]
        self._unused_since = {kube.name(i): self._unused_since.get(kube.name(i), self._clock()) for i in unused}
        for item in unused:
            if self._clock() - self._unused_since[kube.name(item)] > timeout:
                self.cluster.delete(kube.CILIUM_IDENTITIES, item)

    def _restart_unmanaged(self, pods: list[Object], config: dict[str, str]) -> None:
        """Deletes DNS pods that have no endpoint, one at a time, wherever they run: so does Cilium by default."""
        interval = float(config.get("unmanaged-pod-watcher-interval") or 0)
        if not interval or self._clock() - self._restarted < interval:
            return
        managed = {_key(e) for e in self.cluster.list(kube.CILIUM_ENDPOINTS)}
        for pod in pods:
            if (
                kube.labels(pod).get("k8s-app") == "kube-dns"
                and not kube.host_network(pod)
                and pod.get("status", {}).get("phase") == "Running"
                and _key(pod) not in managed
                and self._age(pod) > 30.0
            ):
                log.info("restarting unmanaged pod %s/%s", kube.namespace(pod), kube.name(pod))
                self._restarted = self._clock()
                self.cluster.delete(kube.PODS, pod)
                return

    def _age(self, item: Object) -> float:
        made = datetime.datetime.fromisoformat(item["metadata"]["creationTimestamp"].replace("Z", "+00:00"))
        return self._clock() - made.timestamp()


def _key(item: Object) -> tuple[str, str]:
    return kube.namespace(item), kube.name(item)
