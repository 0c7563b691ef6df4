"""Transports for tests: whatever answers a request with an object, or raises `KubeError`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kube.transport import KubeError, Obj, Response


class Answers:
    """A transport whose requests are calls of itself."""

    def send(
        self, method: str, path: str, *, body: Any = None, content_type: str = "", seconds: float = 10.0
    ) -> Response:
        call: Any = self
        try:
            return Response(200, call(method, path, body=body, content_type=content_type, seconds=seconds))
        except KubeError as error:
            head, _, message = str(error).partition(": ")  # as a Response puts its text together
            told = message and head.startswith(f"{error.status} ")
            reason = head.removeprefix(f"{error.status} ") if told else ""
            return Response(error.status, {"message": message if told else str(error)}, reason=reason)


class Answering(Answers):
    """A transport made of a function."""

    def __init__(self, answer: Callable[..., Obj]) -> None:
        self.answer = answer

    def __call__(self, method: str, path: str, **more: Any) -> Obj:
        return self.answer(method, path, **more)
