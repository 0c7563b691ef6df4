"""Node refresh: empty the nodes of one kind onto nodes of the other, and remove them, without breaking a budget.

`engine` decides (pure: values in, actions out), `runner` carries decisions out, `kube` and `aws` are the two worlds.
All state is read back from the APIs and a few small annotations, so that a refresh may be killed anywhere.
"""

from operations.refresh.cli import add_parser, run

__all__ = ["add_parser", "run"]
