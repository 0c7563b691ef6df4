"""Reading the Kubernetes API: plain objects, every page of a list, a time limit on each request.

Objects are what the API server answers, as JSON values. They are read once for each `Cluster`, so that the checks of
one round look at the same moment and ask for each list once; a new round takes `Cluster.again()`.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from kube.pages import pages
from kube.transport import MERGE, Executing, KubeError, Obj, Texting, Transport

REQUEST_SECONDS: Final = 10.0


class _Cell:
    """A value that is made once, by whoever asks first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.value: Any = None
        self.full = False


@dataclass(frozen=True)
class Listing:
    """A list, and what its objects are: in a list they do not say so themselves."""

    kind: str
    """Of the list, such as PodList; of a page that is none, where there is one."""
    version: str
    """`apiVersion` of the objects."""
    items: list[Obj]


def selector(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


class Cluster:
    """The live cluster.

    Args:
        connect: makes the transport, at the first request only.
        deadline: `time.monotonic()` after which requests are not made any more.
    """

    def __init__(self, connect: Callable[[], Transport], *, deadline: float = float("inf")) -> None:
        self._transport = _Cell()
        self._connect = connect
        self._cells: dict[str, _Cell] = {}
        self._lock = threading.Lock()
        self.deadline = deadline

    def again(self) -> "Cluster":
        """The same connection with nothing read yet."""
        other = Cluster(self._connect)
        other._transport = self._transport
        return other

    def until(self, deadline: float) -> "Cluster":
        """The same connection and the same reads, for a caller with a deadline of its own."""
        other = Cluster(self._connect, deadline=deadline)
        other._transport, other._cells, other._lock = self._transport, self._cells, self._lock
        return other

    @property
    def transport(self) -> Transport:
        cell = self._transport
        with cell.lock:
            if not cell.full:
                cell.value, cell.full = self._connect(), True
        transport: Transport = cell.value
        return transport

    def request(self, method: str, path: str, *, body: Any = None, content_type: str = "") -> Obj:
        """Any request, never remembered.

        Raises:
            KubeError: the API server refused or could not be reached.
            TimeoutError: the deadline is over.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no time left for {method} {path}")
        seconds = min(left, REQUEST_SECONDS)
        return self.transport.send(method, path, body=body, content_type=content_type, seconds=seconds).value()

    def get(self, path: str) -> Obj | None:
        """An object; None when there is none, or no such kind."""

        def read() -> Obj | None:
            try:
                return self.request("GET", path)
            except KubeError as error:
                if error.status == 404:
                    return None
                raise

        found: Obj | None = self._once(path, read)
        return found

    def items(self, path: str, *, labels: str = "", fields: str = "") -> list[Obj]:
        """Every object under a path, page by page; empty when the kind is not served."""
        found = self.listed(path, labels=labels, fields=fields)
        return found.items if found is not None else []

    def listed(self, path: str, *, labels: str = "", fields: str = "") -> Listing | None:
        """The list under a path, every page of it; None when the kind is not served."""
        query = {}
        if labels:
            query["labelSelector"] = labels
        if fields:
            query["fieldSelector"] = fields

        def read() -> Listing | None:
            try:
                found = list(pages(lambda asked: self.request("GET", asked), path, query))
            except KubeError as error:
                if error.status == 404:
                    return None
                raise
            kinds = [str(page.get("kind", "")) for page in found]
            return Listing(
                kind=next((kind for kind in kinds if not kind.endswith("List")), kinds[0]),
                version=str(found[0].get("apiVersion", "")),
                items=[item for page in found for item in page.get("items") or ()],
            )

        found: Listing | None = self._once(f"{path}?{urlencode(query)}", read)
        return found

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What is made from these reads, once for all who ask; it must not be changed."""
        return self._once(f"made: {name}", make)

    def _once(self, key: str, read: Callable[[], Any]) -> Any:
        with self._lock:
            cell = self._cells.setdefault(key, _Cell())
        with cell.lock:
            if not cell.full:
                cell.value, cell.full = read(), True
        return cell.value

    # -- kinds that several checks read ---------------------------------------------------------------

    def nodes(self) -> list[Obj]:
        return self.items("/api/v1/nodes")

    def pods(self, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Obj]:
        return self.items(_in("/api/v1", namespace, "pods"), labels=labels, fields=fields)

    def daemonset(self, namespace: str, name: str) -> Obj | None:
        return self.get(f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{quote(name)}")

    def daemonsets(self) -> list[Obj]:
        return self.items("/apis/apps/v1/daemonsets")

    def deployment(self, namespace: str, name: str) -> Obj | None:
        return self.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{quote(name)}")

    def crd(self, name: str) -> Obj | None:
        return self.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{quote(name)}")

    def custom(self, group_version: str, plural: str, namespace: str = "") -> list[Obj]:
        """Custom objects, for example `custom("cilium.io/v2", "ciliumnodes")`; empty when the kind is not served."""
        return self.items(_in(f"/apis/{group_version}", namespace, plural))

    def network_policies(self) -> list[Obj]:
        return self.items("/apis/networking.k8s.io/v1/networkpolicies")

    def now(self) -> datetime:
        """What time it is by the API server's clock, UTC, to the second.

        A SelfSubjectReview is never stored, anybody may ask for one, and the API server stamps it (Kubernetes 1.28).

        Raises:
            KubeError: the API server does not say.
        """
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = self.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=review)
        stamp = (answer.get("metadata") or {}).get("creationTimestamp")
        if not stamp:
            raise KubeError(0, "the API server does not say what time it is: its SelfSubjectReview has no timestamp")
        return datetime.fromisoformat(str(stamp).replace("Z", "+00:00")).astimezone(UTC)

    def version(self) -> str:
        """Kubernetes minor version, for example "1.35"."""
        found = self.get("/version") or {}
        return f"{found.get('major', '')}.{str(found.get('minor', '')).rstrip('+')}"

    def execute(self, namespace: str, pod: str, container: str, command: Sequence[str]) -> str:
        """What a command that only reads prints in a container.

        Raises:
            KubeError: it cannot be run, or the connection cannot run commands.
        """
        transport = self.transport
        if not isinstance(transport, Executing):
            raise KubeError(0, "this connection cannot run commands in pods")
        left = min(self.deadline - time.monotonic(), REQUEST_SECONDS)
        return transport.execute(namespace, pod, container, command, seconds=left)

    def text(self, path: str) -> str:
        """What is answered as plain text, for example by a pod behind the API server's proxy.

        Raises:
            KubeError: any answer but 2xx, or the connection reads objects only.
        """
        transport = self.transport
        if not isinstance(transport, Texting):
            raise KubeError(0, "this connection reads objects only")
        return transport.text(path, seconds=min(self.deadline - time.monotonic(), REQUEST_SECONDS))

    # -- writing, for the commands that do ------------------------------------------------------------

    def merge(self, path: str, body: Obj, *, manager: str) -> Obj:
        """JSON merge patch; `None` in `body` takes a field away."""
        return self.request("PATCH", f"{path}?fieldManager={manager}", body=body, content_type=MERGE)


def _in(prefix: str, namespace: str, plural: str) -> str:
    return f"{prefix}/namespaces/{namespace}/{plural}" if namespace else f"{prefix}/{plural}"
