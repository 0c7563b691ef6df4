"""What goes into a cluster: one pack of the same bytes, and objects with as few rights as the requests need."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bridge.ship import zipapp
from prover.options import Options
from prover.ship import manifests
from tests.unit.prover.cluster import options

OTHERS = [p for v in ("3.12", "3.13") for p in sorted(Path.home().glob(f".pyenv/versions/{v}.*/bin/python"))]
IMAGE = "example.invalid/python@sha256:" + "0" * 64
SMALL = zipapp.MOST_BYTES * 3 // 4


def names() -> list[str]:
    return zipfile.ZipFile(io.BytesIO(manifests.pack())).namelist()


def test_the_pack_fits_and_its_bytes_depend_on_its_sources_alone(tmp_path: Path):
    assert len(manifests.pack()) < SMALL
    for name, content in zipapp.sources(manifests.ROOMS):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.replace(b"\n", b"\r\n"))
        os.utime(path, (0, 0))
    (tmp_path / "netpol" / "lint").mkdir()
    (tmp_path / "netpol" / "lint" / "more.py").write_text("# not shipped\n")
    assert zipapp.build("prover", manifests.ROOMS, tmp_path) == manifests.pack()


def test_nothing_is_in_the_pack_that_nothing_in_a_cluster_needs():
    found = names()
    assert {"prover/judge.py", "netpol/compare/again/proving.py", "kube/lease.py", "reading/values.py"} <= set(found)
    rooms = {name.split("/")[0] for name in found} - {"__main__.py"}
    assert rooms == {room.split("/")[0] for room in manifests.ROOMS}
    assert not [n for n in found if n.startswith(("netpol/lint", "netpol/translate", "prover/ship"))]
    of_bridge = {n for n in found if n.startswith("bridge/")}
    assert of_bridge == {"bridge/__init__.py", "bridge/labels.py", "bridge/patterns.py"}
    assert "reading/yaml_text.py" not in found


@pytest.mark.skipif(not OTHERS, reason="no other Python on this machine")
def test_other_pythons_pack_the_same_bytes():
    code = f"from bridge.ship.zipapp import build, digest; print(digest(build('prover', {manifests.ROOMS})))"
    for python in OTHERS:
        done = subprocess.run([str(python), "-c", code], cwd=zipapp.ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == zipapp.digest(manifests.pack())


PROVES = """
import sys
sys.path.insert(0, "prover.pyz")
from datetime import date
from prover.judge import Prover
from prover.kinds import CORE, read
from prover.known import Known
from prover.options import Options
known = Known(options=Options.load(open("options.json").read()))
known.put(CORE[6].name, read(CORE[6], {"metadata": {"name": "a", "namespace": "b"}, "spec": {"podSelector": {}}}))
print(Prover(known.options).judge(known, date(2026, 1, 1)).verdict, "yaml" in sys.modules)
"""


def test_python_alone_runs_the_pack_and_proves_with_it(tmp_path: Path):
    (tmp_path / "prover.pyz").write_bytes(manifests.pack())
    (tmp_path / "options.json").write_text(options().dump())
    for python in (sys.executable, *map(str, OTHERS)):
        command = [python, "-I", "-S", "-B", "prover.pyz", "run", "--options", "options.json"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env={})
        assert (done.returncode, "KUBERNETES_SERVICE_HOST is not set" in done.stderr) == (1, True)
    command = [sys.executable, "-S", "-B", "-c", PROVES]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "equal False\n"


def objects(**more: Any) -> dict[str, dict[str, Any]]:
    made = manifests.objects(options(bridge="eks-cilium-bridge", **more), image=IMAGE)
    return {f"{o['kind']} {o['metadata']['name']}": o for o in made}


def test_it_is_a_program_of_its_own_beside_the_bridge():
    made = objects(listen="127.0.0.1:9288")
    pod = made["Deployment eks-cilium-prover"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert made["Deployment eks-cilium-prover"]["spec"]["replicas"] == 2
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["runAsNonRoot"]
    assert pod["serviceAccountName"] == "eks-cilium-prover"
    assert container["command"][-1] == "/prover/prover.pyz"
    assert container["ports"][0]["hostPort"] == 9288
    assert Options.load(made["ConfigMap eks-cilium-prover"]["data"]["options.json"]).bridge == "eks-cilium-bridge"
    assert "data" not in made["ConfigMap eks-cilium-proof"]


def test_it_reads_the_cluster_and_writes_only_what_it_publishes():
    made = objects()
    everywhere = made["ClusterRole eks-cilium-prover"]["rules"]
    there = made["Role eks-cilium-prover"]["rules"]
    assert {verb for rule in everywhere for verb in rule["verbs"]} == {"list", "watch"}
    assert "secrets" not in {resource for rule in [*everywhere, *there] for resource in rule["resources"]}
    writes = [
        (rule["resources"][0], verb, rule.get("resourceNames", ["any"])[0])
        for rule in there
        for verb in rule["verbs"]
        if verb not in ("get", "list", "watch")
    ]
    assert sorted(writes) == [
        ("configmaps", "patch", "eks-cilium-proof"),
        ("events", "create", "any"),
        ("leases", "create", "any"),
        ("leases", "update", "eks-cilium-prover"),
    ]
    assert not [rule for rule in manifests.rights(options())[2]["rules"] if rule.get("resourceNames") == ["bridge"]]


def test_names_are_those_that_the_program_knows_it_by():
    from migration import names as program  # noqa: PLC0415
    from prover import names as own  # noqa: PLC0415

    assert (own.NAME, own.PROOF, own.NAMESPACE) == (program.PROVER, program.PROOF, program.SYSTEM_NAMESPACE)
