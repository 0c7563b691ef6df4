"""An emulated account without a control plane, and the stand-in driven as the engine drives it, but in this process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox.aws import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Aws, Endpoint, Settings
from sandbox.aws.eks.core import finish_update
from sandbox.plugins.aws.provider import AwsProvider
from sandbox.plugins.operation import Diff, Operation, State

REGION = "eu-west-1"


class World:
    """The account, its network, and a thread that plays the cluster: add-ons roll out, nodes join and drain."""

    def __init__(self, directory: Path) -> None:
        self.aws = Aws(directory / "aws.json", REGION, Settings(directory / "world.json"))
        self.directory = directory
        self.aws.kubernetes = lambda: ("https://127.0.0.1:1", "Y2E=")
        self.endpoint = Endpoint(self.aws).start()
        self.degraded: set[str] = set()
        self.joining = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def environment(self) -> dict[str, str]:
        """What a process that uses the account exports."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint.url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self.endpoint.stop()

    def _play(self) -> None:
        while not self._stop.wait(0.05):
            with self.aws.change():
                addons = self.aws.table("eks.addons")
                for key, addon in list(addons.items()):
                    self._roll_out(addons, key, addon)
                for instance in self.aws.table("ec2.instances").values():
                    if self.joining:
                        instance["node"] = {"name": instance["InstanceId"], "ready": True}
                    if "drain" in instance:
                        instance["drain"]["done"] = True

    def _roll_out(self, addons: dict[str, Any], key: str, addon: dict[str, Any]) -> None:
        if addon["status"] == "DELETING":
            del addons[key]
        elif key in self.degraded:
            issue = {"code": "InsufficientNumberOfReplicas", "message": "no node", "resourceIds": []}
            addon["status"], addon["health"] = "DEGRADED", {"issues": [issue]}
        elif addon["status"] != "ACTIVE":
            addon["status"], addon["health"] = "ACTIVE", {"issues": []}
            task = addon.pop("task", {})
            if task.get("update"):
                finish_update(self.aws, self.aws.table("eks.updates")[task["update"]])


@contextmanager
def running(directory: Path) -> Iterator[World]:
    """A world whose variables are set in this process."""
    directory.mkdir(parents=True, exist_ok=True)
    world = World(directory)
    before = dict(os.environ)
    os.environ.update(world.environment())
    try:
        yield world
    finally:
        os.environ.clear()
        os.environ.update(before)
        world.stop()


class Driver:
    """The calls of the engine, with plain values."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.provider = AwsProvider()
        self.provider.configure(config or {})

    def operation(self, name: str = "thing", *, preview: bool = False, timeout: float = 0) -> Operation:
        return Operation(self.provider, name=name, preview=preview, timeout=timeout)

    def check(self, token: str, news: dict[str, Any], olds: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.provider.resource(token).check(self.operation(), olds or {}, news)

    def create(self, token: str, news: dict[str, Any], *, timeout: float = 0) -> State:
        inputs = self.check(token, news)
        id, outputs = self.provider.resource(token).create(self.operation(timeout=timeout), inputs)
        return State(id, inputs, outputs)

    def diff(self, token: str, state: State, news: dict[str, Any]) -> Diff:
        inputs = self.check(token, news, state.inputs)
        return self.provider.resource(token).diff(self.operation(), state, inputs)

    def preview(self, token: str, state: State | None, news: dict[str, Any]) -> dict[str, Any]:
        inputs = self.check(token, news, state.inputs if state else {})
        return self.provider.resource(token).preview(self.operation(preview=True), state, inputs)

    def read(self, token: str, id: str, state: State | None = None) -> State | None:
        return self.provider.resource(token).read(self.operation(), id, state)

    def update(self, token: str, state: State, news: dict[str, Any]) -> State:
        inputs = self.check(token, news, state.inputs)
        return State(state.id, inputs, self.provider.resource(token).update(self.operation(), state, inputs))

    def delete(self, token: str, state: State) -> None:
        self.provider.resource(token).delete(self.operation(), state)
