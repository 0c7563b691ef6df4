"""Pods that cannot leave their node, or that lose something when they do."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from migration.names import CNI_LABEL
from operations.cluster import selectors
from operations.refresh.blockers import Blocker, Weight
from operations.refresh.model import marks
from operations.refresh.model.values import Pod

_NAMES: Final = frozenset({"kubernetes.io/hostname", "metadata.name"})
_OWN: Final = frozenset({CNI_LABEL, "eks.amazonaws.com/nodegroup"})
"""Labels of which is known what every node to come has."""
_OTHERS: Final = ("kubernetes.io", "k8s.io", "amazonaws.com", "k8s.aws", "karpenter.sh")
"""Domains of labels that kubelet, EKS and others put on nodes: what a node to come will have is not known."""


def blockers(pod: Pod, leaving: Collection[str], nodes: Collection[str], *, marked: bool = False) -> Iterator[Blocker]:
    """What is known of a pod that has to leave its node.

    Args:
        leaving: names of the nodes that go.
        nodes: names of all nodes.
        marked: pods whose owners ask that they be left alone are evicted too.
    """
    about = f"pod {pod}"
    if pod.bare:
        yield Blocker(
            about,
            "has no controller, so nothing would make it again",
            "Delete it, or give it a controller",
            Weight.NEVER,
        )
    if pod.hosts is not None and not any(name in nodes and name not in leaving for name in pod.hosts):
        yield Blocker(
            about,
            f"can run on {', '.join(sorted(pod.hosts)) or 'no node'} only, by its node selector or affinity",
            "Take the node's name out of its selector or affinity",
            Weight.NEVER,
        )
    if pod.mark:
        yield _marked(pod, marked=marked)
    if pod.scratch and not pod.bare:
        yield Blocker(about, "has an emptyDir or a hostPath, whose data stays behind", "", Weight.NOTE)
    if pod.tolerates_cordon:
        yield Blocker(
            about,
            "tolerates a cordoned node, so the scheduler may put it back; after three times it goes with its node",
            "",
            Weight.NOTE,
        )


def _marked(pod: Pod, *, marked: bool) -> Blocker:
    key = pod.mark.partition("=")[0]
    if marked or not marks.binds(pod.mark):
        return Blocker(
            f"pod {pod}", f"asks to be left alone ({pod.mark}), and is evicted all the same", "", Weight.NOTE
        )
    over = "Wait until it is over, or" if pod.owner is not None and pod.owner.kind == "Job" else "Ask its owner, then"
    return Blocker(
        f"pod {pod}",
        f"its owner asks that it be left alone ({pod.mark}), so it is not evicted",
        f"{over} take the mark away (`kubectl -n {pod.namespace} annotate pod {pod.name} {key}-`, for good in its "
        "template), or set refresh.evictMarked",
        Weight.NOT_NOW,
    )


def homeless(pod: Pod, places: Collection[Mapping[str, str]]) -> Iterator[Blocker]:
    """A pod that asks for labels which no node that takes it in will have.

    Args:
        places: labels of the nodes that take pods in, and what is known of those to come; empty: nothing is known.
    """
    if not pod.asks or not places or pod.hosts is not None:
        return
    if any(may_run(term, labels) for term in pod.asks for labels in places):
        return
    wanted = sorted({str(e["key"]) for term in pod.asks for e in _told(term) if not _met_somewhere(e, places)})
    yield Blocker(
        f"pod {pod}",
        f"asks by node selector or affinity for {', '.join(wanted) or 'labels'}, as no new node has them",
        "Give a new group these labels (cilium.groups: labels), or change what the pod asks for",
        Weight.NOT_NOW,
    )


def _told(term: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Expressions whose answer is known for a node to come."""
    return [e for e in term.get("matchExpressions") or [] if e.get("key") in _OWN or not _others(str(e.get("key")))]


def _others(key: str) -> bool:
    domain = key.partition("/")[0] if "/" in key else ""
    return any(domain == known or domain.endswith(f".{known}") for known in _OTHERS)


def _met_somewhere(expression: Mapping[str, Any], places: Collection[Mapping[str, str]]) -> bool:
    return any(may_run({"matchExpressions": [expression]}, labels) for labels in places)


def may_run(term: Mapping[str, Any], labels: Mapping[str, str], *, whole: bool = False) -> bool:
    """Whether a node may be what a node selector term asks for.

    Args:
        labels: of the node, as far as they are known.
        whole: these are all.
    """
    for expression in (term.get("matchExpressions") or []) if whole else _told(term):
        if expression.get("operator") in {"Gt", "Lt"}:
            continue  # of numbers in labels nobody knows beforehand
        try:
            if not selectors.matches({"matchExpressions": [expression]}, labels):
                return False
        except selectors.UnknownOperator:
            return False
    return True
