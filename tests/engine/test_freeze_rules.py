"""Whom the policy freeze lets through, asked of a real API server: by request, user, field manager and field."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from kube.transport import KubeError, Obj
from migration.guarding import freeze
from migration.guarding.mark import Mark
from migration.names import FREEZE_POLICY, MARK, MAY_GO
from operations.guarding import admission
from sandbox import lifecycle
from sandbox.operators import modules
from sandbox.plugins.kubernetes.client import Client, Kubeconfig
from tests.transport import Answers

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300, func_only=True)]

ROLE = "arn:aws:iam::111122223333:role/deploy"
STORED = "/apis/crd.projectcalico.org/v1"
POLICIES = f"{STORED}/globalnetworkpolicies"
OURS = f"{POLICIES}/default.ours"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
MERGE, JSON_PATCH, APPLY = (
    f"application/{kind}" for kind in ("merge-patch+json", "json-patch+json", "apply-patch+yaml")
)
MARKS = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles"
STACK = "pulumi-kubernetes-0a1b2c3d"


def person(session: str, role: str = ROLE) -> dict[str, str]:
    """Impersonation of a session of a role, as EKS would tell the API server of it."""
    return {
        "Impersonate-User": f"{role.replace(':iam:', ':sts:').replace(':role/', ':assumed-role/')}/{session}",
        "Impersonate-Group": "system:masters",
        # Header names know no case; a percent sign keeps the capital letter of the key.
        "Impersonate-Extra-canonical%41rn": role,
    }


def account(name: str) -> dict[str, str]:
    """Impersonation of a service account that may do everything, so that only admission refuses it."""
    return {"Impersonate-User": f"system:serviceaccount:{name}", "Impersonate-Group": "system:masters"}


ANNA, BEN, CI = person("anna@example.com"), person("ben"), person("GitHubActions")
STRANGER = person("deploy", ROLE.replace("/deploy", "/support"))


class Asker(Answers, Client):
    """Requests as somebody else."""

    def ask(
        self, who: dict[str, str], method: str, path: str, body: Any = None, kind: str = "", **query: str
    ) -> tuple[int, str]:
        """Status and message."""
        url = urllib.parse.urlsplit(self.config.server)
        context = self._context()
        assert isinstance(context, ssl.SSLContext)
        connection = http.client.HTTPSConnection(url.hostname or "", url.port, context=context, timeout=30)
        headers = {"Accept": "application/json", "Content-Type": kind or "application/json", **who}
        asked = f"{path}?{urllib.parse.urlencode(query)}" if query else path
        connection.request(method, asked, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        try:
            found = json.loads(said or b"{}")
        except ValueError:  # a kind that is not served is answered in plain text
            found = {"message": said.decode()}
        return answer.status, str(found.get("message", ""))

    def __call__(self, method: str, path: str, *, body: Any = None, content_type: str = "", seconds: float = 10) -> Obj:
        status, message = self.ask({}, method, path, body, content_type)
        if status >= 400:
            raise KubeError(status, message)
        return {}


def calico(kind: str, name: str, spec: dict[str, Any], api: str = "crd.projectcalico.org/v1", **meta: Any) -> Obj:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, **meta}, "spec": spec}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    """A control plane with Calico's kinds, some objects, the mark, and the freeze in force."""
    directory = tmp_path_factory.mktemp("freeze") / "sandbox"
    lifecycle.up(directory, print, daemon=False)
    try:
        asker = Asker(Kubeconfig.load(str(directory / "kubeconfig")))
        prepare(asker)
        yield asker
    finally:
        lifecycle.down(directory, print, purge=True)


def prepare(asker: Asker) -> None:
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for definition in modules.calico_definitions():
        asker.request("POST", crds, definition)
    served = json.loads(
        json.dumps(
            next(
                d
                for d in modules.calico_definitions()
                if "globalnetworkpolicies." in d["metadata"]["name"]
                and not d["spec"]["names"]["plural"].startswith("staged")
            )
        )
    )
    served["metadata"] = {"name": "globalnetworkpolicies.projectcalico.org"}
    served["spec"] |= {"group": "projectcalico.org", "names": {**served["spec"]["names"]}}
    served["spec"]["versions"][0]["name"] = "v3"
    asker.request("POST", crds, served)
    objects = [
        (POLICIES, calico("GlobalNetworkPolicy", "default.ours", {"selector": "all()", "types": ["Egress"]})),
        (
            POLICIES,
            calico("GlobalNetworkPolicy", "default.leaving", {"selector": "all()"}, annotations={MAY_GO: "true"}),
        ),
        (f"{STORED}/felixconfigurations", calico("FelixConfiguration", "default", {"logSeverityScreen": "Info"})),
        (f"{STORED}/clusterinformations", calico("ClusterInformation", "default", {"datastoreReady": True})),
    ]
    for path, body in objects:
        created(asker, path, body)
    created(asker, MARKS, marked(Mark(id="1", stack="test", deployers=(ROLE, "group:oidc:platform")).annotations()))
    for name, spec in freeze.policies().items():
        asker.request("POST", f"{ADMISSION}/validatingadmissionpolicies", {"metadata": {"name": name}, "spec": spec})
    for name, spec in freeze.bindings().items():
        body = {"metadata": {"name": name}, "spec": spec}
        asker.request("POST", f"{ADMISSION}/validatingadmissionpolicybindings", body)
    probe = admission.Probe(
        about="a create",
        method="POST",
        path=POLICIES,
        body=calico("GlobalNetworkPolicy", "default.probe", {}),
        manager="kubectl",
        refusal=freeze.revision(),
    )
    admission.wait(lambda: asker, [probe], steady=1)


def marked(annotations: Obj) -> Obj:
    metadata = {"name": MARK, "annotations": annotations}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata}


def created(asker: Asker, path: str, body: Obj) -> None:
    """A kind that was made a moment ago is served a moment later."""
    for _ in range(100):
        status, message = asker.ask({}, "POST", path, body)
        if status < 300:
            return
        if status != 404:
            break
    raise AssertionError(f"{path}: {status} {message}")


def looser(order: int) -> Obj:
    return {
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": "GlobalNetworkPolicy",
        "metadata": {"name": "default.ours"},
        "spec": {"selector": "all()", "types": ["Egress"], "order": order},
    }


def refused(asked: tuple[int, str]) -> bool:
    """Whether the freeze spoke; any other refusal is a mistake of the test."""
    status, message = asked
    assert status < 300 or (status == 403 and FREEZE_POLICY in message), asked
    return status == 403


def test_sessions_of_a_deployers_role_change_policies_through_the_stack(server: Asker):
    for order, who in enumerate((ANNA, BEN, CI), 1):
        asked = server.ask(who, "PATCH", OURS, looser(order), APPLY, fieldManager=STACK, force="true")
        assert not refused(asked), asked
    member = {"Impersonate-User": "oidc:carol", "Impersonate-Group": "oidc:platform"}
    assert server.ask(member, "PATCH", OURS, looser(9), APPLY, fieldManager=STACK, force="true")[0] == 403, "no RBAC"


def test_previews_pass_by_the_same_rule_and_write_nothing(server: Asker):
    made = calico("GlobalNetworkPolicy", "default.new", {"selector": "all()"})
    assert not refused(server.ask(ANNA, "POST", POLICIES, made, fieldManager=STACK, dryRun="All"))
    assert refused(server.ask(STRANGER, "POST", POLICIES, made, fieldManager=STACK, dryRun="All"))
    assert server.ask(ANNA, "GET", f"{POLICIES}/default.new")[0] == 404


def test_a_deployer_with_kubectl_and_a_stranger_who_calls_itself_pulumi_are_refused(server: Asker):
    for who, manager in ((ANNA, "kubectl-edit"), (STRANGER, "pulumix"), (STRANGER, STACK), (account("ci:x"), STACK)):
        asked = server.ask(who, "PATCH", OURS, {"spec": {"order": 1}}, MERGE, fieldManager=manager)
        assert refused(asked)
        assert ("is none of the deployers" in asked[1]) == (who != ANNA), asked
        assert "Change the files under policies/network/calico" in asked[1]
    # Somebody whose name looks like the role is not the role.
    named = {"Impersonate-User": ROLE, "Impersonate-Group": "system:masters"}
    assert refused(server.ask(named, "PATCH", OURS, {"spec": {"order": 1}}, MERGE, fieldManager=STACK))


def test_what_changes_nothing_but_the_books_on_writers_passes_from_anybody(server: Asker):
    live = server.request("GET", OURS)
    books = [{"op": "replace", "path": "/metadata/managedFields", "value": live["metadata"]["managedFields"][:1]}]
    assert not refused(server.ask(ANNA, "PATCH", OURS, books, JSON_PATCH))
    assert not refused(server.ask(STRANGER, "PATCH", OURS, books, JSON_PATCH))
    assert not refused(server.ask(STRANGER, "PUT", OURS, server.request("GET", OURS)))


@pytest.mark.parametrize(
    "metadata",
    [
        {"annotations": {MAY_GO: "true"}},
        {"labels": {"role": "db"}},
        {"finalizers": ["example.com/stay"]},
        {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "dead", "uid": "0" * 8}]},
    ],
)
def test_metadata_that_opens_a_way_is_content(server: Asker, metadata: dict[str, Any]):
    for who, manager in ((ANNA, "kubectl"), (STRANGER, STACK)):
        assert refused(server.ask(who, "PATCH", OURS, {"metadata": metadata}, MERGE, fieldManager=manager))


def test_a_delete_needs_the_stacks_annotation_and_a_deployer(server: Asker):
    assert refused(server.ask(ANNA, "DELETE", OURS))
    assert refused(server.ask(STRANGER, "DELETE", f"{POLICIES}/default.leaving"))
    assert refused(server.ask(STRANGER, "DELETE", POLICIES))
    assert not refused(server.ask(CI, "DELETE", f"{POLICIES}/default.leaving"))


def test_calicos_own_parts_go_on_working_in_either_namespace(server: Asker):
    tier = calico("Tier", "default", {"order": 1000000, "defaultAction": "Deny"})
    path = f"{STORED}/tiers"
    for name in ("calico-system:calico-node", "kube-system:calico-node", "tigera-operator:tigera-operator"):
        # At each start calico-node makes its tiers; "already exists" is what it expects, a refusal would stop it.
        assert server.ask(account(name), "POST", path, tier)[0] in {201, 409}
    spec = {"node": "n", "interfaceName": "*"}
    automatic = {"projectcalico.org/created-by": "calico-kube-controllers"}
    point = calico("HostEndpoint", "n-auto-hep", spec, labels=automatic)
    for name in ("calico-system:calico-kube-controllers", "kube-system:calico-kube-controllers"):
        asked = server.ask(account(name), "POST", f"{STORED}/hostendpoints", point)
        assert asked[0] in {201, 409}, asked
        configuration = {"spec": {"controllers": {"node": {"hostEndpoint": {"autoCreate": "Enabled"}}}}}
        made = calico("KubeControllersConfiguration", name.split(":")[0], {"controllers": {}})
        assert not refused(server.ask(account(name), "POST", f"{STORED}/kubecontrollersconfigurations", made))
        path = f"{STORED}/kubecontrollersconfigurations/{name.split(':')[0]}"
        assert not refused(server.ask(account(name), "PATCH", path, configuration, MERGE))
    for name in ("calico-system:calico-apiserver", "calico-apiserver:calico-apiserver"):
        assert not refused(server.ask(account(name), "PATCH", OURS, {"metadata": {"annotations": {"a": name}}}, MERGE))
    assert refused(server.ask(account("shop:calico-node"), "POST", f"{STORED}/tiers", calico("Tier", "mine", {})))


def test_kubernetes_collects_what_has_no_owner_and_empties_namespaces(server: Asker):
    server.request("POST", "/api/v1/namespaces", {"metadata": {"name": "old"}})
    path = f"{STORED}/namespaces/old/networkpolicies"
    made = calico("NetworkPolicy", "default.x", {"selector": "all()"})
    for name in ("namespace-controller", "generic-garbage-collector"):
        assert not refused(server.ask(ANNA, "POST", path, made, fieldManager=STACK))
        assert not refused(server.ask(account(f"kube-system:{name}"), "DELETE", f"{path}/default.x"))


@pytest.mark.parametrize(
    ("path", "kind", "spec", "free"),
    [
        ("globalnetworksets", "GlobalNetworkSet", {"nets": ["10.0.0.0/8"]}, False),
        ("tiers", "Tier", {"order": 1}, False),
        ("hostendpoints", "HostEndpoint", {"node": "n", "interfaceName": "eth0"}, False),
        ("felixconfigurations", "FelixConfiguration", {"failsafeInboundHostPorts": []}, False),
        ("felixconfigurations", "FelixConfiguration", {"interfacePrefix": "azv"}, False),
        ("kubecontrollersconfigurations", "KubeControllersConfiguration", {"controllers": {}}, False),
        ("clusterinformations", "ClusterInformation", {"datastoreReady": False}, False),
        ("clusterinformations", "ClusterInformation", {"calicoVersion": "v3.32.2"}, True),
        ("stagedglobalnetworkpolicies", "StagedGlobalNetworkPolicy", {"selector": "all()"}, True),
        ("ippools", "IPPool", {"cidr": "192.168.0.0/24"}, True),
    ],
)
def test_a_stranger_may_write_what_decides_nothing(
    server: Asker, path: str, kind: str, spec: dict[str, Any], free: bool
):
    asked = server.ask(STRANGER, "POST", f"{STORED}/{path}", calico(kind, "mine", spec), dryRun="All")
    assert refused(asked) != free, asked


@pytest.mark.parametrize(
    ("path", "change", "free"),
    [
        ("felixconfigurations", {"spec": {"logSeverityScreen": "Debug"}}, True),
        ("felixconfigurations", {"spec": {"logSeverityScreen": None}}, True),
        ("felixconfigurations", {"spec": {"defaultEndpointToHostAction": "Drop"}}, False),
        ("felixconfigurations", {"metadata": {"labels": {"team": "platform"}}}, True),
        (
            "felixconfigurations",
            {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "1"}]}},
            False,
        ),
        ("felixconfigurations", {"metadata": {"annotations": {MAY_GO: "true"}}}, False),
        ("clusterinformations", {"spec": {"datastoreReady": False}}, False),
        ("clusterinformations", {"spec": {"datastoreReady": None}}, False),
        ("clusterinformations", {"spec": {"calicoVersion": "v3.32.2"}}, True),
    ],
)
def test_of_configurations_the_fields_that_decide_are_frozen(server: Asker, path: str, change: Obj, free: bool):
    asked = server.ask(STRANGER, "PATCH", f"{STORED}/{path}/default", change, MERGE, dryRun="All")
    assert refused(asked) != free, asked


def test_cluster_wide_policies_of_kubernetes_and_the_operators_installation_are_covered(server: Asker):
    body = {"spec": {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}}}
    made = calico("ClusterNetworkPolicy", "mine", body["spec"], api="policy.networking.k8s.io/v1alpha2")
    path = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies"
    assert refused(server.ask(STRANGER, "POST", path, made, dryRun="All"))
    path = "/apis/operator.tigera.io/v1/installations"
    for spec, free in (({"nodeMetricsPort": 9091}, True), ({"calicoNetwork": {"linuxDataplane": "BPF"}}, False)):
        made = calico("Installation", "default", spec, api="operator.tigera.io/v1")
        asked = server.ask(STRANGER, "POST", path, made, dryRun="All")
        assert refused(asked) != free, asked
    made = calico("Installation", "default", {"calicoNetwork": {"bgp": "Disabled"}}, api="operator.tigera.io/v1")
    assert not refused(server.ask(CI, "POST", path, made, fieldManager=STACK))
    assert not refused(server.ask(CI, "DELETE", f"{path}/default"))


def test_the_group_that_calicos_own_server_serves_is_for_calicos_parts_only(server: Asker):
    path = "/apis/projectcalico.org/v3/globalnetworkpolicies"
    made = calico("GlobalNetworkPolicy", "default.v3", {"selector": "all()"}, api="projectcalico.org/v3")
    for who in (ANNA, STRANGER):
        asked = server.ask(who, "POST", path, made, fieldManager=STACK)
        assert refused(asked)
        assert "crd.projectcalico.org/v1" in asked[1]
    operator = account("tigera-operator:tigera-operator")
    assert not refused(server.ask(operator, "POST", path, made))
    assert refused(server.ask(STRANGER, "DELETE", f"{path}/default.v3"))


def test_without_the_mark_nothing_passes(server: Asker):
    kept = server.request("GET", f"{MARKS}/{MARK}")
    server.request("DELETE", f"{MARKS}/{MARK}")
    try:
        for _ in range(100):
            status, message = server.ask(ANNA, "PATCH", OURS, {"spec": {"order": 5}}, MERGE, fieldManager=STACK)
            if status >= 400:
                break
        assert status >= 400, "a deployer passes without a mark"
        assert "Deny" in message
        assert "parameterNotFoundAction" in message
    finally:
        server.request("POST", MARKS, marked(kept["metadata"]["annotations"]))


def test_every_field_that_is_left_free_is_one_that_calico_has():
    definitions = {d["spec"]["names"]["plural"]: d for d in modules.calico_definitions()}
    for resource, fields in {**freeze.IDLE, **freeze.DECIDING}.items():
        schema = definitions[resource]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        assert set(fields) <= set(schema["spec"]["properties"]), resource
