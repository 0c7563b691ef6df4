"""`survey`: read the cluster, write `facts.<stack>.yaml`, say what it means."""

import argparse
import difflib
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import reading
from migration.facts import Decision, Facts, InvalidFacts, Verdict
from migration.journeys import Journey, Piece, Stage
from migration.names import CANARY_GROUP
from operations import evidence
from operations.access.context import FACTS_HINT, Context, facts_path
from operations.arguments import of_stack
from operations.cluster.calico import STORED
from operations.exits import UsageError
from operations.say import say
from operations.survey import policy_files
from operations.survey.gather import gather
from operations.survey.gathered import Gathered
from operations.survey.moved import moved
from operations.survey.policy_files import Filed
from operations.survey.propose import section
from operations.survey.surveyed import facts_of, pinned
from reading import Unreadable

HEAD: Final = """\
# What cluster {name} was like before the migration, as `python -m operations survey` found it.
# Read it, correct nothing by hand, commit it: gates check that it still holds, every way back restores what it says.
# What may move while the journey is under way is read again with --moved; the differences are shown.
#
{decisions}
"""


def fill(command: Any) -> None:
    of_stack(command)
    command.add_argument("--out", type=Path, help="left out: facts.<stack>.yaml")
    how = command.add_mutually_exclusive_group()
    how.add_argument("--force", action="store_true", help="overwrite a file that says something else")
    how.add_argument(
        "--moved",
        action="store_true",
        help="at any stage: read again what may move (versions, images, blocks, groups), keep everything else",
    )
    how.add_argument(
        "--propose",
        action="store_true",
        help="print a section cilium.groups that mirrors the node groups that there are; writes nothing",
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Survey; exit code 1 when something is refused or a differing file is in the way."""
    context = Context.load(args.stack, surveys=True)
    if not context.adopted and args.out is None:
        say(f"stack {context.stack} owns its cluster: no facts are needed. To look at it anyway, give --out")
        _print({"file": None, "verdict": evidence.Verdict.PASSED})
        return 0
    if args.moved and context.facts is None:
        raise UsageError(f"nothing was surveyed yet that could have moved. {FACTS_HINT}")
    gathered = gather(context.aws, context.kube, context.cluster_name)
    if args.propose:
        ours = {CANARY_GROUP, *(g.name for g in context.settings.cilium.groups)}
        print(section(gathered, context.settings.network.subnet_ids, ours), end="")
        return 0
    if args.moved:
        return _moved(context, gathered, args.out)
    changed = pinned(gathered)
    if changed:
        raise UsageError(
            f"{' and '.join(changed)} are bound to labelled nodes already, so it is too late for a first survey: facts "
            "say what the cluster was like before the migration. Use the committed file; `survey --moved` reads again "
            "in it what may have changed since (versions, blocks, node groups). Without a file, go back to "
            "label-legacy, then survey"
        )
    facts = facts_of(gathered, context.settings, _now())
    path: Path = args.out or facts_path(context.directory, context.stack)
    written = write(path, facts, force=args.force)
    for line in summary(facts.decisions):
        say(line)
    refused = len(facts.refused)
    say("for node groups like those that there are: `python -m operations survey --propose`")
    say(f"{len(facts.decisions)} items, {refused} refused; {'written to ' if written else 'not written: '}{path}")
    failed = bool(refused) or not written
    filed = _policies(context, gathered, facts) if written and args.out is None else None
    _print(
        {
            "file": str(path) if written else None,
            "policies": _told(filed),
            "verdict": evidence.Verdict.FAILED if failed else evidence.Verdict.PASSED,
            "refused": [d.item for d in facts.refused],
            "decisions": {d.item: d.verdict for d in facts.decisions},
            "simulated": evidence.simulated(),
        }
    )
    return evidence.EXIT_CODES[evidence.Verdict.FAILED if failed else evidence.Verdict.PASSED]


def _moved(context: Context, gathered: Gathered, out: Path | None) -> int:
    """Read again what may move. Nothing is written when something changed that may not, or is refused now."""
    facts, stage = context.surveyed(), _stage(context)
    found, fixed = moved(facts, facts_of(gathered, context.settings, _now(), stage), context.settings, stage)
    for one in fixed:
        say(f"fixed    {one.about}: {one.problem}")
        say(f"         {one.fix}")
    for decision in found.refused if not fixed else ():
        say(f"{decision.verdict:8} {decision.item}: {decision.found}")
        say(f"         {decision.reason}")
        say(f"         way out: {decision.way_out}")
    path = out or facts_path(context.directory, context.stack)
    stopped, written = bool(fixed or found.refused), False
    if not stopped:
        written = show(path, found)
        if written:
            _replace(path, text(found))
    say(f"{'not written: ' if stopped else 'written to ' if written else 'nothing has moved: '}{path}")
    # Once both engines enforce, the files say what is to be, and the freeze keeps the cluster.
    before = context.journey.index[stage.id] < _frozen_from(context.journey)
    filed = _policies(context, gathered, found) if before and not stopped and out is None else None
    verdict = evidence.Verdict.FAILED if stopped else evidence.Verdict.PASSED
    _print(
        {
            "file": None if stopped else str(path),
            "policies": _told(filed),
            "verdict": verdict,
            "moved": written,
            "fixed": [one.about for one in fixed],
            "refused": [d.item for d in found.refused],
            "simulated": evidence.simulated(),
        }
    )
    return evidence.EXIT_CODES[verdict]


def _frozen_from(journey: Journey) -> int:
    """Number of the first stage at which policies are frozen; past the last one where none is."""
    return next((n for n, stage in enumerate(journey.stages) if Piece.FREEZE in stage.pieces), len(journey.stages))


def _policies(context: Context, gathered: Gathered, facts: Facts) -> Filed | None:
    """Write what Calico enforces into files; None where there is no Calico whose objects these files could be."""
    if facts.calico.kind == "absent" or gathered.calico_untold or gathered.calico_api != STORED:
        return None
    setting = context.settings.policies
    filed = policy_files.write(gathered, context.directory / policy_files.directory(setting, context.stack))
    for note in filed.notes:
        say(f"note     {note}")
    changes = f"{len(filed.written)} written, {len(filed.removed)} removed"
    say(f"Calico's policies as files for review: {changes}, in {filed.directory / 'calico'}")
    if filed.directory != context.directory / setting:
        say(
            f"set eks-cilium:policies to {policy_files.directory(setting, context.stack)}: gates "
            f"and deploys of this stack read {setting} until then"
        )
    return filed


def _told(filed: Filed | None) -> dict[str, Any] | None:
    if filed is None:
        return None
    paths = {"written": filed.written, "removed": filed.removed}
    return {"directory": str(filed.directory), **{word: [str(p) for p in found] for word, found in paths.items()}}


def _stage(context: Context) -> Stage:
    stage = context.settings.stage
    if stage not in context.journey.index:
        raise UsageError(
            f"{context.journey.name} has no stage {stage!r}: choose one of {', '.join(context.journey.index)}"
        )
    return context.journey[stage]


def show(path: Path, facts: Facts) -> bool:
    """Print how facts differ from the file; whether they do."""
    new, old = text(facts), _there(path)
    if _essence(old) == _essence(new):
        return False
    for line in difflib.unified_diff(old.splitlines(), new.splitlines(), str(path), "now", lineterm="", n=2):
        say(line)
    return True


def _there(path: Path) -> str:
    try:
        return reading.text_of(path)
    except FileNotFoundError:
        return ""
    except Unreadable as error:
        raise UsageError(str(error)) from None


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write(path: Path, facts: Facts, *, force: bool) -> bool:
    """Write the file, unless it is there and says something else; the difference is printed then.

    Free addresses and the time of the survey always differ; they alone are no reason to refuse.
    """
    if path.exists() and not force:
        if show(path, facts):
            say(f"{path} says something else. If the cluster was meant to change, run again with --force and review it")
            return False
        return True
    _replace(path, text(facts))
    return True


def _replace(path: Path, content: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(content)
    temporary.replace(path)


def _essence(text: str) -> object:
    """What two surveys of an unchanged cluster have in common; a damaged file has nothing in common with any."""
    try:
        value = Facts.parse(text, "facts").model_dump(mode="json")
    except InvalidFacts:
        return text
    value.pop("surveyed_at")
    value.pop("moved_at")
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


def _print(value: dict[str, Any]) -> None:
    print(json.dumps(value, separators=(",", ":")), flush=True)
