"""What the bridge says about itself: figures that alert rules name, in words and for machines."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from bridge.process.metrics import exposition
from bridge.step import Step

RULES = Path(__file__).parents[3] / "docs" / "bridge-alerts.yaml"


def step(**changed: object) -> Step:
    whole: dict[str, object] = {"complete": True, "lag": 0.0, "behind": 0, "without": (), "conflicts": ()}
    return Step(**(whole | changed))  # type: ignore[arg-type]


def test_alert_rules_name_metrics_that_there_are():
    shown = set(re.findall(r"^(eks_\w+)", exposition(step(), late="", writes=True, counts={"make": 1}), re.MULTILINE))
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    named = {name for rule in group["rules"] for name in re.findall(r"eks_\w+", rule["expr"])}
    assert len(named) > 2
    assert named <= shown


def test_it_is_out_of_step_only_when_something_was_wrong_for_longer_than_the_limit():
    assert step().late(30) == ""
    assert step(lag=29.0, behind=1, without=(("shop", "a"),)).late(30) == ""
    late = step(lag=31.0, behind=2, without=(("shop", "a"),), conflicts=("two pods",)).late(30)
    assert late == "2 things have been wrong for up to 31 s; pods without their identity: shop/a; two pods"
    assert step(complete=False).late(30) == "it has not seen everything yet"
    assert step(blind="nodes (403)").late(30) == "it cannot read nodes (403)"


def test_what_it_says_stays_short_however_much_is_wrong():
    much = step(
        lag=99.0, behind=5000, without=tuple(("shop", f"pod-{n}") for n in range(5000)), conflicts=("x" * 50,) * 500
    )
    assert "and 4990 more" in much.late(30)
    assert len(much.late(30)) < 2000
    assert len(much.as_json()) < 2000
    assert json.loads(much.as_json())["without"] == 5000
