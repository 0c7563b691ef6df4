"""Opening and closing the guard: by deployers, for a while, with a reason, and never unseen."""

import argparse
import types
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kube.transport import KubeError
from migration.guarding.mark import Mark
from migration.names import GUARD_DIGEST, GUARD_LOG, GUARD_POLICY, MARK
from operations.exits import UsageError
from operations.guarding import guard, mark
from tests.unit.operations import world as w

NOW = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "minutes"), [("90m", 90), ("2h", 120), ("2026-11-28T04:00Z", 60), ("2026-11-28T05:00+01:00", 60)]
)
def test_an_opening_ends_after_a_span_or_at_a_time(text: str, minutes: int):
    assert guard.until(text, NOW) == NOW + timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tomorrow", "'tomorrow' is not a time: write 90m, 2h"),
        ("2026-11-28T04:00", "does not say in which zone: write 2026-11-28T04:00Z"),
        ("2026-11-28T02:00Z", "is over already"),
        ("0m", "is over already"),
        ("25h", "is more than 24 hours away"),
        ("9999h", "is more than 24 hours away"),
        ("", "is not a time"),
        ("-5m", "is not a time"),
    ],
)
def test_an_end_that_is_none_or_too_far_away_is_named(text: str, told: str):
    with pytest.raises(UsageError) as caught:
        guard.until(text, NOW)
    assert told in str(caught.value)


class Api(w.FakeApi):
    """Says who asks, and when."""

    caller = types.MappingProxyType({"username": "ann"})

    def __call__(self, method: str, path: str, *, body: Any = None, **more: Any) -> Any:
        if path == mark.REVIEWS:
            stamp = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
            return {"metadata": {"creationTimestamp": stamp}, "status": {"userInfo": dict(self.caller)}}
        return super().__call__(method, path, body=body, **more)


ASKED: list[tuple[Any, ...]] = []
"""What was waited for."""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> w.World:
    made = w.legacy_world(tmp_path)
    made.api.__class__ = Api
    made.find("Role", MARK)["metadata"]["annotations"]["eks-cilium.io/deployers"] = "user:ann"
    monkeypatch.setattr(guard, "_await", lambda _, *probes: ASKED.append(probes))
    ASKED.clear()
    return made


def act(world: w.World, name: str, **values: str) -> int:
    return guard._ACTS[name](world.context.again(), argparse.Namespace(**values))


def test_who_opened_it_why_and_until_when_stays_in_the_cluster(world: w.World):
    assert act(world, "open", reason="throw it\n away", until="2h") == 0
    live = world.find("Role", MARK)
    held = Mark.of(live["metadata"]["annotations"]).open
    assert held is not None
    assert (held["by"], held["reason"]) == ("user:ann", "throw it away")
    assert act(world, "status") == 1
    assert act(world, "close") == 0
    assert act(world, "close") == 0
    assert Mark.of(live["metadata"]["annotations"]).open is None
    opened, closed = live["metadata"]["annotations"][GUARD_LOG].splitlines()
    assert "user:ann opened it until" in opened
    assert opened.endswith("throw it away")
    assert closed.endswith("user:ann closed it")
    assert act(world, "status") == 0


def test_a_stranger_and_an_empty_reason_open_nothing(world: w.World):
    with pytest.raises(UsageError, match="--reason is empty"):
        act(world, "open", reason=" ", until="2h")
    world.api.caller = {"username": "mallory"}  # type: ignore[attr-defined]
    with pytest.raises(guard.GuardRefused, match="user:mallory is none of the deployers"):
        act(world, "open", reason="because", until="2h")
    with pytest.raises(UsageError, match="--reason has 501 characters"):
        act(world, "open", reason="x" * 501, until="2h")
    world.drop("Role", MARK)
    with pytest.raises(guard.GuardRefused, match="nothing to open or close"):
        act(world, "close")


@pytest.mark.parametrize("gone", ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"])
def test_a_deploy_stops_when_the_guard_was_deleted_behind_its_back(world: w.World, gone: str):
    world.drop(gone, "eks-cilium-guard")
    with pytest.raises(guard.GuardRefused, match=r"is gone\. Find out who deleted it, then `pulumi up --refresh`"):
        act(world, "wait", attempt="4")


# -- a guard and a mark of a version before ----------------------------------------------------------


@pytest.fixture
def before(world: w.World) -> w.World:
    """Only the ConfigMap, and the guard that goes by it."""
    world.drop("Role", MARK)
    world.add(w.earlier_mark(id="0a1b", attempt=4, deployers=("user:ann",)))
    spec = world.find("ValidatingAdmissionPolicy", GUARD_POLICY)["spec"]
    spec["paramKind"] = {"apiVersion": "v1", "kind": "ConfigMap"}
    spec["validations"][0]["messageExpression"] = "'guard 0123abcd' + ' closed'"
    return world


def opening(world: w.World) -> set[bool]:
    """Whether the guard is open, as each form of the mark has it."""
    data = [o["data"] for o in world.api.objects if (o["kind"], o["metadata"]["name"]) == ("ConfigMap", MARK)]
    roles = [o["metadata"]["annotations"] for o in world.api.objects if o["kind"] == "Role"]
    return {found.open is not None for found in (*map(Mark.of_earlier, data), *map(Mark.of, roles))}


def test_a_guard_of_before_is_opened_and_closed_by_what_it_goes_by(before: w.World):
    for name, values, word in (("open", {"reason": "repair", "until": "2h"}, "open"), ("close", {}, "closed")):
        assert act(before, name, **values) == 0
        assert opening(before) == {name == "open"}
        [asked] = ASKED.pop()
        assert asked.path.endswith(f"configmaps/{MARK}")
        assert (asked.body, asked.refusal) == ({"data": {"probe": "is the guard in force?"}}, f"guard 0123abcd {word}")
    log = before.find("ConfigMap", MARK)["metadata"]["annotations"][GUARD_LOG]
    assert [line.split()[-1] for line in log.splitlines()] == ["it", "repair", "it"]
    assert not [o for o in before.api.objects if o["kind"] == "Role"], "a deploy makes the Role"


def test_between_two_forms_both_say_whether_the_guard_is_open_and_half_of_it_can_be_closed(before: w.World):
    mark.edit(before.context, "0a1b", lambda found: found)
    assert act(before, "open", reason="repair", until="2h") == 0
    assert opening(before) == {True}
    assert act(before, "close") == 0
    assert opening(before) == {False}
    before.api.stop = f"roles/{MARK}"
    with pytest.raises(KubeError):
        act(before, "open", reason="repair", until="2h")
    assert opening(before) == {True, False}
    assert act(before, "close") == 0
    assert opening(before) == {False}


def test_a_deploy_does_not_wait_for_a_guard_whose_mark_is_no_role_yet(before: w.World):
    before.drop("ValidatingAdmissionPolicy", GUARD_POLICY)
    before.drop("ValidatingAdmissionPolicyBinding", GUARD_POLICY)
    before.add(*w.guarding())
    with pytest.raises(guard.GuardRefused, match="deploy without --target and --exclude: that makes it"):
        act(before, "wait", attempt="4")
    mark.edit(before.context, "0a1b", lambda found: found)
    assert act(before, "wait", attempt="4") == 0
    assert GUARD_DIGEST in before.find("Role", MARK)["metadata"]["annotations"]


def test_a_destroy_waits_until_no_form_of_the_mark_is_guarded(before: w.World):
    assert act(before, "gone") == 0
    mark.edit(before.context, "0a1b", lambda found: found)
    assert act(before, "gone") == 0
    assert [[probe.path.split("/")[-2] for probe in asked] for asked in ASKED] == [
        ["configmaps"],
        ["roles", "configmaps"],
    ]
    assert {probe.refusal for asked in ASKED for probe in asked} == {""}
    mark.give_up(before.context, "0a1b")
    assert act(before, "gone") == 0
    assert len(ASKED) == 2
