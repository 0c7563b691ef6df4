"""Reading a live cluster: every page, kinds that are not there, and nothing but GET."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
import yaml

from netpol import Flow, decide, from_objects
from operations.policy.live import live_objects

PAGES: dict[str, list[dict[str, Any]]] = {
    "/api/v1/pods": [
        {"metadata": {"name": n, "namespace": "red", "labels": {"app": n}}, "spec": {"nodeName": "n1", "containers": []},
         "status": {"podIP": f"10.0.0.{i + 1}"}}
        for i, n in enumerate(("web", "db", "cache"))
    ],
    "/api/v1/namespaces": [{"metadata": {"name": "red"}}],
    "/api/v1/nodes": [{"metadata": {"name": "n1"}}],
    "/api/v1/services": [],
    "/api/v1/serviceaccounts": [],
    "/apis/crd.projectcalico.org/v1/networkpolicies": [
        {"metadata": {"name": "closed", "namespace": "red"}, "spec": {"selector": "app == 'db'", "types": ["Ingress"]}},
        {"metadata": {"name": "knp.default.copy", "namespace": "red"}, "spec": {}},
    ],
}  # fmt: skip
KINDS = {"pods": "Pod", "namespaces": "Namespace", "nodes": "Node", "services": "Service",
         "serviceaccounts": "ServiceAccount", "networkpolicies": "NetworkPolicy"}  # fmt: skip


@pytest.fixture
def server(tmp_path, monkeypatch):
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlparse(self.path)
            asked.append(self.path)
            items = PAGES.get(url.path)
            if items is None:
                self.send_response(404)
                self.end_headers()
                return
            # One item per page, whatever the client's limit: the server may always give less.
            at = int(parse_qs(url.query).get("continue", ["0"])[0])
            group = url.path.removeprefix("/apis/").removeprefix("/api/").rsplit("/", 1)
            body = {
                "kind": KINDS[group[1]] + "List",
                "apiVersion": group[0],
                "metadata": {"continue": str(at + 1)} if at + 1 < len(items) else {},
                "items": items[at : at + 1],
            }
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *arguments: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{listener.server_port}"}}],
        "users": [{"name": "u", "user": {"token": "none"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    yield asked
    listener.shutdown()
    listener.server_close()


def test_a_cluster_is_read_page_by_page_and_absent_kinds_are_no_fault(server):
    objects = list(live_objects())
    assert [o["metadata"]["name"] for o in objects if o["kind"] == "Pod"] == ["web", "db", "cache"]
    assert any("ciliumnetworkpolicies" in path for path in server)
    world = from_objects(objects).enforced_by("calico")
    assert not decide(world, Flow.of("red/web", "red/db")).allowed
    assert decide(world, Flow.of("red/web", "red/cache")).allowed
    # Calico's own copy of a Kubernetes policy would be enforced twice.
    assert [p.meta.name for p in world.policies] == ["closed"]


def test_a_cluster_that_does_not_answer_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="cannot be read"):
        list(live_objects())
