"""Whether a refresh pauses because policy is not proved, and for how long it waits for that. Pure."""

from dataclasses import dataclass, field
from typing import Final

from operations.refresh.model.terms import duration

PATIENCE: Final = 300.0
"""Seconds of a pause after which a run ends: who mends a policy needs the lock of the stack."""
MEND: Final = (
    "`kubectl -n kube-system get configmap eks-cilium-proof -o yaml` has the whole of it, "
    "`python -m operations policy prove --live` looks again. Mend the policy, deploy, and the refresh goes on"
)


@dataclass
class Pausing:
    """Since when, by a steady clock."""

    why: str = ""
    """Why nothing may be begun now; empty while something may."""
    _since: float = field(default=float("inf"))

    def look(self, trouble: str, now: float) -> bool:
        """Whether nothing may be begun now.

        Args:
            trouble: why nothing may rest on the last proof; empty when something may.
        """
        if trouble and not self.why:
            self._since = now
        self.why = trouble
        return bool(trouble)

    def over(self, now: float) -> str:
        """Why the run ends now; empty while it goes on."""
        if not self.why or now - self._since < PATIENCE:
            return ""
        return f"paused for {duration(now - self._since)}, as policy is not proved: {self.why}"
