"""The Kubernetes side of a refresh: the few requests it makes, and what their answers mean.

Everything it may ask is listed in `CALLS`; the RBAC file is made from that list.
"""

from dataclasses import dataclass
from typing import Any, Final

import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from kubernetes import client

from migration.names import (
    CORDONED_BY_US,
    EXCLUDE_FROM_LB_LABEL,
    FIELD_MANAGER,
    REFRESH_TAINT,
)
from operations.refresh.cluster import parse
from operations.refresh.model import answers
from operations.refresh.model.actions import Outcome
from operations.refresh.model.values import Node, Pod

MERGE: Final = "application/merge-patch+json"
JSON: Final = "application/json"

CALLS: Final = (
    ("", "nodes", ("get", "list", "watch", "patch", "delete")),
    ("", "pods", ("list", "watch")),
    ("", "pods/eviction", ("create",)),
    ("apps", "deployments", ("list",)),
    ("apps", "statefulsets", ("list",)),
    ("policy", "poddisruptionbudgets", ("list", "watch")),
    ("storage.k8s.io", "volumeattachments", ("list", "watch")),
    ("coordination.k8s.io", "leases", ("get", "create", "update")),
    ("authorization.k8s.io", "selfsubjectaccessreviews", ("create",)),
)
"""API group, resource, verbs. There is no `delete` on pods, so no budget can be gone around; and no Secrets."""


@dataclass(frozen=True)
class Response:
    """An answer of the API server; status 0 when none came."""

    status: int
    body: dict[str, Any]
    retry_after: float = 0.0

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        return f"{self.status or 'no answer'}: {self.body.get('message') or 'no message'}"

    def outcome(self) -> Outcome:
        """As the outcome of an action; what is gone already is well."""
        return Outcome(
            ok=self.ok or self.status == 404,
            text="" if self.ok else self.text,
            retry_after=self.retry_after,
            busy=self.status == 429,
            version=str((self.body.get("metadata") or {}).get("resourceVersion", "")) if self.ok else "",
            denied=self.status == 403 and " cannot " in self.text,  # an admission plugin says it in other words
        )


class Kube:
    """Requests over a `kubernetes.client.ApiClient`, which keeps the credentials fresh.

    Args:
        api: reaches the cluster.
        connections: how many requests may be under way at once.
    """

    def __init__(self, api: Any, connections: int = 32) -> None:
        api.configuration.connection_pool_maxsize = connections + 8
        self.api = client.ApiClient(api.configuration)

    def stream(self, path: str, read_seconds: float) -> Any:
        """A raw urllib3 response whose body has not been read.

        Raises:
            OSError, urllib3.exceptions.HTTPError: nothing came.
        """
        try:
            return self._send("GET", path, None, "", (5.0, read_seconds))
        except (BotoCoreError, ClientError) as error:
            raise OSError(_no_token(error)) from error

    def _send(self, method: str, path: str, body: Any, media: str, timeout: tuple[float, float]) -> Any:
        headers = {"Accept": JSON}
        if body is not None:
            headers["Content-Type"] = media or JSON
        verb, url, sent, data, form = self.api.param_serialize(
            method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        return self.api.call_api(verb, url, sent, data, form, _request_timeout=timeout).response

    def request(self, method: str, path: str, body: Any = None, media: str = "", seconds: float = 30.0) -> Response:
        """One request; never raises for what the network or the server does."""
        try:
            answer = self._send(method, path, body, media, (5.0, seconds))
            found = parse.status(answer.data)
            return Response(answer.status, found, _seconds(answer.headers.get("Retry-After")))
        except urllib3.exceptions.HTTPError as error:
            return Response(0, {"message": str(error)})
        except client.exceptions.ApiException as error:
            return Response(error.status or 0, {"message": str(error.reason)})
        except (BotoCoreError, ClientError) as error:
            return Response(0, {"message": _no_token(error)})

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
            return found.outcome()
        here = parse.node(found.body)
        spec: dict[str, Any] = {"taints": _others(here) or None}
        if here.ours and not here.found_cordoned:
            spec["unschedulable"] = None
        marks = {"annotations": {CORDONED_BY_US: None}, "labels": {EXCLUDE_FROM_LB_LABEL: None}}
        return self._patch_node(node, {"metadata": {"resourceVersion": here.version, **marks}, "spec": spec})

    def _patch_node(self, node: str, patch: dict[str, Any]) -> Outcome:
        path = f"/api/v1/nodes/{node}?fieldManager={FIELD_MANAGER}"
        return self.request("PATCH", path, patch, MERGE).outcome()

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
        return self.request("DELETE", f"/api/v1/nodes/{node}", body).outcome()

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


def _no_token(error: Exception) -> str:
    """A token is signed with AWS credentials, which may have run out."""
    return f"no token for the API server: {error}"


def _others(node: Node) -> list[Any]:
    """Its taints without that of the refresh."""
    return [dict(taint) for taint in node.taints if taint.get("key") != REFRESH_TAINT]


def _seconds(header: str | None) -> float:
    try:
        return max(0.0, float(header or 0))
    except ValueError:
        return 0.0
