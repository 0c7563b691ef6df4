"""Which function answers which call: `@answers("ec2", "DescribeVpcs")` on `(aws, values) -> result`."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.aws.errors import AwsError
from sandbox.aws.protocol import Request
from sandbox.aws.state import Aws, Json

__all__ = ["CALLER", "OPERATION", "answer", "answers", "each_tick", "on_tick"]

Handler = Callable[[Aws, Json], Json]
Ticker = Callable[[Aws, float], None]
_HANDLERS: dict[tuple[str, str], Handler] = {}
_TICKERS: list[Ticker] = []
_READ_ONLY = ("Describe", "List", "Get", "Simulate")


CALLER = "__caller__"
"""Key under which a request's caller (an ARN) is in the values that a handler gets."""
OPERATION = "__operation__"
"""Key of the operation's name there."""


def answers(service: str, *operations: str) -> Callable[[Handler], Handler]:
    """Register the function as the answer to these operations of `service` (botocore's names)."""

    def register(handler: Handler) -> Handler:
        for operation in operations:
            _HANDLERS[service, operation] = handler
        return handler

    return register


def on_tick(ticker: Ticker) -> Ticker:
    """Register a function that moves the account on with time; it is called with (aws, now)."""
    _TICKERS.append(ticker)
    return ticker


def each_tick(aws: Aws) -> None:
    """One step of everything that happens by itself: launches, status changes, health."""
    now = aws.now()
    for ticker in _TICKERS:
        with aws.lock:
            ticker(aws, now)


def answer(aws: Aws, request: Request, caller: str) -> Json:
    """Answer one call under the account's lock; AwsError as AWS would give it."""
    name = request.operation.name
    fault = aws.fault(request.service, name)
    if fault is not None:
        raise fault
    handler = _HANDLERS.get((request.service, name))
    if handler is None:
        raise AwsError("NotEmulated", f"the sandbox does not emulate {request.service}:{name}", 501)
    values = {**request.values, CALLER: caller, OPERATION: name}
    with aws.lock:
        if values.get("DryRun"):
            raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
        result = handler(aws, values)
        if not name.startswith(_READ_ONLY):
            aws.touch()
    return result
