"""What policy is decided in, read from a live cluster. Lists only, never writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

_PAGE = 500
_CORE = ("pods", "namespaces", "nodes", "services", "serviceaccounts")
_GROUPS = (
    ("discovery.k8s.io", "v1", ("endpointslices",)),
    ("networking.k8s.io", "v1", ("networkpolicies",)),
    ("policy.networking.k8s.io", "v1alpha2", ("clusternetworkpolicies",)),
    (
        "crd.projectcalico.org",
        "v1",
        (
            "tiers",
            "globalnetworkpolicies",
            "networkpolicies",
            "globalnetworksets",
            "networksets",
            "hostendpoints",
        ),
    ),
    (
        "cilium.io",
        "v2",
        ("ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies", "ciliumcidrgroups"),
    ),
)
_OK, _ABSENT = 200, 404
_SECONDS = (5.0, 60.0)
_KNP = "knp."


def live_objects() -> Iterator[dict[str, Any]]:
    """Every object that decides traffic in the cluster of KUBECONFIG. A kind the cluster lacks is no object.

    Raises ValueError when the cluster cannot be read.
    """
    try:
        config.load_kube_config()
        api = client.ApiClient()
        for plural in _CORE:
            yield from _list(api, f"/api/v1/{plural}")
        for group, version, plurals in _GROUPS:
            for plural in plurals:
                for item in _list(api, f"/apis/{group}/{version}/{plural}"):
                    # Calico's copies of Kubernetes policies would count twice.
                    if not item["metadata"]["name"].startswith(_KNP):
                        yield item
    except (ApiException, config.ConfigException, HTTPError, OSError) as error:
        raise ValueError(f"the cluster cannot be read: {error}") from error


def _list(api: client.ApiClient, path: str) -> Iterator[dict[str, Any]]:
    token = ""
    while True:
        query = [("limit", _PAGE)] + ([("continue", token)] if token else [])
        verb, url, headers, body, form = api.param_serialize(
            "GET", path, query_params=query, header_params={"Accept": "application/json"}, auth_settings=["BearerToken"]
        )
        raw = api.call_api(verb, url, headers, body, form, _request_timeout=_SECONDS).response
        if raw.status == _ABSENT:
            return
        if raw.status != _OK:
            raise ValueError(f"the cluster cannot be read: GET {path} answers {raw.status} {raw.reason}")
        answer = json.loads(raw.data)
        kind, version = str(answer["kind"]).removesuffix("List"), answer["apiVersion"]
        for item in answer.get("items") or ():
            yield {"apiVersion": version, "kind": kind, **item}
        token = (answer.get("metadata") or {}).get("continue") or ""
        if not token:
            return
