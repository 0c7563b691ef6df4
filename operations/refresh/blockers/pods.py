"""Pods that cannot leave their node, or that lose something when they do."""

from collections.abc import Collection, Iterator

from operations.refresh.blockers import Blocker, Weight
from operations.refresh.model import marks
from operations.refresh.model.values import Pod


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
