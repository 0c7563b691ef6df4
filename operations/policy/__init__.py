"""`python -m operations policy`: explain, translate, prove and lint network policies, from files or a live cluster.

`add_parser(subparsers)` hangs the command into a larger command line, `run(arguments)` runs it and returns the exit
code: 0 holds, 1 does not, 2 cannot be decided, 64 used wrongly. One JSON object goes to stdout, text for people to
stderr. Nothing is ever written to a cluster.
"""

from operations.policy.cli import add_parser, main, run

__all__ = ["add_parser", "main", "run"]
