"""Cilium's real policy engine as an oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from tests.oracles.go_program import GoProgram

AGENTS: Final[dict[str, Any]] = {"enforcement": "default", "allowLocalhost": "always"}
"""What agents are told where nobody tells them otherwise; a question has to say it."""


class CiliumOracle(GoProgram):
    """Answers a case with `verdicts` in the order of its flows, or `errors`."""

    source = Path(__file__).parent / "cilium"
