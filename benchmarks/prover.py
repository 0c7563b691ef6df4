"""How long the prover takes on a live API server: `python benchmarks/prover.py [--policies N] [--pods N]`.

A control plane of the sandbox holds the policies and pods of `benchmarks/netpol_even.py` (NetworkPolicies alone, which
both engines read alike), on 50 nodes of either kind. Then the prover starts as it is shipped, under the rights of its
service account. The last line is one JSON object: `live_first_s`, from the start of its process to its first published
verdict; `live_change_s` and `live_change_worst_s`, from the answer of the API server to a write that changes the
verdict to the published one, the median and the longest; `live_mb`, the most memory that it had. Exit code 1 where a
bound of the project's is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kubernetes import client

from benchmarks import netpol_even as even
from benchmarks.bridge import peak_mb
from sandbox import lifecycle
from tests.engine.bridge_cluster import Api, control_plane, eventually
from tests.engine.prover_cluster import Provers, policy, prepare

FIRST, CHANGE = 20.0, 2.0
"""Seconds that are allowed."""
NODES = 50
WRITERS = 48
TOGGLED = "zz-toggled"
_ALIKE = {"podSelector": {"matchLabels": {"app": "app-1"}}, "policyTypes": ["Ingress"], "ingress": [{}]}
_BY_ADDRESS = {**_ALIKE, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}


def fill(api: Api, policies: int, pods: int) -> None:
    """Namespaces, nodes, pods and policies."""
    for number in range(even.NAMESPACES):
        api.namespace(f"team-{number}", team=f"t{number % 5}")
    for number in range(NODES):
        api.node(f"node-{number}", f"10.1.0.{number + 1}", "cilium" if number % 2 else "aws")
    networking = client.NetworkingV1Api(api.core.api_client)
    rng = random.Random(even.SEED)  # noqa: S311 - a benchmark
    made = [even.kubernetes(rng, number, tiers=False) for number in range(policies)]

    def one_policy(item: dict[str, Any]) -> None:
        networking.create_namespaced_network_policy(item["metadata"]["namespace"], item)

    def one_pod(pod: Any) -> None:
        [address] = pod.addresses
        where = {"namespace": pod.namespace, "node": pod.node, "labels": dict(pod.labels)}
        api.pod(pod.name, str(address), **where)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(one_policy, made))
        list(pool.map(one_pod, even.pods(pods)))


@contextlib.contextmanager
def cluster() -> Iterator[tuple[Api, Path]]:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "sandbox"
        try:
            api = control_plane(directory, lambda text: print(text, file=sys.stderr))
            prepare(api)
            yield api, Path(folder)
        finally:
            lifecycle.down(directory, lambda text: print(text, file=sys.stderr), purge=True)


def timed(act: Callable[[], None], provers: Provers, verdict: str) -> float:
    """Seconds from the answer to a write to the verdict that follows from it."""
    act()
    begun = time.monotonic()
    eventually(lambda: (said := provers.said()) is not None and said.verdict == verdict, 120, provers.said)
    return time.monotonic() - begun


def run(policies: int, pods: int, changes: int) -> dict[str, Any]:
    """The whole benchmark."""
    with cluster() as (api, folder):
        begun = time.monotonic()
        fill(api, policies, pods)
        policy(api, TOGGLED, _ALIKE, "team-1")
        print(f"{policies} policies and {pods} pods after {time.monotonic() - begun:.0f} s", file=sys.stderr)
        provers = Provers(api, folder / "prover")
        try:
            begun = time.monotonic()
            process = provers.start("bench")
            provers.says("equal", 300)
            first = time.monotonic() - begun
            # The next change may wait until the first proof can be kept up.
            eventually(lambda: _rested(process.pid), 120)
            took = [
                timed(lambda: policy(api, TOGGLED, spec, "team-1"), provers, verdict)  # noqa: B023 - called at once
                for _ in range(changes)
                for spec, verdict in ((_BY_ADDRESS, "different"), (_ALIKE, "equal"))
            ]
            memory = peak_mb(process.pid)
        finally:
            provers.end()
            print((folder / "prover" / "bench.log").read_text()[-2000:], file=sys.stderr)
    return {
        "live_policies": policies,
        "live_pods": pods,
        "live_first_s": round(first, 2),
        "live_change_s": round(statistics.median(took), 2),
        "live_change_worst_s": round(max(took), 2),
        "live_changes": len(took),
        "live_mb": round(memory),
    }


def _rested(pid: int) -> bool:
    """Whether a process has used hardly any time of the processor for a second."""

    def used() -> float:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    before = used()
    time.sleep(1.0)
    return used() - before < 0.2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policies", type=int, default=1_000)
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=10, help="there and back each")
    args = parser.parse_args()
    found = run(args.policies, args.pods, args.changes)
    print(json.dumps(found))
    return int(found["live_first_s"] > FIRST or found["live_change_s"] > CHANGE)


if __name__ == "__main__":
    sys.exit(main())
