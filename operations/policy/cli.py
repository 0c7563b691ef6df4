"""The command line of the policy room."""

from __future__ import annotations

import argparse
import ipaddress
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

import reading
from netpol.compare.future import DEFAULT_LIMIT, prove_future
from netpol.compare.prove import Counterexample, Equality, Proof, prove
from netpol.decide.copies import copies
from netpol.decide.flow import Path as FlowPath
from netpol.decide.flow import decide
from netpol.lint.lint import lint
from netpol.model.errors import PolicyError, UndecidableError
from netpol.model.packets import Flow
from netpol.model.ranges import PORT_MAX
from netpol.model.values import AdminPolicy, ClusterPolicy, KubernetesPolicy
from netpol.model.world import CiliumOptions, Engine, Recognition, World
from netpol.read import documents
from netpol.read.notes import Notes
from netpol.read.world import from_readers
from netpol.translate.translation import translate
from operations.arguments import whole
from operations.cluster import Cluster
from operations.connection import WrongClusterError, through_kubeconfig
from operations.policy import out
from operations.policy.live import live_objects, live_version

PASSED, FAILED, UNKNOWN, USAGE = 0, 1, 2, 64
_NEWEST = "3.32"
"""Version of Calico that is meant where nothing says another."""
_EXIT = {Equality.EQUAL: PASSED, Equality.DIFFERENT: FAILED, Equality.UNDECIDED: UNKNOWN}


NAMESPACE = re.compile(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?")


class UsageError(Exception):
    """The command was given something that makes no sense; the text says what."""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Hang the command `policy` into a command line's subparsers."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "policy", help="explain, translate, prove and lint network policies", description=__doc__
    )
    _fill(parser)
    parser.set_defaults(run=run)
    return parser


def _fill(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="policy_command", required=True)
    one = _command(commands, "explain", "who allows or denies one flow, and why")
    one.add_argument("--from", dest="source", required=True, help="namespace/pod, node:NAME or an address")
    one.add_argument("--to", dest="destination", required=True, help="the same, or service:namespace/name[@node]")
    one.add_argument("--protocol", default="TCP")
    one.add_argument("--port", type=whole(1, PORT_MAX), help="of the destination; TCP, UDP and SCTP need one")
    one.add_argument("--source-port", type=whole(0, PORT_MAX), default=0)
    one.add_argument("--icmp-type", type=whole(0, 255), default=8)
    one.add_argument("--icmp-code", type=whole(0, 255), default=0)
    _engines(one, "calico")
    two = _command(commands, "translate", "Calico's policies in Cilium's words, proved equal, or what is in the way")
    two.add_argument(
        "--out", type=Path, help="directory for one file per policy (only a complete translation is written)"
    )
    three = _command(commands, "prove", "whether two sets of policies treat every flow alike")
    three.add_argument("--after", nargs="+", type=Path, required=True, metavar="PATH", help="policies to compare with")
    three.add_argument("--before-engine", default="calico", choices=[e.value for e in Engine])
    three.add_argument("--after-engine", default="cilium", choices=[e.value for e in Engine])
    three.add_argument("--most", type=whole(1, 10_000), default=5, help="most counterexamples to give")
    three.add_argument("--future", action="store_true", help="for all pods that could be created")
    three.add_argument(
        "--limit", type=whole(1, 10**9), default=DEFAULT_LIMIT, help="most kinds of future pods to look at"
    )
    _node_engines(three)
    _command(commands, "lint", "policies that are valid and yet not what somebody meant")


def _command(commands: Any, name: str, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="files and directories of objects")
    parser.add_argument("--namespace", default="", help="of objects in files that do not say theirs, as for kubectl")
    parser.add_argument("--live", action="store_true", help="read the stack's cluster as well (never writes)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--stack", help="whose cluster --live reads; left out: PULUMI_STACK, or the only stack here")
    which.add_argument(
        "--server", metavar="ADDRESS", help="of no stack: the API server that KUBECONFIG has to lead to, https://…"
    )
    parser.add_argument(
        "--calico-version",
        help="decides ties of equal order, and which of Kubernetes' cluster-wide policies count "
        f"(default with --live: what runs there; else {_NEWEST})",
    )
    parser.add_argument("--families", default="", help="4, 6 or 4,6 (default: those of the pods' addresses)")
    parser.add_argument("--six-egress", action="store_true", help="pods reach IPv6 outside without an own address")
    parser.add_argument("--apiserver", action="append", default=[], metavar="CIDR", help="Cilium's kube-apiserver")
    parser.add_argument("--pod-cidr", action="append", default=[], metavar="CIDR", help="where pods may be")
    parser.add_argument("--cluster-policies", action="store_true", help="Cilium enforces ClusterNetworkPolicy")
    return parser


def _engines(parser: argparse.ArgumentParser, default: str) -> None:
    choices = [e.value for e in Engine]
    parser.add_argument("--engine", action="append", choices=choices, help=f"on every node (default {default})")
    _node_engines(parser)


def _node_engines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--nodes",
        action="append",
        default=[],
        metavar="LABEL=VALUE:ENGINE[+ENGINE][:RECOGNISED]",
        help="who enforces on nodes with that label, and what their pods are to Cilium: cilium, bridge or world",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command on its own."""
    parser = argparse.ArgumentParser(prog="python -m operations.policy", description=__doc__)
    _fill(parser)
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit as stop:
        return USAGE if stop.code else PASSED
    return run(parsed)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    commands: dict[str, Callable[[argparse.Namespace], tuple[int, dict[str, Any]]]] = {
        "explain": _explain,
        "translate": _translate,
        "prove": _prove,
        "lint": _lint,
    }
    try:
        code, answer = commands[arguments.policy_command](arguments)
    except UsageError as error:
        _say(str(error))
        code, answer = USAGE, {"error": str(error)}
    except PolicyError as error:
        for one in error.errors:
            _say(str(one))
        code, answer = USAGE if any(e.unreadable for e in error.errors) else FAILED, _faults(error)
    except UndecidableError as error:
        _say(str(error))
        code, answer = UNKNOWN, {"error": str(error)}
    except (ValueError, OSError) as error:
        _say(str(error))
        code, answer = USAGE, {"error": str(error)}
    except (WrongClusterError, BotoCoreError, ClientError) as error:
        _say(str(error))
        code, answer = UNKNOWN, {"error": str(error)}
    skipped = [
        {"file": s.place.file, "line": s.place.line, "what": s.what, "count": s.count, "reason": s.why}
        for s in _notes(arguments).skipped
    ]
    print(json.dumps({"command": f"policy {arguments.policy_command}", **answer, "skipped": skipped}))
    return code


def _faults(error: PolicyError) -> dict[str, Any]:
    faults = [
        {"file": e.place.file, "line": e.place.line, "object": e.about, "field": e.field, "reason": e.reason}
        for e in error.errors
    ]
    return {"error": str(error), **{k: faults[0][k] for k in ("file", "line", "object", "field")}, "errors": faults}


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _notes(arguments: argparse.Namespace) -> Notes:
    """What this run found wrong with its input, and what it left out."""
    if not hasattr(arguments, "notes"):
        arguments.notes = Notes()
    notes: Notes = arguments.notes
    return notes


def _told(notes: Notes) -> None:
    """Tell what was left out, and stop where something is wrong: everything at once, as each run may take long."""
    for skipped in notes.skipped:
        _say(str(skipped))
    notes.fail()


# --- worlds
def _world(arguments: argparse.Namespace, paths: Sequence[Path] | None = None) -> World:
    chosen = arguments.paths if paths is None else paths
    if not chosen and not arguments.live:
        raise UsageError("give files or directories, or --live")
    if not arguments.live and (arguments.stack or arguments.server):
        raise UsageError("--stack and --server say which cluster --live reads: give --live as well, or leave them out")
    notes = _notes(arguments)
    if not NAMESPACE.fullmatch(arguments.namespace):
        raise UsageError(
            f"--namespace {arguments.namespace!r} is no name of a namespace: lower-case letters, digits, -"
        )
    readers = documents.load(chosen, notes=notes, namespace=arguments.namespace)
    version = None if arguments.calico_version is None else _version(arguments.calico_version)
    if arguments.live:
        cluster = _cluster(arguments)
        readers += documents.from_objects(live_objects(cluster), "<live>")
        version = version or live_version(cluster)
    options: dict[str, Any] = {
        "six_egress": arguments.six_egress,
        "apiserver": tuple(_network(c) for c in arguments.apiserver),
        "pod_cidrs": tuple(_network(c) for c in arguments.pod_cidr),
        "calico_version": version or _version(_NEWEST),
        "cilium": CiliumOptions(cluster_policies=arguments.cluster_policies),
    }
    if arguments.families:
        if not re.fullmatch(r"[46](,[46])*", arguments.families):
            raise UsageError(f"--families {arguments.families!r}: write 4, 6 or 4,6")
        options["families"] = frozenset(int(f) for f in arguments.families.split(","))
    rules = [_node_rule(text) for text in getattr(arguments, "nodes", [])]
    if rules:
        options["engines"] = lambda labels: _chosen(labels, rules)
    return _once(from_readers(readers, notes=notes, **options), notes)


def _once(world: World, notes: Notes) -> World:
    """The world without Calico's copies of Kubernetes' policies."""
    twice = copies(world.policies)
    for copy in twice:
        notes.skip(copy.meta.place, str(copy.meta), "Calico's copy of a NetworkPolicy that is given as well")
    known = {id(copy) for copy in twice}
    return world.with_policies(p for p in world.policies if id(p) not in known) if twice else world


def _cluster(arguments: argparse.Namespace) -> Cluster:
    """The cluster that is meant, never just the one that KUBECONFIG happens to lead to."""
    # Files are read without them, and they take longer than most of what is asked about files.
    from migration.facts import InvalidFacts  # noqa: PLC0415
    from migration.settings import InvalidSettings  # noqa: PLC0415
    from operations import context  # noqa: PLC0415

    if arguments.server is not None:
        server = _server(arguments.server)
        return Cluster(lambda: through_kubeconfig(server, "--server says"))
    try:
        return context.Context.load(arguments.stack).kube
    except (context.UsageError, InvalidSettings, InvalidFacts) as error:
        raise UsageError(
            f"--live reads the cluster of a stack: {error}. For a cluster of no stack, give its address with --server"
        ) from error


def _server(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UsageError(
            f"--server {text!r} is no address. Write it as kubeconfigs do: https://HOST or https://HOST:PORT"
        )
    return text


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a CIDR: {error}") from error


def _version(text: str) -> tuple[int, int]:
    found = re.match(r"v?([0-9]{1,4})\.([0-9]{1,4})(\.|$)", text)
    if found is None:
        raise UsageError(f"{text!r} is not a Calico version such as 3.32")
    return int(found[1]), int(found[2])


def _node_rule(text: str) -> tuple[str, str, list[Engine], Recognition]:
    try:
        label, _, rest = text.partition("=")
        value, engines, *recognised = rest.split(":")
        chosen = [Engine(e) for e in engines.split("+") if e]
        seen = Recognition(recognised[0]) if recognised else None
    except ValueError as error:
        raise UsageError(f"--nodes {text!r}: {error}") from error
    return label, value, chosen, seen or Recognition("cilium" if Engine.CILIUM in chosen else "world")


def _chosen(
    labels: Mapping[str, str], rules: list[tuple[str, str, list[Engine], Recognition]]
) -> tuple[list[Engine], Recognition]:
    for label, value, engines, recognised in rules:
        if labels.get(label) == value:
            return engines, recognised
    return [], Recognition.WORLD


# --- commands
def _explain(arguments: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    world = _world(arguments)
    _told(_notes(arguments))
    if arguments.port is None and arguments.protocol.upper() in ("TCP", "UDP", "SCTP"):
        raise UsageError(
            f"say which port is meant: a flow of {arguments.protocol} has one. Add --port, such as --port "
            f"{_a_port(world, arguments.destination)}"
        )
    if not arguments.nodes:
        world = world.enforced_by(*(arguments.engine or ["calico"]))
    flow = Flow.of(
        arguments.source,
        arguments.destination,
        arguments.protocol,
        arguments.port or 0,
        source_port=arguments.source_port,
        icmp_type=arguments.icmp_type,
        icmp_code=arguments.icmp_code,
    )
    verdict = decide(world, flow)
    _say(str(verdict))
    return PASSED if verdict.allowed else FAILED, {
        "allowed": verdict.allowed,
        "paths": [_path(p) for p in verdict.paths],
    }


def _a_port(world: World, destination: str) -> int:
    """A port that the destination has, as far as the objects say."""
    kind, _, name = destination.rpartition(":")
    namespace, _, rest = name.partition("/")
    if kind == "service":
        service = world.service_by_name.get((namespace, rest.partition("@")[0]))
        return service.ports[0].port if service is not None and service.ports else 80
    pod = world.pod_by_name.get((namespace, rest))
    return pod.ports[0].number if pod is not None and pod.ports else 80


def _translate(arguments: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    world = _world(arguments)
    _told(_notes(arguments))
    result = translate(world)
    for refusal in result.refused:
        _say(f"refused: {refusal}")
    _say(str(result.proof).splitlines()[0])
    if result.left_out:
        _say(f"left out: {_operators(result.left_out)}, which go with Calico")
    for name in result.copies:
        _say(
            f"{name} stays, and a manifest adds what Cilium does not read in it: translate again when it changes, or "
            "the copy keeps allowing"
        )
    written: list[Path] = []
    removed: list[Path] = []
    if result.complete and arguments.out is not None:
        try:
            written, removed = out.write(result.manifests, arguments.out)
        except out.NotOursError as error:
            raise UsageError(str(error)) from error
        count = len(written)
        _say(f"{count} {'policy' if count == 1 else 'policies'} written to {arguments.out}")
        for path in removed:
            _say(f"removed, as it was of an earlier translation: {path}")
    elif result.complete:
        _say(reading.dump_all(result.manifests))
    else:
        _say("nothing is written: a translation is deployed whole or not at all")
        left = out.earlier(arguments.out) if arguments.out is not None else []
        if left:
            _say(f"{len(left)} of an earlier translation still in {arguments.out} say something else")
    return PASSED if result.complete else FAILED, {
        "complete": result.complete,
        "manifests": list(result.manifests) if result.complete else [],
        "refused": [
            {
                "policy": r.policy,
                "rule": r.rule,
                "reason": r.reason,
                "example": _example(r.example) if r.example else None,
            }
            for r in result.refused
        ],
        "expanded": list(result.expanded),
        "left_out": list(result.left_out),
        "copies": list(result.copies),
        "written": [str(path) for path in written],
        "removed": [str(path) for path in removed],
        "proof": _proof(result.proof),
    }


def _operators(left_out: Sequence[object]) -> str:
    count = len(left_out)
    return f"{count} {'policy' if count == 1 else 'policies'} that the Tigera operator made for Calico's own pods"


def _prove(arguments: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    before = _world(arguments)
    theirs = [p for p in before.policies if p.meta.of_operator]
    before = before.with_policies([p for p in before.policies if not p.meta.of_operator])
    notes = _notes(arguments)
    readers = documents.load(arguments.after, notes=notes, namespace=arguments.namespace)
    found = _once(from_readers(readers, notes=notes), notes).policies
    _told(notes)
    # Kubernetes' policies stay through the migration, unless the other side brings its own of the kind.
    own = tuple({type(p) for p in found})
    kubernetes = KubernetesPolicy | ClusterPolicy | AdminPolicy
    stays = [p for p in before.policies if isinstance(p, kubernetes) and not isinstance(p, own)]
    after = before.with_policies([*found, *stays])
    if not arguments.nodes:
        before, after = before.enforced_by(arguments.before_engine), after.enforced_by(arguments.after_engine)
    if arguments.future:
        proof = prove_future(before, after, limit=arguments.limit, most=arguments.most)
    else:
        proof = prove(before, after, most=arguments.most)
    if theirs:
        note = f"not compared: {_operators(theirs)}, which go with Calico"
        proof = replace(proof, assumptions=(*proof.assumptions, note))
    _say(str(proof))
    for example in proof.differences[1:]:
        _say(str(example))
    return _EXIT[proof.verdict], _proof(proof)


def _lint(arguments: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    world = _world(arguments)
    _told(_notes(arguments))
    findings = lint(world)
    for finding in findings:
        _say(str(finding))
    return FAILED if findings else PASSED, {
        "findings": [
            {
                "code": f.code,
                "policy": f.policy,
                "rule": f.rule,
                "file": f.place.file,
                "line": f.place.line,
                "message": f.message,
                "fix": f.fix,
                "page": f.page,
            }
            for f in findings
        ]
    }


def _path(path: FlowPath) -> dict[str, Any]:
    return {
        "source": path.source,
        "destination": path.destination,
        "packet": str(path.packet),
        "allowed": path.allowed,
        "decided_by": [
            {
                "direction": d.direction,
                "engine": d.engine.value,
                "node": d.node,
                "allowed": d.allowed,
                "policy": d.policy,
                "rule": d.rule,
                "place": str(d.place) if d.place else "",
                "reason": d.reason,
            }
            for d in path.decided_by
        ],
    }


def _example(example: Counterexample) -> dict[str, Any]:
    return {
        "source": example.source,
        "destination": example.destination,
        "packet": str(example.packet),
        "before": _path(example.before),
        "after": _path(example.after),
    }


def _proof(proof: Proof) -> dict[str, Any]:
    return {
        "verdict": proof.verdict.value,
        "counterexamples": [_example(e) for e in proof.differences],
        "assumptions": list(proof.assumptions),
        "classes": proof.classes,
        "peers": proof.peers,
        "cells": proof.cells,
    }
