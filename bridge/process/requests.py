"""The requests that the bridge makes, all of them: what it may do in a cluster is made from this list."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from bridge.decide import Verb, Write
from bridge.names import HEARTBEAT, NAME
from bridge.seen import Key
from kube.transport import MERGE, Obj, Response, Transport

CILIUM: Final = "cilium.io"
READS: Final = {
    "pods": "/api/v1/pods",
    "nodes": "/api/v1/nodes",
    "namespaces": "/api/v1/namespaces",
    "ciliumnodes": f"/apis/{CILIUM}/v2/ciliumnodes",
    "ciliumidentities": f"/apis/{CILIUM}/v2/ciliumidentities",
    "ciliumendpoints": f"/apis/{CILIUM}/v2/ciliumendpoints",
}
"""Kind -> collection, of what is listed and watched."""
NODE_CONFIGS: Final = f"/apis/{CILIUM}/v2/namespaces/{{namespace}}/ciliumnodeconfigs"
"""What some nodes' agents are told besides; of the namespace that agents read (Cilium 1.20, operator/pkg and
cilium-dbg build-config)."""
WRITES: Final = {
    Verb.MAKE_IDENTITY: ("ciliumidentities", "POST", "create"),
    Verb.UNMARK_IDENTITY: ("ciliumidentities", "PATCH", "patch"),
    Verb.MAKE: ("ciliumendpoints", "POST", "create"),
    Verb.REPLACE: ("ciliumendpoints", "PUT", "update"),
    Verb.TOUCH: ("ciliumendpoints", "PATCH", "patch"),
    Verb.DELETE: ("ciliumendpoints", "DELETE", "delete"),
}
"""Kind of write -> (resource, method, verb of RBAC)."""
RIGHTS: Final = (
    *(("" if "/apis/" not in path else CILIUM, kind, ("list", "watch")) for kind, path in READS.items()),
    *((CILIUM, kind, ("get",)) for kind in ("ciliumidentities", "ciliumendpoints")),
    *((CILIUM, kind, (verb,)) for kind, _, verb in WRITES.values()),
)
"""(API group, resource, verbs) that hold in the whole cluster. It deletes no identity."""
NAMED_RIGHTS: Final = (
    ("", "configmaps", ("get",), "cilium-config"),
    ("coordination.k8s.io", "leases", ("get", "update"), NAME),
    ("coordination.k8s.io", "leases", ("create",), ""),
    ("", "events", ("create",), ""),
    (CILIUM, "ciliumnodeconfigs", ("list",), ""),
)
"""(API group, resource, verbs, name) that hold in the bridge's namespace; no name: of any."""
SECONDS: Final = 10.0
_BY: Final = f"fieldManager={NAME}"


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a write: it was carried out or not, and what is there now."""

    carried_out: bool
    there: Obj | None = None
    """The object after a write; None after a deletion."""
    text: str = ""
    """Why it was not carried out."""
    retry_after: float = 0.0


def path_of(kind: str, key: Key) -> str:
    """Path of one endpoint or identity."""
    namespace, name = (quote(part, safe="") for part in key)
    inside = f"namespaces/{namespace}/" if namespace else ""
    return f"/apis/{CILIUM}/v2/{inside}{kind}/{name}"


def carry_out(transport: Transport, write: Write) -> Done:
    """One write, once."""
    kind, method, _ = WRITES[write.verb]
    path = path_of(kind, write.key)
    body: dict[str, Any] = write.body
    content_type = ""
    if method == "POST":
        path = path.rpartition("/")[0]
    elif method == "DELETE":
        conditions = {"uid": write.uid, "resourceVersion": write.version}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": conditions}
    elif method == "PATCH":
        content_type = MERGE
        if write.verb == Verb.UNMARK_IDENTITY:
            body = {"metadata": {"resourceVersion": write.version, "annotations": {HEARTBEAT: None}}}
    sent = f"{path}?{_BY}" if method != "DELETE" else path
    answer = transport.send(method, sent, body=body, content_type=content_type, seconds=SECONDS)
    if not answer.ok:
        return Done(
            False,
            text=f"{write.verb} {'/'.join(filter(None, write.key))}: {answer.text}",
            retry_after=answer.retry_after,
        )
    # A finalizer of somebody's may keep what was deleted; the watch tells when it has gone.
    gone = write.verb == Verb.DELETE and not (answer.body.get("metadata") or {}).get("deletionTimestamp")
    return Done(True, None if gone else answer.body)


def look(transport: Transport, kind: str, key: Key) -> Response:
    """One endpoint or identity as it is now."""
    return transport.send("GET", path_of(kind, key), seconds=SECONDS)
