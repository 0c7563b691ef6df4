# ruff: noqa: S105
"""Stand-in for the command provider: `command:local:Command` and the function `command:local:run`.

As upstream: a preview runs nothing; ``create`` runs once; a change of ``triggers`` replaces; any other change of
inputs runs ``update`` (``create`` when there is none); a failed run leaves no state. Unlike upstream, a cancelled or
overdue run ends with its whole process group: the real provider kills only the shell.
"""

from __future__ import annotations

import os

from sandbox.plugins.child import Children
from sandbox.plugins.operation import Operation, ProviderError, State
from sandbox.plugins.provider import Provider, serve
from sandbox.plugins.resource import Resource
from sandbox.plugins.values import UNKNOWN, Properties

SHELL = ("/bin/sh", "-c")
_LOGGED = {"stdout": {"stdout"}, "stderr": {"stderr"}, "none": set(), "stdoutAndStderr": {"stdout", "stderr"}}


class Command(Resource):
    """`command:local:Command`; its id is ``command`` and a random part, which nothing reads."""

    force_new = ("triggers",)
    provider: CommandProvider

    def preview(self, op: Operation, state: State | None, news: Properties) -> Properties:
        return {**news, "stdout": UNKNOWN, "stderr": UNKNOWN}

    def create(self, op: Operation, inputs: Properties) -> tuple[str, Properties]:
        return f"command{os.urandom(16).hex()}", self._run(op, inputs, inputs.get("create"), {})

    def update(self, op: Operation, state: State, news: Properties) -> Properties:
        return self._run(op, news, news.get("update") or news.get("create"), state.outputs)

    def delete(self, op: Operation, state: State) -> None:
        self._run(op, state.inputs, state.inputs.get("delete"), state.outputs)

    def _run(self, op: Operation, inputs: Properties, line: str | None, previous: Properties) -> Properties:
        if line:
            return self.provider.run(op, line, inputs, previous)
        return {**inputs, "stdout": previous.get("stdout", ""), "stderr": previous.get("stderr", "")}


class CommandProvider(Provider):
    """What the command provider does on this machine; nothing remote."""

    def __init__(self) -> None:
        super().__init__("command", {"command:local:Command": Command}, version="1.2.1")
        self.children = Children()

    def invoke(self, op: Operation, token: str, args: Properties) -> Properties:
        if token != "command:local:run":
            return super().invoke(op, token, args)
        return self.run(op, args["command"], args, {})

    def run(self, op: Operation, line: str, inputs: Properties, previous: Properties) -> Properties:
        """Runs a command line: its inputs with ``stdout`` and ``stderr``, without the newlines at their ends.

        Raises `ProviderError` with all that it wrote when it does not end with code 0.
        """
        environment = {**os.environ, **{k: str(v) for k, v in (inputs.get("environment") or {}).items()}}
        if inputs.get("addPreviousOutputInEnv", True):
            for name in ("stdout", "stderr"):
                if previous.get(name):
                    environment[f"PULUMI_COMMAND_{name.upper()}"] = previous[name]
        shown = _LOGGED[inputs.get("logging") or "stdoutAndStderr"]
        finished = self.children.run(
            op,
            [*(inputs.get("interpreter") or SHELL), line],
            environment=environment,
            directory=inputs.get("dir"),
            stdin=inputs.get("stdin"),
            line=lambda stream, text: op.status(text) if stream in shown else None,
        )
        if finished.reason:
            quoted = line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            raise ProviderError(f'{finished.reason}: running "{quoted}":\n{finished.combined}')
        return {**inputs, "stdout": finished.stdout.rstrip("\r\n"), "stderr": finished.stderr.rstrip("\r\n")}

    def cancel(self) -> None:
        # A cancelled run ends its own group, with some grace; at the end of the process there is no time for that.
        if not self.cancelled.is_set():
            self.children.kill_all()


def main() -> None:
    serve(CommandProvider())


if __name__ == "__main__":
    main()
