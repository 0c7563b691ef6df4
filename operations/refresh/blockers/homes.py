"""Whether a pod can run on a node that takes it in: labels, taints, and what it asks a node to have.

What is told is certain: a request counts against all that a type has less what kubelet keeps, with nothing taken off
for other pods; a label that only the node itself will tell is no reason.

Source: Kubernetes, "Assigning Pods to Nodes", "Taints and Tolerations", "Init Containers" (resource sharing).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from migration.names import CNI_LABEL
from operations.cluster import objects, selectors
from operations.refresh.blockers import Blocker, Weight
from operations.refresh.model.values import Pod

_OWN: Final = frozenset({CNI_LABEL, objects.NODEGROUP})
"""Labels of which is known what every node to come has."""
_OTHERS: Final = ("kubernetes.io", "k8s.io", "amazonaws.com", "k8s.aws")
"""Domains of labels that kubelet, EKS and others put on nodes: what a node to come will have is not known, but for
those that it is said to have."""
_COUNTED: Final = {
    "cpu": ("CPUs", 1_000),
    "memory": ("MiB of memory", 2**20),
    "nvidia.com/gpu": ("NVIDIA GPUs", 1),
    "aws.amazon.com/neuron": ("Neuron devices", 1),
    "aws.amazon.com/neuroncore": ("Neuron cores", 1),
}
"""Resource → what it is called, and how many of it are one of these."""
_NEVER: Final = ("vpc.amazonaws.com/pod-eni", "vpc.amazonaws.com/PrivateIPv4Address")
"""What the VPC CNI's controllers give, on legacy nodes alone."""


@dataclass(frozen=True)
class Place:
    """A node that is there, or one to come."""

    labels: Mapping[str, str]
    taints: Sequence[Mapping[str, Any]] = ()
    whole: bool = True
    """All its labels are known."""
    room: Mapping[str, int] = field(default_factory=dict)
    """Resource → most that a pod may ask for; what is not in it is not known."""

    def takes(self, pod: Pod) -> bool:
        """Whether its taints keep no such pod away."""
        return not self.repelling(pod)

    def repelling(self, pod: Pod) -> list[Mapping[str, Any]]:
        """Taints that the pod does not tolerate."""
        hard = (t for t in self.taints if t.get("effect") in {"NoSchedule", "NoExecute"})
        return [t for t in hard if not any(_tolerates(toleration, t) for toleration in pod.tolerations)]

    def asked_for(self, pod: Pod) -> bool:
        """Whether it is one of those that the pod asks for by node selector or affinity."""
        return not pod.asks or any(may_run(term, self.labels, whole=self.whole) for term in pod.asks)

    def lacking(self, pod: Pod) -> list[str]:
        """Resources of which it has less than the pod asks for."""
        return [name for name, wanted in pod.needs if name in self.room and self.room[name] < wanted]


def blockers(pod: Pod, places: Collection[Place]) -> Iterator[Blocker]:
    """What keeps a pod from running on any node that takes it in.

    Args:
        places: those that are there and those to come; empty: nothing is known.
    """
    if not places or pod.hosts is not None:
        return
    if never := [name for name, _ in pod.needs if name in _NEVER]:
        yield Blocker(
            f"pod {pod}",
            f"asks for {', '.join(never)}, which only the VPC CNI gives",
            "Take the request away, with what makes it (a SecurityGroupPolicy)",
            Weight.NEVER,
        )
        return
    asked = [place for place in places if place.asked_for(pod)]
    open_ = [place for place in asked if place.takes(pod)]
    if not asked:
        yield _unlabelled(pod, places)
    elif not open_:
        repelling = [taint for place in asked for taint in place.repelling(pod)]
        taints = sorted({f"{t.get('key')}={t.get('value') or ''}:{t.get('effect')}" for t in repelling})
        yield Blocker(
            f"pod {pod}",
            f"tolerates no new node that it may run on: they have {', '.join(taints)}",
            "Give a Cilium group without these taints, or let the pod tolerate them",
            Weight.NOT_NOW,
        )
    elif all(place.lacking(pod) for place in open_):
        yield _too_large(pod, open_)


def _unlabelled(pod: Pod, places: Collection[Place]) -> Blocker:
    labels = [place.labels for place in places]
    wanted = sorted({str(e["key"]) for term in pod.asks for e in _told(term, labels) if not _met(e, labels)})
    fix = "Give a new group these labels (cilium.groups: labels), or change what the pod asks for"
    if objects.NODEGROUP in wanted:
        fix = (
            f"EKS calls nodes by their group, so ask for a label of your own that both groups have (cilium.groups: "
            f"labels), or let {objects.NODEGROUP} be either of the two"
        )
    elif "kubernetes.io/arch" in wanted:
        fix = "Make a Cilium group of that architecture, or change what the pod asks for"
    return Blocker(
        f"pod {pod}",
        f"asks by node selector or affinity for {', '.join(wanted) or 'labels'}, as no new node has them",
        fix,
        Weight.NOT_NOW,
    )


def _too_large(pod: Pod, places: Collection[Place]) -> Blocker:
    least, wanted = min((place.lacking(pod) for place in places), key=len), dict(pod.needs)
    said = []
    for name in least:
        most = max(place.room.get(name, 0) for place in places)
        said.append(f"{_amount(name, wanted[name])} {_COUNTED[name][0]}, and new nodes that it may run on have ")
        said[-1] += _amount(name, most)
    fix = "Use instance types that have as much in a Cilium group"
    return Blocker(f"pod {pod}", f"asks for {'; for '.join(said)}", fix, Weight.NOT_NOW)


def _amount(name: str, amount: int) -> str:
    return f"{amount / _COUNTED[name][1]:.10g}"


# -- labels -------------------------------------------------------------------------------------------


def may_run(term: Mapping[str, Any], labels: Mapping[str, str], *, whole: bool = False) -> bool:
    """Whether a node may be what a node selector term asks for.

    Args:
        labels: of the node, as far as they are known.
        whole: these are all.
    """
    for expression in (term.get("matchExpressions") or []) if whole else _told(term, [labels]):
        if expression.get("operator") in {"Gt", "Lt"}:
            continue  # of numbers in labels nobody knows beforehand
        try:
            if not selectors.matches({"matchExpressions": [expression]}, labels):
                return False
        except selectors.UnknownOperator:
            return False
    return True


def _told(term: Mapping[str, Any], labels: Collection[Mapping[str, str]]) -> list[Mapping[str, Any]]:
    """Expressions whose answer is known for a node to come."""
    return [
        e
        for e in term.get("matchExpressions") or []
        if e.get("key") in _OWN or not _others(str(e.get("key"))) or any(e.get("key") in known for known in labels)
    ]


def _others(key: str) -> bool:
    domain = key.partition("/")[0] if "/" in key else ""
    return any(domain == known or domain.endswith(f".{known}") for known in _OTHERS)


def _met(expression: Mapping[str, Any], labels: Collection[Mapping[str, str]]) -> bool:
    return any(may_run({"matchExpressions": [expression]}, known) for known in labels)


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """Source: core/v1 Toleration; an empty key with Exists tolerates everything, an empty effect every effect."""
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    key, exists = toleration.get("key") or "", toleration.get("operator") == "Exists"
    if key != taint.get("key"):
        return not key and exists
    return exists or (toleration.get("value") or "") == (taint.get("value") or "")
