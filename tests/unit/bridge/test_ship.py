"""What goes into a cluster: one pack of the same bytes, and objects with as few rights as the requests need."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bridge.options import Options
from bridge.ship import manifests, zipapp

OTHERS = [p for v in ("3.12", "3.13") for p in sorted(Path.home().glob(f".pyenv/versions/{v}.*/bin/python"))]
IMAGE = "example.invalid/python@sha256:" + "0" * 64


def test_the_pack_is_small_and_its_bytes_depend_on_its_sources_alone(tmp_path: Path):
    pack = zipapp.build()
    assert len(pack) < 512 * 1024
    for name, content in zipapp.sources():
        path = tmp_path / "copy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.replace(b"\n", b"\r\n"))
        os.utime(path, (0, 0))
        path.chmod(0o600)
    (tmp_path / "copy" / "bridge" / "ship").mkdir()
    (tmp_path / "copy" / "bridge" / "ship" / "zipapp.py").write_text("# another one that packs\n")
    assert zipapp.build(root=tmp_path / "copy") == pack
    (tmp_path / "copy" / "bridge" / "names.py").write_text("# changed\n")
    assert zipapp.digest(zipapp.build(root=tmp_path / "copy")) != zipapp.digest(pack)


@pytest.mark.skipif(not OTHERS, reason="no other Python on this machine")
def test_other_pythons_pack_the_same_bytes():
    code = "from bridge.ship.zipapp import build, digest; print(digest(build()))"
    for python in OTHERS:
        done = subprocess.run([str(python), "-c", code], cwd=zipapp.ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == zipapp.digest(zipapp.build())


def test_python_alone_runs_the_pack(tmp_path: Path):
    (tmp_path / "bridge.pyz").write_bytes(zipapp.build())
    (tmp_path / "options.json").write_text('{"lateSecond": 1}')
    for python in (sys.executable, *map(str, OTHERS)):
        command = [python, "-I", "-S", "-B", "bridge.pyz", "run", "--options", "options.json"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env={})
        assert (done.returncode, done.stderr.split(":")[0]) == (64, "options")
        (tmp_path / "right.json").write_text("{}")
        done = subprocess.run(
            [*command[:-1], "right.json"], cwd=tmp_path, capture_output=True, text=True, check=False, env={}
        )
        assert done.returncode == 1
        assert (
            done.stderr == "KUBERNETES_SERVICE_HOST is not set: this runs in no pod. Say --server, --token and --ca\n"
        )


def test_what_packs_is_not_in_the_pack():
    names = zipfile.ZipFile(io.BytesIO(zipapp.build())).namelist()
    assert "bridge/decide.py" in names
    assert "kube/transport.py" in names
    assert not [name for name in names if "ship" in name]


def test_a_pack_that_no_configmap_holds_is_refused(tmp_path: Path):
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "a.py").write_text("#" * zipapp.MOST_BYTES)
    with pytest.raises(zipapp.TooLarge, match="the pack of big has"):
        zipapp.build(rooms=("big",), root=tmp_path)


def objects() -> dict[str, dict[str, Any]]:
    return {o["kind"]: o for o in manifests.objects(Options(), image=IMAGE, pack=b"pack")}


def test_two_replicas_run_on_the_network_of_two_nodes_without_privileges():
    made = objects()
    spec = made["Deployment"]["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    assert spec["replicas"] == 2
    assert made["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    assert pod["hostNetwork"] is True
    [apart] = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    assert pod["priorityClassName"] == "system-cluster-critical"
    security = container["securityContext"]
    assert (security["readOnlyRootFilesystem"], security["runAsNonRoot"]) == (True, True)
    assert security["capabilities"] == {"drop": ["ALL"]}
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["host"] == "127.0.0.1"
    assert container["image"] == IMAGE
    assert base64.b64decode(made["ConfigMap"]["binaryData"]["bridge.pyz"]) == b"pack"
    assert Options.load(made["ConfigMap"]["data"]["options.json"]) == Options()


def test_a_deployment_changes_with_the_pack_and_the_options_alone():
    def template(**changed: Any) -> Any:
        whole: dict[str, Any] = {"options": Options(), "pack": b"pack"} | changed
        return manifests.deployment(whole["options"], image=IMAGE, pack=whole["pack"])["spec"]["template"]

    assert template() == template()
    assert template(pack=b"other") != template()
    assert template(options=Options(late_seconds=9)) != template()


def test_its_rights_are_few_and_none_deletes_an_identity_or_reads_a_secret():
    made = objects()
    everywhere, there = made["ClusterRole"]["rules"], made["Role"]["rules"]
    granted = {(r, v) for rule in [*everywhere, *there] for r in rule["resources"] for v in rule["verbs"]}
    assert ("ciliumidentities", "delete") not in granted
    assert {verb for resource, verb in granted if resource == "pods"} == {"list", "watch"}
    assert not {resource for resource, _ in granted} & {"secrets", "*"}
    assert not [rule for rule in [*everywhere, *there] if "*" in rule["verbs"]]
    writes = {(r, v) for r, v in granted if v not in ("get", "list", "watch")}
    assert {resource for resource, _ in writes} == {"ciliumendpoints", "ciliumidentities", "leases", "events"}
    assert {rule["resourceNames"][0] for rule in there if "configmaps" in rule["resources"]} == {"cilium-config"}
    assert [rule["resourceNames"] for rule in there if "update" in rule["verbs"]] == [["eks-cilium-bridge"]]
