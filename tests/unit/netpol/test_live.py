"""Reading a live cluster: every page, kinds that are not there, and nothing but GET."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
import yaml

from kube.cluster import Cluster
from kube.transport import KubeError
from netpol import Flow, decide, from_objects
from netpol.read.notes import Notes
from operations.access.connection import Aws, WrongClusterError, same_server, through_kubeconfig
from operations.cluster.traffic import live_objects
from operations.policy import main
from operations.policy.given import once
from tests.unit.operations.access.test_context import write

PAGES: dict[str, list[dict[str, Any]] | dict[str, Any]] = {
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
        # As Calico shows the Kubernetes policy "kept", and one of somebody who liked the name.
        {"metadata": {"name": "knp.default.kept", "namespace": "red"}, "spec": {
            "order": 1000, "selector": "projectcalico.org/orchestrator == 'k8s' && app == 'cache'", "types": ["Ingress"],
            "ingress": [{"action": "Allow", "protocol": "TCP", "destination": {"ports": [80]},
                         "source": {"selector": "projectcalico.org/orchestrator == 'k8s' && app == 'web'"}}]}},
        {"metadata": {"name": "knp.default.mine", "namespace": "red"},
         "spec": {"selector": "app == 'cache'", "types": ["Egress"]}},
        {"metadata": {"name": "knp.default.changed", "namespace": "red"},
         "spec": {"order": 1, "selector": "app == 'web'", "types": ["Egress"]}},
    ],
    "/apis/crd.projectcalico.org/v1/globalnetworkpolicies": [
        {"metadata": {"name": "knp.default.kept"}, "spec": {"selector": "app == 'none'", "types": ["Egress"]}},
    ],
    "/apis/networking.k8s.io/v1/networkpolicies": [
        {"metadata": {"name": "kept", "namespace": "red"}, "spec": {
            "podSelector": {"matchLabels": {"app": "cache"}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}],
                         "ports": [{"protocol": "TCP", "port": 80}]}]}},
        {"metadata": {"name": "changed", "namespace": "red"},
         "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"], "egress": [{}]}},
        {"metadata": {"name": "knp.default.theirs", "namespace": "red"},
         "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]}},
    ],
}  # fmt: skip
KINDS = {"pods": "Pod", "namespaces": "Namespace", "nodes": "Node", "services": "Service",
         "serviceaccounts": "ServiceAccount", "networkpolicies": "NetworkPolicy",
         "globalnetworkpolicies": "GlobalNetworkPolicy", "daemonsets": "DaemonSet",
         "clusternetworkpolicies": "ClusterNetworkPolicy", "adminnetworkpolicies": "AdminNetworkPolicy"}  # fmt: skip


@dataclass
class Server:
    address: str
    asked: list[str]

    @property
    def kube(self) -> Cluster:
        return Cluster(lambda: through_kubeconfig(self.address, "meant is"))


def kubeconfig(address: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": address}}],
            "users": [{"name": "u", "user": {"token": "none"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )


@pytest.fixture
def server(tmp_path, monkeypatch):
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlparse(self.path)
            asked.append(self.path)
            items = PAGES.get(url.path)
            if isinstance(items, dict):
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(items).encode())
                return
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
    address = f"http://127.0.0.1:{listener.server_port}"
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig(address))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    yield Server(address, asked)
    listener.shutdown()
    listener.server_close()


def test_a_cluster_is_read_page_by_page_and_absent_kinds_are_no_fault(server):
    objects = live_objects(server.kube)
    assert [o["metadata"]["name"] for o in objects if o["kind"] == "Pod"] == ["web", "db", "cache"]
    assert any("ciliumnetworkpolicies" in path for path in server.asked)
    world = from_objects(objects).enforced_by("calico")
    assert not decide(world, Flow.of("red/web", "red/db")).allowed
    assert decide(world, Flow.of("red/web", "red/cache", "TCP", 80)).allowed


def test_only_a_copy_that_calico_made_is_left_out_whatever_a_policy_is_called(server):
    notes = Notes()
    found = once(from_objects(live_objects(server.kube)), notes)
    assert sorted((p.meta.kind, p.meta.name) for p in found.policies) == [
        ("GlobalNetworkPolicy", "knp.default.kept"),
        ("NetworkPolicy", "changed"),
        ("NetworkPolicy", "closed"),
        ("NetworkPolicy", "kept"),
        ("NetworkPolicy", "knp.default.changed"),
        ("NetworkPolicy", "knp.default.mine"),
        ("NetworkPolicy", "knp.default.theirs"),
    ]
    assert [skipped.why for skipped in notes.skipped] == ["Calico's copy of a NetworkPolicy that is given as well"]


def native(monkeypatch, **more: Any):
    """The same policies as CRDs of `projectcalico.org/v3` themselves, beside a calico-node."""
    stored, shown = "/apis/crd.projectcalico.org/v1/", "/apis/projectcalico.org/v3/"
    agent = {"metadata": {"name": "calico-node", "namespace": "calico-system"},
             "spec": {"template": {"spec": {"containers": [{"image": "calico/node:v3.31.2"}]}}}}  # fmt: skip
    moved = {path.replace(stored, shown): items for path, items in PAGES.items() if path.startswith(stored)}
    for path in [path for path in PAGES if path.startswith(stored)]:
        monkeypatch.delitem(PAGES, path)
    for path, items in (moved | {"/apis/apps/v1/daemonsets": [agent]} | more).items():
        monkeypatch.setitem(PAGES, path, items)


def test_native_policies_are_read_where_calico_enforces_from_them(server, monkeypatch):
    native(monkeypatch)
    found = {o["metadata"]["name"] for o in live_objects(server.kube) if "projectcalico.org" in o["apiVersion"]}
    assert found == {"closed", "knp.default.kept", "knp.default.mine", "knp.default.changed"}


def test_no_policies_beside_a_running_calico_are_unknown_and_no_answer(server, monkeypatch, capsys):
    native(monkeypatch)
    for path in [path for path in PAGES if "projectcalico.org" in path]:
        monkeypatch.delitem(PAGES, path)
    code, _, text = asked(capsys, "--live", "--server", server.address)
    assert code == 2
    assert "where its policies are cannot be told" in text


@pytest.mark.parametrize("version", ["v1beta1", "v1alpha2"])
def test_cluster_policies_are_read_under_whichever_version_and_count_where_the_running_calico_enforces_them(
    server, monkeypatch, capsys, version
):
    name = "clusternetworkpolicies"
    policy = {"metadata": {"name": "k"}, "spec": {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}},
              "egress": [{"action": "Deny", "to": [{"networks": ["8.8.8.0/24"]}]}]}}  # fmt: skip
    old = {"metadata": {"name": "a"}, "spec": {"priority": 1, "subject": {"namespaces": {}},
           "egress": [{"action": "Deny", "to": [{"networks": ["9.9.9.0/24"]}]}]}}  # fmt: skip
    group = "/apis/policy.networking.k8s.io"
    native(monkeypatch, **{f"{group}/{version}/{name}": [policy], f"{group}/v1alpha1/adminnetworkpolicies": [old]})

    def verdict(address: str, *more: str) -> int:
        flow = ["--from", "red/db", "--to", address, "--port", "80"]
        return main(["explain", "--live", "--server", server.address, *flow, *more])

    assert (verdict("8.8.8.8"), verdict("9.9.9.9")) == (0, 1), "v3.31 runs"
    assert (verdict("8.8.8.8", "--calico-version", "3.32"), verdict("9.9.9.9", "--calico-version", "3.32")) == (1, 0)


def test_a_server_without_pods_is_no_empty_cluster(server, monkeypatch):
    monkeypatch.delitem(PAGES, "/api/v1/pods")
    with pytest.raises(KubeError, match=r"cannot be read: GET /api/v1/pods"):
        live_objects(server.kube)


@pytest.mark.parametrize("text", [None, "{x", "[]", "apiVersion: v1", "\udcff"])
def test_a_kubeconfig_that_cannot_be_read_is_one_error_that_names_it(tmp_path, monkeypatch, text):
    path = tmp_path / "none"
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    with pytest.raises(WrongClusterError, match=f"KUBECONFIG \\({path}\\) cannot be read"):
        live_objects(Cluster(lambda: through_kubeconfig("https://a", "meant is")))


# -- which cluster --------------------------------------------------------------------------------------


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["lint", *arguments])
    out, err = capsys.readouterr()
    assert json.loads(out)["command"] == "policy lint"
    return code, out, err


def test_the_cluster_of_another_stack_is_not_read_whatever_kubeconfig_says(server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PULUMI_STACK", raising=False)
    write(tmp_path, stack="prod")
    monkeypatch.setattr(Aws, "cluster", lambda _, name: {"name": name, "endpoint": "https://prod.example.org"})
    for arguments in (["--live"], ["--live", "--stack", "prod"]):
        code, _, text = asked(capsys, *arguments)
        assert code == 2
        assert f"KUBECONFIG leads to {server.address}" in text
        assert "https://prod.example.org" in text
    assert server.asked == []
    monkeypatch.setattr(Aws, "cluster", lambda _, name: {"name": name, "endpoint": server.address})
    assert asked(capsys, "--live")[0] == 1, "the policies of this world have findings"
    assert server.asked


def test_without_a_stack_the_address_has_to_be_said(server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PULUMI_STACK", raising=False)
    code, _, text = asked(capsys, "--live")
    assert code == 64
    assert "--stack" in text
    assert "--server" in text
    assert asked(capsys, "--live", "--server", "https://elsewhere:1")[0] == 2
    assert server.asked == []
    assert asked(capsys, "--live", "--server", f"{server.address}/")[0] == 1
    assert server.asked


@pytest.mark.parametrize("address", ["", "prod", "https://", "https://a:x", "file:///a", "http://["])
def test_an_address_that_cannot_be_is_named(address, capsys):
    code, _, text = asked(capsys, "--live", "--server", address)
    assert code == 64
    assert f"--server {address!r}" in text


def test_a_stack_without_live_is_refused_and_not_ignored(tmp_path, capsys):
    code, _, text = asked(capsys, str(tmp_path), "--stack", "prod")
    assert code == 64
    assert "--live" in text


def test_clusters_behind_one_proxy_are_told_apart():
    assert not same_server("https://proxy/k8s/clusters/a", "https://proxy/k8s/clusters/b")
    assert same_server("https://proxy/k8s/clusters/a/", "https://proxy:443/k8s/clusters/a")
