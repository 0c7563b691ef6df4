"""Protection is switched off from outside, in every way that there is: no node is left without wiring or enforcement."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from migration.names import CNI_LABEL
from sandbox import toolcache
from tests.engine.hands import ADMISSION, CALICO, SYSTEM, Hands, Refusal, state
from tests.engine.journey import Journey, Outcome, quiet

pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600, func_only=True)]

STAGES = ("canary", "move-workloads")
_AGENTS = {
    "aws": (
        (f"{SYSTEM}/daemonsets/aws-node", "the VPC CNI"),
        (f"{SYSTEM}/daemonsets/kube-proxy", "kube-proxy"),
        ("/apis/apps/v1/namespaces/calico-system/daemonsets/calico-node", "Calico"),
    ),
    "cilium": ((f"{SYSTEM}/daemonsets/cilium", "Cilium"),),
}
_POLICIES = {
    "aws": (f"{CALICO}/globalnetworkpolicies", f"{CALICO}/networkpolicies"),
    "cilium": ("/apis/cilium.io/v2/ciliumnetworkpolicies", "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies"),
}


def bare(hands: Hands, before: dict[str, str]) -> list[str]:
    """What nodes lack that they had."""
    now = present(hands)
    kinds = {str(n["metadata"].get("labels", {}).get(CNI_LABEL)) for n in hands.nodes()}
    return sorted(f"{kind} nodes lost {what}" for what, kind in before.items() if kind in kinds and what not in now)


def present(hands: Hands) -> dict[str, str]:
    """Agents by identity and place, and policies, with the kind of node that needs them."""
    found: dict[str, str] = {}
    for kind, agents in _AGENTS.items():
        for path, what in agents:
            try:
                live = hands.get(path)
            except Refusal:
                continue
            if live["metadata"].get("deletionTimestamp"):
                continue
            where = live["spec"]["template"]["spec"]
            found[f"{what} {live['metadata']['uid']} on {where.get('nodeSelector')} {where.get('affinity')}"] = kind
        for path in _POLICIES[kind]:
            try:
                items = hands.items(path)
            except Refusal:
                continue
            found |= {f"{path} {item['metadata']['name']}": kind for item in items}
    return found


def older(journey: Journey, directory: Path) -> Journey:
    """The same with Pulumi 3.255, which knows no `--ignore-protect`."""
    directory.mkdir(exist_ok=True)
    (directory / "pulumi").unlink(missing_ok=True)
    (directory / "pulumi").symlink_to(toolcache.older_pulumi("3.255", quiet))
    environment = {**journey.stack.environment}
    environment["PATH"] = os.pathsep.join([str(directory), environment["PATH"]])
    return dataclasses.replace(journey, stack=dataclasses.replace(journey.stack, environment=environment))


def with_variable(journey: Journey) -> Journey:
    environment = {**journey.stack.environment, "PULUMI_OPTION_IGNORE_PROTECT": "true"}
    return dataclasses.replace(journey, stack=dataclasses.replace(journey.stack, environment=environment))


def destroy(journey: Journey, flags: tuple[str, ...] = (), *, variable: bool = False, timeout: float = 600) -> Outcome:
    stack = with_variable(journey) if variable else journey
    return stack.pulumi("destroy", "--yes", "--skip-preview", *flags, timeout=timeout)


def cut_short(journey: Journey, act: Try) -> Outcome:
    """What never ends, ended by hand after a minute."""
    try:
        return act(journey, timeout=60)
    except subprocess.TimeoutExpired as error:
        return Outcome(-9, str(error.stdout or ""))


def skip(journey: Journey, flags: tuple[str, ...] = (), *, variable: bool = False) -> Outcome:
    """A deploy of the stage that deletes the legacy network, long before its turn."""
    return (with_variable(journey) if variable else journey).set(stage="retire-legacy").up("--skip-preview", *flags)


def urn(walked: Journey, name: str) -> str:
    return next(found for found in state(walked) if found.split("::")[-1] == name)


Try = Callable[..., Outcome]
ENDLESS = {("3.255", "destroy --continue-on-error")}
"""Pulumi 3.255 computes for ever once the first deletion is refused, and deletes nothing; the current one does not."""


def engine_ways(walked: Journey) -> dict[str, Try]:
    """Each way to run the engine that might delete what is protected."""
    ways: dict[str, Try] = {}
    cilium, vpc_cni, settle = (urn(walked, name) for name in ("cilium", "vpc-cni", "settle"))
    switches: tuple[tuple[str, ...], ...] = (
        ("--ignore-protect",),
        ("--ignore-protect", "--continue-on-error"),
        ("--ignore-protect", "--target", cilium, "--target-dependents"),
        ("--ignore-protect", "--target", vpc_cni, "--target", cilium),
        ("--ignore-protect", "--exclude", settle),
        ("--ignore-protect", "--exclude", settle, "--continue-on-error"),
        ("--continue-on-error",),
        ("--target", cilium, "--target-dependents"),
        ("--exclude", settle),
    )
    for flags in switches:
        names = [flag.split("::")[-1] for flag in flags]
        ways[f"destroy {' '.join(names)}"] = partial(destroy, flags=flags)
        ways[f"up {' '.join(names)}"] = partial(skip, flags=flags)
    ways["destroy with the variable"] = partial(destroy, variable=True)
    ways["destroy with the variable, on and on"] = partial(destroy, flags=("--continue-on-error",), variable=True)
    ways["up with the variable"] = partial(skip, variable=True)
    return ways


@pytest.mark.parametrize("version", ["current", "3.255"])
@pytest.mark.parametrize("stage", STAGES)
def test_no_way_to_run_the_engine_leaves_a_node_bare(
    replace_walk: Journey, tmp_path: Path, subtests: pytest.Subtests, stage: str, version: str
):
    walked = replace_walk.at(stage)
    for name, act in engine_ways(walked).items():
        with subtests.test(way=name):
            hands, before, kept = Hands(walked), present(Hands(walked)), state(walked)
            run = partial(cut_short, act=act) if (version, name) in ENDLESS else act
            done = run(older(walked, tmp_path / "bin") if version != "current" else walked)
            assert bare(hands, before) == [], done
            # Whoever excludes what depends on everything has excluded everything but what stands behind it.
            gone = {name for name in kept.keys() - state(walked).keys() if "::pulumi:providers:" not in name}
            assert done.code != 0 or all("eks-cilium:migration:Settle$" in name for name in gone), gone
            walked.set(stage=stage)
            if state(walked) != kept:
                walked.at(stage)


def hand_ways(hands: Hands, walked: Journey) -> dict[str, Callable[[], Any]]:
    """What people and other tools do."""
    agents = [path for paths in _AGENTS.values() for path, _ in paths]
    ways: dict[str, Callable[[], Any]] = {f"kubectl delete {path}": partial(hands.delete, path) for path in agents}
    for path in (
        f"{SYSTEM}/daemonsets",
        "/api/v1/namespaces/calico-system",
        "/api/v1/namespaces/tigera-operator",
        "/apis/operator.tigera.io/v1/installations/default",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ciliumnetworkpolicies.cilium.io",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tiers.crd.projectcalico.org",
    ):
        ways[f"kubectl delete {path}"] = partial(hands.delete, path)
    nowhere = {"spec": {"template": {"spec": {"nodeSelector": {"none": "such"}}}}}
    ways |= {f"kubectl patch {path}": partial(hands.patch, path, nowhere) for path in agents}
    ways["a GitOps tool prunes"] = partial(prune, hands)
    for release, namespace in (("cilium", "kube-system"), ("tigera-operator", "tigera-operator")):
        ways[f"helm uninstall {release}"] = partial(uninstall, walked, release, namespace)
    ways["AWS deletes the add-on"] = partial(delete_addon, walked)
    return ways


def prune(hands: Hands) -> None:
    """Deletes, one by one and on and on, what no repository has: as controllers of GitOps do."""
    for path in ("/apis/apps/v1/daemonsets", "/apis/apps/v1/deployments", "/api/v1/serviceaccounts"):
        for item in hands.items(path):
            meta = item["metadata"]
            base, plural = path.rsplit("/", 1)
            try:
                hands.delete(
                    f"{base}/namespaces/{meta['namespace']}/{plural}/{meta['name']}?propagationPolicy=Foreground"
                )
            except Refusal:
                continue
    raise Refusal(403, {"message": "the rest"})


def uninstall(walked: Journey, release: str, namespace: str) -> None:
    argv = [
        "helm",
        "uninstall",
        release,
        "--namespace",
        namespace,
        "--kubeconfig",
        str(walked.directory / "kubeconfig"),
    ]
    done = subprocess.run(argv, env=walked.stack.environment, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise Refusal(403, {"message": done.stderr})


def delete_addon(walked: Journey) -> None:
    eks = walked.aws("eks")
    name = eks.list_clusters()["clusters"][0]
    eks.delete_addon(clusterName=name, addonName="vpc-cni")
    for _ in range(100):
        found = eks.describe_addon(clusterName=name, addonName="vpc-cni")["addon"]
        if found["status"] == "DELETE_FAILED":
            raise Refusal(403, {"message": found["health"]["issues"][0]["message"]})
        time.sleep(0.2)
    raise AssertionError("the add-on was not refused")


@pytest.mark.parametrize("stage", STAGES)
def test_no_hand_leaves_a_node_bare(replace_walk: Journey, subtests: pytest.Subtests, stage: str):
    walked = replace_walk.at(stage)
    hands = Hands(walked)
    before = present(hands)
    for name, act in hand_ways(hands, walked).items():
        with subtests.test(way=name):
            with pytest.raises(Refusal):
                act()
            assert bare(hands, before) == []


def test_a_guard_whose_binding_is_gone_is_found_by_the_next_gate_and_put_back_as_the_text_says(replace_walk: Journey):
    walked = replace_walk.at("canary")
    hands = Hands(walked)
    hands.delete(f"{ADMISSION}/validatingadmissionpolicybindings/eks-cilium-guard")
    asked = walked.operations("check", "--check", "guard-holds")
    assert asked.code == 1, asked
    assert "is gone: nothing keeps the network from being deleted" in asked.text
    stopped = walked.set(stage="move-workloads").preview()
    assert stopped.code != 0, stopped
    assert "guard-holds" in stopped.text, stopped
    again = walked.set(stage="canary").up("--skip-preview", "--refresh")
    assert again.code == 0, again
    asked = walked.operations("check", "--check", "guard-holds")
    assert asked.code == 0, asked
