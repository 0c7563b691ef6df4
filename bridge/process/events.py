"""An Event when the bridge falls out of step, and one when it is in step again."""

from typing import Final

from bridge.names import NAME
from bridge.process.lease import now
from kube.transport import Transport

AGAIN: Final = 300.0
"""Seconds after which the same is said again."""
_LONGEST: Final = 1000


def tell(transport: Transport, *, namespace: str, lease: str, reason: str, text: str, warning: bool) -> str:
    """Make an Event about the Lease; says why it could not."""
    stamp = now()
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{NAME}-", "namespace": namespace},
        "involvedObject": {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "name": lease,
            "namespace": namespace,
        },
        "reason": reason,
        "message": text[:_LONGEST],
        "type": "Warning" if warning else "Normal",
        "source": {"component": NAME},
        "reportingComponent": NAME,
        "reportingInstance": NAME,
        "firstTimestamp": stamp[:19] + "Z",
        "lastTimestamp": stamp[:19] + "Z",
        "count": 1,
    }
    answer = transport.send("POST", f"/api/v1/namespaces/{namespace}/events", body=body, seconds=5.0)
    return "" if answer.ok else answer.text
