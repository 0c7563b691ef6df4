"""A refresh while policy is not proved: what it begins, what it says, and when it ends."""

from __future__ import annotations

import queue
from types import SimpleNamespace
from typing import Any

import pytest

from kube.transport import Response
from operations.refresh.cluster.proof import Published
from operations.refresh.engine import explain
from operations.refresh.engine.decision import Decision, Waits
from operations.refresh.model.pausing import PATIENCE, Pausing
from operations.refresh.run import progress
from operations.refresh.run.progress import Snapshot
from operations.refresh.run.runner import Runner
from prover.said import Said, Verdict, now


def test_a_pause_lasts_as_long_as_its_reason_and_ends_the_run_after_five_minutes():
    pausing = Pausing()
    assert not pausing.look("", 0.0)
    assert pausing.look("different: a flow", 10.0)
    assert pausing.over(10.0 + PATIENCE - 1) == ""
    assert not pausing.look("", 200.0)
    assert pausing.look("different: another flow", 300.0)
    assert pausing.look("the last proof is 70 s old", 400.0)
    assert pausing.over(300.0 + PATIENCE - 1) == ""
    assert (
        pausing.over(300.0 + PATIENCE) == "paused for 5 min 00 s, as policy is not proved: the last proof is 70 s old"
    )


class Kube:
    """Answers with what is published."""

    def __init__(self) -> None:
        self.answer = Response(404, {})

    def request(self, method: str, path: str, *_: Any, **__: Any) -> Response:
        assert (method, path) == ("GET", "/api/v1/namespaces/kube-system/configmaps/eks-cilium-proof")
        return self.answer

    def publish(self, **said: Any) -> None:
        whole: dict[str, Any] = {"verdict": Verdict.EQUAL, "published": now(), "by": "one", "beat": 1} | said
        self.answer = Response(200, {"data": Said(**whole).data()})


def test_what_is_published_is_looked_at_and_what_cannot_be_read_grows_old(monkeypatch: pytest.MonkeyPatch):
    clock = [100.0]
    monkeypatch.setattr(
        "operations.refresh.cluster.proof.time", SimpleNamespace(monotonic=lambda: clock[0], time=lambda: 0.0)
    )
    kube = Kube()
    published = Published(kube)  # type: ignore[arg-type]
    published.look()
    assert "nothing is published" in published.trouble()
    kube.publish(verdict=Verdict.DIFFERENT, why="a flow changes its verdict", counterexample="a -> b")
    published.look()
    assert published.trouble() == "different: a flow changes its verdict"
    assert published.counterexample() == "a -> b"
    kube.publish(beat=2)
    published.look()
    assert published.trouble() == ""
    kube.answer = Response(0, {"message": "no answer"})
    clock[0] += 59
    published.look()
    assert published.trouble() == ""
    clock[0] += 2
    assert "the last proof is 61 s old" in published.trouble()


class Engine:
    """Decides nothing, and remembers whether it was allowed to."""

    done, busy, evictions = 1, False, 0
    goal = SimpleNamespace(total=3)
    world = SimpleNamespace(active=(), ready_new=())
    sizing = SimpleNamespace(needed_at_the_end=3)

    def __init__(self, rounds: int) -> None:
        self.stopping: list[bool] = []
        self.rounds = rounds

    def decide(self, now: float, *, stopping: bool) -> Decision:
        self.stopping.append(stopping)
        return Decision((), Waits((), (), ()), now + 1)

    def finished(self) -> bool:
        return len(self.stopping) >= self.rounds


class Proof:
    """Policy is not proved for some of the times that somebody asks."""

    def __init__(self, *troubled: int) -> None:
        self.asked, self.troubled = 0, troubled

    def trouble(self) -> str:
        self.asked += 1
        return "different: a flow" if self.asked in self.troubled else ""

    def counterexample(self) -> str:
        return "shop/a -> shop/b"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """(how a run ended, its engine, what it showed), by its proof and the rounds that it would take of five seconds."""
    monkeypatch.setattr(explain, "waits", lambda *_: ())

    def start(proof: Proof, rounds: int) -> tuple[Any, Engine, list[Snapshot]]:
        clock = iter(range(0, 10_000, 5))
        engine, shown = Engine(rounds), list[Snapshot]()
        live: Any = SimpleNamespace(events=queue.SimpleQueue(), troubles={}, apply=None)
        lease = SimpleNamespace(paused=False, lost=False, held=lambda: True)
        made = Runner(
            engine=engine,  # type: ignore[arg-type]
            live=live,
            kube=None,  # type: ignore[arg-type]
            cloud=None,  # type: ignore[arg-type]
            lease=lease,
            deadline=9_000,
            proof=proof,
            show=shown.append,
            clock=lambda: float(next(clock)),
            workers=1,
        )
        monkeypatch.setattr(made, "_wait", lambda *_: None)
        return made.run(), engine, shown

    return start


def test_nothing_is_begun_while_policy_is_not_proved_and_then_it_goes_on(runs: Any):
    ended, engine, shown = runs(Proof(*range(5, 12)), 40)
    assert ended.reason == ""
    assert [at + 1 for at, stopping in enumerate(engine.stopping) if stopping] == list(range(5, 12))
    assert [s for s in shown if s.unproved == "different: a flow"]
    assert not shown[-1].unproved


def test_a_run_that_pauses_for_five_minutes_ends_with_the_flow(runs: Any):
    ended, engine, _ = runs(Proof(*range(5, 10_000)), 1000)
    assert ended.reason.startswith("paused for 5 min")
    assert ended.reason.endswith("as policy is not proved: different: a flow")
    assert ended.counterexample == "shop/a -> shop/b"
    assert not any(engine.stopping[:4])
    assert all(engine.stopping[4:])


def test_people_and_machines_see_why_it_pauses():
    snapshot = Snapshot(
        seconds=9.0, done=1, total=3, active=0, new_ready=1, new_wanted=3, evicted=2, unproved="different: a flow"
    )
    assert progress._line(snapshot).startswith("paused, policy is not proved (different: a flow): 1 of 3")
    assert "paused, policy is not proved: different: a flow" in progress._bar(snapshot)
    assert progress._plain(snapshot)["unproved"] == "different: a flow"
