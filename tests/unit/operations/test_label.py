"""The label of legacy nodes: put, and taken away where we put it."""

from pathlib import Path
from typing import Any

from kube.transport import KubeError, Obj
from migration.names import CNI_LABEL, LABELLED_BY_US
from operations import label
from operations.cluster.objects import annotations, labels
from tests.transport import Answers
from tests.unit.operations import world as w
from tests.unit.operations.world import World


def unlabelled(directory: Path) -> World:
    """An adopted cluster before the label: two nodes of a managed group, a Fargate node, and somebody else's."""
    nodes = [
        w.node("old-a", None),
        w.node("old-b", "aws"),
        w.node("new-a", "cilium"),
        w.node("fargate", None, labels={"eks.amazonaws.com/compute-type": "fargate"}),
        w.node("odd", "weave"),
    ]
    world = World(directory, nodes, adopted=True, stage="label-legacy")
    world.labels = {}
    return world


def test_nodes_without_a_label_get_it_and_the_others_are_left_alone(tmp_path: Path):
    world = unlabelled(tmp_path)
    done = label.present(world.context)
    assert done.nodes == ["old-a"]
    assert done.left_alone == ["node odd: cni-plugin=weave"]
    found = {n: labels(world.find("Node", n)).get(CNI_LABEL) for n in ("old-a", "old-b", "new-a", "fargate", "odd")}
    assert found == {"old-a": "aws", "old-b": "aws", "new-a": "cilium", "fargate": None, "odd": "weave"}
    assert LABELLED_BY_US in annotations(world.find("Node", "old-a"))
    assert LABELLED_BY_US not in annotations(world.find("Node", "old-b"))


def test_managed_groups_of_an_adopted_cluster_give_it_to_later_nodes(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(label, "POLL_SECONDS", 0.0)
    world = unlabelled(tmp_path)
    assert label.present(world.context).groups == ["old"]
    assert world.labels == {CNI_LABEL: "aws"}
    assert world.tags == {LABELLED_BY_US: "true"}
    assert "describe_update" in [operation for operation, _ in world.aws.calls]


def test_labelling_twice_changes_nothing(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(label, "POLL_SECONDS", 0.0)
    world = unlabelled(tmp_path)
    label.present(world.context)
    again = label.present(world.context)
    assert (again.nodes, again.groups) == ([], [])


def test_going_back_takes_away_what_we_put_there_and_nothing_else(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(label, "POLL_SECONDS", 0.0)
    world = unlabelled(tmp_path)
    world.drop("Node", "old-b")
    label.present(world.context)
    world.add(w.node("later", "aws"))  # launched by the group that we labelled
    world.add(w.node("theirs", "aws", labels={"eks.amazonaws.com/nodegroup": "their-own"}))
    done = label.absent(world.context)
    assert sorted(done.nodes) == ["later", "old-a"]
    assert CNI_LABEL not in labels(world.find("Node", "old-a"))
    assert LABELLED_BY_US not in annotations(world.find("Node", "old-a"))
    assert labels(world.find("Node", "theirs"))[CNI_LABEL] == "aws"
    assert (world.labels, world.tags) == ({}, {})
    again = label.absent(world.context)
    assert (again.nodes, again.groups) == ([], [])


def test_groups_of_an_owned_cluster_are_not_touched(tmp_path: Path):
    world = World(tmp_path, [w.node("old-a", None)], stage="label-legacy")
    world.labels = {}
    assert label.present(world.context).groups == []
    assert world.labels == {}


def test_a_node_that_changes_meanwhile_is_looked_at_again(tmp_path: Path):
    world = unlabelled(tmp_path)
    node = world.find("Node", "old-a")
    api = world.api

    class Racing(Answers):
        """Somebody else labels the node between our reading and our writing."""

        def __call__(self, method: str, path: str, **more: Any) -> Obj:
            if method == "PATCH" and "old-a" in path and CNI_LABEL not in labels(node):
                node["metadata"]["labels"][CNI_LABEL] = "weave"
                node["metadata"]["resourceVersion"] = "99"
            if method == "PATCH" and more["body"]["metadata"]["resourceVersion"] != node["metadata"]["resourceVersion"]:
                raise KubeError(409, "409 Conflict")
            return api(method, path, **more)

    context = world.context
    context.kube._connect = Racing
    world.labels = {CNI_LABEL: "aws"}
    done = label.present(context)
    assert done.nodes == []
    assert labels(node)[CNI_LABEL] == "weave"
    assert "node old-a: cni-plugin=weave" in done.left_alone
