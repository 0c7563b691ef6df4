"""Node refresh: empty the nodes of one kind onto nodes of the other, and remove them, without breaking a budget.

`engine` decides (pure: values in, actions out), `runner` carries decisions out, `kube` and `aws` are the two worlds.
All state is read back from the APIs and a few small annotations, so that a refresh may be killed anywhere.
"""

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    """The command and its own commands."""
    from operations.refresh import cli  # noqa: PLC0415 - whoever asks for the values only needs no command line

    cli.add_parser(commands)


def run(args: argparse.Namespace) -> int:
    """Carry out one of the commands."""
    from operations.refresh import cli  # noqa: PLC0415

    return cli.run(args)
