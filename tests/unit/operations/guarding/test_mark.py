"""Taking, entering and giving up the mark: by its own stack, as a deployer, and never over somebody else's."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kube.cluster import Cluster
from kube.transport import KubeError
from migration.guarding.mark import Mark, Own
from migration.guarding.workloads import Standing, dump, seal
from migration.names import GUARD_DIGEST, GUARD_LOG, MARK, WORKLOADS
from operations import cli
from operations.access import own_state
from operations.access.connection import WrongClusterError
from operations.access.context import Context
from operations.cluster.standings import seen
from operations.commands import mark as mark_command
from operations.evidence import UnknownError
from operations.guarding import mark
from operations.guarding.workloads import recorded
from operations.recover import take_over
from tests.unit.operations import world as w
from tests.unit.operations.world import World

ROLE = "arn:aws:iam::111122223333:role/ci"
CALLER = {"username": "arn:aws:sts::111122223333:assumed-role/ci/run-7", "extra": {"canonicalArn": [ROLE]}}


class Api(w.FakeApi):
    """Says who asks; lets others write in between."""

    caller: dict[str, Any] = CALLER
    conflicts = 0

    def __call__(self, method: str, path: str, *, body: Any = None, **more: Any) -> Any:
        if path == mark.REVIEWS:
            return {"status": {"userInfo": self.caller}}
        if method == "PATCH" and self.conflicts and path.startswith(mark.PATH):
            self.conflicts -= 1
            raise KubeError(409, "409 Conflict")
        return super().__call__(method, path, body=body, **more)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = w.legacy_world(tmp_path)
    made.api = Api([o for o in made.api.objects if o["metadata"]["name"] not in (MARK, WORKLOADS)])
    return made


def now(world: World) -> Mark | None:
    return mark.read(world.context.kube)


def enter(world: World, identity: str = "0a", attempt: int = 3) -> Mark | None:
    asked = argparse.Namespace(act="enter", id=identity, place="canary", attempt=attempt, guarded="cilium,vpc-cni")
    return mark_command._ACTS["enter"](world.context, asked)


def test_the_first_deploy_takes_the_mark_and_is_recorded_as_the_deployer_without_its_session(world: World):
    mark.take(world.context, "0a")
    assert now(world) == Mark(id="0a", stack="test", deployers=(ROLE,))
    mark.take(world.context, "0a")  # again: it is ours


def test_a_mark_of_another_stack_is_neither_taken_nor_entered_nor_given_up(world: World):
    mark.take(world.context, "0a")
    with pytest.raises(mark.MarkRefused, match="belongs to another stack"):
        mark.take(world.context, "0b")
    with pytest.raises(mark.MarkRefused, match="belongs to another stack"):
        enter(world, "0b")
    mark.give_up(world.context, "0b")
    assert now(world) == Mark(id="0a", stack="test", deployers=(ROLE,))
    mark.give_up(world.context, "0a")
    assert now(world) is None
    mark.give_up(world.context, "0a")


def test_entering_and_reaching_say_so_also_when_somebody_writes_at_the_same_time(world: World):
    mark.take(world.context, "0a")
    world.api.conflicts = 2  # type: ignore[attr-defined]
    enter(world)
    entered = now(world)
    assert entered is not None
    assert (entered.entering, entered.attempt, entered.guarded) == ("canary", 3, ("cilium", "vpc-cni"))
    mark_command._ACTS["reach"](world.context, argparse.Namespace(id="0a", place="canary", attempt=3, guarded="cilium"))
    reached = now(world)
    assert reached is not None
    assert (reached.entering, reached.reached, reached.guarded) == ("", "canary", ("cilium",))


def deployed(world: World, ready: int, image: str = "web:1") -> None:
    """A Deployment that stands so."""
    world.drop("Deployment", "web")
    template = {"spec": {"containers": [{"name": "web", "image": image}]}}
    status = {"readyReplicas": ready}
    world.add(w.thing("Deployment", "web", "shop", spec={"replicas": 3, "template": template}, status=status))


def go(world: World, place: str, *, attempt: int, reach: bool = True) -> dict[str, Standing]:
    """A deploy; gives back what the mark then says of how workloads stood."""
    asked = argparse.Namespace(id="0a", place=place, attempt=attempt, guarded="")
    for act in ("enter", "reach") if reach else ("enter",):
        mark_command._ACTS[act](world.context, asked)
    try:
        return {key: s for key, s in recorded(world.context.kube).items() if "web" in key}
    except UnknownError:
        return {}


def standing(world: World) -> Standing:
    return seen(world.context.kube)["deployment shop/web"]


def test_how_workloads_stand_is_recorded_before_the_move_and_not_in_the_middle_of_it(world: World):
    mark.take(world.context, "0a")
    deployed(world, 3)
    whole = {"deployment shop/web": standing(world)}
    assert go(world, "install-cilium", attempt=1) == {}
    assert go(world, "canary", attempt=2) == whole
    deployed(world, 2)
    assert go(world, "canary", attempt=3) == whole, "a change at the stage records nothing"
    assert go(world, "move-workloads", attempt=4, reach=False) == whole, "of the same the better counts"
    deployed(world, 1, "web:2")
    assert go(world, "move-workloads", attempt=5) == whole, "tried again, half of it has moved"
    assert go(world, "canary", attempt=6) == whole, "on the way back nothing is recorded"
    assert go(world, "move-workloads", attempt=7) == {"deployment shop/web": standing(world)}, "deployed in between"
    deployed(world, 0)
    assert go(world, "release", attempt=8) != {"deployment shop/web": standing(world)}


def test_a_deploy_that_dies_between_the_record_and_the_mark_makes_both_when_it_is_tried_again(world: World):
    mark.take(world.context, "0a")
    deployed(world, 3)
    whole = {"deployment shop/web": standing(world)}
    go(world, "install-cilium", attempt=1)
    world.api.stop = MARK
    with pytest.raises(KubeError, match="connection is gone"):
        go(world, "canary", attempt=2)
    with pytest.raises(UnknownError, match="nobody has recorded"):
        recorded(world.context.kube)
    assert go(world, "canary", attempt=3) == whole
    deployed(world, 2)
    world.api.stop = MARK
    with pytest.raises(KubeError, match="connection is gone"):
        go(world, "move-workloads", attempt=4)
    assert go(world, "move-workloads", attempt=5) == whole, "of the same the better counts, then too"


def test_a_record_that_the_mark_does_not_know_is_none(world: World):
    mark.take(world.context, "0a")
    deployed(world, 3)
    go(world, "install-cilium", attempt=1)
    go(world, "canary", attempt=2)
    world.find("ConfigMap", WORKLOADS)["data"]["workloads"] = "{}"
    with pytest.raises(UnknownError, match="is gone or changed"):
        recorded(world.context.kube)
    world.drop("ConfigMap", WORKLOADS)
    with pytest.raises(UnknownError, match="is gone or changed"):
        recorded(world.context.kube)


def test_a_record_that_is_missing_can_be_made_by_a_deployer_and_by_nobody_else(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    mark.take(world.context, "0a")
    deployed(world, 3)
    own = replace(world.context, own=lambda: Own(id="0a", attempt=1, taken=True))
    monkeypatch.setattr(Context, "load", lambda *_, **__: own.again())
    assert cli.main(["workloads", "show"]) == 2
    assert "nobody has recorded how workloads stood before the move" in capsys.readouterr().err
    world.api.caller = {"username": "mallory"}  # type: ignore[attr-defined]
    assert cli.main(["workloads", "record"]) == 1
    assert "none of the deployers" in capsys.readouterr().err
    world.api.caller = CALLER  # type: ignore[attr-defined]
    assert cli.main(["workloads", "record"]) == 0
    assert cli.main(["workloads", "show"]) == 0
    deployed(world, 2)
    assert cli.main(["workloads", "show"]) == 1
    assert "WORSE deployment shop/web has 2 of 3 ready" in capsys.readouterr().err


def test_entering_a_mark_that_is_gone_makes_no_new_one(world: World):
    with pytest.raises(mark.MarkRefused, match="is gone"):
        enter(world)
    assert now(world) is None


def test_whoever_is_no_deployer_is_told_so_before_anything_is_written(world: World):
    mark.take(world.context, "0a")
    world.api.caller = {"username": "mallory"}  # type: ignore[attr-defined]
    with pytest.raises(mark.MarkRefused, match="user:mallory, which is none of the deployers"):
        enter(world)
    world.api.caller = CALLER | {"username": "arn:aws:sts::111122223333:assumed-role/ci/run-8"}  # type: ignore[attr-defined]
    assert enter(world) is not None, "another session of the same role is the same deployer"
    world.settings = world.settings.model_copy(update={"deployers": ("group:platform",)})
    with pytest.raises(mark.MarkRefused, match=r"none of the deployers \(group:platform\)"):
        enter(world)


def test_giving_up_asks_nothing_more_of_a_cluster_that_is_gone(world: World):
    def unreachable() -> Any:
        raise WrongClusterError("EKS cluster shop does not exist")

    def context() -> Context:
        return replace(world.context, kube=Cluster(unreachable))

    with pytest.raises(WrongClusterError):
        mark.give_up(context(), "0a")
    world.aws.answers["describe_cluster"] = None
    mark.give_up(context(), "0a")


def test_what_an_exported_state_says_about_the_mark():
    def resource(kind: str, name: str, **more: Any) -> dict[str, Any]:
        return {"type": kind, "urn": f"urn:pulumi:prod::eks-cilium::{kind}::{name}", **more}

    marker = resource("pulumi:index:Stash", "marker", inputs={"input": {"id": "0a", "attempt": 7}})
    stack = resource("pulumi:pulumi:Stack", "eks-cilium-prod", outputs={"stage": "canary"})
    taken = resource("command:local:Command", "mark")
    assert own_state.own_of({"deployment": {}}) == Own()
    whole = {"deployment": {"resources": [stack, marker, taken]}}
    assert own_state.own_of(whole) == Own(id="0a", attempt=7, taken=True, reached=True)
    leaving = {"deployment": {"resources": [stack, marker, {**taken, "delete": True}]}}
    assert own_state.own_of(leaving).taken is False


def test_a_state_that_cannot_be_read_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnknownError, match="pulumi is not on PATH"):
        own_state.own("prod", tmp_path)


def test_a_deploy_says_what_its_state_says(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        cli.parser().parse_args(["check", "--own", "[]"])
    assert "is not what a deploy says about its state" in capsys.readouterr().err
    given = cli.parser().parse_args(["check", "--own", json.dumps({"id": "0a", "attempt": 2})])
    assert given.own == Own(id="0a", attempt=2)


# -- taking over ------------------------------------------------------------------------------------


def take_over_of(world: World, *, yes: bool) -> int:
    return take_over.run(world.context, yes=yes)


def test_taking_over_says_whose_the_mark_is_and_writes_it_only_when_told_to(
    world: World, capsys: pytest.CaptureFixture[str]
):
    mark.take(world.context, "0a")
    world.own = Own(id="0b", attempt=7, taken=True, reached=True)
    assert take_over_of(world, yes=False) == 1
    assert "of stack test (id 0a)" in capsys.readouterr().err
    assert now(world).id == "0a"  # type: ignore[union-attr]
    assert take_over_of(world, yes=True) == 0
    taken = now(world)
    assert taken is not None
    assert (taken.id, taken.attempt, taken.deployers) == ("0b", 7, (ROLE,))
    assert take_over_of(world, yes=False) == 0, "it is this stack's already"


@pytest.mark.parametrize("left", ["nothing", "damage", "damage of before"])
def test_a_mark_that_is_gone_or_damaged_is_written_again(world: World, left: str):
    world.own = Own(id="0a", attempt=7, taken=True, reached=True)
    if left == "damage":
        world.add(w.thing("Role", MARK, "kube-system", rules=[]))
    if left == "damage of before":
        world.add(w.thing("ConfigMap", MARK, "kube-system", data={"stack": "x"}))
    assert take_over_of(world, yes=True) == 0
    taken = now(world)
    assert taken is not None
    assert (taken.id, taken.attempt, taken.deployers) == ("0a", 7, (ROLE,))
    if left == "damage":
        changed = [path for method, path in world.api.requests if method != "GET" and f"roles/{MARK}" in path]
        assert len(changed) == 1, "a mark that was written in halves would be somebody's own meanwhile"


def test_a_stack_without_state_does_not_take_over_a_cluster_that_is_half_moved(
    world: World, capsys: pytest.CaptureFixture[str]
):
    mark.take(world.context, "0a")
    world.own = Own()
    assert take_over_of(world, yes=True) == 1
    assert "would begin at the first stage and undo this: restore the state" in capsys.readouterr().err
    assert now(world) is not None
    for node in ("old-a", "old-b"):
        del world.find("Node", node)["metadata"]["labels"]["cni-plugin"]
    assert take_over_of(world, yes=True) == 0
    assert now(world) is None


# -- a mark of a version before ---------------------------------------------------------------------


@pytest.fixture
def before(world: World) -> World:
    """A cluster whose mark is the ConfigMap of a version before: at canary, with its record."""
    deployed(world, 3)
    more = {"deployers": (ROLE,), "reached": "canary", "attempt": 2, "guarded": ("cilium",)}
    world.add(w.earlier_mark(dump({"deployment shop/web": standing(world)}), id="0a", **more))
    return world


def forms(world: World) -> list[str]:
    """Kinds of the objects of the mark, and of the record."""
    return sorted(o["kind"] for o in world.api.objects if o["metadata"]["name"] in (MARK, WORKLOADS))


def test_a_mark_of_before_is_read_and_its_record_too(before: World):
    found = now(before)
    assert found is not None
    assert (found.id, found.reached, found.attempt) == ("0a", "canary", 2)
    assert recorded(before.context.kube) == {"deployment shop/web": standing(before)}
    assert forms(before) == ["ConfigMap"], "whoever reads changes nothing"


def test_a_deploy_makes_a_mark_of_before_a_role_and_deletes_it_when_it_has_finished(before: World):
    old, data = now(before), dict(before.find("ConfigMap", MARK)["data"])
    assert mark.take(before.context, "0a") == now(before) == old
    role = before.find("Role", MARK)
    assert role["rules"] == []
    assert role["metadata"]["annotations"][GUARD_DIGEST] == "of before"
    assert role["metadata"]["annotations"][GUARD_LOG] == "ann opened it"
    kept = go(before, "move-workloads", attempt=3, reach=False)
    assert kept == {"deployment shop/web": standing(before)}
    assert before.find("ConfigMap", MARK)["data"] == data, "a guard of before goes by what it went by"
    assert go(before, "move-workloads", attempt=3) == kept
    assert forms(before) == ["ConfigMap", "Role"]
    assert before.find("ConfigMap", WORKLOADS)
    found = now(before)
    assert found is not None
    assert (found.reached, found.attempt) == ("move-workloads", 3)


def deploy(world: World, attempt: int) -> dict[str, Standing]:
    mark.take(world.context, "0a")
    return go(world, "move-workloads", attempt=attempt)


@pytest.mark.parametrize("stop", [f"configmaps/{WORKLOADS}", "roles", f"roles/{MARK}", f"configmaps/{MARK}"])
def test_a_take_over_of_a_mark_of_before_that_stops_anywhere_goes_on(before: World, stop: str):
    whole = {"deployment shop/web": standing(before)}
    before.api.stop = stop
    with pytest.raises(KubeError, match="connection is gone"):
        deploy(before, attempt=3)
    with pytest.raises(mark.MarkRefused, match="belongs to another stack"):
        mark.take(before.context, "0b")
    found = now(before)
    assert found is not None
    assert found.id == "0a"
    assert recorded(before.context.kube)["deployment shop/web"] == standing(before)
    assert deploy(before, attempt=4) == whole
    assert forms(before) == ["ConfigMap", "Role"]


def test_a_policy_without_its_mark_does_not_keep_a_deploy_from_making_it(before: World):
    """A guard of this version that was deployed by itself finds no Role and refuses every update."""
    before.api.stop = "roles"
    with pytest.raises(KubeError, match="connection is gone"):
        mark.take(before.context, "0a")
    before.api.requests.clear()
    mark.take(before.context, "0a")
    assert [method for method, path in before.api.requests if method in ("PATCH", "DELETE")] == []


def test_a_mark_of_before_of_another_stack_is_neither_taken_nor_entered_nor_given_up(before: World):
    for act in (lambda: mark.take(before.context, "0b"), lambda: enter(before, "0b")):
        with pytest.raises(mark.MarkRefused, match=r"configmap kube-system/eks-cilium-mark belongs to another stack"):
            act()
    mark.give_up(before.context, "0b")
    assert forms(before) == ["ConfigMap"]
    mark.give_up(before.context, "0a")
    assert forms(before) == []


@pytest.mark.parametrize("stop", ["", f"configmaps/{WORKLOADS}", f"configmaps/{MARK}", f"roles/{MARK}"])
def test_giving_up_takes_every_form_away_and_goes_on_where_it_stopped(before: World, stop: str):
    mark.take(before.context, "0a")
    assert forms(before) == ["ConfigMap", "ConfigMap", "Role"]
    before.api.stop = stop
    if stop:
        with pytest.raises(KubeError, match="connection is gone"):
            mark.give_up(before.context, "0a")
        mark.give_up(before.context, "0b")
        assert "Role" in forms(before)
    mark.give_up(before.context, "0a")
    assert forms(before) == []


def test_a_mark_of_before_beside_ours_that_another_stack_wrote_stops_both(before: World):
    mark.take(before.context, "0a")
    before.find("ConfigMap", MARK)["data"]["id"] = "0b"
    for identity in ("0a", "0b"):
        with pytest.raises(mark.MarkRefused):
            mark.take(before.context, identity)
    with pytest.raises(mark.MarkRefused, match=r"the ConfigMap beside it, .* says id 0b"):
        enter(before)
    before.own = Own(id="0a", attempt=2, taken=True, reached=True)
    assert take_over_of(before, yes=True) == 0
    assert before.find("ConfigMap", MARK)["data"]["id"] == "0a"
    assert enter(before) is not None


@pytest.mark.parametrize("stop", ["", "roles", f"configmaps/{MARK}"])
def test_taking_a_mark_of_before_over_tells_programs_of_before_first(before: World, stop: str):
    before.own = Own(id="0b", attempt=7, taken=True, reached=True)
    before.api.stop = stop
    if stop:
        with pytest.raises(KubeError, match="connection is gone"):
            take_over_of(before, yes=True)
        assert "Role" not in forms(before)
    assert take_over_of(before, yes=True) == 0
    mark.take(before.context, "0b")
    found = now(before)
    assert found is not None
    assert (found.id, found.attempt, found.guarded, found.workloads) == (
        *("0b", 7, ("cilium",)),
        seal(before.find("ConfigMap", WORKLOADS)["data"]["workloads"]),
    )
    assert before.find("ConfigMap", MARK)["data"]["id"] == "0b"


def test_more_than_an_object_can_be_annotated_with_is_refused_before_anything_is_written(world: World):
    mark.take(world.context, "0a")
    many = tuple(f"user:{number:0100}" for number in range(2000))
    world.api.caller = {"username": many[0].removeprefix("user:")}  # type: ignore[attr-defined]
    with pytest.raises(mark.MarkRefused, match=r"may have 131072: most of them are in eks-cilium\.io/deployers"):
        mark.edit(world.context, "0a", lambda found: replace(found, deployers=many))
    assert now(world) == Mark(id="0a", stack="test", deployers=(ROLE,))
