"""What counts as standing worse than before the move."""

from typing import Any

import pytest

from migration.guarding.workloads import DamagedRecord, Standing, changes, digest, dump, load, merged
from migration.settings import InvalidSettings
from tests.unit.migration import examples

WEB = "deployment shop/web"
WHOLE = Standing("t1", 3, 3)


@pytest.mark.parametrize(
    ("before", "now", "worse", "words"),
    [
        (WHOLE, WHOLE, False, ""),
        (WHOLE, Standing("t1", 3, 2), True, "has 2 of 3 ready, and had 3 of 3 ready before the move"),
        (Standing("t1", 3, 2), Standing("t1", 3, 2), False, ""),
        (Standing("t1", 3, 2), Standing("t1", 3, 3), False, ""),
        (WHOLE, Standing("t2", 3, 0), False, "was newly deployed, 0 of 3 ready"),
        (WHOLE, Standing("t1", 6, 3), False, "was rescaled from 3, 3 of 6 ready"),
        (WHOLE, Standing("t1", 0, 0), False, "was rescaled from 3, 0 of 0 ready"),
        (WHOLE, None, False, "was deleted"),
        (None, Standing("t1", 3, 0), False, "was newly made, 0 of 3 ready"),
        (Standing("t1", 0, 0), Standing("t1", 0, 0), False, ""),
    ],
)
def test_a_workload_is_worse_when_less_of_the_same_is_ready(
    before: Standing | None, now: Standing | None, worse: bool, words: str
):
    found = list(changes({WEB: before} if before else {}, {WEB: now} if now else {}))
    assert [c.worse for c in found] == ([worse] if words else [])
    assert all(c.text.startswith(words) for c in found)


def test_a_daemonset_is_compared_over_however_many_nodes():
    before, same, less = (Standing("t", wanted, ready) for wanted, ready in ((12, 12), (4, 4), (4, 3)))
    assert not list(changes({"daemonset logs/agent": before}, {"daemonset logs/agent": same}))
    [found] = changes({"daemonset logs/agent": before}, {"daemonset logs/agent": less})
    assert found.worse


def test_a_restart_deploys_nothing_new():
    template: dict[str, Any] = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}
    restarted = {
        **template,
        "metadata": {**template["metadata"], "annotations": {"kubectl.kubernetes.io/restartedAt": "2026-11-01"}},
    }
    assert digest(template) == digest(restarted)
    assert digest(template) != digest({**template, "spec": {"containers": [{"image": "b"}]}})


def test_a_record_that_is_made_again_keeps_the_better_of_the_same_and_takes_what_is_new():
    before = {"a": WHOLE, "b": WHOLE, "gone": WHOLE, "c": Standing("t1", 3, 1)}
    now = {"a": Standing("t1", 3, 1), "b": Standing("t2", 3, 1), "c": WHOLE, "new": WHOLE}
    assert merged(before, now) == {"a": WHOLE, "b": now["b"], "c": WHOLE, "new": WHOLE}


def test_a_record_is_read_as_it_was_written_and_a_damaged_one_is_refused():
    assert load(dump({WEB: WHOLE})) == {WEB: WHOLE}
    for text in ("{", "[]", '{"a": 1}', '{"a": ["t", "x", 1]}', "[" * 100_000):
        with pytest.raises(DamagedRecord, match="cannot be read"):
            load(text)


@pytest.mark.parametrize("name", ["web", "shop/web", "Deployment shop/web", "pod shop/web-1", "deployment web"])
def test_an_exception_that_names_no_workload_is_refused(name: str):
    with pytest.raises(InvalidSettings, match=r"acceptWorse\.0"):
        examples.owned(acceptWorse=[name])
