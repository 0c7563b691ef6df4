"""Explain, translate, prove and lint network policies, from files or from the live cluster."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import reading
from netpol.model.errors import PolicyError
from netpol.model.named import names_six
from netpol.model.packets import Flow
from netpol.model.values import AdminPolicy, ClusterPolicy, KubernetesPolicy
from netpol.model.world import World
from operations.exits import UsageError, ended
from operations.policy import options
from operations.policy.answers import (
    fate_of,
    faults_of,
    finding_of,
    path_of,
    proof_of,
    refusal_of,
    size_of,
    skipped_of,
)
from operations.policy.given import lacking, notes_of, policies_after, told, world_of
from operations.say import say
from reading.failure import FAILED, UNKNOWN, USAGE, Failure

if TYPE_CHECKING:
    from netpol.translate.translation import Translation

# Each command reads what it needs: to read all would take longer than most answers.
# ruff: noqa: PLC0415

Answer = tuple[int, dict[str, Any]]
"""Exit code, and what is told in JSON."""
PASSED: Final = 0
_EXIT = {"equal": PASSED, "different": FAILED, "undecided": UNKNOWN}


def fill(command: argparse.ArgumentParser) -> None:
    """The commands under `policy`."""
    command.description = __doc__
    command.set_defaults(run=run)
    options.add(command.add_subparsers(dest="policy_command", required=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command on its own."""
    parser = argparse.ArgumentParser(prog="python -m operations.policy", description=__doc__)
    fill(parser)
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit as stop:
        return USAGE if stop.code else PASSED
    return run(parsed)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    commands: dict[str, Callable[[argparse.Namespace], Answer]] = {
        "explain": _explain,
        "translate": _translate,
        "prove": _prove,
        "diff": _diff,
        "lint": _lint,
        "sets": _sets,
    }
    try:
        code, answer = _meant(commands[arguments.policy_command], arguments)
    except Exception as error:  # what is not foreseen goes on from there
        end = ended(error)
        say(end.text)
        code, answer = end.code, faults_of(error) if isinstance(error, PolicyError) else {"error": end.text}
    skipped = skipped_of(notes_of(arguments))
    print(json.dumps({"command": f"policy {arguments.policy_command}", **answer, "skipped": skipped}))
    return code


def _meant(command: Callable[[argparse.Namespace], Answer], arguments: argparse.Namespace) -> Answer:
    """What a command answers. A flow or a world that nobody can mean is a plain `ValueError` of `netpol`."""
    try:
        return command(arguments)
    except Failure:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from error


# --- commands
def _explain(arguments: argparse.Namespace) -> Answer:
    from netpol.decide.flow import decide

    world = world_of(arguments)
    told(notes_of(arguments))
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
    absent = lacking(world)
    verdict = decide(world, flow)
    say(str(verdict))
    return PASSED if verdict.allowed else FAILED, {
        "missing": absent,
        "allowed": verdict.allowed,
        "paths": [path_of(p) for p in verdict.paths],
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


def _translate(arguments: argparse.Namespace) -> Answer:
    from netpol.compare.prove import Grade
    from netpol.decide.hosts import without_hosts
    from netpol.translate.table import table
    from netpol.translate.translation import translate
    from operations.cluster.objects import count
    from operations.policy import out
    from operations.policy.accepting import accepted_by, report
    from operations.policy.told import say_result, say_table

    world = world_of(arguments)
    told(notes_of(arguments))
    counts, expired = accepted_by(arguments)
    world = whole = replace(world, accepted=counts)
    hosts: list[str] = []
    if arguments.without_hosts:
        world, hosts = without_hosts(whole)
    absent = lacking(world)
    result = translate(world, strict=arguments.strict)
    say_result(result, hosts)
    written: list[Path] = []
    removed: list[Path] = []
    if not result.complete:
        _say_why_nothing_is_written(arguments, result)
    elif arguments.out is not None:
        written, removed = out.write(result.manifests, arguments.out)
        say(f"{count(len(written), 'policy', 'policies')} written to {arguments.out}")
        for path in removed:
            say(f"removed, as it was of an earlier translation: {path}")
        for path in out.edited(arguments.out):
            say(f"left as it is, as somebody edited it since a translation wrote it: {path}")
    else:
        say(reading.dump_all(result.manifests))
    code = PASSED if result.complete else FAILED if result.grade is Grade.REFUSED else UNKNOWN
    accepted = report(result.proof, counts, expired)
    fates = [fate_of(f) for f in table(whole, result)]
    say_table(fates, written=bool(written))
    return code, {
        "policies": fates,
        **accepted,
        "hosts_left_out": hosts,
        "sizes": [size_of(s) for s in result.sizes],
        "complete": result.complete,
        "grade": result.grade.value,
        "missing": absent,
        "manifests": list(result.manifests) if result.complete else [],
        "refused": [refusal_of(r) for r in result.refused],
        "expanded": list(result.expanded),
        "left_out": list(result.left_out),
        "copies": list(result.copies),
        "written_out": list(result.written_out),
        "written": [str(path) for path in written],
        "removed": [str(path) for path in removed],
        "proof": proof_of(result.proof),
    }


def _say_why_nothing_is_written(arguments: argparse.Namespace, result: Translation) -> None:
    from netpol.compare.prove import Grade
    from operations.policy import out

    if result.grade is Grade.REFUSED:
        say("nothing is written: a translation is deployed whole or not at all")
    elif arguments.strict:
        say("nothing is written: this holds for the objects given only, and --strict wants more")
    else:
        say(
            "nothing is written: this holds for the objects given, and nobody says that they are all there is. Say "
            "--whole if they are, or read the cluster with --live"
        )
    left = out.earlier(arguments.out) if arguments.out is not None else []
    if left:
        say(f"{len(left)} of an earlier translation still in {arguments.out} say something else")


def _prove(arguments: argparse.Namespace) -> Answer:
    from netpol.compare.future import DEFAULT_LIMIT, prove_future
    from netpol.compare.graded import prove
    from netpol.compare.prove import Equality
    from netpol.compare.resting import resting
    from netpol.decide.copies import without_operators
    from netpol.decide.hosts import without_hosts
    from operations.continuity.worlds import said_of
    from operations.policy.accepting import accepted_by, report

    before, theirs = without_operators(world_of(arguments))
    counts, expired = accepted_by(arguments)
    before = replace(before, accepted=counts)
    hosts: list[str] = []
    if arguments.without_hosts:
        before, hosts = without_hosts(before)
    found, agents = policies_after(arguments, before.cilium)
    # Kubernetes' policies stay through the migration, unless the other side brings its own of the kind.
    own = tuple({type(p) for p in found})
    kubernetes = KubernetesPolicy | ClusterPolicy | AdminPolicy
    stays = [p for p in before.policies if isinstance(p, kubernetes) and not isinstance(p, own)]
    after = replace(before, cilium=agents).with_policies([*found, *stays])
    if not arguments.nodes:
        before, after = before.enforced_by(arguments.before_engine), after.enforced_by(arguments.after_engine)
    if not before.families_stated and any(map(names_six, found)):
        both = frozenset((4, 6))
        before, after = replace(before, families=both), replace(after, families=both)
    absent = lacking(before, after)
    if arguments.future:
        proof = resting(
            before,
            after,
            lambda one, other: prove_future(one, other, limit=arguments.limit or DEFAULT_LIMIT, most=arguments.most),
        )
    else:
        proof = prove(before, after, most=arguments.most, strict=arguments.strict)
    if theirs:
        note = f"not compared: {said_of(theirs)}, which go with Calico"
        proof = replace(proof, assumptions=(*proof.assumptions, note))
    if hosts:
        note = f"not compared: policy on hosts ({', '.join(hosts)})"
        proof = replace(proof, assumptions=(*proof.assumptions, note))
    say(str(proof))
    for example in proof.differences[1:]:
        say(str(example))
    if proof.verdict is Equality.UNDECIDED and not before.whole:
        say("if what was given is the whole cluster, say --whole")
    said = report(proof, counts, expired)
    return _EXIT[proof.verdict.value], proof_of(proof) | said | {"missing": absent, "families": sorted(before.families)}


def _diff(arguments: argparse.Namespace) -> Answer:
    from operations.policy.diff import run as diff

    return diff(arguments)


def _lint(arguments: argparse.Namespace) -> Answer:
    from netpol.lint.lint import lint

    world = world_of(arguments)
    told(notes_of(arguments))
    absent = lacking(world)
    findings = lint(world)
    for finding in findings:
        say(str(finding))
    return FAILED if findings else PASSED, {"missing": absent, "findings": [finding_of(f) for f in findings]}


def _sets(arguments: argparse.Namespace) -> Answer:
    from operations.policy import sets

    return sets.answer(arguments)
