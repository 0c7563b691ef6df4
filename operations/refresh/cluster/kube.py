"""The Kubernetes side of a refresh: the few requests it makes, and what their answers mean.

Everything it may ask is listed in `CALLS`; the RBAC file is made from that list.
"""

from typing import Any, Final

from kube.transport import MERGE, Response, Streaming
from migration.names import (
    CORDONED_BY_US,
    EXCLUDE_FROM_LB_LABEL,
    FIELD_MANAGER,
    PROOF,
    REFRESH_LEASE,
    REFRESH_TAINT,
)
from operations.refresh.cluster import parse
from operations.refresh.model import answers
from operations.refresh.model.actions import Outcome
from operations.refresh.model.values import Node, Pod

CALLS: Final = (
    ("", "nodes", ("get", "list", "watch", "patch", "delete")),
    ("", "pods", ("list", "watch")),
    ("", "pods/eviction", ("create",)),
    ("apps", "deployments", ("list",)),
    ("apps", "statefulsets", ("list",)),
    ("policy", "poddisruptionbudgets", ("list", "watch")),
    ("storage.k8s.io", "volumeattachments", ("list", "watch")),
    ("coordination.k8s.io", "leases", ("get", "create", "update")),
    ("", "configmaps", ("get",)),
    ("authorization.k8s.io", "selfsubjectaccessreviews", ("create",)),
)
"""API group, resource, verbs; of Leases and ConfigMaps the one of a name (`NAMED`). There is no `delete` on pods, so no
budget can be gone around; and no Secrets."""
NAMED: Final = {"leases": REFRESH_LEASE, "configmaps": PROOF}
"""Resources of which a refresh asks for one object alone, in kube-system -> its name."""


def as_outcome(response: Response) -> Outcome:
    """An answer as the outcome of an action; what is gone already is well."""
    return Outcome(
        ok=response.ok or response.status == 404,
        text="" if response.ok else response.text,
        retry_after=response.retry_after,
        busy=response.status == 429,
        version=str((response.body.get("metadata") or {}).get("resourceVersion", "")) if response.ok else "",
        denied=response.status == 403 and " cannot " in response.text,  # an admission plugin says it in other words
    )


class Kube:
    """What a refresh asks of the API server.

    Args:
        transport: reaches the cluster, for many requests at once.
    """

    def __init__(self, transport: Streaming) -> None:
        self.transport = transport

    def request(self, method: str, path: str, body: Any = None, media: str = "", seconds: float = 30.0) -> Response:
        """One request; never raises for what the network or the server does."""
        return self.transport.send(method, path, body=body, content_type=media, seconds=seconds)

    # -- actions ---------------------------------------------------------------------------------

    def soft_taint(self, node: Node) -> Outcome:
        """Refused if the node changes meanwhile: the list of taints is replaced as a whole."""
        taint = {"key": REFRESH_TAINT, "value": "true", "effect": "PreferNoSchedule"}
        meta = {"resourceVersion": node.version}
        return self._patch_node(node.name, {"metadata": meta, "spec": {"taints": [*_others(node), taint]}})

    def cordon(self, node: str, *, already: bool) -> Outcome:
        """One patch: no instant in which only a part of it is there."""
        return self._patch_node(
            node,
            {
                "metadata": {
                    "annotations": {CORDONED_BY_US: parse.FOUND if already else parse.OURS},
                    "labels": {EXCLUDE_FROM_LB_LABEL: "true"},
                },
                "spec": {"unschedulable": True},
            },
        )

    def reopen(self, node: str) -> Outcome:
        """Take away everything the refresh put on a node; refused if the node changes meanwhile.

        One that somebody else cordoned stays so.
        """
        found = self.request("GET", f"/api/v1/nodes/{node}")
        if not found.ok:
            return as_outcome(found)
        here = parse.node(found.body)
        spec: dict[str, Any] = {"taints": _others(here) or None}
        if here.ours and not here.found_cordoned:
            spec["unschedulable"] = None
        marks = {"annotations": {CORDONED_BY_US: None}, "labels": {EXCLUDE_FROM_LB_LABEL: None}}
        return self._patch_node(node, {"metadata": {"resourceVersion": here.version, **marks}, "spec": spec})

    def _patch_node(self, node: str, patch: dict[str, Any]) -> Outcome:
        path = f"/api/v1/nodes/{node}?fieldManager={FIELD_MANAGER}"
        return as_outcome(self.request("PATCH", path, patch, MERGE))

    def evict(self, uid: str, namespace: str, name: str) -> Outcome:
        """The server answers within about ten seconds even when a budget is contended."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        response = self.request("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", body)
        reply = answers.classify(response.status, response.body, response.retry_after)
        done = reply.answer in (answers.Answer.EVICTED, answers.Answer.GONE)
        return Outcome(done, text=reply.text, answer=reply.answer, retry_after=reply.retry_after)

    def drop_node(self, node: str, uid: str) -> Outcome:
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}
        return as_outcome(self.request("DELETE", f"/api/v1/nodes/{node}", body))

    def may(self, group: str, resource: str, verb: str, *, namespace: str = "", name: str = "") -> bool:
        """Whether this identity has a right; True when the API server cannot tell."""
        resource, _, part = resource.partition("/")
        about = {"group": group, "resource": resource, "subresource": part, "verb": verb}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": about | {"namespace": namespace, "name": name}},
        }
        response = self.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        return not response.ok or bool((response.body.get("status") or {}).get("allowed"))

    def pods_on(self, node: str, target_cni: str) -> list[Pod] | None:
        """A fresh, consistent list of the pods of one node; None when it cannot be read."""
        response = self.request("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}")
        if not response.ok:
            return None
        return [parse.pod(item, target_cni) for item in response.body.get("items") or []]


def _others(node: Node) -> list[Any]:
    """Its taints without that of the refresh."""
    return [dict(taint) for taint in node.taints if taint.get("key") != REFRESH_TAINT]
