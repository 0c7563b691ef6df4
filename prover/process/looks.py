"""What is looked at now and then, not watched: the bridge's Lease, Cilium's configuration, Calico's API group."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from kube.transport import KubeError, Obj, Transport
from prover import calico
from prover.known import version_of
from prover.options import Options
from prover.process import requests

log = logging.getLogger("prover")

BRIDGE_SECONDS: Final = 2.0
CONFIG_SECONDS: Final = 5.0
CALICO_SECONDS: Final = 15.0


@dataclass(frozen=True)
class Lease:
    """What the bridge's Lease is now."""

    there: Obj | None
    trouble: str = ""
    """Why it cannot be read."""


@dataclass(frozen=True)
class Config:
    """Cilium's configuration; None where there is none. And what is laid over it on some nodes."""

    data: dict[str, str] | None
    laid_over: tuple[Obj, ...] = ()


@dataclass(frozen=True)
class Calico:
    """Where Calico keeps its policies, and its version where it tells it."""

    api: str
    version: tuple[int, int] | None
    trouble: str = ""
    """Why that cannot be told."""


@dataclass(frozen=True)
class Blind:
    """Something of this cannot be read now; `text` is empty when it can again."""

    what: str
    text: str


class Looks(threading.Thread):
    """Looks, and puts what it saw into the queue of whoever decides."""

    def __init__(self, transport: Transport, options: Options, events: "queue.SimpleQueue[Any]") -> None:
        super().__init__(name="looks", daemon=True)
        self._transport, self._options, self._events = transport, options, events
        self._halted = threading.Event()
        self._troubled: dict[str, str] = {}

    def halt(self) -> None:
        self._halted.set()

    def run(self) -> None:
        every: list[tuple[float, str, Callable[[], object]]] = [
            (CALICO_SECONDS, "Calico", self._calico),
            (CONFIG_SECONDS, "Cilium's configuration", self._config),
        ]
        if self._options.bridge:
            every.append((BRIDGE_SECONDS, "bridge", self._bridge))
        due = [0.0] * len(every)
        while not self._halted.is_set():
            for at, (seconds, what, look) in enumerate(every):
                if time.monotonic() >= due[at]:
                    due[at] = time.monotonic() + seconds
                    self._look(what, look)
            self._halted.wait(max(0.05, min(due) - time.monotonic()))

    def _look(self, what: str, look: Callable[[], object]) -> None:
        try:
            self._events.put(look())
            trouble = ""
        except KubeError as error:
            trouble = str(error)
        except Exception as error:  # a thread that ends unnoticed would leave its reader with what was
            trouble = f"{type(error).__name__}: {error}"
        if trouble != self._troubled.get(what, ""):
            self._troubled[what] = trouble
            if trouble:
                log.warning("cannot look at %s: %s", what, trouble)
            self._events.put(Blind(what, trouble))

    def _bridge(self) -> Lease:
        try:
            return Lease(requests.bridge_lease(self._transport, self._options))
        except KubeError as error:
            return Lease(None, str(error))

    def _config(self) -> Config:
        data = requests.cilium_config(self._transport, self._options)
        return Config(data, tuple(requests.listed(self._transport, requests.node_configs(self._options))))

    def _calico(self) -> Calico:
        ask = self._transport
        runs = requests.listed(ask, requests.DAEMONSETS)
        migrations = requests.listed(ask, calico.MIGRATIONS)
        api = calico.chosen(runs, migrations, lambda group: requests.served(ask, group))
        images = [str(c.get("image", "")) for d in runs for c in d["spec"]["template"]["spec"].get("containers") or []]
        trouble = ""
        if calico.moving(migrations):
            trouble = "a DatastoreMigration moves Calico's objects from one API group to the other. Wait for its end"
        elif runs and not requests.traces(ask, api):
            trouble = (
                f"calico-node runs and nothing of Calico is under {api}: where its policies are cannot be told. "
                "Look at `kubectl get --raw /apis` and the DaemonSet calico-node"
            )
        return Calico(api, version_of(images[0]) if images else None, trouble)
