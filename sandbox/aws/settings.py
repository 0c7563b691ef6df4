"""Delays and injected faults: DIR/world.json over the defaults, read again whenever the file changes.

So a test breaks and repairs the world by writing one file; nothing has to be restarted.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

__all__ = ["DEFAULTS", "Settings"]

log = logging.getLogger(__name__)

DEFAULTS: dict[str, Any] = {
    # Seconds, each far shorter than on AWS.
    "cluster_create_delay": 0.5,
    "cluster_delete_delay": 0.3,
    "update_delay": 0.3,
    "launch_delay": 1.0,
    "terminate_delay": 0.5,
    "late_labels_delay": 1.0,
    "addon_delay": 0.5,
    "addon_degraded_after": 8.0,
    "nodegroup_create_deadline": 60.0,
    "nodegroup_drain_time": 5.0,
    "nodegroup_eviction_deadline": 60.0,
    "rebalance_delay": 1.0,
    "launch_retry_delay": 1.0,
    "target_initial_delay": 0.5,
    # Pods of a node that is gone: garbage collected after so many seconds; negative leaves them to the
    # control plane, which takes some 40 s.
    "orphan_pods_delay": 1.0,
    # [{service, operation, code, message, status, times}], see Aws.fault.
    "faults": [],
    # [{instance_type, zone}], either may be missing: launches fail with InsufficientInstanceCapacity.
    "no_capacity": [],
}


class Settings:
    """A read-only view of world.json merged over `DEFAULTS`."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._values: dict[str, Any] = {}

    def _fresh(self) -> dict[str, Any]:
        if self._path is None:
            return self._values
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._stamp, self._values = None, {}
            return self._values
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            try:
                self._values = json.loads(self._path.read_text(encoding="utf-8"))
                self._stamp = stamp
            except ValueError as problem:  # half-written: keep the old values and look again next time
                log.warning("%s is not JSON (%s): the last readable version stays in force", self._path, problem)
        return self._values

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key` in world.json, else in DEFAULTS, else `default`."""
        return self._fresh().get(key, DEFAULTS.get(key, default))

    def seconds(self, key: str) -> float:
        """A delay in seconds; KeyError when the name is in neither place."""
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return float(value)
