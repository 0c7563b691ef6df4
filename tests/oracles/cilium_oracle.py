"""Cilium's real policy engine as an oracle."""

from __future__ import annotations

from pathlib import Path

from tests.oracles.go_program import GoProgram


class CiliumOracle(GoProgram):
    """Answers a case with `verdicts` in the order of its flows, or `errors`."""

    source = Path(__file__).parent / "cilium"
