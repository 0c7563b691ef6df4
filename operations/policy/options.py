"""What each command under `policy` takes on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from migration.names import ACCEPTED
from netpol.model.ranges import PORT_MAX
from netpol.model.world import Engine
from operations.arguments import whole
from operations.policy.given import NEWEST, NEWEST_CILIUM


def add(commands: Any) -> None:
    """Add each command under `policy` to the subparsers."""
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
    other = three.add_mutually_exclusive_group(required=True)
    other.add_argument("--after", nargs="+", type=Path, metavar="PATH", help="policies to compare with")
    other.add_argument(
        "--after-nothing", action="store_true", help="compare with no policies but those of Kubernetes that stay"
    )
    three.add_argument("--before-engine", default="calico", choices=[e.value for e in Engine])
    three.add_argument("--after-engine", default="cilium", choices=[e.value for e in Engine])
    three.add_argument("--most", type=whole(1, 10_000), default=5, help="most counterexamples to give")
    three.add_argument("--future", action="store_true", help="for all pods that could be created")
    three.add_argument("--limit", type=whole(1, 10**9), help="most kinds of future pods to look at")
    for one_of in (two, three):
        one_of.add_argument(
            "--accepted", type=Path, metavar="FILE", help=f"accepted differences (default: {ACCEPTED}, if any)"
        )
        one_of.add_argument(
            "--without-hosts",
            action="store_true",
            help="leave host endpoints and what acts on them out, and ask about pods alone",
        )
        one_of.add_argument(
            "--strict", action="store_true", help="only what holds for every pod that could exist is good enough"
        )
    _node_engines(three)
    four = _command(commands, "diff", "what a pull request's files change in verdicts, in words")
    four.add_argument(
        "--base", required=True, metavar="REVISION", help="of the repository that holds the files, such as origin/main"
    )
    four.add_argument("--engine", action="append", choices=["calico", "cilium"], help="left out: both")
    four.add_argument("--most", type=whole(1, 10_000), default=5, help="most flows to tell")
    _command(commands, "lint", "policies that are valid and yet not what somebody meant")
    _sets_command(commands)


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
    rest = parser.add_mutually_exclusive_group()
    rest.add_argument(
        "--whole", action="store_true", help="the files hold all that the cluster has: what is not in them is not there"
    )
    rest.add_argument(
        "--assume",
        choices=("open", "closed"),
        help="what is named and not given matches what it can (open) or nothing (closed); left out: an answer that "
        "depends on it is an error",
    )
    parser.add_argument(
        "--calico-version",
        help="decides ties of equal order, and which of Kubernetes' cluster-wide policies count "
        f"(default with --live: what runs there; else {NEWEST})",
    )
    parser.add_argument(
        "--cilium-version",
        help="before 1.20, the port names of egress rules mean something else (default: what the settings of the stack "
        f"say that --live reads, else {NEWEST_CILIUM})",
    )
    parser.add_argument("--families", default="", help="4, 6 or 4,6 (default: those of the pods' addresses)")
    parser.add_argument("--six-egress", action="store_true", help="pods reach IPv6 outside without an own address")
    parser.add_argument(
        "--apiserver", action="append", default=[], metavar="CIDR", help="Cilium's kube-apiserver (--live reads it)"
    )
    parser.add_argument(
        "--no-other-protocols",
        action="store_true",
        help="assume that no pod speaks IP protocols other than TCP, UDP, SCTP and ICMP; proofs that rest on it say so",
    )
    parser.add_argument(
        "--pod-cidr", action="append", default=[], metavar="CIDR", help="where pods may be (--live: the stack's VPC)"
    )
    parser.add_argument(
        "--host-address",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="an address that every node serves itself, or none (default with --live: those of the Pod Identity agent "
        "and of node-local DNS caches that run; else those that they usually have)",
    )
    parser.add_argument(
        "--cidr-finds-nodes", action="store_true", help="Cilium runs with policyCIDRMatchMode: nodes (--live reads it)"
    )
    parser.add_argument(
        "--cluster-policies", action="store_true", help="Cilium enforces ClusterNetworkPolicy (--live reads it)"
    )
    parser.add_argument(
        "--cluster-name", default="", help="what Cilium calls the cluster, where its policies name it (--live reads it)"
    )
    return parser


def _sets_command(commands: Any) -> None:
    text = "sets of addresses from AWS's published ranges, for Calico and for Cilium"
    command: argparse.ArgumentParser = commands.add_parser("sets", help=text, description=text)
    command.add_argument("--aws-ranges", required=True, type=Path, metavar="FILE", help="ip-ranges.json, as published")
    command.add_argument("--service", required=True, action="append", help="such as AMAZON or S3; more than once")
    command.add_argument("--region", required=True, action="append", help="such as eu-west-1 or GLOBAL; more than once")
    command.add_argument(
        "--except",
        dest="without",
        action="append",
        default=[],
        metavar="CIDR",
        help="leave these addresses out as well",
    )
    command.add_argument("--name", default="aws-api", help="of the sets, for the policies that use them")
    command.add_argument("--families", default="4", choices=("4", "6", "4,6"), help="default: 4")
    command.add_argument("--out", type=Path, metavar="DIR", help="directory with calico/ and cilium/; else printed")


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
