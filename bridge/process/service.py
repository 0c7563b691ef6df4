"""One bridge from its start to its end: it refuses where it cannot work, takes its turn, and says how it goes."""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote

from bridge import refuses
from bridge.known import Known
from bridge.names import NAME
from bridge.options import Cilium, Options
from bridge.process import metrics
from bridge.process.lease import lease
from bridge.process.requests import NODE_CONFIGS
from bridge.process.work import Worker
from kube import events
from kube.serving import Server
from kube.transport import KubeError, Streaming, Transport

log = logging.getLogger("bridge")

CONFIG_SECONDS: Final = 5.0
STUCK_SECONDS: Final = 60.0
"""A loop that did not come round for longer hangs: kubelet is to start this bridge again."""


class Refused(Exception):
    """This cluster is none that the bridge can work in; the text says why, and how to change that."""


def config_of(transport: Transport, options: Options) -> dict[str, str] | None:
    """Cilium's configuration; None when there is none.

    Raises:
        KubeError: it cannot be read.
    """
    path = f"/api/v1/namespaces/{quote(options.namespace)}/configmaps/{quote(options.cilium_config)}"
    answer = transport.send("GET", path, seconds=5.0)
    if answer.status == 404:
        return None
    return {str(key): str(value) for key, value in (answer.value().get("data") or {}).items()}


def laid_over(transport: Transport, options: Options) -> dict[str, dict[str, str]]:
    """What CiliumNodeConfigs say, by their names; empty where the kind is not served.

    Raises:
        KubeError: they cannot be read.
    """
    path = NODE_CONFIGS.format(namespace=quote(options.namespace))
    answer = transport.send("GET", path, seconds=5.0)
    if answer.status == 404:
        return {}
    found = answer.value().get("items") or []
    return {
        str(one["metadata"]["name"]): {
            str(key): str(value) for key, value in ((one.get("spec") or {}).get("defaults") or {}).items()
        }
        for one in found
    }


@dataclass(frozen=True)
class Told:
    """Cilium's configuration: of all agents, and of those of some nodes."""

    config: Mapping[str, str] | None
    laid_over: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, transport: Transport, options: Options) -> Self:
        """As it is now. Raises KubeError."""
        return cls(config_of(transport, options), laid_over(transport, options))


def accepted(told: Told, options: Options) -> Cilium:
    """What of Cilium's configuration decides about identities.

    Raises:
        Refused: the bridge cannot work under it.
    """
    text = refuses.text(told.config, f"ConfigMap {options.namespace}/{options.cilium_config}", told.laid_over)
    if text or told.config is None:
        raise Refused(text)
    return Cilium.of(told.config)


class Service:
    """A running bridge.

    Args:
        me: name of this replica, one of its kind.
    """

    def __init__(self, transport: Streaming, options: Options, me: str) -> None:
        self._transport, self._options = transport, options
        self._config = self._first_config()
        known = Known(options, accepted(self._config, options))
        self._lease = lease(transport, options, me=me, step=lambda: self.worker.step().as_json())
        self.worker = Worker(transport, known, mine=lambda: self._lease.mine)
        self._stop = threading.Event()
        self._told, self._told_at = "", float("-inf")

    def _first_config(self) -> Told:
        for wait in (0.2, 0.5, 1.0, 2.0, 4.0):
            try:
                return Told.read(self._transport, self._options)
            except KubeError as error:
                if error.status in (401, 403):
                    raise
                log.warning("cannot read Cilium's configuration: %s", error)
                time.sleep(wait)
        return Told.read(self._transport, self._options)

    def stop(self) -> None:
        """End soon; `run` then returns."""
        self._stop.set()

    def run(self) -> None:
        """Work until `stop`.

        Raises:
            Refused: Cilium's configuration became one that it cannot work under.
        KubeError: the loop ended by itself.
        """
        server = None
        if self._options.listen:
            server = Server(
                self._options.listen, {"/readyz": self.ready, "/healthz": self._healthy, "/metrics": self._metrics}
            )
        self.worker.start()
        self._lease.start()
        try:
            while not self._stop.wait(CONFIG_SECONDS):
                if self.worker.failure:
                    raise KubeError(0, f"the bridge ends: {self.worker.failure}")
                self._look_at_config()
                self._tell()
        finally:
            # Writes that are under way end before anybody else may take the Lease.
            self.worker.halt()
            self.worker.join(15.0)
            self._lease.halt()
            if server:
                server.close()

    def late(self) -> str:
        """Why this bridge is not in step; empty while it is."""
        if self._lease.said.leaving:
            return f"the bridge leaves this cluster since {self._lease.said.leaving}"
        return self.worker.step().late(self._options.late_seconds)

    def ready(self) -> str | tuple[int, str]:
        """What kubelet is told. A bridge that was told to leave does what it should: it is no less ready for that, or
        both replicas would be missing at once before their Deployment goes."""
        if self._lease.said.leaving:
            return f"it leaves since {self._lease.said.leaving}\n"
        late = self.late()
        return (503, f"out of step: {late}\n") if late else "in step\n"

    def _healthy(self) -> str | tuple[int, str]:
        still = time.monotonic() - self.worker.alive_at
        if still > STUCK_SECONDS or not self.worker.is_alive():
            return (503, f"the loop has stood still for {still:.0f} s\n")
        return "alive\n"

    def _metrics(self) -> str:
        worker = self.worker
        return metrics.exposition(worker.step(), late=self.late(), writes=worker.writes, counts=worker.counts.copy())

    def _look_at_config(self) -> None:
        try:
            config = Told.read(self._transport, self._options)
        except KubeError as error:
            log.warning("cannot read Cilium's configuration: %s", error)
            return
        if config != self._config:
            cilium = accepted(config, self._options)
            log.info("Cilium's configuration changed: everything is looked at again")
            self._config = config
            self.worker.configured(lambda known: known.configure(cilium))

    def _tell(self) -> None:
        """One replica says when the bridge falls out of step, and when it is in step again."""
        if not self._lease.mine or not self.worker.step().complete:
            return
        late, now = self.late(), time.monotonic()
        if bool(late) == bool(self._told) and (not late or now - self._told_at < events.AGAIN):
            return
        trouble = events.tell(
            self._transport,
            by=NAME,
            about={
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "namespace": self._options.namespace,
                "name": self._options.lease,
            },
            reason="OutOfStep" if late else "InStep",
            text=f"The identity bridge is out of step: {late}" if late else "The identity bridge is in step again",
            warning=bool(late),
        )
        if trouble:
            log.warning("cannot make an Event: %s", trouble)
        self._told, self._told_at = late, now
