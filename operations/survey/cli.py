"""`survey`: read the cluster, write `facts.<stack>.yaml`, say what it means."""

import argparse
import difflib
import json
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml

from migration.affinity import is_pinned
from migration.facts import FORMAT, Decision, Facts, InvalidFacts, Verdict
from migration.names import (
    AWS_NODE,
    CANARY_GROUP,
    CNI_LABEL,
    KUBE_PROXY,
    LEGACY_CNI,
    SYSTEM_NAMESPACE,
)
from migration.settings import Settings
from operations import evidence
from operations.context import Context, UsageError, facts_path
from operations.survey import describe
from operations.survey.decisions import Seen, decide
from operations.survey.gather import gather
from operations.survey.gathered import Gathered, is_true

HEAD: Final = """\
# What cluster {name} was like before the migration, as `python -m operations survey` found it.
# Read it, correct nothing by hand, commit it: gates check that it still holds, every way back restores what it says.
# If the cluster has changed, survey again; the differences are shown before anything is overwritten.
#
{decisions}
"""


def add_parser(commands: Any) -> None:
    command = commands.add_parser("survey", help="read an adopted cluster and write down its facts; changes nothing")
    command.add_argument("--stack", help="left out: PULUMI_STACK, or the only stack here")
    command.add_argument("--out", type=Path, help="left out: facts.<stack>.yaml")
    command.add_argument("--force", action="store_true", help="overwrite a file that says something else")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Survey; exit code 1 when something is refused or a differing file is in the way."""
    context = Context.load(args.stack)
    if not context.adopted and args.out is None:
        _say(f"stack {context.stack} owns its cluster: no facts are needed. To look at it anyway, give --out")
        _print({"file": None, "verdict": evidence.Verdict.PASSED})
        return 0
    gathered = gather(context.aws, context.kube, context.cluster_name)
    changed = pinned(gathered)
    if changed:
        raise UsageError(
            f"{' and '.join(changed)} are bound to labelled nodes already: facts say what the cluster was like before "
            "that. Use the committed file; without it, go back to label-legacy, then survey"
        )
    facts = facts_of(gathered, context.settings, _now())
    path: Path = args.out or facts_path(context.directory, context.stack)
    written = write(path, facts, force=args.force)
    for line in summary(facts.decisions):
        _say(line)
    refused = len(facts.refused)
    _say(f"{len(facts.decisions)} items, {refused} refused; {'written to ' if written else 'not written: '}{path}")
    failed = bool(refused) or not written
    _print(
        {
            "file": str(path) if written else None,
            "verdict": evidence.Verdict.FAILED if failed else evidence.Verdict.PASSED,
            "refused": [d.item for d in facts.refused],
            "decisions": {d.item: d.verdict for d in facts.decisions},
            "simulated": evidence.simulated(),
        }
    )
    return evidence.EXIT_CODES[evidence.Verdict.FAILED if failed else evidence.Verdict.PASSED]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def facts_of(gathered: Gathered, settings: Settings, at: str) -> Facts:
    """Facts, decisions included, from what was gathered. Pure.

    Args:
        at: time of the survey, UTC, ISO 8601.
    """
    ours = {group.name for group in settings.cilium.groups} | {CANARY_GROUP}
    groups = tuple(g for g in describe.groups(gathered) if g.name not in ours)
    used = {subnet for group in groups for subnet in group.subnet_ids}
    vpc_cni, calico = describe.vpc_cni(gathered), describe.calico(gathered)
    subnets = describe.subnets(gathered, used)
    seen = Seen(gathered=gathered, settings=settings, vpc_cni=vpc_cni, calico=calico, groups=groups, subnets=subnets)
    env = gathered.env
    return Facts.model_validate(
        {
            "format": FORMAT,
            "surveyed_at": at,
            "cluster": describe.cluster(gathered),
            "vpc_cni": vpc_cni,
            "kube_proxy": describe.kube_proxy(gathered),
            "calico": calico,
            "groups": groups,
            "subnets": subnets,
            "egress_source": "pod" if is_true(env.get("AWS_VPC_K8S_CNI_EXTERNALSNAT")) else "node",
            "exclude_snat_cidrs": describe.snat_exclusions(env)[0],
            "decisions": decide(seen),
        }
    )


def pinned(gathered: Gathered) -> list[str]:
    """Networking DaemonSets that a later stage has already bound to legacy nodes."""
    found = []
    for namespace, name in ((SYSTEM_NAMESPACE, AWS_NODE), (SYSTEM_NAMESPACE, KUBE_PROXY)):
        live = gathered.daemonset(namespace, name)
        term = live["spec"]["template"]["spec"].get("affinity") if live else None
        if is_pinned(term, CNI_LABEL, LEGACY_CNI):
            found.append(name)
    return found


def write(path: Path, facts: Facts, *, force: bool) -> bool:
    """Write the file, unless it is there and says something else; the difference is printed then.

    Free addresses and the time of the survey always differ; they alone are no reason to refuse.
    """
    new = text(facts)
    if path.exists() and not force:
        old = path.read_text()
        if _essence(old) == _essence(new):
            return True
        for line in difflib.unified_diff(old.splitlines(), new.splitlines(), str(path), "now", lineterm="", n=2):
            _say(line)
        _say(f"{path} says something else. If the cluster was meant to change, run again with --force and review it")
        return False
    temporary = path.with_suffix(".tmp")
    temporary.write_text(new)
    temporary.replace(path)
    return True


def _essence(text: str) -> object:
    """What two surveys of an unchanged cluster have in common; a damaged file has nothing in common with any."""
    try:
        value = Facts.model_validate(yaml.safe_load(text)).model_dump(mode="json")
    except (ValueError, yaml.YAMLError, InvalidFacts):
        return text
    value.pop("surveyed_at")
    for subnet in value["subnets"]:
        subnet.pop("free")
    return value


def text(facts: Facts) -> str:
    """The file: a head in plain words, then YAML."""
    lines = [f"#   {line}" for line in summary(facts.decisions)]
    return HEAD.format(name=facts.cluster.name, decisions="\n".join(lines)) + facts.dump()


def summary(decisions: tuple[Decision, ...]) -> list[str]:
    """What was found, refusals first; what is absent is only counted."""
    counted = Counter(d.verdict for d in decisions)
    lines = []
    for decision in sorted(decisions, key=lambda d: d.verdict is not Verdict.REFUSED):
        if decision.verdict is Verdict.ABSENT:
            continue
        lines.append(f"{decision.verdict:8} {decision.item}: {decision.found}")
        lines.append(f"         {decision.reason}")
        if decision.way_out:
            lines.append(f"         way out: {decision.way_out}")
    lines.append(f"{counted[Verdict.ABSENT]} further items are absent")
    return lines


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print(value: dict[str, Any]) -> None:
    print(json.dumps(value, separators=(",", ":")), flush=True)
