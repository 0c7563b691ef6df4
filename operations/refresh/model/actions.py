"""What a refresh may do to the world, as values. Each can be repeated without harm."""

from dataclasses import dataclass

from operations.refresh.model.answers import Answer
from operations.refresh.model.values import CloudView

Key = tuple[str, str]
"""Kind of action and what it is about: no two with the same key run at once."""


@dataclass(frozen=True)
class SoftTaint:
    """Tell the scheduler to prefer other nodes."""

    node: str

    @property
    def key(self) -> Key:
        return ("taint", self.node)


@dataclass(frozen=True)
class Cordon:
    """Close a node to new pods and take it out of load balancers, in one patch."""

    node: str
    already: bool
    """Somebody else cordoned it before: undo must not open it."""

    @property
    def key(self) -> Key:
        return ("cordon", self.node)


@dataclass(frozen=True)
class Reopen:
    """Take away the marks of a refresh in the other direction: this node is to hold workloads."""

    node: str

    @property
    def key(self) -> Key:
        return ("reopen", self.node)


@dataclass(frozen=True)
class Evict:
    """Ask the eviction API to move a pod; refused for any other pod of the same name."""

    uid: str
    namespace: str
    name: str
    node: str

    @property
    def key(self) -> Key:
        return ("evict", self.uid)


@dataclass(frozen=True)
class Deregister:
    """Take an instance out of a target group whose keeper does not do it."""

    instance: str
    target_group: str

    @property
    def key(self) -> Key:
        return ("deregister", f"{self.instance} {self.target_group}")


@dataclass(frozen=True)
class Terminate:
    """End the instance of an empty node and shrink its group by one; refused if a fresh look finds it in use."""

    node: str
    """Empty: the instance never became a node."""
    instance: str
    left: frozenset[str] = frozenset()
    """Uids of controllers whose pods tolerate the cordon and came back every time: they go with the node."""
    silent: bool = False
    """Its kubelet is silent: pods that were told to stop do not count."""

    @property
    def key(self) -> Key:
        return ("terminate", self.instance)


@dataclass(frozen=True)
class DropNode:
    """Remove the Node object of an instance that is gone."""

    node: str
    uid: str

    @property
    def key(self) -> Key:
        return ("drop", self.node)


@dataclass(frozen=True)
class Resize:
    """Set the bounds and the wish of a group; None leaves one as it is."""

    group: str
    minimum: int | None = None
    desired: int | None = None
    maximum: int | None = None

    @property
    def key(self) -> Key:
        return ("resize", self.group)


@dataclass(frozen=True)
class Rebalance:
    """Let Auto Scaling even out zones, or not."""

    group: str
    allowed: bool

    @property
    def key(self) -> Key:
        return ("rebalance", self.group)


@dataclass(frozen=True)
class Look:
    """Read groups, instances, and where some instances are registered."""

    instances: frozenset[str]

    @property
    def key(self) -> Key:
        return ("look", "")


Action = SoftTaint | Cordon | Reopen | Evict | Deregister | Terminate | DropNode | Resize | Rebalance | Look


@dataclass(frozen=True)
class Outcome:
    """What became of an action."""

    ok: bool
    text: str = ""
    answer: Answer | None = None
    """Of an eviction."""
    retry_after: float = 0.0
    busy: bool = False
    """The server asked for fewer requests."""
    denied: bool = False
    """This identity has no right to it: it would be refused however often it is asked."""
    version: str = ""
    """Of the object after the change."""
    view: CloudView | None = None
    """Of a look."""
