"""A policy counts as in force when every API server answers as it says, and goes on doing so."""

from collections.abc import Iterator
from typing import Any

import pytest

from kube.transport import KubeError, Obj
from operations.guarding.admission import NotInForceError, Probe, wait
from tests.transport import Answers

PATH = "/apis/crd.projectcalico.org/v1/globalnetworkpolicies"
STRANGER = Probe(
    about="a stranger creates", method="POST", path=PATH, body={}, manager="kubectl", refusal="frozen 1a2b"
)
STACK = Probe(about="the stack creates", method="POST", path=PATH, body={}, manager="pulumi-x")


class Server(Answers):
    """One API server that answers strangers with what it knows of the policy."""

    def __init__(self, texts: Iterator[str], asked: list[str]) -> None:
        self.texts, self.asked = texts, asked

    def __call__(self, _method: str, path: str, **_: Any) -> Obj:
        self.asked.append(path)
        text = next(self.texts) if "kubectl" in path else ""
        if text:
            raise KubeError(403, f"403 Forbidden: {text}")
        return {}


def servers(*texts: str) -> tuple[Any, list[str]]:
    """Each connection leads to the next server; the last goes on answering."""
    asked: list[str] = []
    left = list(texts)

    def connect() -> Server:
        text = left.pop(0) if len(left) > 1 else left[0]
        return Server(iter([text]), asked)

    return connect, asked


def test_a_server_that_still_has_the_policy_of_before_is_waited_for():
    connect, asked = servers("", "frozen 1a2b", "frozen 0000", "frozen 1a2b")
    rounds = wait(connect, [STRANGER, STACK], seconds=5, steady=0.05, pause=0.01)
    assert rounds > 4
    assert all("dryRun=All" in path for path in asked)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "a stranger creates: was let through"), ("no such mark", "a stranger creates: 403 Forbidden: no such mark")],
)
def test_what_was_answered_instead_is_said(text: str, said: str):
    connect, _ = servers(text)
    with pytest.raises(NotInForceError, match=said):
        wait(connect, [STRANGER, STACK], seconds=0.05, steady=0.02, pause=0.01)


def test_what_should_pass_and_is_refused_is_not_in_force_either():
    connect, _ = servers("not for you")
    passes = Probe(about="the stack creates", method="POST", path=PATH, manager="kubectl")
    with pytest.raises(NotInForceError, match="the stack creates: 403 Forbidden: not for you"):
        wait(connect, [passes], seconds=0.05, steady=0.02, pause=0.01)
