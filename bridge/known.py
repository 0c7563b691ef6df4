"""Everything seen, kept so that one change costs only what hangs on it."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from bridge.labels import identity_labels
from bridge.names import NODE_ENTRY
from bridge.options import Cilium, Options
from bridge.seen import CiliumNode, Endpoint, Identity, Key, Namespace, Node, Pod

_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass
class Known:
    """The cluster as last seen. Every `put` and `drop` says which keys have to be looked at again.

    A key is that of a pod and of its endpoint, or of a node's entry.
    """

    options: Options
    cilium: Cilium
    pods: dict[Key, Pod] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    cilium_nodes: dict[str, CiliumNode] = field(default_factory=dict)
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    identities: dict[int, Identity] = field(default_factory=dict)
    endpoints: dict[Key, Endpoint] = field(default_factory=dict)
    survivors: dict[Key, str] = field(default_factory=dict)
    """Endpoints with an address that another one just gave up -> the other's uid: agents may have dropped it."""

    def __post_init__(self) -> None:
        self._on_node: defaultdict[str, set[Key]] = defaultdict(set)
        self._in_namespace: defaultdict[str, set[Key]] = defaultdict(set)
        self._claims: defaultdict[str, set[Key]] = defaultdict(set)
        self._holders: defaultdict[str, set[Key]] = defaultdict(set)
        self._users: defaultdict[int, set[Key]] = defaultdict(set)
        self._numbers: defaultdict[frozenset[tuple[str, str]], set[int]] = defaultdict(set)
        self._of_agents: Counter[str] = Counter()

    # -- what hangs together --------------------------------------------------------------------------

    def claimants(self, address: str) -> frozenset[Key]:
        """Pods that have an address now."""
        return frozenset(self._claims.get(address, ()))

    def holders(self, address: str) -> frozenset[Key]:
        """Endpoints that have an address."""
        return frozenset(self._holders.get(address, ()))

    def numbers(self, labels: frozenset[tuple[str, str]]) -> frozenset[int]:
        """Identities with just these labels."""
        return frozenset(self._numbers.get(labels, ()))

    def together(self, keys: Iterable[Key]) -> set[Key]:
        """These and all that share an address with one of them, over any number of steps."""
        found: set[Key] = set()
        rest = list(keys)
        while rest:
            key = rest.pop()
            if key in found:
                continue
            found.add(key)
            pod, endpoint = self.pods.get(key), self.endpoints.get(key)
            for address in {*(self.addresses(pod) if pod else ()), *(endpoint.addresses if endpoint else ())}:
                rest += self._claims.get(address, ())
                rest += self._holders.get(address, ())
        return found

    def addresses(self, pod: Pod) -> tuple[str, ...]:
        """Addresses of a pod, of the families that Cilium knows."""
        found = pod.addresses(annotated=self.options.pod_ips)
        return tuple(a for a in found if (self.cilium.ipv6 if ":" in a else self.cilium.ipv4))

    def by_agent(self, node: str) -> bool:
        """Whether an agent wires the pods of a node, or is going to."""
        found = self.nodes.get(node)
        wired = found is not None and found.labels.get(self.options.node_label) in self.options.cilium_nodes
        return wired or node in self.cilium_nodes

    def legacy(self, node: str) -> bool | None:
        """Whether a node is a legacy node; None when it has not been seen."""
        return False if self.by_agent(node) else True if node in self.nodes else None

    def agents_address(self, address: str) -> bool:
        """Whether a node with an agent has this address."""
        return self._of_agents[address] > 0

    def labels(self, pod: Pod) -> dict[str, str] | None:
        """The labels of a pod's identity; None while its namespace has not been seen."""
        namespace = self.namespaces.get(pod.key[0])
        if namespace is None:
            return None
        return identity_labels(
            pod.labels,
            namespace=namespace.name,
            namespace_labels=namespace.labels,
            service_account=pod.service_account,
            cluster=self.cilium.cluster,
            ports=pod.ports if self.options.named_ports_label else (),
            counted=self.cilium.labels,
        )

    def everything(self) -> set[Key]:
        """Every key there is something to say about."""
        return {*self.pods, *self.endpoints, *(self.entry_of(name) for name in self.nodes)}

    def entry_of(self, node: str) -> Key:
        """Key of a node's own entry."""
        return (self.options.namespace, f"{NODE_ENTRY}{node}")

    def node_of(self, key: Key) -> Node | None:
        """The node whose entry this key is."""
        namespace, name = key
        if namespace != self.options.namespace or not name.startswith(NODE_ENTRY):
            return None
        return self.nodes.get(name.removeprefix(NODE_ENTRY))

    # -- changes --------------------------------------------------------------------------------------

    def configure(self, cilium: Cilium) -> None:
        """Another configuration of Cilium: everything is to be looked at again."""
        pods = list(self.pods.values())
        for pod in pods:
            self.drop_pod(pod.key)
        self.cilium = cilium
        for pod in pods:
            self.put_pod(pod)

    def put_pod(self, pod: Pod) -> set[Key]:
        again = self.drop_pod(pod.key) | {pod.key}
        self.pods[pod.key] = pod
        self._on_node[pod.node].add(pod.key)
        self._in_namespace[pod.key[0]].add(pod.key)
        for address in self.addresses(pod):
            again |= self._claims[address]
            self._claims[address].add(pod.key)
        return again

    def drop_pod(self, key: Key) -> set[Key]:
        pod = self.pods.pop(key, None)
        if pod is None:
            return {key}
        again = {key}
        _discard(self._on_node, pod.node, key)
        _discard(self._in_namespace, key[0], key)
        for address in self.addresses(pod):
            _discard(self._claims, address, key)
            again |= self._claims.get(address, set())
        return again

    def put_namespace(self, namespace: Namespace) -> set[Key]:
        before = self.namespaces.get(namespace.name)
        self.namespaces[namespace.name] = namespace
        if before is not None and before.labels == namespace.labels:
            return set()
        return set(self._in_namespace.get(namespace.name, ()))

    def drop_namespace(self, name: str) -> set[Key]:
        self.namespaces.pop(name, None)
        return set(self._in_namespace.get(name, ()))

    def put_node(self, node: Node) -> set[Key]:
        before = self.nodes.get(node.name)
        self.nodes[node.name] = node
        return set() if before == node else self._of_node(node.name)

    def drop_node(self, name: str) -> set[Key]:
        self.nodes.pop(name, None)
        return self._of_node(name)

    def put_cilium_node(self, node: CiliumNode) -> set[Key]:
        if self.cilium_nodes.get(node.name) == node:
            return set()
        again = self.drop_cilium_node(node.name)
        self.cilium_nodes[node.name] = node
        self._of_agents.update(node.addresses)
        return again

    def drop_cilium_node(self, name: str) -> set[Key]:
        gone = self.cilium_nodes.pop(name, None)
        if gone is not None:
            self._of_agents.subtract(gone.addresses)
        return self._of_node(name)

    def _of_node(self, name: str) -> set[Key]:
        return {*self._on_node.get(name, ()), self.entry_of(name)}

    def put_identity(self, identity: Identity) -> set[Key]:
        before = self.identities.get(identity.number)
        again = self.drop_identity(identity.number)
        self.identities[identity.number] = identity
        self._numbers[identity.labels].add(identity.number)
        return set() if before and before.labels == identity.labels else again

    def drop_identity(self, number: int) -> set[Key]:
        identity = self.identities.pop(number, None)
        if identity is not None:
            _discard(self._numbers, identity.labels, number)
        return set(self._users.get(number, ()))

    def put_endpoint(self, endpoint: Endpoint) -> set[Key]:
        before = self.endpoints.get(endpoint.key)
        again = self._forget(endpoint.key) | {endpoint.key}
        self.endpoints[endpoint.key] = endpoint
        self._users[endpoint.identity].add(endpoint.key)
        for address in endpoint.addresses:
            again |= self._holders[address]
            self._holders[address].add(endpoint.key)
        if before is not None and before.version != endpoint.version:
            self.survivors.pop(endpoint.key, None)
            self._survive(before, set(before.addresses) - set(endpoint.addresses))
        return again

    def drop_endpoint(self, key: Key) -> set[Key]:
        gone = self.endpoints.get(key)
        again = self._forget(key) | {key}
        self.survivors.pop(key, None)
        if gone is not None:
            self._survive(gone, gone.addresses)
        return again

    def _survive(self, gone: Endpoint, addresses: Iterable[str]) -> None:
        for address in addresses:
            for other in self.holders(address):
                self.survivors[other] = gone.uid

    def _forget(self, key: Key) -> set[Key]:
        endpoint = self.endpoints.pop(key, None)
        again: set[Key] = set()
        if endpoint is not None:
            _discard(self._users, endpoint.identity, key)
            for address in endpoint.addresses:
                _discard(self._holders, address, key)
                again |= self._holders.get(address, set())
        return again


def _discard(index: defaultdict[_K, set[_V]], at: _K, value: _V) -> None:
    found = index.get(at)
    if found is not None:
        found.discard(value)
        if not found:
            del index[at]
