"""network-config-analyzer 2.1.0 as an oracle for Calico, in an environment of its own.

Where it differs from Calico, each shown by a test in `tests/engine/test_netpol_oracles.py`:
- it knows no tiers but `default` (a policy of another one is an error), and leaves the order of equal orders open;
- its networks never hold pods: nets, notNets and ipBlock are about external addresses only;
- a namespaced rule with nothing but a notSelector is not bound to its namespace;
- a negated namespaceSelector of a rule finds no global network sets, which carry no namespace's labels;
- an empty namespaceSelector of a Kubernetes peer finds global network sets;
- ICMP type 0 reads as "any type";
- a podSelector with Exists beside a namespaceSelector misses pods of other namespaces;
- nodes and host-network pods are not peers: a node is an address like any other, not its pods' own node.
The random campaign keeps off these but the networks, which `blind` (calico_campaign.py) accounts for exactly.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from netpol.model.values import PROTOCOLS
from netpol.model.world import Namespace, Pod
from tests.oracles.go_program import Piped, cache_dir, locked

HERE = Path(__file__).parent
LOCK = HERE / "requirements-nca.txt"
_INSTALL_SECONDS = 900


def python() -> Path:
    """The interpreter of the analyzer's environment, made once per lock file. Raises RuntimeError."""
    digest = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    home = cache_dir() / f"nca-{digest}"
    interpreter = home / "bin" / "python"
    with locked(home.with_suffix(".lock")):
        if not (home / "ready").exists():
            for command in (
                [sys.executable, "-m", "venv", "--clear", str(home)],
                [str(interpreter), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(LOCK)],
            ):
                done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
                if done.returncode:
                    raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
            (home / "ready").touch()
    return interpreter


def write_cluster(
    directory: Path,
    pods: tuple[Pod, ...],
    namespaces: tuple[Namespace, ...],
    sets: Sequence[dict[str, Any]] = (),
) -> None:
    """Pods, namespaces and network sets as the analyzer reads them."""
    names = {number: name for name, number in PROTOCOLS.items()}
    objects: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            # Calico adds the name as a label by itself; the analyzer has to be told.
            "metadata": {"name": n.name, "labels": {**n.labels, "projectcalico.org/name": n.name}},
        }
        for n in namespaces
    ]
    for pod in pods:
        ports = [{"name": p.name, "containerPort": p.number, "protocol": names[p.protocol]} for p in pod.ports]
        objects.append(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": pod.name, "namespace": pod.namespace, "labels": dict(pod.labels)},
                "spec": {
                    "serviceAccountName": pod.service_account,
                    "containers": [{"name": "main", "image": "none", "ports": ports}],
                },
                "status": {"podIP": str(pod.addresses[0])} if pod.addresses else {},
            }
        )
    write_objects(directory / "cluster.yaml", [*objects, *sets])


def write_objects(path: Path, objects: list[dict[str, Any]]) -> None:
    path.write_text(yaml.dump_all(objects, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)), encoding="utf-8")


class NcaOracle(Piped):
    """One running analyzer; use it as a context manager. An answer has `error` when it could not give one."""

    def __init__(self) -> None:
        super().__init__("the analyzer", [str(python()), str(HERE / "nca_script.py")], quiet=True)
        self._scratch = tempfile.TemporaryDirectory(prefix="nca-")
        self.directory = Path(self._scratch.name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._scratch.cleanup()

    def verdicts(
        self,
        objects: list[dict[str, Any]],
        pods: tuple[Pod, ...],
        namespaces: tuple[Namespace, ...],
        flows: list[tuple[str, str, int, int, int, int]],
    ) -> dict[str, Any]:
        """Whether each flow (source, destination, protocol, port, ICMP type, ICMP code) is allowed."""
        sets = [o for o in objects if o["kind"].endswith("NetworkSet")]
        write_objects(self.directory / "policies.yaml", [o for o in objects if o not in sets])
        write_cluster(self.directory, pods, namespaces, sets)
        return self.ask({"directory": str(self.directory), "flows": flows})
