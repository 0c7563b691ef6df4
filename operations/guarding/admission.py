"""Waits until an admission policy is in force: its answers are asked for, because nothing else tells.

An API server learns of a changed policy, binding or parameter a moment later, each API server for itself. So dry runs
are sent, each over a connection of its own (a load balancer may lead it to any of the servers), until every answer is
the expected one for some seconds on end.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kube.transport import KubeError, Transport
from reading.failure import Failure

STEADY_SECONDS: Final = 5.0
"""For so long every answer has to be the expected one; an API server's informers are far quicker when they are well."""
WAIT_SECONDS: Final = 120.0
PAUSE: Final = 0.5
FORBIDDEN, INVALID = 403, 422
"""What a refusal by a policy looks like: `reason: Forbidden`, and the default."""


class NotInForceError(Failure):
    """Admission does not answer as the declared policy would. The text says what was asked and answered."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A request that changes nothing, and the answer that a policy in force gives to it."""

    about: str
    """For people: who does what."""
    method: str
    path: str
    """Without a query; `dryRun` and `manager` are added."""
    body: Any = None
    content_type: str = ""
    manager: str = ""
    """Field manager of the request; empty: none is sent."""
    refusal: str = ""
    """Text that a refusal holds. Empty: the request passes admission."""

    def answer(self, transport: Transport) -> str:
        """Empty when the answer is the expected one, else what it was."""
        query = "?dryRun=All" + (f"&fieldManager={self.manager}" if self.manager else "")
        try:
            answer = transport.send(self.method, self.path + query, body=self.body, content_type=self.content_type)
            answer.value()
        except KubeError as error:
            refused = error.status in {FORBIDDEN, INVALID}
            if self.refusal and refused and self.refusal in str(error):
                return ""
            return f"{self.about}: {error}"
        return f"{self.about}: was let through" if self.refusal else ""


def wait(
    connect: Callable[[], Transport],
    probes: Sequence[Probe],
    *,
    seconds: float = WAIT_SECONDS,
    steady: float = STEADY_SECONDS,
    pause: float = PAUSE,
) -> int:
    """Wait until every probe has had its expected answer for `steady` seconds on end.

    Args:
        connect: makes a transport with connections of its own.

    Returns:
        How many rounds of probes were sent.

    Raises:
        NotInForceError: it was not so within `seconds`.
    """
    end = time.monotonic() + seconds
    since: float | None = None
    rounds = 0
    while True:
        transport = connect()
        wrong = [text for probe in probes if (text := probe.answer(transport))]
        rounds, now = rounds + 1, time.monotonic()
        if wrong:
            since = None
        elif since is None:
            since = now
        if since is not None and now - since >= steady:
            return rounds
        if now >= end:
            said = "\n".join(f"  - {text}" for text in wrong or ["the answers changed until the end"])
            raise NotInForceError(f"admission does not answer as declared after {seconds:.0f} s:\n{said}")
        time.sleep(pause)
