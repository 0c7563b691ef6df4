"""`python -m operations policy`: explain, translate, prove and lint network policies, from files or a live cluster.

Exit codes: 0 holds, 1 does not, 2 cannot be decided, 64 used wrongly. One JSON object goes to stdout, text for people
to stderr. Nothing is ever written to a cluster.
"""

from operations.policy.cli import main

__all__ = ["main"]
