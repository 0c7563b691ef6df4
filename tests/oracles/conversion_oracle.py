"""The Tigera operator's own conversion, asked about the cases of `random_handover`.

    EKS_CILIUM_TIGERA_OPERATOR=DIR python -m tests.oracles.conversion_oracle > tests/unit/migration/rules/conversion.json

DIR is a checkout of github.com/tigera/operator at v1.42.4. It has to be a checkout: the operator is built with a module
of its own directory `api` in place of the one that it requires. What it answers can be written down, so that whoever has
no checkout holds the program against the same answers.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.oracles import random_handover
from tests.oracles.go_program import Piped, cache_dir, locked

OPERATOR = "v1.42.4"
CASES = 2000
CHECKOUT = "EKS_CILIUM_TIGERA_OPERATOR"
SOURCE = Path(__file__).parent / "tigera_convert" / "main.go"
_BUILD_SECONDS = 7200


def checkout() -> Path | None:
    """Where the operator's source is; None where nobody says."""
    told = os.environ.get(CHECKOUT)
    return Path(told) if told else None


class ConversionOracle(Piped):
    """A running program that answers `{"objects": [...]}`."""

    def __init__(self, source: Path) -> None:
        super().__init__("the operator's conversion", [str(_build(source))])

    def takes_over(self, objects: list[dict[str, Any]]) -> tuple[bool, str]:
        """Whether the operator takes over, and why not."""
        told = self.ask({"objects": objects})
        if told.get("fault"):
            raise ValueError(f"no case: {told['fault']}")
        return bool(told["takesOver"]), str(told["reason"])


def _build(source: Path) -> Path:
    """The program, built of a checkout that is not written to. The first build takes long."""
    digest = hashlib.sha256(SOURCE.read_bytes() + (source / "go.sum").read_bytes())
    binary = cache_dir() / f"tigera-convert-oracle-{digest.hexdigest()[:16]}"
    with locked(binary.with_suffix(".lock")):
        if not binary.exists():
            overlay = binary.with_suffix(".json")
            place = source.resolve() / "cmd" / "eks-cilium-oracle"
            overlay.write_text(json.dumps({"Replace": {str(place / "main.go"): str(SOURCE)}}))
            half = binary.with_suffix(".part")
            done = subprocess.run(
                ["go", "build", "-mod=mod", "-overlay", str(overlay), "-o", str(half), "./cmd/eks-cilium-oracle"],
                cwd=source,
                env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": ""},
                capture_output=True,
                text=True,
                timeout=_BUILD_SECONDS,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"the operator's conversion does not build:\n{done.stderr[-4000:]}")
            half.rename(binary)
    return binary


def fingerprint() -> str:
    """Of all cases, so that answers to other cases are not taken for answers to these."""
    digest = hashlib.sha256()
    for seed in range(CASES):
        digest.update(random_handover.text(seed).encode())
    return digest.hexdigest()[:16]


def record(source: Path) -> dict[str, Any]:
    """What is written down: the operator's answers, one digit a case."""
    with ConversionOracle(source) as oracle:
        answers = [oracle.takes_over(random_handover.case(seed).objects())[0] for seed in range(CASES)]
    taken = "".join("1" if one else "0" for one in answers)
    return {
        "operator": OPERATOR,
        "cases": fingerprint(),
        "takesOver": [taken[i : i + 100] for i in range(0, CASES, 100)],
    }


if __name__ == "__main__":
    where = checkout()
    if where is None:
        sys.exit(f"{CHECKOUT} is not set: give it a checkout of github.com/tigera/operator at {OPERATOR}")
    print(json.dumps(record(where), indent=1))
