"""A local EKS: real control plane, simulated nodes, emulated AWS, stand-in plugins. It imports nothing of ours."""

from __future__ import annotations

from pathlib import Path

__all__ = ["environment"]


def environment(directory: Path | None = None) -> dict[str, str]:
    """What a program that uses the sandbox in `directory` (default: .sandbox) has in its environment."""
    # Plugins start in this package some hundred times a walk: they must not load the whole life cycle.
    from sandbox import lifecycle  # noqa: PLC0415

    return lifecycle.environment(directory or lifecycle.DEFAULT_DIR)
