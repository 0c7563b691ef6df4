"""Addresses that the nodes to come and their pods take, zone by zone: an interface stays in the zone of its node."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from migration.rules import addressing, images, instances
from operations.refresh.blockers import Blocker, Weight


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """What there is, and what is coming."""

    free: Mapping[str, int]
    """Zone -> free addresses of the subnets of Cilium's interfaces."""
    nodes: int
    """Nodes to come, spread evenly over the zones."""
    types: Sequence[str]
    """Their instance types."""
    moving: Mapping[str, int]
    """Zone -> pods that have to move and take an address."""
    each: int = 0
    """Pods without host network that every node runs."""

    @property
    def unknown(self) -> tuple[str, ...]:
        """Types whose network limits are not known here, while nodes are to come."""
        return tuple(sorted({t for t in self.types if instances.known(t) is None})) if self.nodes else ()

    def needed(self) -> dict[str, int]:
        """Addresses by zone. A pod may land in another zone, so each must take an even share of those that move, or
        what it has now if that is more. Of several types the one that asks for most counts: which zone gets which
        is not known.
        What is not known is left out: `unknown` names it.
        """
        zones = sorted(self.free)
        share = ceil(self.nodes / max(len(zones), 1))
        even = ceil(sum(self.moving.values()) / max(len(zones), 1))
        kinds = images.known(sorted(set(self.types))) if self.nodes else []
        found = {}
        for zone in zones:
            pods = max(even, self.moving.get(zone, 0)) + share * self.each
            each = [addressing.surge_addresses(nodes=share, pods=pods, limits=limits) for limits in kinds]
            found[zone] = max(each, default=pods)
        return found


def count(zones: Iterable[str]) -> Mapping[str, int]:
    """Zone of each pod -> pods by zone."""
    return Counter(zones)


def blockers(addresses: Addresses) -> Iterator[Blocker]:
    """Zones whose subnets are too small, and what is not known of them."""
    if addresses.unknown:
        yield Blocker(
            "instance types",
            f"the network limits of {', '.join(addresses.unknown)} are not known here, so nobody can tell how many "
            "addresses its nodes take",
            f"Read the types anew with `{instances.REFRESH}`, or use a known type",
            Weight.NOT_NOW,
        )
        return
    for zone, needed in addresses.needed().items():
        free = addresses.free[zone]
        if free < needed:
            yield Blocker(
                f"zone {zone}",
                f"its subnets have {free} free addresses, {needed} are needed while old nodes hold theirs",
                "Add subnets (network.podSubnetIds), or move fewer nodes at once",
                Weight.NEVER,
            )
