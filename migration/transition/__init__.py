"""Which stage may follow which: what a stack's own state says, and whether the configured stage may be next.

Everything refused here is refused before a single resource is registered.
"""

from migration.transition.plan import Direction, Move, plan_move
from migration.transition.recorded import Asks, Marker, Recorded
from migration.transition.refusals import Refused

__all__ = ["Asks", "Direction", "Marker", "Move", "Recorded", "Refused", "plan_move"]
