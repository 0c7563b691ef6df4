"""What a command line gives: the objects of files and of a live cluster, and what they leave out."""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kube.cluster import Cluster
from kube.transport import Obj
from netpol.decide.copies import without_copies
from netpol.decide.missing import missing, summary
from netpol.model.ranges import IPAddress, IPNetwork
from netpol.model.values import Policy
from netpol.model.world import CiliumOptions, Engine, Recognition, World
from netpol.read import documents
from netpol.read.notes import Notes
from netpol.read.world import from_readers
from operations.access.connection import through_kubeconfig
from operations.cluster.traffic import host_addresses, live_objects, live_version
from operations.continuity.options import CONFIG, of_cluster
from operations.continuity.overlay import over
from operations.continuity.worlds import apiserver
from operations.exits import UsageError
from operations.say import say
from prover.cilium_config import options, refuse_laid_over
from prover.counting import counted
from reading.failure import Failure

NEWEST = "3.32"
"""Version of Calico that is meant where nothing says another."""
NEWEST_CILIUM = "1.20"
_NAMESPACE = re.compile(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?")


def notes_of(arguments: argparse.Namespace) -> Notes:
    """What this run found wrong with its input, and what it left out."""
    if not hasattr(arguments, "notes"):
        arguments.notes = Notes()
    notes: Notes = arguments.notes
    return notes


def told(notes: Notes) -> None:
    """Tell what was left out, and stop where something is wrong: everything at once, as each run may take long."""
    for skipped in notes.skipped:
        say(str(skipped))
    notes.fail()


Readers = list[documents.Reader]


@dataclass(frozen=True)
class Input:
    """What a command line leads to, before anything is made of it."""

    arguments: argparse.Namespace
    files: Readers
    live: Sequence[Mapping[str, Any]]
    """Objects of the cluster; empty where it is not read."""
    agents: CiliumOptions | None
    """What Cilium's agents are told in the cluster; None where it is not read."""
    options: Mapping[str, Any]
    """Of the world, whichever objects it is made of."""

    def world(self, readers: Readers) -> World:
        """The world of some objects; empty where the notes hold faults.

        Raises:
            UsageError: they hold what Cilium's agents are told twice.
            UndecidableError: nobody knows what that comes to.
            ValueError: the objects do not fit together.
        """
        notes, agents = notes_of(self.arguments), self.agents
        if agents is None:
            newest = version(self.arguments.cilium_version or NEWEST_CILIUM, "Cilium", NEWEST_CILIUM)
            agents = _of_files(readers, newest) or CiliumOptions(version=newest)
        made = from_readers(readers, notes=notes, cilium=_with_arguments(agents, self.arguments), **self.options)
        return once(made, notes)


def world_of(arguments: argparse.Namespace) -> World:
    """The world that the paths and the live cluster make; empty where the notes hold faults.

    Raises as `gathered` and `Input.world` do.
    """
    found = gathered(arguments)
    return found.world(over(found.files, found.live))


def gathered(arguments: argparse.Namespace) -> Input:
    """The files, and the live cluster where it is asked for, read once.

    Raises:
        UsageError: the arguments make no sense, or a path holds nothing.
        UndecidableError: what runs in the live cluster cannot be told.
        ValueError: the cluster cannot be read.
    """
    if not arguments.paths and not arguments.live:
        raise UsageError("give files or directories, or --live")
    if arguments.live and arguments.assume:
        raise UsageError("--assume is about what files leave out; --live reads all there is: give one of them")
    if not arguments.live and (arguments.stack or arguments.server):
        raise UsageError("--stack and --server say which cluster --live reads: give --live as well, or leave them out")
    if not _NAMESPACE.fullmatch(arguments.namespace):
        raise UsageError(
            f"--namespace {arguments.namespace!r} is not a namespace's name: lower-case letters, digits, -"
        )
    files = read(arguments, arguments.paths)
    running = None if arguments.calico_version is None else version(arguments.calico_version)
    coming = None if arguments.cilium_version is None else version(arguments.cilium_version, "Cilium", NEWEST_CILIUM)
    local = _host_addresses(arguments)
    servers = tuple(network(c) for c in arguments.apiserver)
    blocks = tuple(network(c) for c in arguments.pod_cidr)
    agents, found = None, list[Obj]()
    if arguments.live:
        meant = _cluster(arguments)
        cluster = meant.kube
        agents = of_cluster(cluster, coming or meant.cilium or version(NEWEST_CILIUM), meant.values)
        found = live_objects(cluster)
        servers = servers or apiserver(found)
        blocks = blocks or meant.pod_blocks
        running = running or live_version(cluster)
        if local is None:
            local = tuple(ipaddress.ip_address(a) for a in host_addresses(found))
            say(f"addresses that nodes serve themselves: {', '.join(map(str, local)) or 'none'}")
    given: dict[str, Any] = {
        "six_egress": arguments.six_egress,
        "apiserver": servers,
        "pod_cidrs": blocks,
        "calico_version": running or version(NEWEST),
        # A live cluster is all there is.
        "whole": arguments.whole or arguments.live,
        "assume": arguments.assume,
        "other_protocols": not arguments.no_other_protocols,
    }
    if local is not None:
        given["host_addresses"] = local
    if arguments.families:
        if not re.fullmatch(r"[46](,[46])*", arguments.families):
            raise UsageError(f"--families {arguments.families!r}: write 4, 6 or 4,6")
        given["families"] = frozenset(int(f) for f in arguments.families.split(","))
    rules = [node_rule(text) for text in getattr(arguments, "nodes", [])]
    if rules:
        given["engines"] = lambda labels: _chosen(labels, rules)
    return Input(arguments, files, found, agents, given)


def _with_arguments(agents: CiliumOptions, arguments: argparse.Namespace) -> CiliumOptions:
    """What agents are told, with what the command line adds."""
    return replace(
        agents,
        cluster_policies=agents.cluster_policies or arguments.cluster_policies,
        cidr_match_nodes=agents.cidr_match_nodes or arguments.cidr_finds_nodes,
        cluster=arguments.cluster_name or agents.cluster,
    )


def _of_files(readers: Sequence[documents.Reader], cilium: tuple[int, int]) -> CiliumOptions | None:
    """What Cilium's agents are told, where the files hold their configuration; None where they do not.

    Raises:
        UsageError: they hold two that differ.
        UndecidableError: nobody knows what it comes to.
    """
    of_kind: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for reader in readers:
        api, kind = reader.kind
        if isinstance(reader.value.get("metadata"), Mapping):
            of_kind.setdefault((api.partition("/")[0], kind), []).append(dict(reader.value))
    configs = [c.get("data") or {} for c in of_kind.get(("v1", "ConfigMap"), ()) if c["metadata"].get("name") == CONFIG]
    if not configs:
        return None
    if any(other != configs[0] for other in configs):
        raise UsageError(f"{CONFIG} is given twice, and not alike: name the files of one cluster only")
    data = configs[0]
    refuse_laid_over(of_kind.get(("cilium.io", "CiliumNodeConfig"), ()), data)
    return options(data, cilium, counted)


def _host_addresses(arguments: argparse.Namespace) -> tuple[IPAddress, ...] | None:
    """What the command line says of addresses that nodes serve themselves; None where it says nothing."""
    told = arguments.host_address
    if not told:
        return None
    if "none" in told:
        if len(told) > 1:
            raise UsageError("--host-address none says that nodes serve no address themselves: leave the others out")
        return ()
    try:
        return tuple(ipaddress.ip_address(a) for a in told)
    except ValueError as error:
        raise UsageError(f"--host-address: {error}. Give an address such as 169.254.170.23, or none") from error


def policies_after(arguments: argparse.Namespace, agents: CiliumOptions) -> tuple[tuple[Policy, ...], CiliumOptions]:
    """The policies to compare with, and what Cilium's agents are told there.

    Args:
        arguments: the command line.
        agents: what they are told where the other files do not say it.

    Raises:
        UndecidableError: nobody knows what the other files' configuration of Cilium comes to.
        PolicyError: everything that is wrong with what was given so far.
        UsageError: there are none, and nobody said so.
    """
    notes = notes_of(arguments)
    found: tuple[Policy, ...] = ()
    if not arguments.after_nothing:
        readers = read(arguments, arguments.after)
        found = once(from_readers(readers, notes=notes), notes).policies
        there = _of_files(readers, agents.version)
        agents = agents if there is None else _with_arguments(there, arguments)
    told(notes)
    if not found and not arguments.after_nothing:
        raise UsageError(
            f"{', '.join(map(str, arguments.after))}: no policy in there. To compare with no policies at all, say "
            "--after-nothing"
        )
    return found, agents


def lacking(*worlds: World) -> list[dict[str, Any]]:
    """What the worlds' policies ask for and nobody gave: told to people by the kind, and given back."""
    found = missing(*worlds)
    for line in summary(found, worlds[0].rest):
        say(line)
    by_kind: dict[str, list[str]] = {}
    for one in found:
        by_kind.setdefault(one.kind, []).append(one.name)
    return [{"kind": kind, "names": names} for kind, names in by_kind.items()]


def read(arguments: argparse.Namespace, paths: Sequence[Path]) -> Readers:
    """The objects at the paths. One that holds nothing is not what somebody meant."""
    notes = notes_of(arguments)
    readers = documents.load(paths, notes=notes, namespace=arguments.namespace)
    files = {Path(reader.place().file) for reader in readers}
    holding = files.union(*(file.parents for file in files))
    empty = [path for path in paths if path not in holding]
    # What is wrong may be why, and is told first.
    if empty and not notes.errors:
        told(notes)
        raise UsageError(f"{empty[0]} holds no objects: name the file or directory that does (*.yaml, *.yml, *.json)")
    return readers


def once(world: World, notes: Notes) -> World:
    """The world without Calico's copies of Kubernetes' policies."""
    found, twice = without_copies(world)
    for copy in twice:
        notes.skip(copy.meta.place, str(copy.meta), "Calico's copy of a NetworkPolicy that is given as well")
    return found


@dataclass(frozen=True)
class _Meant:
    """The cluster that is meant, and the Cilium that its stack has or is to have."""

    kube: Cluster
    cilium: tuple[int, int] | None = None
    values: Mapping[str, Any] | None = None
    pod_blocks: tuple[IPNetwork, ...] = ()


def _cluster(arguments: argparse.Namespace) -> _Meant:
    """The cluster that is meant, never just the one that KUBECONFIG happens to lead to."""
    # Files are read without it, and it takes longer than most of what is asked about files.
    from migration.cilium_values import cilium_values  # noqa: PLC0415
    from operations.access import context  # noqa: PLC0415

    if arguments.server is not None:
        server = _server(arguments.server)
        return _Meant(Cluster(lambda: through_kubeconfig(server, "--server says")))
    try:
        loaded = context.Context.load(arguments.stack)
        coming = version(loaded.settings.cilium.version, "Cilium", NEWEST_CILIUM)
        values = cilium_values(loaded.settings, loaded.facts)
        return _Meant(loaded.kube, coming, values, tuple(loaded.settings.network.vpc_cidrs))
    except Failure as error:
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
            f"--server {text!r} is not an address. Write it as kubeconfigs do: https://HOST or https://HOST:PORT"
        )
    return text


def network(text: str) -> IPNetwork:
    """A CIDR. Raises UsageError."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a CIDR: {error}") from error


def version(text: str, of: str = "Calico", such_as: str = NEWEST) -> tuple[int, int]:
    """Major and minor of a version. Raises UsageError."""
    found = re.match(r"v?([0-9]{1,4})\.([0-9]{1,4})(\.|$)", text)
    if found is None:
        raise UsageError(f"{text!r} is not a {of} version such as {such_as}")
    return int(found[1]), int(found[2])


def node_rule(text: str) -> tuple[str, str, list[Engine], Recognition]:
    """`LABEL=VALUE:ENGINE[+ENGINE][:RECOGNISED]`. Raises UsageError."""
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
