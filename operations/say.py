"""What commands tell people: on standard error, as standard output is for machines."""

import sys


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
