"""The bridge's Lease: whose turn it is to write, how far the bridge is in step, and since when it leaves."""

from collections.abc import Callable

from bridge.names import LEAVING, STEP
from bridge.options import Options
from kube.lease import Lease
from kube.transport import Obj, Transport


def lease(transport: Transport, options: Options, *, me: str, step: Callable[[], str]) -> Lease:
    """A holder that says how far it is in step, as JSON, and gives the Lease up once the bridge leaves."""
    return Lease(
        transport,
        namespace=options.namespace,
        name=options.lease,
        me=me,
        beside=lambda: {STEP: step()},
        leaving=leaving_since,
    )


def leaving_since(lease: Obj) -> str:
    """Since when the bridge leaves, by its Lease; empty while it stays."""
    return str(((lease.get("metadata") or {}).get("annotations") or {}).get(LEAVING) or "")
