"""One prover from its start to its end."""

import threading
import time
from typing import Final

from kube.lease import Lease
from kube.serving import Server
from kube.transport import KubeError, Streaming
from prover.options import Options
from prover.process import metrics
from prover.process.publish import Publisher
from prover.process.work import Worker
from prover.said import MOST_AGE

STUCK_SECONDS: Final = 300.0
"""A loop that did not come round for longer hangs: kubelet is to start this prover again."""
_LOOK_SECONDS: Final = 1.0


class Service:
    """One replica.

    Args:
        me: its name, one of its kind.
    """

    def __init__(self, transport: Streaming, options: Options, me: str) -> None:
        self._options = options
        self._lease = Lease(transport, namespace=options.namespace, name=options.lease, me=me)
        self.worker = Worker(transport, options)
        self.publisher = Publisher(transport, options, me, mine=lambda: self._lease.mine, state=self.worker.state)
        self.worker.told = self.publisher.wake
        self._stop = threading.Event()

    def stop(self) -> None:
        """End soon; `run` then returns."""
        self._stop.set()

    def run(self) -> None:
        """Work until `stop`.

        Raises:
            KubeError: the loop ended by itself.
        """
        server = None
        if self._options.listen:
            server = Server(
                self._options.listen, {"/readyz": self._ready, "/healthz": self._healthy, "/metrics": self._metrics}
            )
        self.worker.start()
        self._lease.start()
        self.publisher.start()
        try:
            while not self._stop.wait(_LOOK_SECONDS):
                if self.worker.failure:
                    raise KubeError(0, f"the prover ends: {self.worker.failure}")
        finally:
            self.worker.halt()
            self.publisher.halt()
            self.publisher.join(10.0)
            self._lease.halt()
            if server:
                server.close()

    def _ready(self) -> str | tuple[int, str]:
        """A replica that has proved and keeps up; a verdict that is not *equal* is no fault of it."""
        state = self.worker.state()
        if state.judgement is None:
            return 503, "it has not proved anything yet\n"
        if state.age > MOST_AGE:
            return 503, f"its verdict is {state.age:.0f} s old\n"
        why = f" ({state.judgement.why})" if state.judgement.why else ""
        return f"{state.judgement.verdict}{why}\n"

    def _healthy(self) -> str | tuple[int, str]:
        still = time.monotonic() - self.worker.alive_at
        if still > STUCK_SECONDS or not self.worker.is_alive():
            return 503, f"the loop has stood still for {still:.0f} s\n"
        return "alive\n"

    def _metrics(self) -> str:
        return metrics.exposition(self.worker.state(), publishes=self._lease.mine)
