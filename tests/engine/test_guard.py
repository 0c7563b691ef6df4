"""The guard on a real API server: what nodes need stays, whoever deletes it and however; everything else goes on."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import time
import types
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from kube.cluster import Cluster
from kube.transport import KubeError, answer
from migration.guarding import guard
from migration.guarding.guard import ADDON_MANAGER
from migration.guarding.mark import Mark
from migration.journeys import REPLACE
from migration.names import GUARD_POLICY, MARK, WORKLOADS
from operations.commands import mark as mark_command
from operations.guarding import admission, mark
from operations.guarding import guard as operation
from sandbox import lifecycle, toolcache
from sandbox.aws import Aws, Settings
from sandbox.world import World, connect
from tests.transport import Answers

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300, func_only=True)]

Json = dict[str, Any]
ROLE = "arn:aws:iam::111122223333:role/deploy"
DEPLOYERS = (ROLE, "user:ci")
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
BINDINGS = f"{ADMISSION}/validatingadmissionpolicybindings"
SYSTEM = "/apis/apps/v1/namespaces/kube-system"
RBAC = "rbac.authorization.k8s.io/v1"
MARKED = f"/apis/{RBAC}/namespaces/kube-system/roles/{MARK}"
CONFIGMAPS = "/api/v1/namespaces/kube-system/configmaps"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_MEDIA = {"PATCH": "application/merge-patch+json", "APPLY": "application/apply-patch+yaml"}
STRANGER = {"Impersonate-User": "gitops", "Impersonate-Group": "system:masters"}
DEPLOYER = {"Impersonate-User": "ci", "Impersonate-Group": "system:masters"}
EKS = {"Impersonate-User": ADDON_MANAGER, "Impersonate-Group": "system:masters"}


class Plane(Answers):
    """A control plane without nodes, as somebody sees it."""

    def __init__(self, directory: Path, who: Mapping[str, str] = {}) -> None:
        self.directory = directory
        self.world = World(directory, connect(directory / "kubeconfig"), Aws(None, "eu-west-1", Settings(None)))
        self.world._as = dict(who)

    def of(self, who: Mapping[str, str]) -> Plane:
        return Plane(self.directory, who)

    def __call__(
        self, method: str, path: str, *, body: Any = None, content_type: str = "", seconds: float = 10.0
    ) -> Json:
        """As operations' transport."""
        media = content_type or _MEDIA.get(method, "application/json")
        response = self.world.open("PATCH" if method == "APPLY" else method, path, body, media, {})
        return answer(response.status, "", response.data).value()

    def make(self, *items: Json) -> None:
        for item in items:
            self("APPLY", f"{path_of(item)}?fieldManager=test&force=true", body=item)

    def refused(self, method: str, path: str, body: Any = None) -> str:
        """The words of a refusal by the guard."""
        with pytest.raises(KubeError) as caught:
            self(method, path, body=body)
        assert caught.value.status == 403, caught.value
        assert GUARD_POLICY in str(caught.value), caught.value
        return str(caught.value)

    def mark(self, **more: Any) -> None:
        """Write the mark, and wait until the guard has it."""
        values = {"id": "0a", "stack": "test", "deployers": DEPLOYERS, "reached": "canary", "attempt": 1, **more}
        known = Mark(**values)
        self.of(DEPLOYER).make(role(known))
        self.awaits(guard.in_force(open_=known.open is not None, attempt=known.attempt))

    def first_mark(self) -> None:
        """The mark, before there is a guard."""
        self.make(role(Mark(id="0a", stack="test", deployers=DEPLOYERS)))

    def declare(self, spec: Json) -> None:
        """The policy that is the guard."""
        policy = thing("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", GUARD_POLICY, spec=spec)
        self("APPLY", f"{ADMISSION}/validatingadmissionpolicies/{GUARD_POLICY}?fieldManager=test", body=policy)

    def bind(self) -> None:
        bound = thing(
            "admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", GUARD_POLICY, spec=guard.binding()
        )
        self("APPLY", f"{BINDINGS}/{GUARD_POLICY}?fieldManager=test", body=bound)

    @contextlib.contextmanager
    def unbound(self, *, earlier: bool = False) -> Iterator[None]:
        """An administrator deletes the binding, for so long that the API server stops looking parameters up for it."""
        self("DELETE", f"{BINDINGS}/{GUARD_POLICY}")
        try:
            self.awaits("", earlier=earlier)
            time.sleep(3)
            yield
        finally:
            self.bind()

    def awaits(self, expected: str, *, earlier: bool = False) -> None:
        connected = self.of(DEPLOYER)
        admission.wait(lambda: connected, [operation.probe(expected, earlier=earlier)], steady=1.0, pause=0.1)

    def helm(self, *words: str, who: str = "ci") -> subprocess.CompletedProcess[str]:
        helm = toolcache.ensure(lambda _: None)["helm"]
        argv = [str(helm), *words, "--kubeconfig", str(self.directory / "kubeconfig"), "--namespace", "kube-system"]
        argv += ["--kube-as-user", who, "--kube-as-group", "system:masters", "--kube-as-group", who]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)


def thing(api: str, kind: str, name: str, namespace: str = "", **more: Any) -> Json:
    metadata: Json = {"name": name, **({"namespace": namespace} if namespace else {}), **more.pop("metadata", {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **more}


def role(known: Mark) -> Json:
    return thing(RBAC, "Role", MARK, "kube-system", metadata={"annotations": known.annotations()})


def path_of(item: Json) -> str:
    api, plural = item["apiVersion"], item["kind"].lower() + ("ies" if item["kind"].endswith("y") else "s")
    plural = plural.replace("policys", "policies").replace("yies", "ies")
    root = f"/apis/{api}" if "/" in api else f"/api/{api}"
    namespace = item["metadata"].get("namespace")
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{scope}/{plural}/{item['metadata']['name']}"


def agent(name: str, namespace: str = "kube-system", **spec: Any) -> Json:
    labels = {"app": name}
    container = {"name": "agent", "image": "example", "ports": [{"containerPort": 9000, "hostPort": 9000}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], **spec}}
    return thing(
        "apps/v1", "DaemonSet", name, namespace, spec={"selector": {"matchLabels": labels}, "template": template}
    )


def definition(plural: str, group: str, kind: str) -> Json:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    names = {"plural": plural, "kind": kind, "singular": kind.lower(), "listKind": f"{kind}List"}
    spec = {"group": group, "scope": "Cluster", "names": names, "versions": [version]}
    return thing("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{plural}.{group}", spec=spec)


ALL = ("calico", "cilium", "kube-proxy", "vpc-cni")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    directory = tmp_path_factory.mktemp("guard") / "sandbox"
    lifecycle.up(directory, print, daemon=False)
    try:
        found = Plane(directory)
        found.make(
            *(thing("v1", "Namespace", name) for name in ("calico-system", "tigera-operator", "shop")),
            *(agent(name) for name in ("aws-node", "kube-proxy", "theirs")),
            agent("calico-node", "calico-system"),
            agent("agent", "shop"),
            thing("v1", "ServiceAccount", "aws-node", "kube-system"),
            thing("rbac.authorization.k8s.io/v1", "ClusterRole", "aws-node", rules=[]),
            definition("ciliumnodes", "cilium.io", "CiliumNode"),
            definition("globalnetworkpolicies", "crd.projectcalico.org", "GlobalNetworkPolicy"),
            definition("eniconfigs", "crd.k8s.amazonaws.com", "ENIConfig"),
            definition("others", "example.com", "Other"),
            definition("installations", "operator.tigera.io", "Installation"),
        )
        found.first_mark()
        found.declare(guard.policy())
        found.bind()
        time.sleep(1)
        found.make(thing("operator.tigera.io/v1", "Installation", "default", spec={"cni": {"type": "AmazonVPC"}}))
        chart = directory / "cilium"
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text("apiVersion: v2\nname: cilium\nversion: 0.1.0\n")
        objects = [
            agent("cilium"),
            agent("agent-by-another-name"),
            thing("v1", "ConfigMap", "cilium-config", data={"a": "{{ .Values.value }}"}),
            thing("v1", "ServiceAccount", "cilium"),
            thing("rbac.authorization.k8s.io/v1", "ClusterRole", "by-annotation-only", rules=[]),
        ]
        for item in objects:
            item["metadata"].pop("namespace", None)
        text = "\n---\n".join(yaml.safe_dump(item) for item in objects)
        hubble = yaml.safe_dump(thing("v1", "ConfigMap", "hubble-relay-config", data={}))
        (chart / "templates" / "all.yaml").write_text(
            f"{text}\n{{{{ if .Values.hubble }}}}\n---\n{hubble}\n{{{{ end }}}}\n"
        )
        (chart / "values.yaml").write_text("value: '0'\nhubble: true\n")
        found.awaits(guard.in_force(open_=False))
        found.mark(guarded=ALL)
        done = found.helm("install", "cilium", str(chart))
        assert done.returncode == 0, done.stderr
        yield found
    finally:
        lifecycle.down(directory, print, purge=True)


@pytest.fixture(autouse=True)
def closed(plane: Plane) -> None:
    plane.mark(guarded=ALL)


NEEDED = (
    f"{SYSTEM}/daemonsets/aws-node",
    f"{SYSTEM}/daemonsets/kube-proxy",
    f"{SYSTEM}/daemonsets/cilium",
    f"{SYSTEM}/daemonsets/agent-by-another-name",
    "/apis/apps/v1/namespaces/calico-system/daemonsets/calico-node",
    "/api/v1/namespaces/kube-system/serviceaccounts/aws-node",
    "/api/v1/namespaces/kube-system/configmaps/cilium-config",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles/aws-node",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles/by-annotation-only",
    "/api/v1/namespaces/calico-system",
    "/api/v1/namespaces/tigera-operator",
    "/apis/operator.tigera.io/v1/installations/default",
    f"{CRDS}/ciliumnodes.cilium.io",
    f"{CRDS}/globalnetworkpolicies.crd.projectcalico.org",
    f"{CRDS}/eniconfigs.crd.k8s.amazonaws.com",
    "/api/v1/namespaces/kube-system/secrets/sh.helm.release.v1.cilium.v1",
)


@pytest.mark.parametrize("who", [STRANGER, DEPLOYER, EKS], ids=["stranger", "deployer", "eks"])
def test_nobody_deletes_what_nodes_need(plane: Plane, who: Mapping[str, str]):
    for path in NEEDED:
        told = plane.of(who).refused("DELETE", path)
        assert "which nodes of this cluster need at canary, so it was not deleted" in told
        assert plane("GET", path)


def test_a_whole_collection_is_not_deleted_either(plane: Plane):
    for path in (f"{SYSTEM}/daemonsets", "/apis/operator.tigera.io/v1/installations"):
        plane.of(STRANGER).refused("DELETE", path + "?" + urllib.parse.urlencode({"dryRun": "All"}))


def test_what_no_node_needs_goes_as_before(plane: Plane):
    gone = plane.of(STRANGER)
    for path in (
        f"{SYSTEM}/daemonsets/theirs",
        "/apis/apps/v1/namespaces/shop/daemonsets/agent",
        "/api/v1/namespaces/shop",
        f"{CRDS}/others.example.com",
    ):
        gone("DELETE", f"{path}?dryRun=All")
    plane.mark(guarded=("cilium",), attempt=2)
    gone("DELETE", f"{SYSTEM}/daemonsets/aws-node?dryRun=All")
    gone("DELETE", "/apis/operator.tigera.io/v1/installations/default?dryRun=All")
    gone.refused("DELETE", f"{SYSTEM}/daemonsets/cilium")


EMPTYING: tuple[Json, ...] = (
    {"nodeSelector": {"none": "such"}},
    {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "none", "operator": "Exists"}]}]}}}},
    {"tolerations": [{"key": "none", "operator": "Exists"}]},
    {"schedulerName": "nobody"},
    {"priorityClassName": "system-cluster-critical"},
    {"runtimeClassName": "none"},
    {"serviceAccountName": "nobody"},
    {"hostNetwork": True},
    {"volumes": [{"name": "v", "secret": {"secretName": "none"}}]},
    {"containers": [{"name": "agent", "image": "example", "resources": {"requests": {"cpu": "9000"}},
                     "ports": [{"containerPort": 9000, "hostPort": 9000}]}]},
    {"containers": [{"name": "agent", "image": "example", "ports": [{"containerPort": 9000, "hostPort": 22}]}]},
)  # fmt: skip


@pytest.mark.parametrize("change", EMPTYING, ids="-".join)
def test_a_stranger_does_not_empty_a_daemonset_and_its_owners_may_move_it(plane: Plane, change: Json):
    body = {"spec": {"template": {"spec": change}}}
    path = f"{SYSTEM}/daemonsets/aws-node?dryRun=All"
    assert "is changed by deployers only" in plane.of(STRANGER).refused("PATCH", path, body)
    plane.of(DEPLOYER)("PATCH", path, body=body)
    plane.of(EKS)("PATCH", path, body=body)


def test_a_stranger_may_restart_and_configure_agents(plane: Plane):
    for body in (
        {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}},
        {"metadata": {"labels": {"team": "net"}}},
    ):
        plane.of(STRANGER)("PATCH", f"{SYSTEM}/daemonsets/aws-node?dryRun=All", body=body)


def test_an_installation_does_not_move_calico_by_a_strangers_hand(plane: Plane):
    path = "/apis/operator.tigera.io/v1/installations/default?dryRun=All"
    plane.of(STRANGER).refused("PATCH", path, {"spec": {"cni": {"type": "Calico"}}})
    plane.of(STRANGER).refused("PATCH", path, {"spec": {"calicoNodeDaemonSet": {"spec": {}}}})
    plane.of(STRANGER)("PATCH", path, body={"spec": {"registry": "mirror.example.com/"}})
    plane.of(DEPLOYER)("PATCH", path, body={"spec": {"calicoNodeDaemonSet": {"spec": {}}}})


def test_the_mark_is_written_by_deployers_and_deleted_by_nobody(plane: Plane):
    plane.of(STRANGER).make(thing("v1", "ConfigMap", WORKLOADS, "kube-system", data={"workloads": "{}"}))
    change = {"metadata": {"annotations": {"eks-cilium.io/guarded": ""}}}
    for path in (MARKED, f"{CONFIGMAPS}/{WORKLOADS}"):
        told = plane.of(STRANGER).refused("PATCH", path, change)
        assert f"only deployers write it, and nobody deletes it. The deployers are {ROLE}, user:ci" in told
        plane.of(STRANGER).refused("DELETE", path)
        plane.of(DEPLOYER).refused("DELETE", path)
        plane.of(DEPLOYER)("PATCH", f"{path}?dryRun=All", body=change)
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    plane.of(STRANGER).refused("PATCH", MARKED, {"rules": rules})


def test_open_it_lets_deployers_and_what_follows_from_them_delete_and_nobody_else(plane: Plane):
    held = {"reason": "thrown away", "until": "2999-01-01T00:00:00+00:00", "by": ROLE}
    plane.mark(guarded=ALL, open=held, attempt=3)
    for path in NEEDED:
        plane.of(DEPLOYER)("DELETE", f"{path}?dryRun=All")
        plane.of(EKS)("DELETE", f"{path}?dryRun=All")
        plane.of(STRANGER).refused("DELETE", path)


def test_a_guard_that_was_unbound_for_a_while_knows_the_mark_of_today(plane: Plane):
    with plane.unbound():
        pass
    plane.mark(guarded=("cilium",), attempt=77)
    plane.of(STRANGER)("DELETE", f"{SYSTEM}/daemonsets/aws-node?dryRun=All")
    plane.of(STRANGER).refused("DELETE", f"{SYSTEM}/daemonsets/cilium?dryRun=All")


def before(spec: Json) -> Json:
    """The guard as versions had it that kept the mark in a ConfigMap."""
    text = json.dumps(spec).replace(f"'guard {guard.revision()}'", "'guard 0123abcd'")
    text = re.sub(r"params\.metadata\.\?annotations\[\?'eks-cilium\.io/(\w+)'\]", r"params.?data[?'\1']", text)
    text = text.replace(f"object.metadata.?annotations[?'{guard.PROBE}']", f"object.?data[?'{guard.EARLIER_PROBE}']")
    text = text.replace("request.resource.resource == 'roles'", "request.resource.resource == 'configmaps'")
    found: Json = json.loads(text)
    found["paramKind"] = {"apiVersion": "v1", "kind": "ConfigMap"}
    return found | {
        "variables": [v | ({"expression": "false"} if v["name"] == "isBeside" else {}) for v in found["variables"]]
    }


@pytest.mark.parametrize("stuck", [False, True], ids=["well", "stuck"])
def test_a_cluster_of_a_version_before_is_taken_over_and_guarded_all_the_time(plane: Plane, stuck: bool):
    """Its guard may be stuck, too: one that was unbound goes by no ConfigMap of today any more."""
    known = Mark(id="0a", stack="test", deployers=DEPLOYERS, reached="canary", attempt=4, guarded=ALL)
    earlier, record = f"{CONFIGMAPS}/{MARK}", f"{CONFIGMAPS}/{WORKLOADS}"
    with plane.unbound():
        plane("DELETE", MARKED)
        plane.make(thing("v1", "ConfigMap", MARK, "kube-system", data={**known.dump(), "workloads": "{ }"}))
        plane.declare(before(guard.policy()))
    if stuck:
        with plane.unbound(earlier=True):
            pass
        eventually_refused(plane)
    else:
        plane.awaits("guard 0123abcd closed, attempt 4.", earlier=True)

    def guarded(by: str) -> None:
        for who in (STRANGER, DEPLOYER):
            with pytest.raises(KubeError) as caught:
                plane.of(who)("DELETE", f"{SYSTEM}/daemonsets/aws-node")
            known = "nobody may delete it" in str(caught.value) or "so it was not deleted" in str(caught.value)
            assert known or (stuck and "no params found" in str(caught.value)), f"{by}: {caught.value}"

    def deploy(act: str, identity: str = "0a") -> Any:
        """As a deployer of this version."""
        kube, settings = Cluster(lambda: plane.of(DEPLOYER)), types.SimpleNamespace(deployers=())
        context: Any = types.SimpleNamespace(kube=kube, stack="test", settings=settings)
        asked = argparse.Namespace(id=identity, place="retire-calico", attempt=5, guarded=",".join(ALL))
        return mark_command._ACTS[act](context, asked)

    guarded("before")
    with pytest.raises(mark.MarkRefused, match="belongs to another stack"):
        deploy("take", "0b")
    deploy("take")
    deploy("enter")
    guarded("half-way")
    with pytest.raises(KubeError, match=GUARD_POLICY):
        plane.of(DEPLOYER)("DELETE", earlier)
    plane.declare(guard.policy())
    plane.awaits(guard.in_force(open_=False, attempt=5))
    guarded("after")
    for path in (earlier, record):
        plane.of(STRANGER).refused("DELETE", path)
        plane.of(STRANGER).refused("PATCH", path, {"data": {"workloads": ""}})
    plane.of(DEPLOYER).refused("DELETE", record)
    reached = deploy("reach")
    assert (reached.reached, reached.attempt, reached.guarded) == ("retire-calico", 5, ALL)
    with pytest.raises(KubeError, match="not found"):
        plane("GET", earlier)
    assert mark.record(Cluster(lambda: plane), reached.workloads) == "{ }"
    guarded("in the end")


def eventually_refused(plane: Plane, text: str = "") -> None:
    deadline, said = time.monotonic() + 60, ""
    while not said or text not in said:
        assert time.monotonic() < deadline, f"a deletion was not refused: {said}"
        time.sleep(0.2)
        try:
            plane.of(DEPLOYER)("DELETE", f"{SYSTEM}/daemonsets/aws-node?dryRun=All")
        except KubeError as error:
            said = str(error)


def test_without_the_mark_nothing_passes(plane: Plane):
    with plane.unbound():
        plane("DELETE", MARKED)
    eventually_refused(plane, "no params found")
    plane.first_mark()


def test_what_the_api_server_fills_in_is_no_difference(plane: Plane):
    policy, bound = (
        plane("GET", f"{ADMISSION}/{plural}/{GUARD_POLICY}")["spec"]
        for plural in ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
    )
    assert guard.digest(policy, bound) == guard.digest(guard.policy(), guard.binding())
    warned = {**bound, "validationActions": ["Warn"]}
    narrowed = {**bound, "matchResources": {"objectSelector": {"matchLabels": {"a": "b"}}}}
    assert len({guard.digest(policy, it) for it in (bound, warned, narrowed)}) == 3


def test_twelve_upgrades_pass_and_prune_old_releases(plane: Plane):
    chart = str(plane.directory / "cilium")
    for number in range(12):
        done = plane.helm("upgrade", "cilium", chart, "--set", f"value=n{number},hubble={number % 2 == 0}")
        assert done.returncode == 0, done.stderr
        assert "forbidden" not in done.stderr, done.stderr
    listed = plane("GET", "/api/v1/namespaces/kube-system/secrets?labelSelector=owner%3Dhelm")["items"]
    assert len(listed) == 10
    assert [i["metadata"]["labels"]["status"] for i in listed].count("deployed") == 1
    assert plane("GET", f"{CONFIGMAPS}/cilium-config")["data"] == {"a": "n11"}


@pytest.mark.parametrize("who", ["ci", "gitops"])
def test_helm_uninstalls_nothing_and_the_release_can_still_be_upgraded(plane: Plane, who: str):
    done = plane.helm("uninstall", "cilium", who=who)
    assert done.returncode != 0, done.stdout
    for path in NEEDED[2:4]:
        assert plane("GET", path)
    again = plane.helm("upgrade", "cilium", str(plane.directory / "cilium"), "--set", "value=after")
    assert again.returncode == 0, again.stderr


def test_every_stage_guards_what_wires_and_enforces_there():
    for stage in REPLACE.stages:
        assert guard.guarded(stage)
