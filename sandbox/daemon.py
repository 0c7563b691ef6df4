"""The one background process of a sandbox: AWS endpoint, token webhook, controllers.

`python -m sandbox.daemon --dir DIR --port P` serves at once; the controllers begin when the API server
of DIR/kubeconfig answers. It ends on SIGTERM or SIGINT, and when the process that started it is gone
and `--parent` names it.
"""

from __future__ import annotations

import argparse
import base64
import importlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from sandbox.aws import Aws, Endpoint, Settings
from sandbox.aws.server import warm_up
from sandbox.world import Controller, World, connect

__all__ = ["CONTROLLERS", "main"]

log = logging.getLogger("sandbox.daemon")

Factory = Callable[[World], Controller]
CONTROLLERS: list[Factory] = []
"""Factories of all controllers: the AWS side's own and those of `sandbox.operators`."""

_PERIOD = 0.25  # seconds between two calls of a controller that nothing woke
_PAUSE = 0.02  # seconds in which a burst of changes becomes one call
_MODULES = (
    "sandbox.cluster.nodes",
    "sandbox.cluster.nodegroups",
    "sandbox.cluster.addons",
    "sandbox.operators",
    "sandbox.cluster.containers",
)


def load_controllers() -> list[Factory]:
    """The factories in the `controllers` lists of the modules that have controllers."""
    found: list[Factory] = []
    for name in _MODULES:
        try:
            module: Any = importlib.import_module(name)
        except ModuleNotFoundError as missing:
            if missing.name != name:
                raise
            log.warning("%s is not there: its controllers do not run", name)
            continue
        found.extend(module.controllers)
    return found


def kubernetes_of(directory: Path) -> tuple[str, str]:
    """(server URL, CA certificate in base64) out of DIR/kubeconfig, empty strings before it exists."""
    path = directory / "kubeconfig"
    if not path.exists():
        return "", ""
    cluster = yaml.safe_load(path.read_text(encoding="utf-8"))["clusters"][0]["cluster"]
    authority = cluster.get("certificate-authority-data")
    if authority is None and "certificate-authority" in cluster:
        authority = base64.b64encode(Path(cluster["certificate-authority"]).read_bytes()).decode()
    return cluster["server"], authority or ""


def _run(controller: Controller, wakeup: threading.Event, stop: threading.Event) -> None:
    while not stop.is_set():
        wakeup.wait(_PERIOD)
        stop.wait(_PAUSE)
        wakeup.clear()
        try:
            controller.reconcile()
        except Exception:
            log.exception("controller %s failed in this round; it goes on with the next", controller.name)


def _await_api_server(directory: Path, aws: Aws, stop: threading.Event) -> World | None:
    while not stop.is_set():
        try:
            if (directory / "kubeconfig").exists():
                world = World(directory, connect(directory / "kubeconfig"), aws)
                if world.open("GET", "/readyz", None, "application/json", {}).status == 200:
                    return world
        except Exception as problem:
            log.debug("the API server does not answer yet: %s", problem)
        stop.wait(0.2)
    return None


def _control(directory: Path, aws: Aws, stop: threading.Event) -> None:
    world = _await_api_server(directory, aws, stop)
    if world is None:
        return
    for factory in CONTROLLERS:
        wakeup = threading.Event()
        try:
            controller = factory(world.for_controller(wakeup))
        except Exception:
            log.exception("the controller of %s cannot start", factory)
            continue
        arguments = (controller, wakeup, stop)
        threading.Thread(target=_run, args=arguments, name=controller.name, daemon=True).start()
        log.info("controller %s runs", controller.name)


def main(arguments: list[str] | None = None) -> int:
    """Run until told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.daemon", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="directory of the sandbox")
    parser.add_argument("--port", type=int, required=True, help="port of the AWS endpoint on 127.0.0.1")
    parser.add_argument("--parent", type=int, help="end when this process is gone")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=os.environ.get("SANDBOX_LOG", "INFO"),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    directory: Path = options.dir.resolve()
    region = os.environ.get("AWS_REGION", "eu-west-1")
    aws = Aws(directory / "aws.json", region, Settings(directory / "world.json"))
    aws.kubernetes = lambda: kubernetes_of(directory)
    endpoint = Endpoint(aws, options.port).start()
    log.info("AWS endpoint %s, region %s", endpoint.url, region)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    warm_up()
    CONTROLLERS.extend(load_controllers())
    threading.Thread(target=_control, args=(directory, aws, stop), name="control", daemon=True).start()
    while not stop.wait(0.5):
        if options.parent and not _alive(options.parent):
            log.info("process %s is gone: ending too", options.parent)
            break
    stop.set()
    time.sleep(_PAUSE)
    endpoint.stop()
    return 0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    os._exit(code)  # the state is written; threads that wait for open watches would hold up a normal exit
