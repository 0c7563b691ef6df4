"""Kubernetes objects as resources: whole objects, and patches of objects that somebody else owns."""

from __future__ import annotations

import copy
import http
import os
import time
from typing import Any

from sandbox.plugins.kubernetes import rules
from sandbox.plugins.kubernetes.awaiting import DEFAULT_TIMEOUT, Failed, judge
from sandbox.plugins.kubernetes.client import APPLY, JSON_PATCH, ApiError, Client, Object, Unreachable
from sandbox.plugins.kubernetes.configured import ConfiguredProvider
from sandbox.plugins.operation import Cancelled, CheckFailed, Diff, Operation, PartialFailure, ProviderError, State
from sandbox.plugins.resource import Resource
from sandbox.plugins.values import UNKNOWN, Properties, Secret, has_unknown

MANAGER = "__fieldManager"
API_VERSION = "__initialApiVersion"
POLL = 0.25
"""Seconds between two looks at an object that is waited for."""


class KubernetesObject(Resource):
    """An object of any kind, created by us, kept by server-side apply, deleted by us."""

    provider: ConfiguredProvider
    volatile = ("status",)

    @property
    def client(self) -> Client:
        return self.provider.client()

    # --- without side effects -----------------------------------------------------------------------------------------

    def check(self, op: Operation, olds: Properties, news: Properties) -> Properties:
        missing = [key for key in ("apiVersion", "kind") if not news.get(key)]
        if missing:
            raise CheckFailed({key: f"{op.type} {op.name}: {key} is required" for key in missing})
        inputs = self._named(op, olds, rules.without_none(news))
        namespace = self._default_namespace(inputs)
        if namespace:
            inputs = copy.deepcopy(inputs)
            inputs.setdefault("metadata", {})["namespace"] = namespace
        return _secret_marks(inputs)

    def _named(self, op: Operation, olds: Properties, news: Properties) -> Properties:
        return rules.named(news, olds, op.name)

    def _default_namespace(self, inputs: Object) -> str | None:
        """The namespace to fill in; None where it is given, or the kind has none, or nobody can tell."""
        if inputs.get("metadata") == UNKNOWN or rules.metadata(inputs).get("namespace"):
            return None
        try:
            known = self.client.kind(inputs["apiVersion"], inputs["kind"])
        except ProviderError:
            return None  # a preview without a cluster; creating it will say so
        return self.provider.namespace() if known is not None and known.namespaced else None

    def diff(self, op: Operation, state: State, news: Properties) -> Diff:
        changes, replaces = rules.changes(state.inputs, news, self.provider.mutable())
        same = rules.metadata(state.inputs).get("name") == rules.metadata(news).get("name")
        same = same and not ({"metadata.namespace", "kind", "apiVersion"} & set(replaces))
        autonamed = bool(rules.annotations_of(news).get(rules.AUTONAMED))
        return Diff(changes, replaces, delete_before_replace=same and not autonamed)

    def preview(self, op: Operation, state: State | None, news: Properties) -> Properties:
        manager = self._manager(state, news)
        try:
            live = self._dry_run(state, news, manager)
        except Unreachable as error:
            op.log(f"{error}; the preview shows inputs only", "WARNING")
            live = None
        kept = {} if state is None else {k: v for k, v in rules.metadata(state.outputs).items() if k == "uid"}
        unknown = dict.fromkeys(("resourceVersion", "generation"), UNKNOWN)
        unknown |= {} if kept else dict.fromkeys(("uid", "creationTimestamp"), UNKNOWN)
        outputs = copy.deepcopy(live or news)
        if isinstance(outputs.get("metadata"), dict):
            outputs["metadata"] = {**outputs["metadata"], **unknown, **kept}
        if state is None and news.get("kind") == "Service" and isinstance(outputs.get("spec"), dict):
            for key in ("clusterIP", "clusterIPs"):
                if not (news.get("spec") or {}).get(key):
                    outputs["spec"][key] = UNKNOWN
        return {**self._outputs(outputs, news, manager), "status": UNKNOWN}

    def _dry_run(self, state: State | None, news: Properties, manager: str) -> Object | None:
        """What the server would make of it; None when it cannot tell (unknown values, no such kind yet)."""
        if has_unknown(news):
            return None
        query = {"fieldManager": manager, "dryRun": "All"}
        try:
            if state is not None:
                return self._apply(news, {**query, "force": "true"})
            if self._get(news) is None:
                return self.client.request("POST", self._path(news, collection=True), news, query)
        except ApiError as error:
            if error.code in (http.HTTPStatus.BAD_REQUEST, http.HTTPStatus.UNPROCESSABLE_ENTITY):
                raise ProviderError(f"{rules.label(news)}: {error}") from error
        return None  # it exists: an object that is about to be replaced, or `create` will refuse

    # --- with side effects --------------------------------------------------------------------------------------------

    def create(self, op: Operation, inputs: Properties) -> tuple[str, Properties]:
        manager = self._manager(None, inputs)
        try:
            # The provider creates and never takes over. An apply after a look gives the fields to the same manager
            # and operation as later updates, which then can take fields away again.
            if not rules.truthy(self.provider.config.get("upsertExistingObjects")) and self._get(inputs):
                plural = self.client.kind(inputs["apiVersion"], inputs["kind"])
                name = rules.metadata(inputs)["name"]
                message = f'{plural.plural if plural else inputs["kind"]} "{name}" already exists'
                raise ProviderError(
                    f"resource {rules.identifier(inputs)!r} was not successfully created by the Kubernetes API "
                    f"server: {message}"
                )
            query = {"fieldManager": manager, "force": "true"}
            live = self._when_known(op, inputs, lambda: self._apply(inputs, query))
        except ApiError as error:
            raise ProviderError(
                f"resource {rules.identifier(inputs)!r} was not successfully created by the Kubernetes API "
                f"server: {error}"
            ) from error
        return rules.identifier(live), self._awaited(op, inputs, live, manager, "created")

    def update(self, op: Operation, state: State, news: Properties) -> Properties:
        manager = self._manager(state, news)
        try:
            self._take_earlier_managers(news, manager)
            live = self._apply(news, {"fieldManager": manager, "force": "true"})
        except ApiError as error:
            raise ProviderError(
                f"resource {rules.identifier(news)!r} was not successfully updated by the Kubernetes API "
                f"server: {error}"
            ) from error
        return self._awaited(op, news, live, manager, "updated")

    def read(self, op: Operation, id: str, state: State | None) -> State | None:
        try:
            wanted = state.inputs if state and state.inputs else self._from_id(op, id)
            live = self._get(wanted)
        except Unreachable as error:
            if self.provider.delete_unreachable():
                return None
            raise ProviderError(
                f"{error}\nIf the cluster was deleted, run again with PULUMI_K8S_DELETE_UNREACHABLE=true to drop its "
                "objects from the state"
            ) from error
        if live is None:
            return None
        if state is None or not state.inputs:
            inputs = rules.inputs_from_live(live)
        else:
            inputs = rules.refreshed_inputs(state.inputs, live)
        manager = self._manager(state, inputs)
        return State(rules.identifier(live), _secret_marks(inputs), self._outputs(live, inputs, manager))

    def delete(self, op: Operation, state: State) -> None:
        wanted = state.inputs or state.outputs
        policy = rules.annotated(wanted, "deletionPropagationPolicy").capitalize() or "Foreground"
        try:
            live = self._get(wanted)
            if live is None:
                return
            uid = live["metadata"]["uid"]
            options = {"propagationPolicy": policy, "preconditions": {"uid": uid}}
            self.client.request("DELETE", self._path(wanted), options)
            if rules.truthy(rules.annotated(wanted, "skipAwait")):
                return

            def gone() -> bool:
                now = self._get(wanted)
                return now is None or now["metadata"]["uid"] != uid

            what = f"{rules.label(wanted)} to be gone; it may hold finalizers: see its metadata"
            op.wait(gone, default=self._timeout(wanted), what=what, every=POLL)
        except Unreachable:
            if not self.provider.delete_unreachable():
                raise
        except ApiError as error:
            if error.code not in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.CONFLICT):
                raise

    # --- parts --------------------------------------------------------------------------------------------------------

    def _manager(self, state: State | None, inputs: Properties) -> str:
        """The field manager: the one of before, or one that nobody else has."""
        if state is not None and state.outputs.get(MANAGER):
            return str(state.outputs[MANAGER])
        return f"pulumi-kubernetes-{os.urandom(4).hex()}"

    def _path(self, value: Object, *, collection: bool = False) -> str:
        meta = rules.metadata(value)
        name = "" if collection else meta["name"]
        return self.client.path(value["apiVersion"], value["kind"], meta.get("namespace"), name)

    def _get(self, value: Object) -> Object | None:
        try:
            return self.client.request("GET", self._path(value))
        except ApiError as error:
            if error.code == http.HTTPStatus.NOT_FOUND:
                return None
            raise

    def _apply(self, value: Object, query: dict[str, str]) -> Object:
        return self.client.request("PATCH", self._path(value), value, query, APPLY)

    def _take_earlier_managers(self, value: Object, manager: str) -> None:
        """What client-side managers wrote becomes ours, as the provider does before each update (v4.29, await.go).

        It is sent whether or not there is anything to take, and without a field manager: admission sees an update
        that changes nothing but `managedFields`, made by nobody in particular.
        """
        live = self._get(value)
        entries = rules.metadata(live or {}).get("managedFields")
        if entries:
            taken = [{"op": "replace", "path": "/metadata/managedFields", "value": rules.taken(entries, manager)}]
            self.client.request("PATCH", self._path(value), taken, content=JSON_PATCH)

    def _when_known(self, op: Operation, inputs: Properties, act: Any) -> Object:
        """Retries while the kind is not served yet: its definition may have been made a moment ago."""
        deadline = time.monotonic() + self.provider.settle
        while True:
            try:
                return dict(act())
            except ApiError as error:
                unknown = self.client.kind(inputs["apiVersion"], inputs["kind"]) is None
                if not unknown or error.code != http.HTTPStatus.NOT_FOUND or time.monotonic() > deadline:
                    raise
            op.sleep(POLL)

    def _awaited(self, op: Operation, inputs: Properties, live: Object, manager: str, done: str) -> Properties:
        """The outputs when the object is ready. Raises `PartialFailure` when it does not become so in time."""
        if rules.truthy(rules.annotated(inputs, "skipAwait")):
            return self._outputs(live, inputs, manager)
        namespace = rules.metadata(live).get("namespace")

        def find(api_version: str, kind: str, name: str) -> Object | None:
            return self._get(
                {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}
            )

        ready = judge(inputs, find)
        limit = self._timeout(inputs)
        reason, shown = "", ""
        try:
            while True:
                waiting = ready(live)
                if waiting is None:
                    return self._outputs(live, inputs, manager)
                if waiting != shown:
                    shown = waiting
                    op.status(f"waiting: {waiting}")
                if time.monotonic() >= op.deadline(limit):
                    reason = f"timed out after {op.timeout or limit:g} s waiting to be ready: {waiting}"
                    break
                op.sleep(POLL)
                now = self._get({**inputs, "metadata": live["metadata"]})
                if now is None:
                    reason = "it was deleted while it was waited for"
                    break
                live = now
        except Failed as error:
            reason = str(error)
        except Cancelled:
            reason = f"cancelled while waiting to be ready: {shown}"
        raise PartialFailure(
            rules.identifier(live),
            self._outputs(live, inputs, manager),
            [
                f"resource {rules.identifier(live)!r} was successfully {done}, but the Kubernetes API server reported "
                f"that it failed to fully initialize or become live: {reason}"
            ],
        )

    def _timeout(self, inputs: Properties) -> float:
        return float(rules.annotated(inputs, "timeoutSeconds") or DEFAULT_TIMEOUT)

    def _outputs(self, live: Object, inputs: Properties, manager: str) -> Properties:
        return {**_secret_marks(live), MANAGER: manager, API_VERSION: inputs.get("apiVersion")}

    def _from_id(self, op: Operation, id: str) -> Object:
        """Kind and name of an object that is imported or looked up; ``NAMESPACE/NAME`` or ``NAME``."""
        _, version, kind = op.type.split(":", 2)
        version = version.removeprefix("core/")
        namespace, _, name = id.rpartition("/")
        found: Object = {"apiVersion": version, "kind": kind, "metadata": {"name": name}}
        if namespace:
            found["metadata"]["namespace"] = namespace
        return found


class KubernetesPatch(KubernetesObject):
    """Fields of an object that exists: ours while the patch is in the program, given up when it leaves."""

    def _named(self, op: Operation, olds: Properties, news: Properties) -> Properties:
        if news.get("metadata") != UNKNOWN and not rules.metadata(news).get("name"):
            raise CheckFailed({"metadata": "a patch needs metadata.name: the object that it patches"})
        return news

    def diff(self, op: Operation, state: State, news: Properties) -> Diff:
        changes, replaces = rules.changes(state.inputs, news, {"ConfigMap": True, "Secret": True})
        # Whatever the kind forbids to change is the server's to refuse; another object is another patch.
        identity = {"kind", "apiVersion", "metadata", "metadata.name", "metadata.namespace"}
        return Diff(changes, [path for path in replaces if path in identity])

    def create(self, op: Operation, inputs: Properties) -> tuple[str, Properties]:
        manager = self._manager(None, inputs)
        if self._get(inputs) is None:
            raise ProviderError(
                f"{rules.label(inputs)} does not exist: a patch changes objects that exist; create it first, or use "
                f"{inputs['kind']} instead of {inputs['kind']}Patch"
            )
        live = self._patch(inputs, manager)
        return rules.identifier(live), self._awaited(op, inputs, live, manager, "patched")

    def update(self, op: Operation, state: State, news: Properties) -> Properties:
        manager = self._manager(state, news)
        live = self._patch(news, manager)
        earlier = state.outputs.get(MANAGER)
        if earlier and earlier != manager:
            self._relinquish(news, str(earlier))
        return self._awaited(op, news, live, manager, "patched")

    def delete(self, op: Operation, state: State) -> None:
        wanted = state.inputs or state.outputs
        try:
            if self._get(wanted) is not None:
                self._relinquish(wanted, str(state.outputs[MANAGER]))
        except Unreachable:
            if not self.provider.delete_unreachable():
                raise

    def read(self, op: Operation, id: str, state: State | None) -> State | None:
        if state is None or not state.inputs:
            raise ProviderError(f"{op.type}: a patch cannot be imported; it has no existence apart from its object")
        return super().read(op, id, state)

    def _dry_run(self, state: State | None, news: Properties, manager: str) -> Object | None:
        if has_unknown(news) or self._get(news) is None:
            return None
        return self._patch(news, manager, dry_run=True)

    def _patch(self, inputs: Properties, manager: str, *, dry_run: bool = False) -> Object:
        forced = rules.truthy(rules.annotated(inputs, "patchForce")) or self.provider.patch_force()
        query = {"fieldManager": manager} | ({"force": "true"} if forced else {})
        try:
            return self._apply(inputs, query | ({"dryRun": "All"} if dry_run else {}))
        except ApiError as error:
            if error.code == http.HTTPStatus.CONFLICT:
                raise ProviderError(
                    f"Server-Side Apply field conflict detected on {rules.label(inputs)}: {error}\nTake the fields "
                    'over with the annotation pulumi.com/patchForce: "true", or leave them out of the patch'
                ) from error
            raise ProviderError(f"{rules.label(inputs)} could not be patched: {error}") from error

    def _relinquish(self, inputs: Properties, manager: str) -> None:
        """Gives the manager's fields up: those that nobody else owns go back to their defaults or disappear."""
        meta = {k: v for k, v in rules.metadata(inputs).items() if k in ("name", "namespace")}
        bare = {"apiVersion": inputs["apiVersion"], "kind": inputs["kind"], "metadata": meta}
        try:
            self._apply(bare, {"fieldManager": manager})
        except ApiError as error:
            if error.code == http.HTTPStatus.NOT_FOUND:
                return
            if error.code == http.HTTPStatus.UNPROCESSABLE_ENTITY:
                raise ProviderError(
                    f"this Patch resource is currently managing a required field of {rules.label(inputs)}, so it "
                    f"cannot be deleted directly: let another manager own the field first, or set retain_on_delete. "
                    f"The server said: {error}"
                ) from error
            raise

    def _manager(self, state: State | None, inputs: Properties) -> str:
        return rules.annotated(inputs, "patchFieldManager") or super()._manager(state, inputs)

    def _from_id(self, op: Operation, id: str) -> Object:
        found = super()._from_id(op, id)
        return {**found, "kind": found["kind"].removesuffix("Patch")}


def _secret_marks(value: Object) -> Object:
    """A copy in which a Secret's data are marked as secret."""
    if value.get("kind") != "Secret" or value.get("apiVersion") != "v1":
        return {**value}
    marked = ("data", "stringData")
    return {k: Secret(v) if k in marked and v != UNKNOWN else v for k, v in value.items()}
