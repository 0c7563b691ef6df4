"""How an API server is asked, and what an answer is.

Whatever reaches one is a `Transport`: it keeps its credentials fresh, and leads to the cluster that is meant or
nowhere. Everything above it is the same over all of them.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

Obj = dict[str, Any]
"""A Kubernetes object, or any other JSON object."""

JSON: Final = "application/json"
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
_SHOWN: Final = 200


class KubeError(Exception):
    """The API server refused or could not be reached. `status` is the HTTP status, 0 without an answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Response:
    """An answer of the API server; status 0 when none came that can be used, with the reason as the message."""

    status: int
    body: Obj
    retry_after: float = 0.0
    """Seconds after which the server wants to be asked again; 0 when it does not say."""
    reason: str = ""
    """Of the status, for example "Not Found"."""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """For people."""
        said = str(self.body.get("message") or "no message")
        return f"{f'{self.status} {self.reason}'.rstrip()}: {said}" if self.status else said

    def value(self) -> Obj:
        """The object.

        Raises:
            KubeError: any answer but 2xx, or none.
        """
        if not self.ok:
            raise KubeError(self.status, self.text)
        return self.body


def answer(status: int, reason: str, data: bytes, retry_after: str | None = None) -> Response:
    """An HTTP answer as a `Response`. Success that is not told in JSON is no answer: it came from somebody else."""
    try:
        body = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        body = None
    shown = data[:_SHOWN].decode(errors="replace")
    if isinstance(body, dict):
        return Response(status, body, _seconds(retry_after), reason)
    if 200 <= status < 300:
        return Response(0, {"message": f"what answers is not an API server: {status} {reason}, {shown!r}"})
    return Response(status, {"message": shown}, _seconds(retry_after), reason)


def _seconds(header: str | None) -> float:
    """Whole seconds: Kubernetes sends nothing else."""
    return float(header) if header and header.isdecimal() and len(header) < 10 else 0.0


class Transport(Protocol):
    """Requests to one API server."""

    def send(
        self, method: str, path: str, *, body: Any = None, content_type: str = "", seconds: float = 10.0
    ) -> Response:
        """One request, once. Never raises for what the network, the server or the credentials do.

        Args:
            path: with its query, for example "/api/v1/pods?limit=500".
            body: sent as JSON; None: nothing is sent.
            content_type: left out: JSON.
            seconds: for the whole answer.
        """


class Stream(Protocol):
    """An answer whose body comes bit by bit."""

    status: int

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes, to its end.

        Raises:
            OSError: the connection is cut, or silent for too long.
        """

    def close(self) -> None: ...


class Streaming(Transport, Protocol):
    """Requests, and answers that go on; what a watch needs."""

    def stream(self, path: str, *, silence: float) -> Stream:
        """GET with an endless answer.

        Args:
            silence: seconds without a byte after which the connection counts as dead.

        Raises:
            OSError: nothing came.
        """


@runtime_checkable
class Texting(Protocol):
    """Answers that are not objects."""

    def text(self, path: str, *, seconds: float) -> str:
        """GET an answer as plain text.

        Raises:
            KubeError: any answer but 2xx, or none.
        """


@runtime_checkable
class Executing(Protocol):
    """Commands in containers."""

    def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], *, seconds: float) -> str:
        """Standard output of a command in a container.

        Raises:
            KubeError: it cannot be run.
        """
