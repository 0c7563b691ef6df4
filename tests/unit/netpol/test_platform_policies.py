"""The platform policies that are offered: equal in both forms, free of the order trap; and the one that has it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from migration import manifests
from netpol import Flow, decide, from_text, lint, load, prove, prove_future
from netpol.model.world import World
from operations.policy import sets
from tests.unit.netpol.worlds import docs, gnp, knp

NETWORK = Path(__file__).parents[3] / "policies" / "network"
EXAMPLES = NETWORK / "examples"
NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
REPLACES = {"instance-metadata-exceptions": "deny-instance-metadata.yaml"}
TRAPS = {"cancels-isolation", "deny-overridden", "never-asked", "shadowed"}
NAMESPACES = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {kubernetes.io/metadata.name: shop}}
---
apiVersion: v1
kind: Namespace
metadata: {name: other, labels: {kubernetes.io/metadata.name: other}}
---
apiVersion: v1
kind: Namespace
metadata: {name: kube-system, labels: {kubernetes.io/metadata.name: kube-system}}
---
apiVersion: v1
kind: Namespace
metadata: {name: monitoring, labels: {kubernetes.io/metadata.name: monitoring, platform: "true"}}
"""
PODS = {
    "shop/web": "app: web",
    "shop/db": "app: db",
    "other/cart": "app: cart",
    "other/tool": "instance-metadata: needed, aws-api: needed",
    "kube-system/dns": "k8s-app: kube-dns",
    "kube-system/addon": "k8s-app: addon",
    "monitoring/agent": "app: agent",
    "monitoring/gateway": "serves: everybody",
}


def cluster() -> str:
    found = [NAMESPACES]
    for number, (key, labels) in enumerate(PODS.items()):
        namespace, _, name = key.partition("/")
        found.append(
            f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}\n"
            "spec: {nodeName: node-a, containers: [{name: c}]}\n"
            f"status: {{podIPs: [{{ip: 10.0.0.{number + 1}}}, {{ip: 'fd00::{number + 1}'}}]}}"
        )
    node = "apiVersion: v1\nkind: Node\nmetadata: {name: node-a}\nstatus: {addresses: [{type: InternalIP, address: 10.9.0.1}]}"
    return "\n---\n".join([*found, node])


def aws_api() -> sets.AddressSet:
    line = {"ip_prefix": "52.94.0.0/22", "region": "eu-west-1", "service": "AMAZON"}
    known, made = sets.prefixes(json.dumps({"prefixes": [line], "ipv6_prefixes": []}), "f")
    return sets.chosen(known, name="aws-api", services=["AMAZON"], regions=["eu-west-1"], made=made)


def form(engine: str, name: str, *more: str) -> World:
    """A small cluster under the policies that are deployed anyway, with those of an example, as one engine has them."""
    replaced = REPLACES.get(name)
    files = [p for p in sorted((NETWORK / engine).glob("*.yaml")) if p.name != replaced]
    files.append(EXAMPLES / name / f"{engine}.yaml")
    made = json.dumps(getattr(aws_api(), engine)())
    return from_text(docs(cluster(), *(p.read_text() for p in files), made, *more), whole=True).enforced_by(engine)


def lets(world: World, source: str, destination: str, port: int = 443, protocol: str = "TCP") -> bool:
    return decide(world, Flow.of(source, destination, protocol, port)).allowed


@pytest.mark.parametrize("name", NAMES)
def test_both_forms_say_the_same(name: str):
    before, after = form("calico", name), form("cilium", name)
    proof = prove(before, after)
    assert proof.verdict.value == "equal", str(proof)
    coming = prove_future(before, after)
    assert coming.verdict.value == "equal", str(coming)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("engine", ["calico", "cilium"])
def test_each_form_may_be_deployed_and_is_free_of_the_order_trap(engine: str, name: str, tmp_path: Path):
    (tmp_path / engine).mkdir()
    (tmp_path / engine / "one.yaml").write_text((EXAMPLES / name / f"{engine}.yaml").read_text())
    assert manifests.load(tmp_path, engine)
    assert {f.code for f in lint(form(engine, name))} & TRAPS == set()


def test_what_is_offered_is_deployed_by_nobody_who_did_not_copy_it():
    assert {Path(m.source.rsplit(":", 1)[0]).parent.name for m in manifests.load(NETWORK, "calico")} == {"calico"}


@pytest.mark.parametrize("engine", ["calico", "cilium"])
@pytest.mark.parametrize(
    ("name", "source", "destination", "allowed"),
    [
        ("isolate-namespace", "shop/web", "shop/db", True),
        ("isolate-namespace", "shop/web", "other/cart", False),
        ("isolate-namespace", "other/cart", "shop/web", False),
        ("isolate-namespace", "shop/web", "kube-system/dns", True),
        ("isolate-namespace", "shop/web", "kube-system/addon", False),
        ("isolate-namespace", "monitoring/agent", "shop/web", True),
        ("isolate-namespace", "shop/web", "monitoring/agent", True),
        ("isolate-namespace", "shop/web", "203.0.113.1", True),
        ("isolate-namespace", "other/cart", "kube-system/addon", True),
        ("platform-namespaces", "other/cart", "monitoring/agent", False),
        ("platform-namespaces", "other/cart", "monitoring/gateway", True),
        ("platform-namespaces", "monitoring/gateway", "monitoring/agent", True),
        ("instance-metadata-exceptions", "other/cart", "169.254.169.254", False),
        ("instance-metadata-exceptions", "other/cart", "fd00:ec2::254", False),
        ("instance-metadata-exceptions", "other/tool", "169.254.169.254", True),
        ("instance-metadata-exceptions", "other/tool", "fd00:ec2::254", True),
        ("deny-aws-api", "other/cart", "52.94.1.1", False),
        ("deny-aws-api", "other/tool", "52.94.1.1", True),
        ("deny-aws-api", "other/cart", "52.94.4.1", True),
    ],
)  # fmt: skip
def test_it_does_what_it_says(engine: str, name: str, source: str, destination: str, allowed: bool):
    assert lets(form(engine, name), source, destination) is allowed


@pytest.mark.parametrize("engine", ["calico", "cilium"])
@pytest.mark.parametrize("name", NAMES)
def test_nobodys_isolation_is_cancelled(engine: str, name: str):
    isolated = knp("{podSelector: {}, policyTypes: [Ingress, Egress]}", "default-deny", "other")
    world = form(engine, name, isolated)
    for destination in ("other/tool", "shop/web", "203.0.113.1", "52.94.4.1"):
        assert not lets(world, "other/cart", destination), destination


# -- the policy that is often copied ----------------------------------------------------------------

PUBLISHED = gnp(
    "{types: [Egress], egress: [{action: Deny, destination: {nets: [169.254.169.254/32]}}, "
    "{action: Allow, destination: {nets: [0.0.0.0/0]}}]}",
    "deny-aws-api",
)
OPEN = knp("{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}", "out", "other")
CLOSED = knp("{podSelector: {}, policyTypes: [Egress]}", "default-deny", "other")


def published(*more: str) -> World:
    return from_text(docs(cluster(), PUBLISHED, *more), whole=True).enforced_by("calico")


def test_the_published_policy_blocks_the_metadata_service_and_not_the_api_of_aws():
    assert not lets(published(), "other/cart", "169.254.169.254", 80)
    assert lets(published(), "other/cart", "52.94.1.1")


def test_the_published_policy_is_beaten_by_any_namespace_that_allows_everything():
    world = published(OPEN)
    assert lets(world, "other/cart", "169.254.169.254", 80)
    assert not lets(world, "shop/web", "169.254.169.254", 80)
    assert "deny-overridden" in {f.code for f in lint(world)}


def test_the_published_policy_cancels_isolation():
    assert not lets(from_text(docs(cluster(), CLOSED), whole=True).enforced_by("calico"), "other/cart", "203.0.113.1")
    world = published(CLOSED)
    assert lets(world, "other/cart", "203.0.113.1")
    assert "cancels-isolation" in {f.code for f in lint(world)}


def test_what_is_offered_instead_has_none_of_these_traps():
    for policy in (OPEN, CLOSED):
        world = form("calico", "instance-metadata-exceptions", policy)
        assert not lets(world, "other/cart", "169.254.169.254", 80)
        assert lets(world, "other/cart", "203.0.113.1") is (policy is OPEN)


# -- a Pass leaves the tier -------------------------------------------------------------------------

TIER = "apiVersion: crd.projectcalico.org/v1\nkind: Tier\nmetadata: {name: platform}\nspec: {order: 100}"


def behind(*, selector: str = "all()", last: str = "Pass", order: int = 200) -> World:
    """Two policies in one tier, without any pods: the first ends with a rule that takes everything."""
    return from_text(
        docs(
            TIER,
            gnp(f"{{tier: platform, order: 100, selector: {selector}, types: [Egress], egress: [{{action: Deny, "
                f"destination: {{nets: [192.0.2.1/32]}}}}, {{action: {last}}}]}}", "platform.first"),
            gnp(f"{{tier: platform, order: {order}, selector: app == 'a', types: [Egress], "
                "egress: [{action: Deny, destination: {nets: [192.0.2.2/32]}}]}", "platform.second"),
        )
    )  # fmt: skip


@pytest.mark.parametrize("last", ["Pass", "Allow", "Deny"])
def test_a_policy_behind_one_that_takes_everything_is_found(last: str):
    found = [f for f in lint(behind(last=last)) if f.code == "never-asked"]
    assert [(f.policy, f.code) for f in found] == [("GlobalNetworkPolicy platform.second", "never-asked")]
    assert "GlobalNetworkPolicy platform.first egress[1] comes first" in found[0].message


@pytest.mark.parametrize("change", [{"selector": "app == 'b'"}, {"order": 50}, {"last": "Log"}])
def test_a_policy_that_is_asked_is_no_finding(change: dict[str, object]):
    assert "never-asked" not in {f.code for f in lint(behind(**change))}  # type: ignore[arg-type]


def test_the_directories_that_are_offered_are_those_of_the_page():
    text = (EXAMPLES / "README.md").read_text()
    assert sorted(line.split("`")[1] for line in text.splitlines() if line.startswith("| `")) == NAMES
    assert load([NETWORK / "calico"]).policies
