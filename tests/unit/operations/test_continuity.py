"""Continuity: what a gate proves about every flow, and who Cilium knows, on clusters of plain objects."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from kube.transport import Obj
from migration import journeys
from migration.guarding.freeze import Record, file_digests
from migration.journeys import REPLACE, CheckId
from migration.manifests import load
from operations.checks import continuity as checks
from operations.checks import registry
from operations.cluster.traffic import live_objects
from operations.evidence import Evidence, Verdict
from tests.unit.operations import world as w
from tests.unit.operations.test_checks import told
from tests.unit.operations.world import World

LABELS = {"kubernetes.io/metadata.name": "shop", "team": "commerce"}


def calico(name: str, spec: dict[str, Any]) -> Obj:
    return w.thing("GlobalNetworkPolicy", name, apiVersion="crd.projectcalico.org/v1", spec=spec)


def allow(source: str, to: str) -> Obj:
    """Of the pods `app == to`, only `app == source` is let in."""
    rule = {"action": "Allow", "source": {"selector": f"app == '{source}'"}}
    return calico(f"default.{to}", {"selector": f"app == '{to}'", "types": ["Ingress"], "ingress": [rule]})


def cilium(source: str, to: str) -> str:
    """The file that says the same for Cilium."""
    return f"""
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {{name: {to}}}
spec:
  endpointSelector: {{matchLabels: {{app: {to}}}}}
  ingress:
    - fromEndpoints: [{{matchLabels: {{app: {source}}}}}]
"""


def cluster(directory: Path, stage: str, *more: Obj, mixed: bool = False) -> World:
    """Three pods on two legacy nodes, `web`, `db` and `job`; `mixed`: Cilium nodes besides."""
    world = w.known_world(directory) if mixed else World(directory, w.legacy_objects(pinned=True), stage=stage)
    world.at(stage)
    for name, where in (("web-1", "old-a"), ("db-1", "old-b"), ("job-1", "old-b"), ("web-2", "")):
        world.drop("Pod", name)
        if where:
            world.add(w.pod(name, where, labels={"app": name.split("-")[0]}))
    world.drop("Namespace")
    world.add(w.thing("Namespace", "shop", meta={"labels": LABELS}), w.thing("Namespace", "kube-system"), *more)
    return world


def test_the_checks_of_a_round_read_each_list_once(tmp_path: Path):
    """What policy is decided in are the same lists that other checks of the gate read, at the same moment."""
    world = cluster(tmp_path, "install-cilium")
    kube = world.context.kube
    read = {path: kube.items(path) for path in ("/api/v1/pods", "/api/v1/nodes", "/api/v1/namespaces")}
    found = live_objects(kube)
    assert {item["kind"] for item in found} >= {"Pod", "Node", "Namespace"}
    assert len(found) >= sum(map(len, read.values())) > 0
    asked = Counter(path.partition("?")[0] for method, path in world.api.requests if method == "GET")
    assert {path: asked[path] for path in read} == dict.fromkeys(read, 1)


def file(directory: Path, engine: str, text: str) -> None:
    path = directory / "policies" / "network" / engine
    path.mkdir(parents=True, exist_ok=True)
    (path / "own.yaml").write_text(text)


def introduced(world: World, *, but: Iterable[str] = ()) -> World:
    w.introduce(world, but=but)
    return world


def ask(world: World, check: CheckId = CheckId.CONTINUITY) -> Evidence:
    return registry()[check](world.context)


def test_a_policy_that_no_file_says_for_cilium_stops_install_cilium_with_the_flow_and_both_reasons(tmp_path: Path):
    evidence = ask(cluster(tmp_path, "install-cilium", allow("web", "db")))
    assert evidence.verdict is Verdict.FAILED, told(evidence)
    text = told(evidence)
    assert "shop/job-1" in text
    assert "is denied today" in text
    assert "would be allowed once every pod runs on a Cilium node" in text
    assert "policy translate --live --out policies/network/cilium" in text


def test_the_same_said_for_cilium_is_equal_at_every_mixture(tmp_path: Path):
    world = cluster(tmp_path, "install-cilium", allow("web", "db"))
    file(tmp_path, "cilium", cilium("web", "db"))
    evidence = ask(world)
    assert evidence.verdict is Verdict.PASSED, told(evidence)
    assert "while both kinds of nodes run: equal" in evidence.summary
    assert "once every pod runs on a Cilium node: equal" in evidence.summary


def test_without_a_bridge_the_mixture_is_told_before_any_cilium_node_exists(tmp_path: Path):
    world = cluster(tmp_path, "install-cilium", allow("web", "db"))
    file(tmp_path, "cilium", cilium("web", "db"))
    world.settings = world.settings.model_copy(
        update={"bridge": world.settings.bridge.model_copy(update={"enabled": False})}
    )
    evidence = ask(world)
    assert evidence.verdict is Verdict.FAILED, told(evidence)
    assert "is allowed today" in told(evidence)
    assert "would be denied while both kinds of nodes run" in told(evidence)
    assert ask(world, CheckId.BRIDGE_IN_STEP).verdict is Verdict.PASSED


def test_a_deny_by_label_that_misses_an_unknown_pod_is_a_difference(tmp_path: Path):
    deny = {"action": "Deny", "source": {"selector": "app == 'job'"}}
    spec = {"selector": "app == 'db'", "types": ["Ingress"], "ingress": [deny, {"action": "Allow"}]}
    world = introduced(cluster(tmp_path, "canary", calico("default.db", spec), mixed=True), but=["job-1"])
    text = """
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: db}
spec:
  endpointSelector: {matchLabels: {app: db}}
  ingressDeny:
    - fromEndpoints: [{matchLabels: {app: job}}]
  ingress:
    - fromEntities: [all]
"""
    file(tmp_path, "cilium", text)
    stopped = ask(world)
    assert stopped.verdict is Verdict.FAILED
    assert "pod shop/job-1 on node old-b-without-identity" in told(stopped)
    assert "would be allowed while both kinds of nodes run" in told(stopped)
    assert ask(introduced(world)).verdict is Verdict.PASSED


@pytest.mark.parametrize("stage", ["install-cilium", "canary", "move-workloads", "retire-calico"])
def test_every_gate_that_asks_it_finds_a_missing_translation(stage: str, tmp_path: Path):
    mixed = stage != "install-cilium"
    world = introduced(cluster(tmp_path, stage, allow("web", "db"), mixed=mixed))
    assert ask(world).verdict is Verdict.FAILED
    file(tmp_path, "cilium", cilium("web", "db"))
    evidence = ask(world)
    assert evidence.verdict is Verdict.PASSED, told(evidence)


def test_an_ip_block_over_pods_is_a_difference_of_the_engines(tmp_path: Path):
    spec = {
        "podSelector": {"matchLabels": {"app": "web"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/16"}}]}],
    }
    world = cluster(tmp_path, "install-cilium", w.thing("NetworkPolicy", "world-to-web", "shop", spec=spec))
    evidence = ask(world)
    assert evidence.verdict is Verdict.FAILED
    assert "would be denied" in told(evidence)


def test_a_file_stands_for_the_live_policy_of_its_name(tmp_path: Path):
    world = cluster(tmp_path, "install-cilium", allow("job", "db"))
    file(tmp_path, "cilium", cilium("web", "db"))
    assert ask(world).verdict is Verdict.FAILED
    spec = "{selector: app == 'db', types: [Ingress], ingress: [{action: Allow, source: {selector: app == 'web'}}]}"
    meta = "apiVersion: crd.projectcalico.org/v1\nkind: GlobalNetworkPolicy\nmetadata: {name: default.db}\n"
    file(tmp_path, "calico", f"{meta}spec: {spec}\n")
    evidence = ask(world)
    assert evidence.verdict is Verdict.PASSED, told(evidence)


def test_on_a_cluster_of_somebody_else_a_file_of_calico_counts_only_where_the_deploy_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    world = cluster(tmp_path, "install-cilium")
    world.settings, world.facts = w.settings(adopted=True, stage="install-cilium"), w.facts()
    spec = "{selector: app == 'db', types: [Ingress], ingress: [{action: Allow, source: {selector: app == 'web'}}]}"
    meta = "apiVersion: crd.projectcalico.org/v1\nkind: GlobalNetworkPolicy\nmetadata: {name: default.db}\n"
    file(tmp_path, "calico", f"{meta}spec: {spec}\n")
    file(tmp_path, "cilium", cilium("web", "db"))
    kept: list[Record | None] = [None]
    monkeypatch.setattr(checks, "recorded", lambda _: kept[0])
    # No deploy has begun to keep Calico's policies, so none writes this file: Cilium alone would enforce.
    assert ask(world).verdict is Verdict.FAILED
    kept[0] = Record(objects={}, files={})
    assert ask(world).verdict is Verdict.PASSED
    kept[0] = Record(objects={}, files=file_digests(load(tmp_path / "policies" / "network", "calico")))
    assert ask(world).verdict is Verdict.FAILED


def test_a_cluster_that_had_no_enforcer_is_told_what_begins_to_be_enforced(tmp_path: Path):
    spec = {"podSelector": {}, "policyTypes": ["Ingress"]}
    world = cluster(tmp_path, "install-cilium", w.thing("NetworkPolicy", "deny", "shop", spec=spec))
    facts = w.facts()
    world.facts = facts.model_copy(update={"calico": facts.calico.model_copy(update={"kind": "absent"})})
    world.settings = w.settings(adopted=True, stage="install-cilium")
    evidence = ask(world)
    assert evidence.verdict is Verdict.FAILED
    for text in (
        "nothing enforces",
        "is allowed today because nothing enforces policy in this cluster",
        "NetworkPolicy shop/deny",
        "Cilium begins to enforce",
        "delete the policy, let it allow this flow, or accept the difference in policies/accepted.yaml",
    ):
        assert text in told(evidence), text
    assert "policy translate" not in told(evidence)


def test_a_policy_that_begins_to_hold_passes_once_somebody_accepts_what_it_changes(tmp_path: Path):
    spec = {"podSelector": {}, "policyTypes": ["Ingress"]}
    world = cluster(tmp_path, "install-cilium", w.thing("NetworkPolicy", "deny", "shop", spec=spec))
    facts = w.facts()
    world.facts = facts.model_copy(update={"calico": facts.calico.model_copy(update={"kind": "absent"})})
    world.settings = w.settings(adopted=True, stage="install-cilium")
    (tmp_path / "policies").mkdir(exist_ok=True)
    (tmp_path / "policies" / "accepted.yaml").write_text(
        "accepted:\n- {to: {namespace: shop}, reason: wanted all along, who: team, until: 2999-01-01}\n"
    )
    evidence = ask(world)
    assert evidence.verdict is Verdict.PASSED, told(evidence)
    assert "accepted" in evidence.summary


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda pod, end: end["metadata"].update(name="other"), "has no CiliumEndpoint"),
        (lambda pod, end: end["metadata"]["ownerReferences"][0].update(uid="old"), "of an earlier pod of its name"),
        (
            lambda pod, end: pod["status"].update(podIP="10.0.9.9"),
            "has 10.0.9.9, which its CiliumEndpoint does not say",
        ),
        (lambda pod, end: pod["status"].update(hostIP="10.0.9.8"), "names another node"),
        (
            lambda pod, end: end["status"]["identity"].update(id=7),
            "the identity 7, for which there is no CiliumIdentity",
        ),
        (lambda pod, end: pod["metadata"]["labels"].update(app="x"), "has an identity with other labels: app"),
    ],
)
def test_a_pod_that_cilium_does_not_know_rightly_is_named_with_the_reason(change: Any, why: str, tmp_path: Path):
    world = introduced(cluster(tmp_path, "canary", mixed=True))
    assert ask(world, CheckId.BRIDGE_IN_STEP).verdict is Verdict.PASSED
    change(world.find("Pod", "db-1"), world.find("CiliumEndpoint", "db-1"))
    evidence = ask(world, CheckId.BRIDGE_IN_STEP)
    assert evidence.verdict is Verdict.FAILED
    assert "pod shop/db-1" in told(evidence)
    assert why in told(evidence)


def test_two_endpoints_of_one_address_are_named(tmp_path: Path):
    world = introduced(cluster(tmp_path, "canary", mixed=True))
    stale = w.endpoint(world.find("Pod", "db-1"))
    stale["metadata"] = {**stale["metadata"], "name": "db-0"}
    world.add(stale)
    assert "shares" in told(ask(world, CheckId.BRIDGE_IN_STEP))


def test_a_bridge_that_is_gone_is_a_finding_even_while_its_endpoints_are_there(tmp_path: Path):
    world = introduced(cluster(tmp_path, "canary", mixed=True))
    world.drop("Deployment", "eks-cilium-bridge")
    evidence = ask(world, CheckId.BRIDGE_IN_STEP)
    assert evidence.verdict is Verdict.FAILED
    assert "does not exist: pods that start on legacy nodes now get no identity" in told(evidence)


def configured(directory: Path, **config: str) -> World:
    """`db` lets `web` in, for both engines; Cilium's agents are configured like this."""
    world = cluster(directory, "canary", allow("web", "db"), mixed=True)
    file(directory, "cilium", cilium("web", "db"))
    world.drop("ConfigMap", "cilium-config")
    world.add(w.cilium_config(**config))
    return introduced(world)


def test_labels_that_the_agents_leave_out_of_identities_select_nobody_in_the_proof_either(tmp_path: Path):
    kept = configured(tmp_path, labels="k8s:!tier k8s:!stage")
    assert ask(kept).verdict is Verdict.PASSED, told(ask(kept))
    assert ask(kept, CheckId.BRIDGE_IN_STEP).verdict is Verdict.PASSED
    gone = configured(tmp_path, labels="k8s:!app")
    assert ask(gone).verdict is Verdict.FAILED, told(ask(gone))
    assert "is denied today" in told(ask(gone))
    assert ask(gone, CheckId.BRIDGE_IN_STEP).verdict is Verdict.PASSED
    gone.drop("ConfigMap", "cilium-config")
    gone.add(w.cilium_config())
    assert "has an identity with other labels: app" in told(ask(gone, CheckId.BRIDGE_IN_STEP))


@pytest.mark.parametrize(
    ("config", "verdict", "text"),
    [
        ({"enable-policy": "never"}, Verdict.FAILED, "the agents are told to enforce no policy"),
        ({"policy-audit-mode": "true"}, Verdict.FAILED, "the agents are told to enforce no policy"),
        ({"enable-policy": "always"}, Verdict.FAILED, "would be denied"),
        ({"allow-localhost": "policy"}, Verdict.FAILED, "would be denied"),
        ({"enable-policy": "sometimes"}, Verdict.UNKNOWN, "enable-policy is 'sometimes'"),
        ({"enable-icmp-rules": "false"}, Verdict.UNKNOWN, "enable-icmp-rules is 'false'"),
        ({"label-prefix-file": "/etc/labels"}, Verdict.UNKNOWN, "take it out"),
        ({"labels": "k8s:(?i)app"}, Verdict.UNKNOWN, "labels: "),
    ],
)
def test_what_the_agents_are_told_about_policy_decides_in_the_gate(
    config: dict[str, str], verdict: Verdict, text: str, tmp_path: Path
):
    world = configured(tmp_path)
    assert ask(world).verdict is Verdict.PASSED
    world.drop("ConfigMap", "cilium-config")
    world.add(w.cilium_config(**config))
    evidence = ask(world)
    assert evidence.verdict is verdict, told(evidence)
    assert text in told(evidence)
    assert "fault of the program" not in told(evidence)


def test_some_nodes_that_treat_policies_otherwise_leave_it_unknown_and_are_named(tmp_path: Path):
    world = configured(tmp_path)
    odd = w.thing("CiliumNodeConfig", "odd", "kube-system", spec={"defaults": {"labels": "k8s:app", "mtu": "9000"}})
    world.add(odd | {"apiVersion": "cilium.io/v2"})
    evidence = ask(world)
    assert evidence.verdict is Verdict.UNKNOWN
    assert "ciliumnodeconfig kube-system/odd sets labels" in told(evidence)
    odd["spec"]["defaults"] = {"mtu": "9000"}
    assert ask(world).verdict is Verdict.PASSED


def test_objects_that_make_no_cluster_together_are_told_as_such_and_as_no_fault_of_the_program(tmp_path: Path):
    world = cluster(tmp_path, "install-cilium", allow("web", "db"))
    world.add(w.pod("lost-1", "a-node-that-went", labels={"app": "lost"}))
    evidence = ask(world)
    assert evidence.verdict is Verdict.UNKNOWN
    assert "pods are on nodes that are not given: a-node-that-went" in told(evidence)
    assert "fault of the program" not in told(evidence)


def test_a_policy_that_cannot_be_read_is_unknown_and_names_it(tmp_path: Path):
    world = cluster(tmp_path, "install-cilium", calico("default.odd", {"selector": "app ==", "types": ["Ingress"]}))
    evidence = ask(world)
    assert evidence.verdict is Verdict.UNKNOWN
    assert "odd" in told(evidence)


def test_a_stack_of_a_version_without_a_bridge_gets_one_by_a_deploy_that_stays_and_cannot_move_without(tmp_path: Path):
    world = cluster(tmp_path, "canary", allow("web", "db"), mixed=True)
    file(tmp_path, "cilium", cilium("web", "db"))
    for kind in ("CiliumEndpoint", "CiliumIdentity", "Deployment"):
        world.drop(kind, "" if kind != "Deployment" else "eks-cilium-bridge")
    assert CheckId.CONTINUITY in journeys.steady(REPLACE["canary"])
    assert CheckId.BRIDGE_IN_STEP not in journeys.steady(REPLACE["canary"])
    assert ask(world).verdict is Verdict.PASSED
    assert CheckId.BRIDGE_IN_STEP in REPLACE["move-workloads"].gate
    assert ask(world, CheckId.BRIDGE_IN_STEP).verdict is Verdict.FAILED


ACCEPTED = """
accepted:
  - reason: jobs read the database until the new queue is there
    who: the data team
    until: {until}
    from: {{namespace: shop, podSelector: {{matchLabels: {{app: job}}}}}}
    to: {{namespace: shop, podSelector: {{matchLabels: {{app: db}}}}}}
"""


@pytest.mark.parametrize(("until", "verdict"), [("2999-01-01", Verdict.PASSED), ("2020-01-01", Verdict.FAILED)])
def test_an_accepted_difference_counts_until_its_last_day_and_is_never_silent(
    until: str, verdict: Verdict, tmp_path: Path
):
    world = cluster(tmp_path, "install-cilium", allow("web", "db"))
    file(tmp_path, "cilium", cilium("web", "db").replace("{app: web}", "{app: web}}, {matchLabels: {app: job}"))
    assert ask(world).verdict is Verdict.FAILED
    (tmp_path / "policies" / "accepted.yaml").write_text(ACCEPTED.format(until=until))
    evidence = ask(world)
    assert evidence.verdict is verdict, told(evidence)
    assert "jobs read the database" in evidence.summary
    assert ("not accepted any more" in evidence.summary) == (verdict is Verdict.FAILED)


def test_an_accepted_file_that_cannot_be_read_leaves_it_unknown(tmp_path: Path):
    world = cluster(tmp_path, "install-cilium")
    (tmp_path / "policies").mkdir(exist_ok=True)
    (tmp_path / "policies" / "accepted.yaml").write_text("accepted: [{reason: x}]")
    evidence = ask(world)
    assert evidence.verdict is Verdict.UNKNOWN
    assert "accepted.yaml" in told(evidence)


def test_labels_that_agents_of_some_nodes_leave_out_make_both_answers_unknown(tmp_path: Path):
    world = introduced(cluster(tmp_path, "canary", mixed=True))
    one = w.thing("CiliumNodeConfig", "gpu", "kube-system", spec={"defaults": {"devices": "eth1"}})
    world.add(one)
    assert ask(world).verdict is ask(world, CheckId.BRIDGE_IN_STEP).verdict is Verdict.PASSED
    world.find("CiliumNodeConfig", "gpu")["spec"]["defaults"]["labels"] = "k8s:app"
    for check in (CheckId.CONTINUITY, CheckId.BRIDGE_IN_STEP):
        evidence = ask(world, check)
        assert evidence.verdict is Verdict.UNKNOWN
        assert "ciliumnodeconfig kube-system/gpu" in told(evidence)
        assert "Take `labels` out of it and restart the agents" in told(evidence)
