"""Cilium's own choice of labels as an oracle."""

from __future__ import annotations

from pathlib import Path

from tests.oracles.go_program import GoProgram


class LabelsOracle(GoProgram):
    """Answers a pod with the `labels` of its identity, the same in `words`, and its named `ports`; or an `error`."""

    source = Path(__file__).parent / "cilium_labels"
