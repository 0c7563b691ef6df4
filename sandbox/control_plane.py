"""A Kubernetes control plane of plain processes on the loopback, close to what EKS runs.

etcd, kube-apiserver (RBAC, API priority and fairness, EKS's service range), kube-controller-manager with every
default controller, kube-scheduler, and KWOK in the place of kubelets. Flags: the components' own references for
Kubernetes 1.35; KWOK 0.7.
"""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import pki
from sandbox.processes import Process, ProcessFailed, start, tail
from sandbox.record import LEASE_SECONDS

SERVICE_RANGE = "172.20.0.0/16"
SERVICE_ADDRESS = "172.20.0.1"
PORTS = ("etcd", "etcd-peer", "apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
STAGES = Path(__file__).parent / "stages"

# Seconds from start to ready; they take 1 to 5 each on two cores, more while something else is being built.
_DEADLINE = 90.0
_REQUEST = 5.0


@dataclass(frozen=True, kw_only=True)
class ControlPlane:
    """One control plane in one directory.

    `tools`: paths of etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok. `ports`: one for each
    of PORTS. `token_review`: URL of the webhook that knows EKS's bearer tokens. `lease_seconds`: after so long without
    a word from its kubelet a node is Unknown; a quarter of it lies between two words.
    """

    directory: Path
    tools: Mapping[str, Path]
    ports: Mapping[str, int]
    token_review: str
    lease_seconds: int = LEASE_SECONDS

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.ports['apiserver']}"

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    def prepare(self) -> None:
        """Write keys, kubeconfigs and the webhook's configuration; what exists already stays."""
        pki.create(self.pki, apiserver=self.url, service_address=SERVICE_ADDRESS)
        pki.write_kubeconfig(self.directory / "kubeconfig", pki=self.pki, client="admin", apiserver=self.url)
        webhook = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "webhook",
            "contexts": [{"name": "webhook", "context": {"cluster": "sandbox", "user": "apiserver"}}],
            "clusters": [{"name": "sandbox", "cluster": {"server": self.token_review}}],
            "users": [{"name": "apiserver", "user": {}}],
        }
        (self.pki / "token-review.kubeconfig").write_text(json.dumps(webhook, indent=1))

    def start(self, started: Callable[[Process], None]) -> None:
        """Start everything in order and return when all answer.

        `started` is told of each process as soon as it exists, so that none is lost when a later one fails.
        Raises ProcessFailed with the end of the log of the one that did not come up.
        """
        self.launch(["etcd"], started)
        self.launch(["kube-apiserver"], started)
        # KWOK takes a lease over only when it has expired. Without this, nodes would go Unknown after a restart.
        self._call("DELETE", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")
        self.launch(["kube-controller-manager", "kube-scheduler", "kwok"], started)

    def launch(self, names: Sequence[str], started: Callable[[Process], None]) -> None:
        """Start these programs, with the flags of `start`, and return when all of them answer."""
        waiting = []
        for name in names:
            process = start(name, [self.tools[name], *self._arguments(name)], log=self._log(name))
            started(process)
            waiting.append(process)
        for process in waiting:
            self._wait(process, self._health(process.name))

    def _arguments(self, name: str) -> list[str]:
        return {
            "etcd": self._etcd,
            "kube-apiserver": self._apiserver,
            "kube-controller-manager": self._controller_manager,
            "kube-scheduler": self._scheduler,
            "kwok": self._kwok,
        }[name]()

    def _health(self, name: str) -> str:
        return {
            "etcd": f"http://127.0.0.1:{self.ports['etcd']}/health",
            "kube-apiserver": f"{self.url}/readyz",
            "kwok": f"http://127.0.0.1:{self.ports['kwok']}/healthz",
        }.get(name) or f"https://127.0.0.1:{self.ports[name]}/healthz"

    def _wait(self, process: Process, url: str) -> None:
        deadline = time.monotonic() + _DEADLINE
        while True:
            if not process.alive():
                raise ProcessFailed(f"{process.name} ended; the end of its log:\n{tail(self._log(process.name))}")
            if self._answers(url):
                return
            if time.monotonic() > deadline:
                log = self._log(process.name)
                raise ProcessFailed(
                    f"{process.name} is not ready after {_DEADLINE:.0f} s at {url}; the end of {log}:\n{tail(log)}"
                )
            time.sleep(0.1)

    def _answers(self, url: str) -> bool:
        try:
            with urllib.request.urlopen(url, timeout=_REQUEST, context=self._tls(url)) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def _call(self, method: str, path: str) -> None:
        request = urllib.request.Request(self.url + path, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=_DEADLINE, context=self._tls(self.url)) as answer:  # noqa: S310
            answer.read()

    def _tls(self, url: str) -> ssl.SSLContext | None:
        if not url.startswith("https"):
            return None
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        if url.startswith(self.url):
            context.load_cert_chain(self.pki / "admin.crt", self.pki / "admin.key")
        else:
            # Controller manager and scheduler sign their own; only their health is asked, on the loopback.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _log(self, name: str) -> Path:
        return self.directory / "logs" / f"{name}.log"

    def _etcd(self) -> list[str]:
        client = f"http://127.0.0.1:{self.ports['etcd']}"
        peer = f"http://127.0.0.1:{self.ports['etcd-peer']}"
        return [
            "--name=sandbox",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=sandbox={peer}",
            "--quota-backend-bytes=8589934592",
            "--auto-compaction-mode=periodic",
            "--auto-compaction-retention=10m",
            "--unsafe-no-fsync",
            # The API server answers lists from its own copy, once etcd has told it that the copy is as new as etcd.
            "--watch-progress-notify-interval=5s",
            "--log-level=warn",
        ]

    def _apiserver(self) -> list[str]:
        return [
            f"--etcd-servers=http://127.0.0.1:{self.ports['etcd']}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.ports['apiserver']}",
            f"--tls-cert-file={self.pki / 'apiserver.crt'}",
            f"--tls-private-key-file={self.pki / 'apiserver.key'}",
            f"--client-ca-file={self.pki / 'ca.crt'}",
            f"--requestheader-client-ca-file={self.pki / 'ca.crt'}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--service-account-key-file={self.pki / 'sa.pub'}",
            f"--service-account-signing-key-file={self.pki / 'sa.key'}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--authorization-mode=Node,RBAC",
            f"--authentication-token-webhook-config-file={self.pki / 'token-review.kubeconfig'}",
            "--authentication-token-webhook-version=v1",
            "--authentication-token-webhook-cache-ttl=2s",
            "--allow-privileged=true",
            # A loopback address may not stand in the Endpoints of the Service `kubernetes`.
            "--endpoint-reconciler-type=none",
            "--profiling=false",
        ]

    def _controller_manager(self) -> list[str]:
        return [
            *self._controller("kube-controller-manager"),
            f"--root-ca-file={self.pki / 'ca.crt'}",
            f"--service-account-private-key-file={self.pki / 'sa.key'}",
            "--use-service-account-credentials=true",
            f"--node-monitor-grace-period={self.lease_seconds}s",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]

    def _scheduler(self) -> list[str]:
        return [*self._controller("kube-scheduler"), "--kube-api-qps=200", "--kube-api-burst=400"]

    def _controller(self, name: str) -> list[str]:
        config = self.pki / f"{name}.kubeconfig"
        return [
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            "--authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.ports[name]}",
            f"--cert-dir={self.pki / name}",
            "--leader-elect=false",
            "--profiling=false",
        ]

    def _kwok(self) -> list[str]:
        return [
            f"--kubeconfig={self.pki / 'kwok.kubeconfig'}",
            *(f"--config={path}" for path in sorted(STAGES.glob("*.yaml"))),
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            f"--node-lease-duration-seconds={self.lease_seconds}",
            f"--server-address=127.0.0.1:{self.ports['kwok']}",
        ]
