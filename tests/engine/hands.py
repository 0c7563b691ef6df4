"""What tests do to a walked cluster by hand, and what they then see: requests as kubectl makes them, the stack's state."""

from __future__ import annotations

import contextlib
import dataclasses
import http
import json
import shutil
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import urllib3
import yaml

from migration.journeys import REPLACE
from migration.names import GUARD_POLICY, MARK, PROJECT
from operations.gate import PATIENCE
from sandbox import lifecycle
from tests.engine.journey import Journey, Outcome

Json = dict[str, Any]
_MEDIA = {"PATCH": "application/merge-patch+json"}
_KEPT = ("id", "type", "inputs", "outputs", "parent", "protect", "retainOnDelete")

SYSTEM = "/apis/apps/v1/namespaces/kube-system"
SHOP = "/api/v1/namespaces/shop"
BUDGETS = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets"
CALICO = "/apis/crd.projectcalico.org/v1"
MARKS = f"/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles/{MARK}"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"


class Refusal(Exception):
    """The API server said no: HTTP `code` and its own words."""

    def __init__(self, code: int, body: Json) -> None:
        super().__init__(str(body.get("message") or body))
        self.code = code


class Hands:
    """An administrator's requests."""

    def __init__(self, walked: Journey, who: Mapping[str, str] | None = None) -> None:
        self._who = who or {}
        """Headers of impersonation."""
        client = walked.cluster()
        self._pool: urllib3.PoolManager = client.rest_client.pool_manager
        self._host = str(client.configuration.host)

    def request(self, method: str, path: str, body: Any = None, *, manager: str = "kubectl") -> Json:
        """Raises Refusal. `manager` is the field manager of writes."""
        query = "" if method in {"GET", "DELETE"} else "?" + urllib.parse.urlencode({"fieldManager": manager})
        answer = self._pool.request(
            method,
            self._host + path + query,
            body=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": _MEDIA.get(method, "application/json"), "Accept": "application/json", **self._who},
            timeout=30,
        )
        found: Json = json.loads(answer.data or b"{}")
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise Refusal(answer.status, found)
        return found

    def get(self, path: str) -> Json:
        return self.request("GET", path)

    def items(self, path: str) -> list[Json]:
        found: list[Json] = self.get(path)["items"]
        return found

    def create(self, path: str, body: Json, manager: str = "kubectl") -> Json:
        return self.request("POST", path, body, manager=manager)

    def patch(self, path: str, body: Json, manager: str = "kubectl") -> Json:
        """A merge patch: null takes a key away."""
        return self.request("PATCH", path, body, manager=manager)

    def delete(self, path: str) -> None:
        self.request("DELETE", path)

    def nodes(self, selector: str = "") -> list[Json]:
        return self.items("/api/v1/nodes?" + urllib.parse.urlencode({"labelSelector": selector}))

    def pods_on(self, node: str) -> list[str]:
        """`namespace/name` of the pods on a node."""
        query = urllib.parse.urlencode({"fieldSelector": f"spec.nodeName={node}"})
        return [f"{p['metadata']['namespace']}/{p['metadata']['name']}" for p in self.items(f"/api/v1/pods?{query}")]

    def is_ready(self, node: str) -> bool:
        conditions = self.get(f"/api/v1/nodes/{node}").get("status", {}).get("conditions") or []
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def marked(hands: Hands) -> dict[str, str]:
    """What the mark says."""
    prefix, noted = "eks-cilium.io/", hands.get(MARKS)["metadata"]["annotations"]
    return {key.removeprefix(prefix): value for key, value in noted.items() if key.startswith(prefix)}


def mark(hands: Hands, **values: str) -> None:
    """Write into the mark."""
    hands.patch(MARKS, {"metadata": {"annotations": {f"eks-cilium.io/{key}": text for key, text in values.items()}}})


def as_deployer(walked: Journey) -> Hands:
    """Hands of the first principal whom the mark has as a deployer."""
    principal = marked(Hands(walked))["deployers"].splitlines()[0]
    who = {"Impersonate-User": principal.removeprefix("user:"), "Impersonate-Group": "system:masters"}
    if principal.startswith("arn:"):
        # Header names know no case; a percent sign keeps the capital letter of the key.
        who["Impersonate-Extra-canonical%41rn"] = principal
    return Hands(walked, who)


def eventually(true: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.2)


@contextlib.contextmanager
def past_the_guard(hands: Hands) -> Iterator[None]:
    """An administrator unbinds the guard for a moment: nothing in a cluster can prevent that."""
    binding = f"{ADMISSION}/validatingadmissionpolicybindings/{GUARD_POLICY}"
    nothing = {"metadata": {"annotations": {"nothing": None}}}

    def free() -> bool:
        with contextlib.suppress(Refusal):
            hands.patch(MARKS, nothing)
            return True
        return False

    hands.patch(binding, {"spec": {"validationActions": ["Audit"]}})
    eventually(free, "the API server's notice that the guard is unbound")
    try:
        yield
    finally:
        hands.patch(binding, {"spec": {"validationActions": ["Deny"]}})
        eventually(lambda: not free(), "the API server's notice that the guard is bound")


def impatient(walked: Journey) -> Journey:
    """The same, with gates that do not wait for what is broken to repair itself."""
    environment = {**walked.stack.environment, PATIENCE: "1"}
    return dataclasses.replace(walked, stack=dataclasses.replace(walked.stack, environment=environment))


def state(walked: Journey) -> Json:
    """What the stack's resources are, by URN: without components, and without what was replaced already."""
    own = [r for r in walked.resources() if r.get("custom") and not r.get("delete")]
    return {r["urn"]: {k: r[k] for k in _KEPT if k in r} for r in own}


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Names of the resources that came, went or are not the same."""
    return {urn.split("::")[-1] for urn in before.keys() | after.keys() if before.get(urn) != after.get(urn)}


@contextlib.contextmanager
def untouched(walked: Journey) -> Iterator[None]:
    """What happens within leaves the stack's state as it was; settings are put back afterwards."""
    path = lifecycle.ROOT / f"Pulumi.{walked.stack.name}.yaml"
    settings, before = path.read_text(), state(walked)
    try:
        yield
        assert changed(before, state(walked)) == set()
    finally:
        path.write_text(settings)


def settings(walked: Journey) -> Json:
    """The project's settings of the stack, by their keys."""
    config: Json = yaml.safe_load((lifecycle.ROOT / f"Pulumi.{walked.stack.name}.yaml").read_text())["config"]
    found = {k.removeprefix(f"{PROJECT}:"): v for k, v in config.items() if k.startswith(f"{PROJECT}:")}
    return {k: json.loads(v) if isinstance(v, str) and v[:1] in "{[" else v for k, v in found.items()}


def reports(walked: Journey) -> dict[str, Json]:
    """The evidence that the state keeps: `gate` and `settle`. What waits for its deletion is evidence of before."""
    commands = [r for r in walked.resources() if r["type"] == "command:local:Command" and not r.get("delete")]
    written = {r["urn"].split("::")[-1]: str((r.get("outputs") or {}).get("stdout") or "{}") for r in commands}
    return {name: json.loads(written.get(name, "{}")) for name in ("gate", "settle")}


def assert_stopped(walked: Journey, stage: str, *texts: str) -> None:
    """Preview and deploy of a stage name what is broken and what to do, each of `texts` both times; the state stays as
    it is: the gate is asked before anything is registered."""
    walked.set(stage=stage)
    before, reached = state(walked), walked.reached()
    shown = walked.preview()
    assert shown.code != 0, shown
    assert f"the gate of {stage} does not pass" in shown.text, shown
    assert_says(shown, *texts)
    assert changed(before, state(walked)) == set()
    halted = impatient(walked).up()
    assert halted.code != 0, halted
    assert_says(halted, *texts)
    assert walked.reached() == reached
    assert changed(before, state(walked)) == set(), halted


def assert_says(outcome: Outcome, *texts: str) -> None:
    missing = [text for text in texts if text not in outcome.text]
    assert not missing, f"nothing says {missing}: {outcome}"


def assert_goes_on(walked: Journey, stage: str) -> Outcome:
    """The deploy of a stage reaches it; the state holds the evidence of its gate."""
    done = walked.up()
    assert done.code == 0, done
    assert walked.reached() == stage
    gate = reports(walked)["gate"]
    assert (gate["stage"], gate["verdict"], gate["simulated"]) == (stage, "passed", True)
    asked = {check["check"]: check["verdict"] for check in gate["checks"]}
    assert asked == dict.fromkeys(map(str, REPLACE[stage].gate), "passed")
    return done


def grow(walked: Journey, hands: Hands, group: str, size: int) -> None:
    """Set a node group's size behind the program's back, and wait until as many nodes are there, Ready."""
    names = walked.aws("eks").list_clusters()["clusters"]
    walked.aws("eks").update_nodegroup_config(
        clusterName=names[0], nodegroupName=group, scalingConfig={"minSize": 0, "desiredSize": size}
    )

    def there() -> bool:
        nodes = hands.nodes(f"eks.amazonaws.com/nodegroup={group}")
        return len(nodes) == size and all(hands.is_ready(n["metadata"]["name"]) for n in nodes)

    eventually(there, f"{size} nodes of {group}")


def policy_files(walked: Journey, directory: Path) -> Path:
    """A copy of the walk's policy files that a test may change; the setting `policies` names it."""
    return Path(shutil.copytree(settings(walked)["policies"], directory / "policies"))
