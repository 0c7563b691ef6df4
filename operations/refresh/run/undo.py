"""Taking a refresh back: old nodes open again, groups at their sizes. What has moved stays where it is."""

from dataclasses import dataclass

from migration.journeys import NodeKind
from operations.refresh.cluster.lease import Lease, Memory, forget
from operations.refresh.model.actions import Resize
from operations.refresh.model.request import RefreshRequest
from operations.refresh.model.world import World
from operations.refresh.run.goal import meant
from operations.refresh.run.session import Session


@dataclass(frozen=True)
class Undone:
    """What became of it."""

    request: RefreshRequest
    """What is taken back."""
    nodes: int
    """Nodes that are open."""
    failed: list[str]
    """What could not be undone, in words."""


def undo(session: Session, towards: NodeKind | None) -> Undone:
    """End the refresh that runs, and take back what was done to nodes and groups.

    Args:
        towards: the refresh meant; None: the one that is remembered.
    """
    lease = Lease(session.kube)
    lease.set_pause(True)
    lease.acquire(wait=60)
    try:
        memory = lease.memory
        request = RefreshRequest.towards(meant(memory, towards))
        with session.watched(request) as live:
            world = live.world
        failed = _reopen(session, world) + _restore(session, world, request, memory)
        if not failed:
            lease.remember(forget(memory))
    finally:
        lease.release()
    return Undone(request, len(world.old), failed)


def _reopen(session: Session, world: World) -> list[str]:
    failed = []
    for name, node in sorted(world.old.items()):
        if node.ours or node.soft:
            outcome = session.kube.reopen(name)
            if not outcome.ok:
                failed.append(f"node {name}: {outcome.text}")
    return failed


def _restore(session: Session, world: World, request: RefreshRequest, memory: Memory) -> list[str]:
    failed = []
    for ref in session.groups.of(request.source):
        before = memory.sizes.get(ref.name)
        here = world.groups[ref.name]
        if before is None:
            continue
        if here.sizes != before:
            desired = max(before.desired, here.sizes.desired)
            outcome = session.cloud.resize(Resize(ref.name, before.minimum, desired, max(before.maximum, desired)))
            if not outcome.ok:
                failed.append(f"node group {ref.name}: {outcome.text}")
        if ref.name in memory.rebalancing and not here.rebalancing:
            outcome = session.cloud.rebalance(here, allowed=True)
            if not outcome.ok:
                failed.append(f"node group {ref.name}: {outcome.text}")
    return failed
