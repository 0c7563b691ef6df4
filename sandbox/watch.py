"""An independent witness: `python -m sandbox.watch --dir DIR --out FILE` writes every violation as a JSON line.

It looks at the API server and the AWS endpoint only, and shares no state with what it watches. Events of all kinds
are put back into the order in which the API server stored them (by resourceVersion, after a short delay), so that
two kinds can be compared. Lines: `{at, rule, object, detail, severity}`, and once more with `seconds` when it ended;
the last line, written on SIGTERM or SIGINT, is the summary. The rules are those of `sandbox.watch_rules`.
"""

from __future__ import annotations

import argparse
import heapq
import json
import logging
import queue
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import boto3
import urllib3
from botocore.config import Config
from kubernetes.client import ApiClient

from sandbox.operators import kube
from sandbox.operators.kube import Kind, Object
from sandbox.watch_rules import INFORMATION, RULES, WATCHED, Finding, Watcher
from sandbox.world import connect

log = logging.getLogger("sandbox.watch")

_ORDER_SECONDS = 0.4
"""How long an event waits for older ones of other kinds to arrive."""
_POLL_SECONDS = 0.2
_WATCH_SECONDS = 300
_LIST_SECONDS = 30
_PATIENCE_SECONDS = 20

Event = tuple[int, int, float, Kind, str, Object]
"""resourceVersion, sequence number, arrival, kind, event, object."""


Arrivals = queue.SimpleQueue[tuple[int, Kind, str, Object]]
Reading = tuple[float, dict[str, str], dict[str, dict[str, str]]]


class Stream(threading.Thread):
    """List and watch of one kind. Objects that vanished during a break come as DELETED."""

    def __init__(self, client: ApiClient, kind: Kind, out: Arrivals) -> None:
        super().__init__(name=f"watch {kind.plural}", daemon=True)
        self.kind = kind
        self.breaks = 0
        self.listed = threading.Event()
        self._client = client
        self._out = out
        self._known: dict[tuple[str, str], Object] = {}

    def run(self) -> None:
        """Never ends: the process does."""
        while True:
            try:
                revision = self._list()
                while revision:
                    revision = self._follow(revision)
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as problem:
                self.breaks += self.listed.is_set()
                log.warning("%s: %s", self.name, problem)
            except Exception:
                # A thread that died would see nothing more, and nobody would hear of it.
                self.breaks += 1
                log.exception("%s", self.name)
            time.sleep(0.5)

    def _open(self, **query: str) -> urllib3.BaseHTTPResponse:
        """Asked again while the server says "not now", as it does for a kind whose definition is new: nothing is missed
        by that, because a watch goes on from the revision that it names."""
        pool: urllib3.PoolManager = self._client.rest_client.pool_manager
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            response = pool.request(
                "GET",
                self._client.configuration.host + self.kind.path(),
                fields=query,
                preload_content=False,
                timeout=urllib3.Timeout(connect=5, read=_WATCH_SECONDS + 10 if query else 30),
                retries=False,
            )
            if response.status != 429 or time.monotonic() > deadline:
                break
            response.close()
            time.sleep(0.2)
        if response.status not in (200, 404, 410):
            raise OSError(f"HTTP {response.status} for {self.kind.path()}")
        return response

    def _list(self) -> str:
        """The revision to watch from; empty when the kind is not there (then all of it is gone)."""
        response = self._open()
        served = response.status == 200
        answer = json.loads(response.data) if served else {"items": []}
        items, revision = answer["items"], str(answer["metadata"]["resourceVersion"]) if served else ""
        present = {_key(item): item for item in items}
        for key, item in list(self._known.items()):
            if key not in present:
                self._emit("DELETED", item, int(revision or item["metadata"]["resourceVersion"]))
        for item in present.values():
            self._emit("ADDED", item, int(item["metadata"]["resourceVersion"]))
        self.listed.set()
        return revision

    def _follow(self, revision: str) -> str:
        response = self._open(
            watch="true", resourceVersion=revision, timeoutSeconds=str(_WATCH_SECONDS), allowWatchBookmarks="true"
        )
        try:
            if response.status != 200:
                return ""  # the kind is not served any more: a list says so too
            for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return ""
                item = event["object"]
                revision = item["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._emit(event["type"], item, int(revision))
        finally:
            response.close()
        return revision

    def _emit(self, event: str, item: Object, revision: int) -> None:
        if event == "DELETED":
            self._known.pop(_key(item), None)
        else:
            self._known[_key(item)] = item
        self._out.put((revision, self.kind, event, item))


def _key(item: Object) -> tuple[str, str]:
    return kube.namespace(item), kube.name(item)


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    pending = b""
    while chunk := response.read1():
        *whole, pending = (pending + chunk).split(b"\n")
        yield from (line for line in whole if line)


class Account(threading.Thread):
    """Readings of instances and target groups, oldest first."""

    def __init__(self, endpoint: str, region: str) -> None:
        super().__init__(name="watch account", daemon=True)
        self.readings: queue.SimpleQueue[Reading] = queue.SimpleQueue()
        self.breaks = 0
        key: dict[str, Any] = {"aws_access_key_id": "watch", "aws_secret_access_key": "sandbox"}
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10)
        self._ec2 = boto3.client("ec2", endpoint_url=endpoint, region_name=region, config=config, **key)
        self._elb = boto3.client("elbv2", endpoint_url=endpoint, region_name=region, config=config, **key)

    def run(self) -> None:
        """Never ends: the process does."""
        while True:
            try:
                # Targets first: an instance that ends between the two readings was in service just before.
                targets = self._targets()
                instances = self._instances()
                self.readings.put((time.time(), instances, targets))
            except Exception as problem:
                self.breaks += 1
                log.warning("the account cannot be read: %s", problem)
            time.sleep(_POLL_SECONDS)

    def _targets(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for group in self._elb.describe_target_groups()["TargetGroups"]:
            arn = group["TargetGroupArn"]
            health = self._elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
            found[group["TargetGroupName"]] = {h["Target"]["Id"]: str(h["TargetHealth"]["State"]) for h in health}
        return found

    def _instances(self) -> dict[str, str]:
        pages = self._ec2.get_paginator("describe_instances").paginate()
        return {
            i["InstanceId"]: i["State"]["Name"] for page in pages for r in page["Reservations"] for i in r["Instances"]
        }


class Log:
    """The output file, and what has been counted."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.counts: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()

    def write(self, finding: Finding) -> None:
        """One line, at once on disk."""
        if finding.seconds is None:
            self.counts[finding.rule] += 1
        else:
            self.seconds[finding.rule] += finding.seconds  # type: ignore[assignment]
        line = {**asdict(finding), "severity": finding.severity}
        self.line({key: value for key, value in line.items() if value is not None})

    def line(self, value: dict[str, Any]) -> None:
        self._out.write(json.dumps(value) + "\n")
        self._out.flush()


def follow(watcher: Watcher, events: Arrivals, account: Account, out: Log, stop: threading.Event) -> int:
    """Feed the watcher until told to stop; returns the number of events seen."""
    waiting: list[Event] = []
    readings: list[Reading] = []
    count = 0
    while True:
        ending = stop.is_set()
        # What is in flight when the end is announced still belongs to the watch.
        deadline = time.time() + (_ORDER_SECONDS if ending else 0.05)
        while (left := deadline - time.time()) > 0:
            try:
                revision, kind, event, item = events.get(timeout=left)
            except queue.Empty:
                break
            count += 1
            heapq.heappush(waiting, (revision, count, time.time(), kind, event, item))
        while not account.readings.empty():
            readings.append(account.readings.get())
        horizon = time.time() - (0 if ending else _ORDER_SECONDS)
        # Events are ripe in order of revision; one that is stuck behind a younger arrival waits for it.
        while waiting and waiting[0][2] <= horizon:
            at, kind, event, item = heapq.heappop(waiting)[2:]
            while readings and readings[0][0] <= at:
                _read(readings, watcher, out)
            if watcher.feed(kind, event, item, at):
                for finding in watcher.check(at):
                    out.write(finding)
        while readings and readings[0][0] <= horizon:
            _read(readings, watcher, out)
        for finding in watcher.check(horizon):
            out.write(finding)
        if ending:
            return count


def _read(readings: list[Reading], watcher: Watcher, out: Log) -> None:
    at, instances, targets = readings.pop(0)
    watcher.account(instances, targets, at)
    for finding in watcher.check(at):
        out.write(finding)


def main(arguments: list[str] | None = None) -> int:
    """Watch until SIGTERM or SIGINT; 0 without violations, 1 with some, 2 when the watch itself had gaps."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.watch", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="directory of the sandbox")
    parser.add_argument("--out", type=Path, required=True, help="file for the JSON lines")
    parser.add_argument("--kubeconfig", type=Path, help="instead of DIR/kubeconfig")
    parser.add_argument("--without", action="append", default=[], choices=RULES, help="a rule that does not apply")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run = json.loads((options.dir / "run.json").read_text())
    client = connect(options.kubeconfig or options.dir / "kubeconfig")
    events: Arrivals = queue.SimpleQueue()
    streams = [Stream(client, kind, events) for kind in WATCHED]
    account = Account(run["aws_endpoint"], run["region"])
    for thread in (*streams, account):
        thread.start()
    for stream in streams:
        stream.listed.wait(_LIST_SECONDS)
    began = time.time()
    with options.out.open("w", encoding="utf-8") as file:
        out = Log(file)
        watcher = Watcher(without=frozenset(options.without))
        seen = follow(watcher, events, account, out, stop)
        gaps = sum(s.breaks for s in streams) + account.breaks
        violations = sum(n for rule, n in out.counts.items() if rule not in INFORMATION)
        out.line(
            {
                "summary": True,
                "at": time.time(),
                "since": began,
                "counts": {rule: out.counts[rule] for rule in RULES},
                "seconds": {rule: round(out.seconds[rule], 3) for rule in RULES if out.seconds[rule]},
                "violations": violations,
                "events": seen,
                "gaps": gaps,
                "enforcement_seen": watcher.armed,
            }
        )
    return 1 if violations else 2 if gaps else 0


if __name__ == "__main__":
    sys.exit(main())
