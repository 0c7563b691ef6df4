"""`policy diff`: what the files of a pull request change in verdicts, told in words, engine by engine."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import programs
from netpol.compare.graded import prove
from netpol.compare.prove import Counterexample, Equality, Proof
from netpol.model.world import Engine, World
from netpol.read import documents
from operations.continuity.overlay import key_of, over
from operations.exits import UsageError
from operations.policy.answers import proof_of
from operations.policy.given import gathered, lacking, notes_of, read, told
from operations.say import say
from reading.failure import FAILED, UNKNOWN

PASSED: Final = 0
_SECONDS: Final = 60.0
_GROUPS: Final = frozenset({"projectcalico.org", "networking.k8s.io", "policy.networking.k8s.io", "cilium.io"})
"""API groups of what decides."""


def run(arguments: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    """Exit code 0: no flow changes its verdict; 1: some do; 2: undecided."""
    if not arguments.paths:
        raise UsageError("name the files or directories of policies that the pull request changes")
    with at_base(arguments.paths, arguments.base) as (older, back):
        before, after = _worlds(arguments, older)
        told(notes_of(arguments))
        absent = lacking(before, after)
        engines = [Engine(name) for name in dict.fromkeys(arguments.engine or ["calico", "cilium"])]
        proofs = {e: prove(before.enforced_by(e), after.enforced_by(e), most=arguments.most) for e in engines}
        for engine, proof in proofs.items():
            for line in in_words(engine, proof):
                say(back(line))
    verdicts = {proof.verdict for proof in proofs.values()}
    code = FAILED if Equality.DIFFERENT in verdicts else UNKNOWN if Equality.UNDECIDED in verdicts else PASSED
    answer = {engine.value: proof_of(proof) for engine, proof in proofs.items()}
    return code, {"base": arguments.base, "missing": absent, "engines": _told_back(answer, back)}


def in_words(engine: Engine, proof: Proof) -> Iterator[str]:
    """What a change of policies means where an engine enforces both."""
    name = engine.value.capitalize()
    if proof.verdict is Equality.EQUAL:
        yield f"where {name} enforces: every flow keeps its verdict"
    elif proof.verdict is Equality.UNDECIDED:
        yield f"where {name} enforces: undecided: {'; '.join(proof.assumptions) or 'no reason is known'}"
    for example in proof.differences:
        yield from _change(name, example)


def _change(name: str, example: Counterexample) -> Iterator[str]:
    now, then = ("allowed", "denied") if example.before.allowed else ("denied", "allowed")
    what = "opens" if then == "allowed" else "closes"
    yield f"where {name} enforces, this {what}: {example.source} -> {example.destination}, {example.packet}"
    for word, path in ((f"is {now}", example.before), (f"becomes {then}", example.after)):
        yield f"  {word}: {path.because()}"


# -- two worlds -------------------------------------------------------------------------------------


def _worlds(arguments: argparse.Namespace, older: Sequence[Path]) -> tuple[World, World]:
    """The world with the policies of the base, and with those of today; pods and all the rest are today's."""
    found = gathered(arguments)
    then = [r for r in (read(arguments, older) if older else []) if _decides(r)]
    told(notes_of(arguments))
    kept = [r for r in found.files if not _decides(r)]
    # What a pull request takes out of the files, its deploy takes out of the cluster.
    gone = {key_of(r) for r in then} - {key_of(r) for r in found.files}
    before = found.world(over([*then, *kept], found.live))
    return before, found.world([r for r in over(found.files, found.live) if key_of(r) not in gone])


def _decides(reader: documents.Reader) -> bool:
    return key_of(reader)[0] in _GROUPS


# -- the files of a revision ------------------------------------------------------------------------


@contextmanager
def at_base(paths: Sequence[Path], revision: str) -> Iterator[tuple[list[Path], Callable[[str], str]]]:
    """Paths that hold what these held at a revision; and what tells their places in the words of the revision.

    What git does not know, now or then, is what it is today. What was not there at the revision is left out.

    Raises:
        UsageError: there is no such revision, or a path is in no repository.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = [there for path in paths if (there := _older(path, revision, Path(folder))) is not None]
        yield found, lambda text: text.replace(f"{folder}/", f"{revision}:")


def _older(path: Path, revision: str, folder: Path) -> Path | None:
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    home = path.resolve() if path.is_dir() else path.resolve().parent
    top = programs.run(["git", "rev-parse", "--show-toplevel"], directory=home, seconds=_SECONDS, check=False)
    if top.code:
        return path
    root = Path(top.out.strip())
    inside = path.resolve().relative_to(root).as_posix()
    # Whatever begins with a dash would be an option to git.
    known = programs.run(
        ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"],
        directory=root,
        seconds=_SECONDS,
        check=False,
    )
    if known.code:
        raise UsageError(f"--base {revision!r} is not a revision of {root}. Fetch it, or name another")
    commit = known.out.strip()
    names = _lines(["git", "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit, "--", inside], root)
    if not names:
        tracked = _lines(["git", "ls-files", "-z", "--", inside], root)
        return None if tracked else path
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        text = programs.run(["git", "show", f"{commit}:{name}"], directory=root, seconds=_SECONDS).out
        target.write_text(text, encoding="utf-8")
    return folder / inside


def _lines(words: Sequence[str], root: Path) -> list[str]:
    return [name for name in programs.run(words, directory=root, seconds=_SECONDS).out.split("\0") if name]


def _told_back(value: Any, back: Callable[[str], str]) -> Any:
    """The same with every text in the words of the revision."""
    if isinstance(value, str):
        return back(value)
    if isinstance(value, Mapping):
        return {key: _told_back(one, back) for key, one in value.items()}
    return [_told_back(one, back) for one in value] if isinstance(value, list) else value
