"""What all resource types of the AWS stand-in share: names, defaults, differences, previews, tags, partial states."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from sandbox.plugins.aws.account import Account, AwsError, chosen
from sandbox.plugins.aws.schema import Schema
from sandbox.plugins.operation import CheckFailed, Diff, Display, Operation, PartialFailure, ProviderError, State
from sandbox.plugins.resource import Resource
from sandbox.plugins.values import UNKNOWN, UPDATE, Properties, covered, has_unknown

WAIT = 300.0
"""Seconds that a wait lasts unless `custom_timeouts` says otherwise (the real provider: 15 to 60 minutes)."""
POLL = 0.25


class AccountHolder(Display, Protocol):
    """The provider, as far as its types know it."""

    @property
    def account(self) -> Account: ...


class AwsResource(Resource):
    """One type: a schema and five verbs. Subclasses call AWS; everything about the engine is here."""

    provider: AccountHolder
    schema: ClassVar[Schema]
    label: ClassVar[str]
    """How the real provider calls it in errors, e.g. "EKS Add-On"."""

    @property
    def account(self) -> Account:
        """The configured account."""
        return self.provider.account

    # -- what a type does ----------------------------------------------------------------------

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """Asks AWS for it and returns its id at once; `tags` are all tags, default ones included."""
        raise NotImplementedError

    def settle(self, op: Operation, id: str, inputs: Properties) -> None:
        """Waits until what `make` asked for is there."""

    def look(self, id: str, region: str | None) -> Properties | None:
        """The properties that AWS knows (`tags` as AWS has them), or None when it is gone."""
        raise NotImplementedError

    def change(self, op: Operation, state: State, news: Properties, changed: set[str]) -> None:
        """Brings it to `news`; `changed` are the top-level properties that differ (tags excluded)."""
        raise NotImplementedError

    def retag(self, op: Operation, state: State, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        """Sets its tags."""
        raise NotImplementedError

    def remove(self, op: Operation, state: State) -> None:
        """Deletes it and waits until it is gone; not there any more is fine."""
        raise NotImplementedError

    def volatile_after(self, changed: set[str], news: Properties) -> set[str]:
        """Outputs that an update with these changes makes anew."""
        return set()

    def comparable(self, news: Properties) -> Properties:
        """The inputs in the form in which AWS gives them back."""
        return news

    # -- what the engine asks ------------------------------------------------------------------

    def check(self, op: Operation, olds: Properties, news: Properties) -> Properties:
        """Adds defaults and the automatic name, refuses unknown and missing properties."""
        inputs, failures = self.schema.check(op.name, olds, news)
        if failures:
            raise CheckFailed(dict(failures))
        return inputs

    def diff(self, op: Operation, state: State, news: Properties) -> Diff:
        """Compares the new inputs with the state."""
        found = self.schema.diff(state.outputs, self.comparable(news))
        changes = {change.path: change.kind for change in found}
        if self.schema.tagged:
            changes |= self._tag_change(state, news)
        return Diff(
            changes,
            [change.path for change in found if change.replaces],
            self.schema.delete_before_replace(state.outputs, news),
        )

    def preview(self, op: Operation, state: State | None, news: Properties) -> Properties:
        """The outputs as far as they can be known before."""
        if state is None:
            planned = self.schema.planned_create(news)
        else:
            planned = self.schema.planned_update(state.outputs, news)
            changed = self._changed(state, news) | set(self._tag_change(state, news) if self.schema.tagged else ())
            planned |= dict.fromkeys(self.volatile_after(changed, news), UNKNOWN)
        if self.schema.tagged:
            tags = news.get("tags")
            planned["tagsAll"] = UNKNOWN if tags == UNKNOWN else self.account.merged_tags(tags)
        if self.schema.regional and planned.get("region") in (None, UNKNOWN):
            planned["region"] = self.account.region
        return planned

    def create(self, op: Operation, inputs: Properties) -> tuple[str, Properties]:
        """Makes it and waits; a failed wait leaves it in the state, as the real provider does."""
        tags = self.account.merged_tags(inputs.get("tags")) if self.schema.tagged else {}
        try:
            id = self.make(op, inputs, tags)
        except AwsError as error:
            raise ProviderError(f"creating {self.label} ({self.called(inputs)}): {error}") from error
        try:
            self.settle(op, id, inputs)
        except ProviderError as error:
            reason = f"waiting for {self.label} ({id}) create: {error}"
            outputs = self._outputs(id, inputs) or _visible(inputs)
            raise PartialFailure(id, outputs, [reason]) from error
        return id, self._found(id, inputs)

    def read(self, op: Operation, id: str, state: State | None) -> State | None:
        """Its state for a refresh or, without `state`, for an import by id."""
        known = state.outputs if state else {}
        try:
            outputs = self._outputs(id, known)
        except AwsError as error:
            raise ProviderError(f"reading {self.label} ({id}): {error}") from error
        if outputs is None:
            return None
        if state is None:
            return State(self.id_of(id, outputs), self.schema.inputs_of(outputs), outputs)
        differing = self._changed(State(id, {}, outputs), state.inputs)
        inputs = {
            key: self.schema.restricted(key, old, outputs[key]) if key in differing else old
            for key, old in state.inputs.items()
            if key in outputs and key != "tags"
        }
        if state.inputs.get("tags") and outputs.get("tags"):
            inputs["tags"] = outputs["tags"]
        return State(id, inputs | chosen(state.inputs, "__defaults"), outputs)

    def update(self, op: Operation, state: State, news: Properties) -> Properties:
        """Changes it in place. After a failure the state holds what was wanted, as with the real provider."""
        changed = self._changed(state, news)
        try:
            retagged = self._tag_change(state, news) if self.schema.tagged else {}
            if any(not covered(op.ignored, path) for path in retagged):
                old = state.outputs.get("tagsAll") or {}
                self.retag(op, state, old, self.account.merged_tags(news.get("tags")))
            changed = {name for name in changed if not covered(op.ignored, name)}
            if changed:
                self.change(op, state, news, changed)
        except ProviderError as error:
            reason = f"updating {self.label} ({state.id}): {error}"
            raise PartialFailure(state.id, self.schema.planned_update(state.outputs, news), [reason]) from error
        return self._found(state.id, {**state.outputs, **self._unread(news), "tags": news.get("tags")})

    def delete(self, op: Operation, state: State) -> None:
        """Removes it."""
        try:
            self.remove(op, state)
        except AwsError as error:
            raise ProviderError(f"deleting {self.label} ({state.id}): {error}") from error

    # -- helpers for types ---------------------------------------------------------------------

    def called(self, inputs: Properties) -> str:
        """Its name in an error about its creation."""
        return str(inputs.get(self.schema.auto_name or "") or self.schema.token)

    def id_of(self, id: str, outputs: Properties) -> str:
        """The id to store after an import, where the import id is another one."""
        return id

    def name_for(self, inputs: Properties) -> str:
        """The name to ask AWS for: the given one, or the prefix with a unique end."""
        auto = self.schema.auto_name or "name"
        return str(inputs.get(auto) or f"{inputs[f'{auto}Prefix']}{time.time_ns():026d}")

    def wait(self, op: Operation, what: str, ready: Any, default: float = WAIT) -> None:
        """Waits until `ready()`; ProviderError when time is up."""
        op.wait(ready, default=default, what=what, every=POLL)

    def _changed(self, state: State, news: Properties) -> set[str]:
        paths = (change.path for change in self.schema.diff(state.outputs, self.comparable(news)))
        return {path.partition(".")[0].partition("[")[0] for path in paths}

    def _tag_change(self, state: State, news: Properties) -> dict[str, str]:
        tags = news.get("tags")
        wanted = UNKNOWN if has_unknown(tags) else self.account.merged_tags(tags)
        if wanted == (state.outputs.get("tagsAll") or {}):
            return {}
        return {"tags" if (tags or {}) != (state.outputs.get("tags") or {}) else "tagsAll": UPDATE}

    def _unread(self, inputs: Properties) -> Properties:
        return {key: inputs.get(key) for key in self.schema.having("^")}

    def _found(self, id: str, known: Properties) -> Properties:
        outputs = self._outputs(id, known)
        if outputs is None:
            raise ProviderError(f"reading {self.label} ({id}): couldn't find resource")
        return outputs

    def _outputs(self, id: str, known: Properties) -> Properties | None:
        region = known.get("region")
        found = self.look(id, region)
        if found is None:
            return None
        outputs = {key: value for key, value in self._unread(known).items() if value is not None}
        outputs |= {key: value for key, value in found.items() if value is not None}
        if self.schema.tagged:
            outputs["tags"], outputs["tagsAll"] = self.account.tags_from(found.get("tags"))
            if known.get("tags"):  # a tag of the program that repeats a default tag is the program's all the same
                outputs["tags"] |= {key: value for key, value in outputs["tagsAll"].items() if key in known["tags"]}
        if self.schema.regional:
            outputs["region"] = region or self.account.region
        return outputs


def _visible(properties: Properties) -> Properties:
    return {key: value for key, value in properties.items() if not key.startswith("__")}
