"""How a command ends by an error: the one place that turns errors into exit codes and words."""

from dataclasses import dataclass

from kube.transport import KubeError
from reading.failure import UNKNOWN, USAGE, Failure


class UsageError(Failure):
    """The command cannot be understood, or the files it needs are wrong."""

    exit_code = USAGE


@dataclass(frozen=True)
class Ended:
    """How a command ends."""

    code: int
    text: str
    """For people."""


def ended(error: Exception) -> Ended:
    """What an error comes to.

    Raises:
        Exception: the error itself: it is a fault of the program.
    """
    # Commands that only read files need no AWS, and start sooner without it.
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    match error:
        case Failure():
            return Ended(error.exit_code, error.told())
        case KubeError() | ClientError() | BotoCoreError() | TimeoutError():
            return Ended(UNKNOWN, str(error))
        case OSError(filename=str() | bytes() as name):
            shown = name.decode(errors="replace") if isinstance(name, bytes) else name
            return Ended(USAGE, f"{shown}: {error.strerror}. Name a file that may be read and written")
    raise error
