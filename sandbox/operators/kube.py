"""Kubernetes objects as plain dictionaries: the kinds that matter here, and questions about one object.

Everything here is pure. `Cluster` is the port through which the controllers see and change a cluster:
reads come from caches, writes go to the API server at once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Object = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """One kind of object of the Kubernetes API."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def custom(self) -> bool:
        """Whether the kind comes from a CustomResourceDefinition."""
        return "." in self.group and not self.group.endswith(".k8s.io")

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, name: str = "", namespace: str = "", subresource: str = "") -> str:
        """URL path of the collection, or of one object, or of a subresource of it."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return root + scope + "".join(f"/{part}" for part in (self.plural, name, subresource) if part)


NODES = Kind("", "v1", "nodes", "Node", namespaced=False)
PODS = Kind("", "v1", "pods", "Pod")
NAMESPACES = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
CONFIG_MAPS = Kind("", "v1", "configmaps", "ConfigMap")
SERVICES = Kind("", "v1", "services", "Service")
SERVICE_ACCOUNTS = Kind("", "v1", "serviceaccounts", "ServiceAccount")
EVENTS = Kind("", "v1", "events", "Event")
DAEMON_SETS = Kind("apps", "v1", "daemonsets", "DaemonSet")
DEPLOYMENTS = Kind("apps", "v1", "deployments", "Deployment")
REPLICA_SETS = Kind("apps", "v1", "replicasets", "ReplicaSet")
STATEFUL_SETS = Kind("apps", "v1", "statefulsets", "StatefulSet")
CLUSTER_ROLES = Kind("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDINGS = Kind(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
DISRUPTION_BUDGETS = Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
NETWORK_POLICIES = Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
DEFINITIONS = Kind(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
CILIUM_NODES = Kind("cilium.io", "v2", "ciliumnodes", "CiliumNode", namespaced=False)
CILIUM_ENDPOINTS = Kind("cilium.io", "v2", "ciliumendpoints", "CiliumEndpoint")
CILIUM_IDENTITIES = Kind("cilium.io", "v2", "ciliumidentities", "CiliumIdentity", namespaced=False)
CILIUM_POLICIES = Kind("cilium.io", "v2", "ciliumnetworkpolicies", "CiliumNetworkPolicy")
CILIUM_CLUSTER_POLICIES = Kind(
    "cilium.io", "v2", "ciliumclusterwidenetworkpolicies", "CiliumClusterwideNetworkPolicy", namespaced=False
)
INSTALLATIONS = Kind("operator.tigera.io", "v1", "installations", "Installation", namespaced=False)
IMAGE_SETS = Kind("operator.tigera.io", "v1", "imagesets", "ImageSet", namespaced=False)
TIGERA_STATUSES = Kind("operator.tigera.io", "v1", "tigerastatuses", "TigeraStatus", namespaced=False)
FELIX_CONFIGURATIONS = Kind(
    "crd.projectcalico.org", "v1", "felixconfigurations", "FelixConfiguration", namespaced=False
)
CLUSTER_INFORMATIONS = Kind(
    "crd.projectcalico.org", "v1", "clusterinformations", "ClusterInformation", namespaced=False
)
CALICO_TIERS = Kind("crd.projectcalico.org", "v1", "tiers", "Tier", namespaced=False)
CALICO_POLICIES = Kind("crd.projectcalico.org", "v1", "networkpolicies", "NetworkPolicy")
CALICO_GLOBAL_POLICIES = Kind(
    "crd.projectcalico.org", "v1", "globalnetworkpolicies", "GlobalNetworkPolicy", namespaced=False
)


class Cluster(Protocol):
    """What a controller may do to a cluster. Kinds that the API server does not serve yet list as empty."""

    def list(self, kind: Kind) -> list[Object]:
        """All objects of a kind, as last seen. Not to be changed by the caller."""

    def create(self, kind: Kind, body: Object) -> bool:
        """Create an object; False when one of that name exists, or its kind is not served yet."""

    def apply(self, kind: Kind, body: Object, manager: str) -> None:
        """Server-side apply, taking over fields that others own."""

    def patch(self, kind: Kind, target: Object, body: Object, subresource: str = "") -> bool:
        """Patch of `target`: strategic merge for kinds of Kubernetes, JSON merge for custom ones.

        False when the target is gone, or when a UID or resourceVersion in the body is not the object's.
        """

    def delete(self, kind: Kind, target: Object) -> None:
        """Delete one object, if it is still the one seen (by UID)."""


def name(item: Object) -> str:
    return str(item["metadata"]["name"])


def namespace(item: Object) -> str:
    return str(item["metadata"].get("namespace", ""))


def uid(item: Object) -> str:
    return str(item["metadata"]["uid"])


def labels(item: Object) -> dict[str, str]:
    return item["metadata"].get("labels") or {}


def annotations(item: Object) -> dict[str, str]:
    return item["metadata"].get("annotations") or {}


def deleting(item: Object) -> bool:
    return bool(item["metadata"].get("deletionTimestamp"))


def condition(item: Object, kind: str) -> Object:
    """The status condition of that type, or an empty one."""
    found = (c for c in item.get("status", {}).get("conditions") or [] if c["type"] == kind)
    return next(found, {})


def ready(item: Object) -> bool:
    """Condition Ready holds and the object is not on its way out."""
    return not deleting(item) and condition(item, "Ready").get("status") == "True"


def owner(item: Object) -> Object:
    """The owner reference of the controller of an object, or an empty one."""
    refs = item["metadata"].get("ownerReferences") or []
    return next((ref for ref in refs if ref.get("controller")), {})


def owned_by_daemon_set(pod: Object, daemon_set: str = "") -> bool:
    ref = owner(pod)
    return ref.get("kind") == "DaemonSet" and daemon_set in ("", ref["name"])


def host_network(pod: Object) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def node_of(pod: Object) -> str:
    return str(pod["spec"].get("nodeName") or "")


def finished(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def internal_address(node: Object) -> str:
    found = (a["address"] for a in node.get("status", {}).get("addresses") or [] if a["type"] == "InternalIP")
    return next(found, "")


def instance_of(node: Object) -> str:
    """EC2 instance id of a node, from its provider id; empty when it has none."""
    provider = node["spec"].get("providerID") or ""
    return provider.rsplit("/", 1)[-1] if provider.startswith("aws:") else ""


def selects(selector: Mapping[str, Any] | None, of: Mapping[str, str]) -> bool:
    """Whether a Kubernetes label selector matches labels; None matches nothing, {} everything.

    Raises:
        ValueError: for an operator that label selectors do not have.
    """
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    return all(of.get(key) == value for key, value in wanted.items()) and all(
        _requirement(rule, of) for rule in selector.get("matchExpressions") or []
    )


def _requirement(rule: Mapping[str, Any], of: Mapping[str, str]) -> bool:
    key, values = rule["key"], rule.get("values") or []
    match rule["operator"]:
        case "In":
            return of.get(key) in values
        case "NotIn":
            return of.get(key) not in values
        case "Exists":
            return key in of
        case "DoesNotExist":
            return key not in of
    raise ValueError(f"label selector operator {rule['operator']!r} is not one of In, NotIn, Exists, DoesNotExist")


def contains(actual: Any, wanted: Any) -> bool:
    """Whether every field of `wanted` has its value in `actual`; lists must have the same length and order.

    A field that is false, zero or empty may also be absent: the API server leaves some of those out.
    """
    if not wanted and not actual:
        return True
    if isinstance(wanted, dict):
        return isinstance(actual, dict) and all(contains(actual.get(k), v) for k, v in wanted.items())
    if isinstance(wanted, list) and isinstance(actual, list):
        return len(actual) == len(wanted) and all(map(contains, actual, wanted))
    return bool(actual == wanted)


def by_node(pods: Iterable[Object]) -> dict[str, list[Object]]:
    """Pods that are bound to a node, by node name."""
    found: dict[str, list[Object]] = {}
    for pod in pods:
        if bound := node_of(pod):
            found.setdefault(bound, []).append(pod)
    return found
