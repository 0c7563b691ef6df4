"""The bridge under load: `python benchmarks/bridge.py [--pods N] [--rate N] [--seconds N]`.

A real control plane, so many pods on legacy nodes, and one bridge as a process under its service account's rights. Then
so many changes a second: pods come, get an address, are relabelled and go. A change counts as done when the endpoint
(and its identity) says the right thing in the API, as a watch of its own sees it; the time runs from the moment at
which the change itself was answered. The last line is one JSON object: pods, p99_s, peak_mb, missed, and more, such as
the window of a new pod: how long after its address it is not yet what it is to Cilium (window_median_s, window_p99_s).
"""

# ruff: noqa: S311

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kubernetes import watch

from sandbox import lifecycle
from tests.engine.bridge_cluster import ENDPOINTS, IDENTITIES, Api, Bridges, control_plane, eventually

NAMESPACES = 20
APPS = 200
LATE = 2.0
"""Seconds within which 99 of 100 changes are to be done."""


@dataclass
class Watched:
    """What a watch sees: since when an endpoint says what."""

    api: Api
    labels: dict[int, dict[str, str]] = field(default_factory=dict)
    endpoints: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    """(namespace, name) -> (identity, address)."""
    changed: threading.Condition = field(default_factory=threading.Condition)

    def start(self) -> None:
        for kind in (IDENTITIES, ENDPOINTS):
            threading.Thread(target=self._follow, args=(kind,), daemon=True).start()

    def _follow(self, kind: str) -> None:
        while True:
            for event in watch.Watch().stream(
                self.api.custom.list_cluster_custom_object, "cilium.io", "v2", kind, timeout_seconds=600
            ):
                self._see(kind, event["type"] == "DELETED", event["object"])

    def _see(self, kind: str, gone: bool, obj: dict[str, Any]) -> None:
        name = obj["metadata"]["name"]
        with self.changed:
            if kind == IDENTITIES:
                self.labels[int(name)] = obj["security-labels"]
            else:
                key = (obj["metadata"]["namespace"], name)
                self.endpoints.pop(key, None)
                if not gone:
                    status = obj["status"]
                    address = status["networking"]["addressing"][0]["ipv4"]
                    self.endpoints[key] = (int(status["identity"]["id"]), address)
            self.changed.notify_all()

    def says(self, key: tuple[str, str], app: str, address: str) -> bool:
        """Whether an endpoint is right; `app` empty: whether it is gone."""
        found = self.endpoints.get(key)
        if not app:
            return found is None
        return found is not None and found[1] == address and self.labels.get(found[0], {}).get("k8s:app") == app


@dataclass
class Load:
    """Pods, and what happens to them."""

    api: Api
    watched: Watched
    rng: random.Random = field(default_factory=lambda: random.Random(20261128))
    pods: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """Key -> (app, address)."""
    took: list[float] = field(default_factory=list)
    made_in: list[float] = field(default_factory=list)
    """Of new pods alone: from the answer that gave a pod its address until its identity was in the API, seconds."""
    missed: int = 0
    _made: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def make(self, *, wait: bool = True) -> None:
        """One more pod, with an address."""
        with self._lock:
            self._made += 1
            n = self._made
        key = (f"space-{n % NAMESPACES}", f"pod-{n}")
        app, address = f"app-{n % APPS}", f"10.{64 + n // 65_536}.{n // 256 % 256}.{n % 256}"
        self.api.pod(key[1], address, namespace=key[0], labels={"app": app})
        if wait:
            self.made_in.append(self._await(key, app, address))
        with self._lock:
            self.pods[key] = (app, address)

    def change(self) -> None:
        """Something happens to some pod."""
        what = self.rng.choice(("make", "drop", "relabel", "relabel"))
        if what == "make":
            self.make()
            return
        with self._lock:
            key = self.rng.choice(list(self.pods))
            app, address = self.pods.pop(key)
        if what == "drop":
            self.api.delete(key[1], key[0])
            self._await(key, "", address)
            return
        app = f"app-{self.rng.randrange(APPS)}"
        self.api.core.patch_namespaced_pod(key[1], key[0], {"metadata": {"labels": {"app": app}}})
        self._await(key, app, address)
        with self._lock:
            self.pods[key] = (app, address)

    def _await(self, key: tuple[str, str], app: str, address: str) -> float:
        begun = time.monotonic()
        with self.watched.changed:
            while not self.watched.says(key, app, address):
                if time.monotonic() - begun > 60:
                    self.missed += 1
                    return time.monotonic() - begun
                self.watched.changed.wait(1.0)
        self.took.append(time.monotonic() - begun)
        return self.took[-1]


def peak_mb(pid: int) -> float:
    """Most memory that a process had so far, MB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def run(pods: int, rate: int, seconds: int) -> dict[str, Any]:
    """The whole benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "sandbox"
        try:
            api = control_plane(directory, lambda text: print(text, file=sys.stderr))
            for n in range(NAMESPACES):
                api.namespace(f"space-{n}", team=f"team-{n % 4}")
            return _measured(api, Bridges(api, Path(folder) / "bridge"), pods, rate, seconds)
        finally:
            lifecycle.down(directory, lambda text: print(text, file=sys.stderr), purge=True)


def _measured(api: Api, bridges: Bridges, pods: int, rate: int, seconds: int) -> dict[str, Any]:
    watched = Watched(api)
    load = Load(api, watched)
    try:
        with ThreadPoolExecutor(64) as pool:
            made = [pool.submit(load.make, wait=False) for _ in range(pods)]
            for one in made:
                one.result()
            print(f"{len(load.pods)} pods", file=sys.stderr)
            begun = time.monotonic()
            process = bridges.start("bench")
            watched.start()
            eventually(lambda: len(watched.endpoints) >= pods, 600)
            first = time.monotonic() - begun
            load.took.clear()
            begun = time.monotonic()
            done = []
            for n in range(rate * seconds):
                time.sleep(max(0.0, begun + n / rate - time.monotonic()))
                done.append(pool.submit(load.change))
            for one in done:
                one.result()
        took = sorted(load.took)
        return {
            "pods": pods,
            "p99_s": round(took[int(len(took) * 0.99)], 3),
            "peak_mb": round(peak_mb(process.pid), 1),
            "missed": load.missed,
            "median_s": round(statistics.median(took), 3),
            "window_median_s": round(statistics.median(load.made_in), 3),
            "window_p99_s": round(sorted(load.made_in)[int(len(load.made_in) * 0.99)], 3),
            "changes": len(took),
            "offered_per_s": rate,
            "carried_per_s": round(len(took) / (time.monotonic() - begun), 1),
            "first_sync_s": round(first, 1),
        }
    finally:
        bridges.end()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--rate", type=int, default=50, help="changes a second")
    parser.add_argument("--seconds", type=int, default=60)
    args = parser.parse_args()
    found = run(args.pods, args.rate, args.seconds)
    print(json.dumps(found))
    return int(found["p99_s"] > LATE or found["missed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
