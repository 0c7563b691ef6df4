"""Containers that really run: those of a plain Python image that get their program from a ConfigMap.

Everything else in a sandbox only seems to run. A program that lives in a ConfigMap needs nothing that this machine
lacks, so what it does in the cluster is done here too: as a process, under the pod's own service account, with the
pod's arguments, environment and files. What a kubelet would give by its mounts and namespaces is put into the words of
the command instead: paths of mounts, and a loopback address for each pod, since each node has its own.

Its readiness probe is asked as a kubelet does, and `sandbox/ready` says the answer; a program that ends is started
again, more slowly each time.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sandbox import lifecycle, processes
from sandbox.processes import Process
from sandbox.world import READY, Controller, KubeError, World

__all__ = ["ContainerController", "controllers", "runs_here"]

log = logging.getLogger(__name__)

Json = dict[str, Any]
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_SECONDS = 3600
_PROBE_SECONDS = 1.0
_BACK_OFF = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a program that ended is started again; a kubelet's begin at ten."""
_GRACE_SECONDS = 10.0


def runs_here(pod: Json) -> bool:
    """Whether a pod is one whose container really runs."""
    containers = pod["spec"].get("containers") or []
    volumes = pod["spec"].get("volumes") or []
    if len(containers) != 1 or not any(volume.get("configMap") for volume in volumes):
        return False
    repository = str(containers[0].get("image", "")).partition("@")[0].rpartition("/")[2].partition(":")[0]
    return repository == "python" and bool(containers[0].get("command"))


@dataclass
class _Running:
    """A pod's process, and how it goes."""

    process: Process
    words: _Words
    asked: float = 0.0
    ended: int = 0
    again: float = 0.0


@dataclass(frozen=True)
class _Words:
    """What stands for a pod's mounts and loopback address in its command, environment and probes."""

    directory: Path
    loopback: str
    mounts: dict[str, Path] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def here(self, text: str) -> str:
        for path in sorted(self.mounts, key=len, reverse=True):
            place = str(self.mounts[path])
            # Only whole: what a mount is called may be part of the name of what is in it.
            text = re.sub(rf"(?<![\w./-]){re.escape(path)}(?=/|\s|$)", place.replace("\\", r"\\"), text)
        return text.replace("127.0.0.1", self.loopback)

    def argv(self, words: Iterable[str]) -> list[str]:
        found = [self.here(str(word)) for word in words]
        for name, value in self.environment.items():
            found = [word.replace(f"$({name})", value) for word in found]
        return [sys.executable, *found[1:]] if Path(found[0]).name.startswith("python") else found


class ContainerController:
    """Starts, probes and ends them."""

    name = "containers"

    def __init__(self, world: World) -> None:
        self._world = world
        self._pods = world.informer("/api/v1/pods")
        self._running: dict[str, _Running] = {}
        self._root = world.dir / lifecycle.CONTAINERS
        processes.sweep(self._root)

    def reconcile(self) -> None:
        there: set[str] = set()
        for pod in self._pods.list():
            if not runs_here(pod) or not pod["spec"].get("nodeName"):
                continue
            uid = pod["metadata"]["uid"]
            there.add(uid)
            if pod["metadata"].get("deletionTimestamp"):
                self._end(uid)
            elif (pod.get("status") or {}).get("phase") in ("Pending", "Running"):
                self._keep(uid, pod)
        for uid in set(self._running) - there:
            self._end(uid)

    # -- one pod ------------------------------------------------------------------------------------

    def _keep(self, uid: str, pod: Json) -> None:
        known = self._running.get(uid)
        if known is None:
            self._say(pod, ready=False)
            self._start(uid, pod, ended=0)
            return
        now = time.monotonic()
        if not known.process.alive():
            if known.again == 0.0:
                known.again = now + _BACK_OFF[min(known.ended, len(_BACK_OFF) - 1)]
                self._say(pod, ready=False)
            elif now >= known.again:
                self._start(uid, pod, ended=known.ended + 1)
            return
        if now - known.asked < _PROBE_SECONDS:
            return
        known.asked = now
        ready = self._probe(pod, known.words)
        if ready != ((pod["metadata"].get("annotations") or {}).get(READY, "true") == "true"):
            self._say(pod, ready=ready)

    def _start(self, uid: str, pod: Json, *, ended: int) -> None:
        directory = self._root / uid
        container = pod["spec"]["containers"][0]
        try:
            words = self._words(pod, container, directory)
        except KubeError as missing:  # a ConfigMap or an account that comes a moment later, as a kubelet waits for it
            log.info("pod %s waits: %s", pod["metadata"]["name"], missing)
            return
        process = processes.start(
            f"pod {pod['metadata']['name']}",
            words.argv([*container["command"], *(container.get("args") or [])]),
            log=self._world.dir / "logs" / f"pod-{pod['metadata']['name']}.log",
            cwd=directory,
            env=words.environment,
        )
        (directory / processes.RECORD).write_text(json.dumps(process.to_json()))
        self._running[uid] = _Running(process, words, ended=ended)

    def _end(self, uid: str) -> None:
        running = self._running.pop(uid, None)
        if running is not None:
            processes.stop([running.process], grace_seconds=_GRACE_SECONDS)
        shutil.rmtree(self._root / uid, ignore_errors=True)

    def _say(self, pod: Json, *, ready: bool) -> None:
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        with contextlib.suppress(KubeError):  # it may be gone
            self._world.patch(path, {"metadata": {"annotations": {READY: "true" if ready else "false"}}})

    # -- what a kubelet gives -----------------------------------------------------------------------

    def _words(self, pod: Json, container: Json, directory: Path) -> _Words:
        meta, spec = pod["metadata"], pod["spec"]
        number = zlib.crc32(meta["uid"].encode())
        words = _Words(directory, f"127.{number >> 16 & 63 | 64}.{number >> 8 & 255}.{number & 253 | 2}")
        volumes = {volume["name"]: volume for volume in spec.get("volumes") or []}
        for mount in container.get("volumeMounts") or []:
            place = directory / "mounts" / mount["name"]
            self._fill(place, volumes[mount["name"]], meta["namespace"], words.here)
            words.mounts[mount["mountPath"]] = place
        if spec.get("automountServiceAccountToken", True):
            words.mounts[ACCOUNT] = directory / "mounts" / "account"
            self._account(words.mounts[ACCOUNT], meta["namespace"], spec.get("serviceAccountName", "default"))
        host, port = self._server()
        environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        if ACCOUNT in words.mounts:
            environment["SERVICE_ACCOUNT_DIR"] = str(words.mounts[ACCOUNT])
        for variable in container.get("env") or []:
            environment[variable["name"]] = words.here(_value(variable, pod))
        words.environment.update({"PYTHONPATH": "", "PATH": os.environ.get("PATH", os.defpath), **environment})
        return words

    def _fill(self, place: Path, volume: Json, namespace: str, here: Callable[[str], str]) -> None:
        place.mkdir(parents=True, exist_ok=True)
        named = volume.get("configMap")
        if not named:
            return
        found = self._world.call("GET", f"/api/v1/namespaces/{namespace}/configmaps/{named['name']}")
        content = {key: here(text).encode() for key, text in (found.get("data") or {}).items()}
        content |= {key: base64.b64decode(text) for key, text in (found.get("binaryData") or {}).items()}
        for key, data in content.items():
            (place / key).write_bytes(data)

    def _account(self, place: Path, namespace: str, name: str) -> None:
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": _TOKEN_SECONDS},
        }
        answer = self._world.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", request)
        place.mkdir(parents=True, exist_ok=True)
        (place / "token").write_text(answer["status"]["token"])
        (place / "namespace").write_text(namespace)
        (place / "ca.crt").write_bytes(self._authority())

    def _kubeconfig(self) -> Json:
        found: Json = yaml.safe_load((self._world.dir / "kubeconfig").read_text())["clusters"][0]["cluster"]
        return found

    def _authority(self) -> bytes:
        cluster = self._kubeconfig()
        if "certificate-authority-data" in cluster:
            return base64.b64decode(cluster["certificate-authority-data"])
        return Path(cluster["certificate-authority"]).read_bytes()

    def _server(self) -> tuple[str, str]:
        host, _, port = self._kubeconfig()["server"].removeprefix("https://").rpartition(":")
        return host, port

    def _probe(self, pod: Json, words: _Words) -> bool:
        probe = pod["spec"]["containers"][0].get("readinessProbe")
        if not probe:
            return True
        seconds = float(probe.get("timeoutSeconds", 1))
        if "exec" in probe:
            argv = words.argv(probe["exec"]["command"])
            env = {**os.environ, **words.environment}
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                done = subprocess.run(
                    argv, env=env, cwd=words.directory, timeout=seconds, check=False, capture_output=True
                )
                return done.returncode == 0
            return False
        get = probe["httpGet"]
        url = f"http://{words.here(get.get('host', '127.0.0.1'))}:{get['port']}{get.get('path', '/')}"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=seconds) as answer:
            return bool(200 <= answer.status < 400)
        return False


def _value(variable: Json, pod: Json) -> str:
    """An environment variable, from the pod's own fields where it says so."""
    field_path = ((variable.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath")
    if not field_path:
        return str(variable.get("value", ""))
    found: Any = pod
    for step in field_path.split("."):
        found = (found or {}).get(step)
    return str(found or "")


controllers: list[Any] = [ContainerController]
_: type[Controller] = ContainerController
