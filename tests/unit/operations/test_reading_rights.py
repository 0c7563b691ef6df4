"""What gates read is what `docs/preview-rbac.yaml` grants: all of it, and nothing that a pull request should not have."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from migration.journeys import CheckId
from operations.checks import registry
from tests.unit.operations.test_checks import HOME

RIGHTS = Path(__file__).parents[3] / "docs" / "preview-rbac.yaml"
EVERYBODYS = {"selfsubjectreviews"}
"""What Kubernetes lets every user do (ClusterRole system:basic-user)."""


def rules(namespace: str) -> list[dict[str, Any]]:
    """Of the role that holds everywhere, and of the one that holds in kube-system."""
    everywhere, bound, there, bound_there = yaml.safe_load_all(RIGHTS.read_text())
    assert bound["roleRef"]["name"] == everywhere["metadata"]["name"]
    assert bound_there["metadata"]["namespace"] == there["metadata"]["namespace"] == "kube-system"
    assert bound["subjects"] == bound_there["subjects"]
    return [*everywhere["rules"], *(there["rules"] if namespace == "kube-system" else ())]


def granted(verb: str, group: str, resource: str, namespace: str, name: str) -> bool:
    return any(
        verb in rule["verbs"]
        and group in rule["apiGroups"]
        and (resource in rule["resources"] or "*" in rule["resources"])
        and (not rule.get("resourceNames") or name in rule["resourceNames"])
        for rule in rules(namespace)
    )


def asked(requests: list[tuple[str, str]]) -> Iterator[tuple[str, str, str, str, str]]:
    """(verb, group, resource, namespace, name) of requests to an API server."""
    for method, path in requests:
        parts = urlsplit(path).path.strip("/").split("/")
        if parts[0] not in {"api", "apis"}:
            continue  # versions and the like: for everybody
        group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        resource = "/".join([rest[0], *rest[2:3]])
        verb = {"GET": "get" if len(rest) > 1 else "list", "POST": "create"}.get(method, method)
        yield verb, group, resource, namespace, rest[1].split(":")[0] if len(rest) > 1 else ""


@pytest.mark.parametrize("check", CheckId)
def test_whoever_previews_may_read_what_a_check_asks_for(check: CheckId, tmp_path: Path):
    world = HOME[check](tmp_path)
    for endpoint in (o for o in world.api.objects if o["kind"] == "CiliumEndpoint"):
        endpoint["status"].pop("policy", None)  # as of today's agents, whose metrics are read instead
    registry()[check](world.context)
    found = [request for request in asked(world.api.requests) if request[2] not in EVERYBODYS]
    assert [request for request in found if not granted(*request)] == []


def test_it_grants_no_secret_and_nothing_that_writes():
    everywhere, there = rules(""), rules("kube-system")
    assert {verb for rule in there for verb in rule["verbs"]} == {"get", "list"}
    core = {resource for rule in there if "" in rule["apiGroups"] for resource in rule["resources"]}
    assert not core & {"secrets", "*", "pods/exec"}
    assert not granted("get", "rbac.authorization.k8s.io", "roles", "kube-system", "another")
    # Whatever a pod serves, and whatever people keep in ConfigMaps, is read of the system's alone.
    assert not {"pods/proxy", "configmaps"} & {resource for rule in everywhere for resource in rule["resources"]}


def test_a_right_that_is_missing_is_noticed():
    assert not granted("list", "", "secrets", "kube-system", "")
    assert not granted("get", "", "pods/proxy", "shop", "web")
    assert list(asked([("GET", "/api/v1/namespaces/kube-system/pods/cilium-a:9962/proxy/metrics")])) == [
        ("get", "", "pods/proxy", "kube-system", "cilium-a")
    ]
