"""The behaviour of one resource type of a stand-in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from sandbox.plugins.operation import Diff, Display, Operation, State
from sandbox.plugins.values import UNKNOWN, Properties, covered, differences


class Resource:
    """The behaviour of one type. Every method may raise `ProviderError`; inputs hold no unknowns outside previews."""

    computed: ClassVar[Sequence[str]] = ()
    """Outputs that are not known before the resource exists."""
    volatile: ClassVar[Sequence[str]] = ()
    """Outputs that are not known before an update is made."""
    force_new: ClassVar[Sequence[str]] = ()
    """Paths of inputs whose change replaces the resource; ``[*]`` stands for any index."""
    delete_before_replace: ClassVar[bool] = False

    def __init__(self, provider: Display) -> None:
        self.provider = provider

    def check(self, op: Operation, olds: Properties, news: Properties) -> Properties:
        """The inputs with defaults filled in; raises `CheckFailed`. ``olds`` are the inputs of before, {} when new."""
        return news

    def diff(self, op: Operation, state: State, news: Properties) -> Diff:
        """Compares inputs with the inputs of before, so that what the server fills in is no change."""
        changes = differences(state.inputs, news)
        replaces = [path for path in changes if covered(self.force_new, path)]
        return Diff(changes, replaces, self.delete_before_replace)

    def preview(self, op: Operation, state: State | None, news: Properties) -> Properties:
        """The outputs that a preview shows; ``state`` is None for a create."""
        if state is None:
            return {**dict.fromkeys(self.computed, UNKNOWN), **news}
        kept = {key: value for key, value in state.outputs.items() if key in news or key not in state.inputs}
        return {**kept, **dict.fromkeys(self.volatile, UNKNOWN), **news}

    def create(self, op: Operation, inputs: Properties) -> tuple[str, Properties]:
        """Makes it: its id and outputs. Raises `PartialFailure` when it exists but does not work."""
        raise NotImplementedError

    def read(self, op: Operation, id: str, state: State | None) -> State | None:
        """What it is now; None when it is gone. ``state`` is None when it is being imported."""
        return state

    def update(self, op: Operation, state: State, news: Properties) -> Properties:
        """Changes it in place: its new outputs."""
        raise NotImplementedError

    def delete(self, op: Operation, state: State) -> None:
        """Removes it; one that is gone already is no error."""
