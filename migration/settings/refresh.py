"""The section `refresh`: how nodes are replaced."""

from typing import Literal

from pydantic import Field

from migration.settings.model import Model


class Refresh(Model):
    """How nodes are replaced."""

    strategy: Literal["surge", "replace", "shrink"] = "surge"
    budget: str = Field(default="10%", pattern=r"^([1-9][0-9]{0,5}|[1-9][0-9]?%|100%)$")
    """The node budget: how many nodes may be on their way out at once, a number or a share of the old nodes."""
    deadline_minutes: int = Field(default=45, ge=1, le=720)
    """Inside `pulumi up` the refresh stops cleanly after this long; run again to go on."""
    evict_marked: bool = False
    """Evict also pods whose owners ask, by a mark on them, that they be left alone
    (`cluster-autoscaler.kubernetes.io/safe-to-evict: "false"`, `karpenter.sh/do-not-disrupt: "true"` and their like).
    Left out: such a pod stays, and with it its node."""
