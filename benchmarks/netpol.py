"""How long proofs take: `python benchmarks/netpol.py [--sizes small|all] [--without-other]`.

Fixed, seeded inputs: namespaces with applications, at most 600 combinations of labels, tiers, network sets, port
ranges, global policies. Each size is proved twice: Calico's policies against a reordered and rewritten copy
of themselves (equal), and against a copy with one policy more (different). At 100 policies and 1,000 pods the other
public analyzer, network-config-analyzer, gets the first question in the same run, and one more: a copy in more rules.
`ratio` in the last line, which is one JSON object, is the worse of the two.

A second scenario has the shape that people publish (`benchmarks.netpol_shapes`), and is also proved again after each of
a fixed mix of changes: 70 % pods, 20 % labels, 10 % policies. The last line has, of the second one, `published_seconds`
and `published_mb` (from policies as plain objects to the verdict), `change_p99_s` (of the changes that touch at most
1 % of the pods), and `start_s`, which `python -m operations policy explain --help` takes.
All seconds are of the processor, as other work on the machine only adds; but for those of the prover on a live API
server, whose names begin with `live_` (`benchmarks/prover.py`).
"""

# ruff: noqa: S311, PLR0917, PLC0415

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import netpol_shapes as shapes
from benchmarks.netpol_even import NAMESPACES, SEED, V3, pods, policy_objects
from netpol import load, policies_from_files, policies_from_objects
from netpol.compare.again.proving import Proving
from netpol.compare.prove import prove
from netpol.model.values import NetworkSet
from netpol.model.world import Namespace, Node, Pod, World
from netpol.translate.translation import translate

SIZES = ((100, 1_000), (100, 10_000), (1_000, 1_000), (1_000, 10_000))
Object = dict[str, Any]


def rewritten(objects: list[Object]) -> list[Object]:
    """A copy that means the same: in another order, with selectors written another way."""
    copy: list[Object] = json.loads(json.dumps(objects).replace("== 'data'", "in {'data'}"))
    random.Random(SEED + 1).shuffle(copy)
    return copy


def broken(objects: list[Object]) -> list[Object]:
    """A copy with one policy more, which denies one application everything that it let in."""
    spec = {"order": 1, "selector": "app == 'app-0'", "types": ["Ingress"], "ingress": [{"action": "Deny"}]}
    return [*objects, shapes.manifest(V3, "GlobalNetworkPolicy", "one-more", "", spec)]


def make_world(objects: list[Object], cluster: tuple[Pod, ...]) -> World:
    names = [f"team-{i}" for i in range(NAMESPACES)]
    return World(
        policies=policies_from_objects(objects),
        pods=cluster,
        namespaces=tuple(
            Namespace(name=n, labels={"team": f"t{i % 5}", "kubernetes.io/metadata.name": n})
            for i, n in enumerate(names)
        ),
        nodes=tuple(Node(name=f"node-{i}", addresses=(ipaddress.IPv4Address("10.1.0.1") + i,)) for i in range(50)),
    ).enforced_by("calico")


def measure(policies: int, pod_count: int) -> Object:
    """One size in this process; memory is the process's peak, seconds are from parsed files to the verdict."""
    objects, cluster = policy_objects(policies), pods(pod_count)
    started = time.perf_counter()
    first, second = make_world(objects, cluster), make_world(rewritten(objects), cluster)
    parsed = time.perf_counter()
    equal = prove(first, second)
    proved = time.perf_counter()
    different = prove(first, make_world(broken(objects), cluster))
    refuted = time.perf_counter()
    assert equal.equal, str(equal)  # noqa: S101
    assert not different.equal  # noqa: S101
    return {
        "policies": policies,
        "pods": pod_count,
        "classes": equal.classes,
        "cells": equal.cells,
        "peers": equal.peers,
        "seconds": round(proved - started, 2),
        "of_which_reading": round(parsed - started, 2),
        "refute_seconds": round(refuted - proved, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def growth(rows: list[Object]) -> Object:
    """How much longer, and with how much more memory, ten times as much takes (1: no longer)."""
    by_size = {(row["policies"], row["pods"]): row for row in rows}
    last = by_size[SIZES[-1]]
    out: Object = {}
    for what, size in (("policies", (100, 10_000)), ("pods", (1_000, 1_000))):
        less = by_size[size]
        out[f"ten_times_the_{what}"] = {
            key: round(last[key] / max(less[key], 0.01), 1) for key in ("seconds", "peak_mb")
        }
    return {"growth": out}


def measure_translation(policies: int, pod_count: int) -> Object:
    world = make_world(policy_objects(policies), pods(pod_count))
    started = time.perf_counter()
    result = translate(world)
    return {
        "policies": policies,
        "pods": pod_count,
        "translate_seconds": round(time.perf_counter() - started, 2),
        "manifests": len(result.manifests),
        "complete": result.complete,
        "refused": [str(r)[:200] for r in result.refused[:3]],
    }


def divided(objects: list[Object]) -> list[Object]:
    """A copy that means the same in more rules: networks and port ranges in halves, sets of labels apart."""
    copy: list[Object] = json.loads(json.dumps(objects))
    for item in copy:
        spec = item["spec"]
        if item["apiVersion"] != V3:
            for rule in spec["egress"]:
                rule["to"] = [half for peer in rule["to"] for half in _halved_peer(peer)]
        elif item["kind"] == "GlobalNetworkSet":
            spec["nets"] = [half for net in spec["nets"] for half in _halves(net)]
        else:
            for side, other in (("ingress", "source"), ("egress", "destination")):
                if side in spec:
                    spec[side] = [part for rule in spec[side] for part in _divided_rule(rule, other)]
    random.Random(SEED + 2).shuffle(copy)
    return copy


def _halves(net: str) -> list[str]:
    return [str(half) for half in ipaddress.ip_network(net).subnets()]


def _halved_peer(peer: Object) -> list[Object]:
    if "ipBlock" not in peer:
        return [peer]
    return [{"ipBlock": {"cidr": half}} for half in _halves(peer["ipBlock"]["cidr"])]


def _divided_rule(rule: Object, other: str) -> list[Object]:
    for end in (rule.get("source", {}), rule.get("destination", {})):
        if "nets" in end:
            end["nets"] = [half for net in end["nets"] for half in _halves(net)]
        ports: list[Any] = []
        for port in end.get("ports", ()):
            first, _, last = str(port).partition(":")
            middle = (int(first) + int(last or first)) // 2
            ports += [f"{first}:{middle}", f"{middle + 1}:{last}"] if last else [port]
        if ports:
            end["ports"] = ports
    selector = rule.get(other, {}).get("selector", "")
    if " in {" not in selector:
        return [rule]
    label, _, values = selector.partition(" in ")
    return [{**rule, other: {"selector": f"{label} == {v.strip()}"}} for v in values.strip("{}").split(",")]


QUESTIONS = {"rewritten": (rewritten, 5), "divided": (divided, 1)}
"""Second sides of the comparison, which mean the same as the first, and how often both analyzers are asked; the best
time of each counts, since other work on the machine only adds. The other one needs a minute for the second question.
"""


def ours(policies: int, pod_count: int, question: str) -> Object:
    """Our answer, in a process that has not answered before."""
    objects, cluster = policy_objects(policies, tiers=False), pods(pod_count)
    changed = QUESTIONS[question][0](objects)
    started = time.process_time()
    proof = prove(make_world(objects, cluster), make_world(changed, cluster))
    return {"equal": proof.equal, "seconds": time.process_time() - started}


def ours_from_files(first: str, second: str) -> Object:
    """The same from the files that the other analyzer reads."""
    started = time.process_time()
    before = load([f"{first}/cluster.yaml", f"{first}/policies.yaml"])
    sets = [p for p in before.policies if isinstance(p, NetworkSet)]
    after = before.with_policies([*sets, *policies_from_files([f"{second}/policies.yaml"])])
    proof = prove(before.enforced_by("calico"), after.enforced_by("calico"))
    return {"equal": proof.equal, "seconds": time.process_time() - started}


def other_analyzer(policies: int, pod_count: int) -> list[Object]:
    """The same questions to network-config-analyzer: no tiers, which it does not know, in either input.

    Both run in fresh processes, in turn. Counted is processor time from policies as plain objects to the verdict:
    on both sides reading YAML and the cluster is left out. The other analyzer does most of its work while it takes
    policies apart, so that belongs to it, as ours belongs to us. `files_ratio` compares everything, from the files
    to the verdict, where both spend much of their time in the same YAML parser.
    """
    from tests.oracles.nca_oracle import NcaOracle, write_cluster, write_objects

    objects = policy_objects(policies, tiers=False)
    world = make_world(objects, pods(pod_count))
    sets = [o for o in objects if o["kind"] == "GlobalNetworkSet"]
    out = []
    with tempfile.TemporaryDirectory() as scratch, NcaOracle() as oracle:
        first = Path(scratch) / "first"
        first.mkdir()
        # Network sets belong to its topology, which both sides share.
        write_cluster(first, world.pods, world.namespaces, sets)
        write_objects(first / "policies.yaml", [o for o in objects if o not in sets])
        for question, (change, repeats) in QUESTIONS.items():
            second = Path(scratch) / question
            second.mkdir()
            write_objects(second / "policies.yaml", [o for o in change(objects) if o["kind"] != "GlobalNetworkSet"])
            theirs, mine, files = [], [], []
            for _ in range(repeats):
                mine.append(apart(ours, policies, pod_count, question))
                files.append(apart(ours_from_files, str(first), str(second)))
                theirs.append(oracle.ask({"directory": str(first), "equiv": str(second)}))
            out.append(_compared(policies, pod_count, question, theirs, mine, files))
    return out


def _compared(
    policies: int, pod_count: int, question: str, theirs: list[Object], mine: list[Object], files: list[Object]
) -> Object:
    """Best times of both, if all answers are right."""
    for answer in (*theirs, *mine, *files):
        if not answer.get("equal"):
            raise RuntimeError(f"a wrong answer to {question}: {answer}")
    best = {key: min(float(answer[key]) for answer in theirs) for key in ("seconds", "query_seconds", "files_seconds")}
    own, whole = (min(float(answer["seconds"]) for answer in answers) for answers in (mine, files))
    return {
        "policies": policies,
        "pods": pod_count,
        "question": question,
        "repeats": len(theirs),
        "ours_seconds": round(own, 3),
        "other_seconds": round(best["seconds"], 3),
        "ratio": round(best["seconds"] / own, 1),
        "other_query_seconds": round(best["query_seconds"], 3),
        "ours_files_seconds": round(whole, 3),
        "other_files_seconds": round(best["files_seconds"], 3),
        "files_ratio": round(best["files_seconds"] / whole, 1),
        "other_peak_mb": round(max(float(answer["peak_mb"]) for answer in theirs)),
    }


def measure_published() -> Object:
    """The scenario of published shape, proved in this process."""
    objects, cluster = shapes.published(), shapes.pods()
    changed = shapes.rewritten(objects)
    started = time.process_time()
    proof = prove(shapes.platform(objects, cluster), shapes.platform(changed, cluster))
    seconds = time.process_time() - started
    assert proof.equal, str(proof)  # noqa: S101
    return {
        "scenario": "published",
        "policies": len(objects),
        "pods": len(cluster),
        "classes": proof.classes,
        "cells": proof.cells,
        "peers": proof.peers,
        "published_seconds": round(seconds, 2),
        "published_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def measure_changes(count: int) -> Object:
    """The same scenario, proved again after each of so many changes."""
    objects, cluster = shapes.published(), shapes.pods()
    before = shapes.platform(objects, cluster)
    proving = Proving(before, shapes.platform(shapes.rewritten(objects), cluster))
    few: list[float] = []
    many: list[float] = []
    shares: list[float] = []
    for pair in shapes.changes(proving.worlds, count):
        started = time.process_time()
        proof = proving.change(*pair)
        seconds = time.process_time() - started
        assert proof.equal, str(proof)  # noqa: S101
        shares.append(proving.touched.share)
        (few if proving.touched.share <= 0.01 else many).append(seconds)
    few.sort()
    return {
        "scenario": "published, changing",
        "changes": count,
        "touching_at_most_1_percent": len(few),
        "touched_share_mean": round(sum(shares) / len(shares), 5),
        "touched_share_most": round(max(shares), 5),
        "change_p50_s": round(few[len(few) // 2], 4),
        "change_p99_s": round(few[min(len(few) - 1, len(few) * 99 // 100)], 4),
        "change_most_s": round(max((*few, *many)), 4),
    }


def measure_translation_of_tiers() -> Object:
    """36 policies in tiers that pass on, and a set of 216 blocks, over 48 pods."""
    world = shapes.tiered()
    started = time.process_time()
    result = translate(world)
    return {
        "scenario": "tiered",
        **shapes.TIERED,
        "translate_seconds": round(time.process_time() - started, 2),
        "manifests": len(result.manifests),
        "complete": result.complete,
    }


def measure_start() -> float:
    """Processor seconds of a command that reads nothing, the best of five."""
    command = [sys.executable, "-m", "operations", "policy", "explain", "--help"]
    found = []
    for _ in range(5):
        before = os.times()
        subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).resolve().parents[1])
        after = os.times()
        found.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return round(min(found), 3)


def apart(function: Any, *arguments: Any) -> Object:
    """In a process of its own, so that peaks of memory do not add up."""
    with get_context("spawn").Pool(1) as pool:
        found: Object = pool.apply(function, arguments)
        return found


def live() -> Object:
    """The prover on a live API server (`benchmarks/prover.py`)."""
    from benchmarks.prover import run

    return run(1_000, 10_000, 10)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", choices=("small", "all"), default="all")
    parser.add_argument(
        "--changes", type=int, default=1000, help="how many are proved in the scenario of published shape"
    )
    parser.add_argument("--without-other", action="store_true", help="leave the other analyzer out")
    parser.add_argument("--without-live", action="store_true", help="leave the prover on a live API server out")
    arguments = parser.parse_args()
    rows = []
    for policies, pod_count in SIZES if arguments.sizes == "all" else SIZES[:1]:
        rows.append(apart(measure, policies, pod_count))
        print(json.dumps(rows[-1]), flush=True)
    if arguments.sizes == "all":
        print(json.dumps(growth(rows)), flush=True)
    print(json.dumps(apart(measure_translation, 100, 1_000)), flush=True)
    print(json.dumps(apart(measure_translation_of_tiers)), flush=True)
    published = apart(measure_published)
    print(json.dumps(published), flush=True)
    changing = apart(measure_changes, arguments.changes)
    print(json.dumps(changing), flush=True)
    ratio = None
    if not arguments.without_other:
        compared = other_analyzer(100, 1_000)
        for row in compared:
            print(json.dumps(row), flush=True)
        ratio = min(row["ratio"] for row in compared)
    last = rows[-1]
    told = {**{k: last[k] for k in ("policies", "pods", "seconds", "peak_mb")}, "ratio": ratio}
    told |= {k: published[k] for k in ("published_seconds", "published_mb")}
    told |= {"change_p99_s": changing["change_p99_s"], "start_s": measure_start()}
    if not arguments.without_live:
        told |= apart(live)
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
