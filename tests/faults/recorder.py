"""Watches a cluster and its account from outside, in a process of its own: `python -m tests.faults.recorder FILE`.

Standard input holds one JSON object: kubeconfig, AWS endpoint, region. FILE gets one JSON line for each change. It uses
no code of the refresh, and it is told nothing about what a refresh is doing.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

import boto3
import urllib3
from kubernetes import config
from kubernetes.client import Configuration

from tests.faults import history

KINDS = {
    "pods": ("/api/v1/pods", history.pod),
    "budgets": ("/apis/policy/v1/poddisruptionbudgets", history.budget),
    "nodes": ("/api/v1/nodes", history.node),
}
BETWEEN_LOOKS = 0.1
"""Seconds between two looks at the account."""
SERVED = 1.0
"""Who got connections so many seconds before its end was cut off; shorter than the deregistration delay in the tests."""


class Recorder:
    """Writes what it sees, one line at a time."""

    def __init__(self, out: TextIO, kubeconfig: str, endpoint: str, region: str) -> None:
        self.out, self.lock = out, threading.Lock()
        settings = Configuration()
        config.load_kube_config(kubeconfig, client_configuration=settings)
        self.host = settings.host
        self.pool = urllib3.PoolManager(
            num_pools=2, maxsize=8, ca_certs=settings.ssl_ca_cert, cert_file=settings.cert_file, key_file=settings.key_file
        )  # fmt: skip
        keys = {"aws_access_key_id": "sandbox", "aws_secret_access_key": "sandbox"}
        session = boto3.Session(region_name=region, **keys)  # type: ignore[arg-type]
        self.scaling: Any = session.client("autoscaling", endpoint_url=endpoint)
        self.elb: Any = session.client("elbv2", endpoint_url=endpoint)

    def write(self, line: dict[str, Any]) -> None:
        with self.lock:
            self.out.write(json.dumps({"at": time.time(), **line}, separators=(",", ":")) + "\n")
            self.out.flush()

    # -- the API server -------------------------------------------------------------------------

    def follow(self, kind: str) -> None:
        """Every change of a kind, through restarts of the API server: the watch goes on from the last version."""
        version = ""
        while True:
            try:
                version = self._watch(kind, version) if version else self._list(kind)
            except (urllib3.exceptions.HTTPError, OSError):
                time.sleep(0.1)
            except _Expired:
                version = ""

    def _list(self, kind: str) -> str:
        path, make = KINDS[kind]
        answer = self.pool.request("GET", self.host + path, timeout=10, retries=False)
        if answer.status != 200:
            raise OSError(str(answer.status))
        body = json.loads(answer.data)
        for item in body["items"]:
            self._event(kind, gone=False, obj=item, make=make)
        return str(body["metadata"]["resourceVersion"])

    def _watch(self, kind: str, version: str) -> str:
        path, make = KINDS[kind]
        url = f"{self.host}{path}?watch=1&allowWatchBookmarks=true&resourceVersion={version}"
        stream = self.pool.request("GET", url, preload_content=False, timeout=urllib3.Timeout(5, 90), retries=False)
        rest = b""
        if stream.status != 200:
            stream.close()
            raise _Expired if stream.status == 410 else OSError(str(stream.status))
        try:
            while chunk := stream.read1():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in filter(None, lines):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise _Expired
                    if event["type"] != "BOOKMARK":
                        self._event(kind, gone=event["type"] == "DELETED", obj=event["object"], make=make)
                    version = event["object"]["metadata"]["resourceVersion"]
        except (urllib3.exceptions.HTTPError, OSError):
            time.sleep(0.05)
        finally:
            stream.close()
        return version

    def _event(self, kind: str, *, gone: bool, obj: Any, make: Any) -> None:
        version = int(obj["metadata"]["resourceVersion"])
        self.write({"type": "event", "kind": kind, "version": version, "gone": gone, "value": make(obj)})

    # -- the account ----------------------------------------------------------------------------

    def look(self) -> None:
        """Instances that end, and whether a target group sent them connections until then."""
        seen: set[str] = set()
        serving: dict[str, tuple[float, list[str]]] = {}
        while True:
            try:
                serving |= {name: (time.monotonic(), groups) for name, groups in self._serving().items()}
                for group in self.scaling.describe_auto_scaling_groups()["AutoScalingGroups"]:
                    for instance in group["Instances"]:
                        name, state = instance["InstanceId"], instance["LifecycleState"]
                        if state.startswith("Terminat") and name not in seen:
                            seen.add(name)
                            last, groups = serving.get(name, (0.0, []))
                            just_now = time.monotonic() - last < SERVED
                            self.write({"type": "ended", "instance": name, "serving": groups if just_now else []})
            except Exception as problem:
                self.write({"type": "trouble", "text": str(problem)})
            time.sleep(BETWEEN_LOOKS)

    def _serving(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for group in self.elb.describe_target_groups()["TargetGroups"]:
            arn = group["TargetGroupArn"]
            for target in self.elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]:
                if target["TargetHealth"]["State"] in ("healthy", "initial", "unhealthy"):
                    found.setdefault(target["Target"]["Id"], []).append(group["TargetGroupName"])
        return found


class _Expired(Exception):
    """The version is too old."""


def read(path: Path) -> tuple[list[history.Event], list[history.Ended]]:
    """What has been written so far."""
    events, ended = list[history.Event](), list[history.Ended]()
    for line in path.read_text().splitlines():
        found = json.loads(line)
        kind = found.pop("type")
        if kind == "event":
            events.append(history.Event(**found))
        elif kind == "ended":
            ended.append(
                history.Ended(at=found["at"], instance=found["instance"], asked=False, serving=tuple(found["serving"]))
            )
    return events, ended


def main() -> None:
    given = json.load(sys.stdin)
    with Path(sys.argv[1]).open("a") as out:
        recorder = Recorder(out, given["kubeconfig"], given["endpoint"], given["region"])
        for kind in KINDS:
            threading.Thread(target=recorder.follow, args=(kind,), daemon=True).start()
        recorder.look()


if __name__ == "__main__":
    main()
