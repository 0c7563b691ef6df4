"""The glossary says what the code says, and has every word that other pages link."""

import re
from collections.abc import Iterable
from enum import EnumType

import pytest

from migration import facts, names
from migration.guarding.freeze import SERVED_POLICY
from migration.journeys import JOURNEYS, REPLACE, CheckId, Cni, NodeKind, Piece
from netpol import Engine, Equality, Grade
from operations.commands import COMMANDS
from operations.commands.schema import settings_schema
from operations.evidence import Verdict
from operations.refresh.blockers import Weight
from tests.unit.docs.pages import PAGES, ROOT, anchors, links, prose, section, spans

GLOSSARY = ROOT / "docs" / "glossary.md"
WORDS = re.findall(r"^### (.+)$", prose(GLOSSARY), re.MULTILINE)


def keys_of_settings() -> frozenset[str]:
    """Every key of the settings, those of a section as `section.key`."""
    schema = settings_schema()
    top = {key.removeprefix(f"{names.PROJECT}:") for key in schema["properties"]["config"]["properties"]}
    parts = {name.lower(): part["properties"] for name, part in schema["$defs"].items()}
    return frozenset(top | {f"{part}.{key}" for part, keys in parts.items() for key in keys})


def known() -> frozenset[str]:
    """Words in backticks that are true: values of the program, names in the cluster, settings."""
    stages = {stage.id for journey in JOURNEYS.values() for stage in journey.stages}
    values = {
        str(one) for kind in (CheckId, NodeKind, Piece, Engine, Equality, Grade, Verdict, Weight, Cni) for one in kind
    }
    texts = {text for text in vars(names).values() if isinstance(text, str)}
    labels = {f"{names.CNI_LABEL}={value}" for value in (names.LEGACY_CNI, names.CILIUM_CNI)}
    return frozenset(
        {*JOURNEYS, *stages, *values, *texts, *labels, *map(str, facts.Verdict), *keys_of_settings(), SERVED_POLICY}
        | {"pulumi up", "facts.STACK.yaml", "netpol", f"{names.PROBE}-…", "--budget"}
    )


def test_words_stand_in_the_order_of_the_alphabet_and_each_once():
    assert len(WORDS) > 40
    assert sorted(set(WORDS), key=str.lower) == WORDS


def test_every_word_that_a_page_links_is_in_it():
    linked = {
        (page.name, link.rpartition("#")[2])
        for page in PAGES
        for link in links(page)
        if "glossary.md#" in link or (page == GLOSSARY and link.startswith("#"))
    }
    assert {(page, word) for page, word in linked if word not in anchors(GLOSSARY)} == set()
    assert sum(page == "README.md" for page, _ in linked) > 10
    assert sum(page == "CONTRIBUTING.md" for page, _ in linked) > 3


@pytest.mark.parametrize(
    "word", ["stage", "gate", "facts", "journey", "freeze", "legacy node", "soak", "refresh", "guard", "mark"]
)
def test_the_readme_links_a_word_before_it_uses_it_without_a_link(word: str):
    text = re.sub(r"!\[[^\]]*\]|`[^`]*`", lambda found: " " * len(found[0]), prose(ROOT / "README.md"))
    linked = text.find(f"](docs/glossary.md#{word.replace(' ', '-')})")
    assert linked > 0
    plain = re.search(rf"(?<![-\w`/.#\[]){word}s?(?![-\w`/.\]])", text)
    assert plain is None or plain.start() > linked, f"used before: {text[plain.start() - 40 : plain.start() + 20]!r}"


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("piece", Piece),
        ("blocker", Weight),
        ("proof", Equality),
        ("grade", Grade),
        ("verdict", Verdict),
        ("survey", facts.Verdict),
        ("journey", JOURNEYS),
        ("point of no return", [stage.id for stage in REPLACE.stages if not stage.reversible]),
    ],
)
def test_a_word_that_has_kinds_names_all_of_them(word: str, kind: EnumType | Iterable[str]):
    assert set(map(str, kind)) - set(spans(section(GLOSSARY, word))) == set()


def test_stages_of_one_place_are_those_that_the_glossary_names():
    stages = [stage for journey in JOURNEYS.values() for stage in journey.stages]
    shared = {stage.id for stage in stages if sum(other.place == stage.place for other in stages) > 1}
    assert shared == {"retire-calico", "launch"}
    assert shared <= set(spans(section(GLOSSARY, "place")))


def test_what_stands_in_backticks_is_there():
    text = prose(GLOSSARY)
    named = re.findall(r"`(\w+)`\s+in\s+`([\w/]+\.py)`", text)
    for name, path in named:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^(class|def) {name}\b", source, re.MULTILINE), f"{path} has no {name}"
    commands = [span for span in spans(text) if span.startswith("python -m operations ")]
    assert {span.split()[3] for span in commands} <= {command.name for command in COMMANDS}
    left = set(spans(text)) - known() - {name for name, _ in named} - set(commands)
    assert {span for span in left if not (ROOT / span).exists()} == set()


def test_the_freeze_and_the_guard_last_as_long_as_the_glossary_says():
    frozen = [stage.id for stage in REPLACE.stages if Piece.FREEZE in stage.pieces]
    after = REPLACE.stages[REPLACE.index[frozen[-1]] + 1].id
    assert {frozen[0], after} <= set(spans(section(GLOSSARY, "freeze")))
    probed = [stage.id for stage in REPLACE.stages if Piece.PROBES in stage.pieces]
    after = REPLACE.stages[REPLACE.index[probed[-1]] + 1].id
    assert {probed[0], after} <= set(spans(section(GLOSSARY, "probe")))


def test_the_bridge_lasts_as_long_as_the_glossary_says_and_gates_ask_what_it_names():
    bridged = [stage for stage in REPLACE.stages if Piece.BRIDGE in stage.pieces]
    after = REPLACE.stages[REPLACE.index[bridged[-1].id] + 1].id
    assert {bridged[0].id, after, names.BRIDGE} <= set(spans(section(GLOSSARY, "bridge")))
    asked = {check for stage in REPLACE.stages for check in stage.gate}
    assert {CheckId.CONTINUITY, CheckId.BRIDGE_IN_STEP, CheckId.PROOF_CURRENT} <= asked
    assert {names.PROVER, names.PROOF} <= set(spans(section(GLOSSARY, "prover")))


def test_nothing_that_a_gate_should_ask_is_left_unproved():
    assert {stage.id: stage.unproved for stage in REPLACE.stages if stage.unproved} == {}
