"""Opening and closing the guard: by deployers, for a while, with a reason, and never unseen."""

import argparse
import types
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from migration.mark import Mark
from migration.names import GUARD_LOG, MARK
from operations import guard, mark
from operations.context import UsageError
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
        ("tomorrow", "'tomorrow' is no time: write 90m, 2h"),
        ("2026-11-28T04:00", "does not say in which zone: write 2026-11-28T04:00Z"),
        ("2026-11-28T02:00Z", "is over already"),
        ("0m", "is over already"),
        ("25h", "is more than 24 hours away"),
        ("9999h", "is more than 24 hours away"),
        ("", "is no time"),
        ("-5m", "is no time"),
    ],
)
def test_an_end_that_is_none_or_too_far_away_is_named(text: str, told: str):
    with pytest.raises(UsageError) as caught:
        guard.until(text, NOW)
    assert told in str(caught.value)


class Api(w.FakeApi):
    """Keeps what is written into the mark."""

    caller = types.MappingProxyType({"username": "ann"})

    def __call__(self, method: str, path: str, *, body: Any = None, **more: Any) -> Any:
        if path == mark.REVIEWS:
            stamp = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
            return {"metadata": {"creationTimestamp": stamp}, "status": {"userInfo": dict(self.caller)}}
        if method == "PATCH":
            one = next(o for o in self.objects if o["metadata"]["name"] == MARK)
            one["data"].update(body.get("data") or {})
            one["metadata"].setdefault("annotations", {}).update(body["metadata"].get("annotations") or {})
            return one
        return super().__call__(method, path, body=body, **more)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> w.World:
    made = w.legacy_world(tmp_path)
    made.api.__class__ = Api
    made.find("ConfigMap", MARK)["data"]["deployers"] = "user:ann"
    monkeypatch.setattr(guard, "_await", lambda *_: None)
    return made


def act(world: w.World, name: str, **values: str) -> int:
    return guard._ACTS[name](world.context.again(), argparse.Namespace(**values))


def test_who_opened_it_why_and_until_when_stays_in_the_cluster(world: w.World):
    assert act(world, "open", reason="throw it\n away", until="2h") == 0
    live = world.find("ConfigMap", MARK)
    held = Mark.load(live["data"]).open
    assert held is not None
    assert (held["by"], held["reason"]) == ("user:ann", "throw it away")
    assert act(world, "status") == 1
    assert act(world, "close") == 0
    assert act(world, "close") == 0
    assert Mark.load(live["data"]).open is None
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
    world.drop("ConfigMap", MARK)
    with pytest.raises(guard.GuardRefused, match="nothing to open or close"):
        act(world, "close")


@pytest.mark.parametrize("gone", ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"])
def test_a_deploy_stops_when_the_guard_was_deleted_behind_its_back(world: w.World, gone: str):
    world.drop(gone, "eks-cilium-guard")
    with pytest.raises(guard.GuardRefused, match=r"is gone\. Find out who deleted it, then `pulumi up --refresh`"):
        act(world, "wait", attempt="4")
