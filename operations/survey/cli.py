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

from migration.facts import Decision, Facts, InvalidFacts, Verdict
from operations import evidence
from operations.context import Context, UsageError, facts_path
from operations.survey.gather import gather
from operations.survey.surveyed import facts_of, pinned

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
