"""What the components share: options of children, and filling slots of static values with outputs."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pulumi

from migration.names import PROJECT

T = TypeVar("T")


def token(module: str, kind: str) -> str:
    """Type token of a component. Chosen once: another token would be another resource."""
    return f"{PROJECT}:{module}:{kind}"


class Component(pulumi.ComponentResource):
    """A component whose children come after `after`.

    Args:
        kind: type token, from `token`.
        name: unique within the stack.
        after: resources that every child waits for; a component's own `depends_on` does not reach its children.
        provider: Kubernetes provider of children that are Kubernetes objects.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        *,
        after: Sequence[pulumi.Resource] = (),
        provider: pulumi.ProviderResource | None = None,
    ) -> None:
        super().__init__(kind, name, None, pulumi.ResourceOptions())
        self._after = tuple(after)
        self._provider = provider

    def child(self, *, after: Sequence[pulumi.Resource] = (), **options: Any) -> pulumi.ResourceOptions:
        """Options of a cloud child."""
        return pulumi.ResourceOptions(parent=self, depends_on=[*self._after, *after], **options)

    def kubernetes_child(self, *, after: Sequence[pulumi.Resource] = (), **options: Any) -> pulumi.ResourceOptions:
        """Options of a Kubernetes child."""
        return self.child(after=after, provider=self._provider, **options)


def fill(value: Any, slots: Mapping[str, pulumi.Input[Any]]) -> Any:
    """A copy of a plain structure with each slot text replaced by what stands for it."""
    if isinstance(value, str):
        return slots.get(value, value)
    if isinstance(value, Mapping):
        return {key: fill(inner, slots) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [fill(inner, slots) for inner in value]
    return value
