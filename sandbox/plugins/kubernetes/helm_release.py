"""`kubernetes:helm.sh/v3:Release`: a Helm release, by the machine's own ``helm`` (3.x)."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from sandbox.plugins.child import Finished
from sandbox.plugins.kubernetes.configured import ConfiguredProvider
from sandbox.plugins.kubernetes.rules import truthy, without_none
from sandbox.plugins.operation import CheckFailed, Operation, PartialFailure, ProviderError, State
from sandbox.plugins.resource import Resource
from sandbox.plugins.values import Properties

DEFAULT_TIMEOUT = 300
"""Seconds for which Helm waits, unless ``timeout`` says otherwise."""
GRACE = 10.0
"""Seconds that a cancelled helm has to mark its release as failed."""
_BOTH = {
    "atomic": "--atomic",
    "cleanupOnFail": "--cleanup-on-fail",
    "dependencyUpdate": "--dependency-update",
    "devel": "--devel",
    "disableOpenapiValidation": "--disable-openapi-validation",
    "disableWebhooks": "--no-hooks",
    "forceUpdate": "--force",
    "renderSubchartNotes": "--render-subchart-notes",
    "skipCrds": "--skip-crds",
    "takeOwnership": "--take-ownership",
    "verify": "--verify",
    "waitForJobs": "--wait-for-jobs",
}
_VALUED = {"version": "--version", "description": "--description", "postrender": "--post-renderer"}
_INSTALL = {"createNamespace": "--create-namespace", "replace": "--replace"}
_UPGRADE = {"resetValues": "--reset-values", "reuseValues": "--reuse-values"}
_NOT_INSTALL = {"cleanupOnFail"}
_REPOSITORY = {
    "repo": "--repo",
    "caFile": "--ca-file",
    "certFile": "--cert-file",
    "keyFile": "--key-file",
    "username": "--username",
    "password": "--password",
}


class Release(Resource):
    """One release; its id is ``namespace/name``. What the chart holds is Helm's: nothing of it is in the state."""

    provider: ConfiguredProvider
    computed = volatile = ("status",)
    force_new = ("name", "namespace")

    def check(self, op: Operation, olds: Properties, news: Properties) -> Properties:
        if not news.get("chart"):
            raise CheckFailed({"chart": "a Release needs a chart: a path, a URL, or a name with repositoryOpts.repo"})
        inputs = {key: value for key, value in news.items() if value is not None}
        if not truthy(inputs.get("allowNullValues")) and isinstance(inputs.get("values"), dict):
            inputs["values"] = without_none(inputs["values"])
        inputs.setdefault("name", olds.get("name") or f"{op.name}-{os.urandom(4).hex()}")
        if not inputs.get("namespace"):
            try:
                inputs["namespace"] = olds.get("namespace") or self.provider.namespace()
            except ProviderError:
                inputs["namespace"] = "default"
        return inputs

    def create(self, op: Operation, inputs: Properties) -> tuple[str, Properties]:
        id = f"{inputs['namespace']}/{inputs['name']}"
        return id, self._deploy(op, "install", inputs, before=None)

    def update(self, op: Operation, state: State, news: Properties) -> Properties:
        return self._deploy(op, "upgrade", news, before=self._status(op, news))

    def read(self, op: Operation, id: str, state: State | None) -> State | None:
        namespace, _, name = id.rpartition("/")
        known = state.inputs if state is not None else {}
        inputs = {**known, "name": name, "namespace": namespace or self.provider.namespace()}
        status = self._status(op, inputs)
        if status is None:
            return None
        if not known:
            values = self._json(op, ["get", "values", name], inputs)
            inputs |= {"chart": status["chart"], "version": status["version"], "values": values or {}}
        return State(f"{inputs['namespace']}/{name}", inputs, {**inputs, "status": status})

    def delete(self, op: Operation, state: State) -> None:
        namespace, _, name = state.id.rpartition("/")
        argv = ["uninstall", name, "--ignore-not-found", *self._waiting(op, state.inputs)]
        argv += ["--no-hooks"] if truthy(state.inputs.get("disableWebhooks")) else []
        done = self._helm(op, argv, {**state.inputs, "namespace": namespace})
        if done.reason:
            raise ProviderError(f"helm uninstall {name}: {_message(done)}")

    def _deploy(self, op: Operation, verb: str, inputs: Properties, before: Properties | None) -> Properties:
        name = inputs["name"]
        with tempfile.TemporaryDirectory(prefix="helm-values-") as directory:
            argv = [verb, name, str(inputs["chart"]), *self._flags(verb, inputs), *self._waiting(op, inputs)]
            for index, file in enumerate(_value_files(inputs)):
                path = Path(directory, f"{index}.yaml")
                path.touch(mode=0o600)
                path.write_text(file)
                argv += ["--values", str(path)]
            done = self._helm(op, argv, inputs)
        status = self._status(op, inputs)
        outputs = {**inputs, "status": status}
        if done.reason is None:
            return outputs
        message = _message(done)
        # The release is ours, and half there, when Helm has counted a revision up in this very call.
        mine = status is not None and (before or {}).get("revision") != status.get("revision")
        if "cannot re-use a name" in message or not mine:
            raise ProviderError(f"helm {verb} {name}: {message}")
        raise PartialFailure(
            f"{inputs['namespace']}/{name}",
            outputs,
            [
                f"Helm release {inputs['namespace']}/{name} was {'created' if verb == 'install' else 'changed'}, but "
                f"failed to initialize completely: {message}. Look at it with: helm status {name} "
                f"-n {inputs['namespace']}"
            ],
        )

    def _flags(self, verb: str, inputs: Properties) -> list[str]:
        only = _INSTALL if verb == "install" else _UPGRADE
        skipped = _NOT_INSTALL if verb == "install" else set()
        argv = [flag for key, flag in {**_BOTH, **only}.items() if truthy(inputs.get(key)) and key not in skipped]
        repository: dict[str, Any] = inputs.get("repositoryOpts") or {}
        for key, flag in _REPOSITORY.items():
            argv += [flag, str(repository[key])] if repository.get(key) else []
        for key, flag in (
            ("version", "--version"),
            ("description", "--description"),
            ("postrender", "--post-renderer"),
        ):
            argv += [flag, str(inputs[key])] if inputs.get(key) else []
        if verb == "upgrade" and inputs.get("maxHistory"):
            argv += ["--history-max", str(inputs["maxHistory"])]
        return argv

    def _waiting(self, op: Operation, inputs: Properties) -> list[str]:
        seconds = float(inputs.get("timeout") or op.timeout or DEFAULT_TIMEOUT)
        return ["--timeout", f"{seconds:g}s", *([] if truthy(inputs.get("skipAwait")) else ["--wait"])]

    def _status(self, op: Operation, inputs: Properties) -> Properties | None:
        """Name, namespace, revision, status, chart, version, appVersion; None when there is no such release."""
        return self._json(op, ["get", "metadata", inputs["name"]], inputs)

    def _json(self, op: Operation, argv: list[str], inputs: Properties) -> Properties | None:
        # An operation that was cancelled still has to say what became of the release.
        asking = Operation(self.provider, urn=op.urn)
        done = self._helm(asking, [*argv, "--output", "json"], inputs)
        if done.reason:
            if "not found" in done.stderr:
                return None
            raise ProviderError(f"helm {' '.join(argv)}: {_message(done)}")
        found = json.loads(done.stdout)
        if argv[1] == "metadata":
            kept = ("name", "namespace", "revision", "status", "chart", "version", "appVersion")
            return {key: found.get(key) for key in kept}
        return dict(found or {})

    def _helm(self, op: Operation, argv: list[str], inputs: Properties) -> Finished:
        helm = shutil.which("helm")
        if helm is None:
            raise ProviderError("helm is not on PATH: a Release is installed with it (the sandbox puts one there)")
        config = self.provider.client().config
        with tempfile.NamedTemporaryFile("w", prefix="kubeconfig-", suffix=".json") as file:  # mode 0600
            json.dump(config.document, file)
            file.flush()
            where = ["--kubeconfig", file.name, "--kube-context", config.context, "--namespace", inputs["namespace"]]
            # Helm keeps the time limit itself: it then says what it waited for.
            unlimited = Operation(self.provider, urn=op.urn, stop=op.stop)
            return self.provider.children.run(unlimited, [helm, *argv, *where], grace=GRACE)


def _value_files(inputs: Properties) -> list[str]:
    """Contents of the values files, in the order in which later ones win."""
    files = inputs.get("valueYamlFiles") or []
    texts = [asset.get("text") or Path(asset["path"]).read_text() for asset in files]
    return [*texts, json.dumps(inputs["values"])] if inputs.get("values") else texts


def _message(done: Finished) -> str:
    """Helm's own error, without its warnings."""
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith(("WARNING", "W0", "I0"))]
    text = "\n".join(lines).removeprefix("Error: ") or done.stdout.strip()
    return text if done.reason and done.reason.startswith("exit status") else f"{done.reason}: {text}"
