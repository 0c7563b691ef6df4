"""Events: what a process of ours tells about itself where people look first."""

from collections.abc import Mapping
from typing import Final

from kube.lease import now
from kube.transport import Transport

AGAIN: Final = 300.0
"""Seconds after which the same is said again."""
_LONGEST: Final = 1000


def tell(
    transport: Transport,
    *,
    by: str,
    about: Mapping[str, str],
    reason: str,
    text: str,
    warning: bool,
) -> str:
    """Make an Event; says why it could not.

    Args:
        by: name of the process.
        about: apiVersion, kind, namespace and name of an object.
    """
    stamp = now()
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{by}-", "namespace": about["namespace"]},
        "involvedObject": dict(about),
        "reason": reason,
        "message": text[:_LONGEST],
        "type": "Warning" if warning else "Normal",
        "source": {"component": by},
        "reportingComponent": by,
        "reportingInstance": by,
        "firstTimestamp": stamp[:19] + "Z",
        "lastTimestamp": stamp[:19] + "Z",
        "count": 1,
    }
    answer = transport.send("POST", f"/api/v1/namespaces/{about['namespace']}/events", body=body, seconds=5.0)
    return "" if answer.ok else answer.text
