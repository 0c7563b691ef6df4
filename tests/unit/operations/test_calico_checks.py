"""Calico's CRDs, of every version that is supported: each one that is missing or of another version is found."""

import copy
import functools
from pathlib import Path
from typing import Any

import pytest

from migration.journeys import CheckId
from migration.rules import calico_crds
from migration.rules.versions import CALICO_KUBERNETES, minor
from operations.checks import registry
from operations.checks.calico import bring, crd_findings
from operations.evidence import Evidence, Verdict
from tests.unit.operations import world as w

REAL = calico_crds._known()
STORED = [(version, False) for version in calico_crds.releases(native=False)]
NATIVE = [(version, True) for version in calico_crds.releases(native=True)]


def schema_of(digest: str) -> dict[str, Any]:
    """A schema that stands for the one with this digest, which is kept nowhere here."""
    return {"type": "object", "title": digest}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real list, with the digests of such schemas in place of the real ones."""
    monkeypatch.setattr(calico_crds, "_known", listing)


@functools.cache
def listing() -> dict[str, Any]:
    listed = copy.deepcopy(REAL)
    for mode in listed.values():
        for name, looks in mode.items():
            wanted = calico_crds.Definition(name, frozenset(looks[0]["served"]), looks[0]["stored"], frozenset())
            for one in looks:
                one["real"] = one["digest"]
                one["digest"] = calico_crds.look(w.calico_crd(wanted, schema_of(one["real"]))).digest
    return listed


def standing(version: str, *, native: bool) -> list[Any]:
    """The CRDs of a version, as its chart brings them."""
    found = []
    for name, wanted in (calico_crds.complete(version, native=native) or {}).items():
        looks = calico_crds._known()["native" if native else "stored"][name]
        one = next(look for look in looks if version in look["versions"])
        found.append(w.calico_crd(wanted, schema_of(one["real"])))
    return found


def world_of(directory: Path, version: str, *, native: bool) -> w.World:
    world = w.calico_world(directory)
    world.drop("CustomResourceDefinition")
    world.add(*standing(version, native=native))
    node = world.find("DaemonSet", "calico-node")
    node["spec"]["template"]["spec"]["containers"][0]["image"] = f"calico/node:{version}"
    if native:
        w.told(node, CALICO_API_GROUP="projectcalico.org/v3")
        world.add(w.thing("NativeTier", "default"))
    return world


def ask(world: w.World, check: CheckId = CheckId.CALICO_COMPLETE) -> Evidence:
    return registry()[check](world.context)


@pytest.mark.parametrize(("version", "native"), [*STORED, *NATIVE])
def test_the_definitions_of_a_version_are_complete(version: str, native: bool, tmp_path: Path):
    evidence = ask(world_of(tmp_path, version, native=native))
    assert evidence.verdict is Verdict.PASSED, evidence.text()
    assert "not compared" not in evidence.summary


def found_without(version: str, native: bool, name: str, instead: Any = None) -> list[tuple[str, str]]:
    """What is found when a CRD is missing, or `instead` stands in its place."""
    wanted = calico_crds.complete(version, native=native) or {}
    there = {crd["metadata"]["name"]: crd for crd in standing(version, native=native)} | {name: instead}
    return [(f.object, f.problem) for f in crd_findings(version, wanted, there, native=native)]


@pytest.mark.parametrize(("version", "native"), [*STORED, *NATIVE])
def test_each_missing_definition_is_found(version: str, native: bool):
    names = list(calico_crds.complete(version, native=native) or ())
    problem = f"does not exist, and Calico {version} needs it"
    assert {name: found_without(version, native, name) for name in names} == {
        name: [(f"crd {name}", problem)] for name in names
    }


@pytest.mark.parametrize(("version", "native"), [*STORED, *NATIVE])
def test_each_definition_of_another_time_is_found(version: str, native: bool):
    """By its schema; of the group that is not Calico's own, by the version that is served and stored."""
    for crd in standing(version, native=native):
        name = crd["metadata"]["name"]
        definition = crd["spec"]["versions"][0]
        if name.endswith(calico_crds.SHARED):
            definition["name"] = "v1alpha0"
        else:
            definition["schema"] = {"openAPIV3Schema": {"type": "object", "title": "of some other time"}}
        found = found_without(version, native, name, crd)
        assert found, name
        assert {about for about, _ in found} == {f"crd {name}"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"served": False}, "is not served as v1"), ({"storage": False}, "is stored as nothing, not as v1")],
)
def test_what_is_served_and_stored_counts(change: dict[str, bool], problem: str, tmp_path: Path):
    world = world_of(tmp_path, "v3.32.1", native=False)
    world.find("CustomResourceDefinition", "tiers.crd.projectcalico.org")["spec"]["versions"][0].update(change)
    assert problem in ask(world).text()


def test_definitions_of_the_minor_before_are_named_as_such(tmp_path: Path):
    world = world_of(tmp_path, "v3.32.1", native=False)
    name = "felixconfigurations.crd.projectcalico.org"
    old = next(c for c in standing("v3.29.7", native=False) if c["metadata"]["name"] == name)
    world.drop("CustomResourceDefinition", name)
    world.add(old)
    text = ask(world).text()
    assert "its schema is that of v3.29.1 to v3.29.7, and Calico v3.32.1 needs it" in text
    assert (
        "`helm template crd.projectcalico.org.v1 --repo https://docs.tigera.io/calico/charts --version v3.32.1 |"
        in text
    )


def test_a_patch_that_is_not_known_is_judged_by_names_and_says_so(tmp_path: Path):
    evidence = ask(w.calico_world(tmp_path))
    assert evidence.verdict is Verdict.PASSED
    assert "their schemas are not compared, which are known up to v3.32.1" in evidence.summary


def test_a_minor_that_is_not_known_is_unknown(tmp_path: Path):
    world = w.calico_world(tmp_path)
    world.find("DaemonSet", "calico-node")["spec"]["template"]["spec"]["containers"][0]["image"] = "img:v3.28.2"
    evidence = ask(world)
    assert evidence.verdict is Verdict.UNKNOWN
    assert "which CRDs v3.28.2 needs is not known here" in evidence.text()


def test_without_the_operator_its_definitions_are_not_asked_for(tmp_path: Path):
    world = world_of(tmp_path, "v3.31.7", native=False)
    world.drop("CustomResourceDefinition", "installations.operator.tigera.io")
    assert ask(world).verdict is Verdict.FAILED
    assert world.facts is not None
    by_manifest = world.facts.calico.model_copy(update={"kind": "manifest"})
    world.facts = world.facts.model_copy(update={"calico": by_manifest})
    evidence = ask(world)
    assert (evidence.verdict, evidence.summary) == (Verdict.PASSED, "24 CRDs of Calico v3.31.7")


def test_every_supported_minor_is_known():
    assert set(calico_crds.minors()) == set(CALICO_KUBERNETES)


@pytest.mark.parametrize("version", ["v3.29.7", "v3.31.7", "v3.32.1"])
def test_definitions_are_brought_from_a_pinned_place(version: str):
    where = bring(version, native=False)
    assert f"--version {version}" in where
    assert "--server-side" in where
    assert ("show crds tigera-operator" in where) == (minor(version) < (3, 32))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"description": "in other words"}, True),
        ({"nullable": False}, True),
        ({"properties": {}}, True),
        ({"required": ["order"]}, False),
        ({"properties": {"description": {"type": "string"}}}, False),
        ({"x-kubernetes-preserve-unknown-fields": True}, False),
    ],
)
def test_a_look_is_of_what_objects_can_tell(change: dict[str, Any], same: bool):
    wanted = calico_crds.Definition("tiers.crd.projectcalico.org", frozenset({"v1"}), "v1", frozenset())
    plain = {"type": "object"}
    before, after = (calico_crds.look(w.calico_crd(wanted, s)).digest for s in (plain, plain | change))
    assert (before == after) is same


# -- interfaces -------------------------------------------------------------------------------------


def sees(world: w.World) -> Evidence:
    return ask(world, CheckId.CALICO_SEES_PODS)


def test_the_prefix_may_stand_in_felix_configuration(tmp_path: Path):
    world = w.calico_world(tmp_path)
    w.told(world.find("DaemonSet", "calico-node"))
    assert sees(world).verdict is Verdict.FAILED
    world.add(w.thing("FelixConfiguration", "default", spec={"interfacePrefix": "cali,eni"}))
    assert sees(world).verdict is Verdict.PASSED


def test_the_environment_beats_felix_configuration(tmp_path: Path):
    world = w.calico_world(tmp_path)
    w.told(world.find("DaemonSet", "calico-node"), FELIX_INTERFACEPREFIX="cali")
    world.add(w.thing("FelixConfiguration", "default", spec={"interfacePrefix": "eni"}))
    assert "polices interfaces named cali…" in sees(world).text()


def test_one_node_with_a_prefix_of_its_own_is_named(tmp_path: Path):
    world = w.calico_world(tmp_path)
    w.told(world.find("DaemonSet", "calico-node"))
    world.add(w.thing("FelixConfiguration", "default", spec={"interfacePrefix": "eni"}))
    world.add(w.thing("FelixConfiguration", "node.old-b", spec={"interfacePrefix": "cali"}))
    assert "felixconfiguration node.old-b: has Felix on old-b police cali…" in sees(world).text()


def test_without_typha_calico_node_itself_must_begin_with_the_prefix(tmp_path: Path):
    world = w.calico_world(tmp_path)
    world.drop("Deployment", "calico-typha")
    w.told(world.find("DaemonSet", "calico-node"), FELIX_INTERFACEPREFIX="cali,eni")
    evidence = sees(world)
    assert "daemonset calico-system/calico-node: looks for pods' interfaces under cali…" in evidence.text()
    w.told(world.find("DaemonSet", "calico-node"), FELIX_INTERFACEPREFIX="eni,cali")
    assert sees(world).verdict is Verdict.PASSED


def test_another_prefix_on_both_sides_is_well(tmp_path: Path):
    world = w.calico_world(tmp_path)
    w.told(world.find("DaemonSet", "aws-node"), AWS_VPC_K8S_CNI_VETHPREFIX="vpc")
    for kind, name in (("DaemonSet", "calico-node"), ("Deployment", "calico-typha")):
        w.told(world.find(kind, name), FELIX_INTERFACEPREFIX="vpc")
    assert sees(world).summary == "pods hang on vpc…, Felix polices vpc…"


@pytest.mark.parametrize(
    ("aws_node", "felix", "verdict"),
    [
        ({"ENABLE_POD_ENI": "true"}, "eni", Verdict.FAILED),
        ({"ENABLE_POD_ENI": "true"}, "eni,vlan", Verdict.PASSED),
        ({"ENABLE_POD_ENI": "true", "POD_SECURITY_GROUP_ENFORCING_MODE": "standard"}, "eni", Verdict.PASSED),
        ({"ENABLE_POD_ENI": "true", "POD_SECURITY_GROUP_ENFORCING_MODE": "strict"}, "eni", Verdict.FAILED),
        ({"ENABLE_POD_ENI": "false"}, "eni", Verdict.PASSED),
    ],
)
def test_branch_interfaces(aws_node: dict[str, str], felix: str, verdict: Verdict, tmp_path: Path):
    world = w.calico_world(tmp_path)
    w.told(world.find("DaemonSet", "aws-node"), **aws_node)
    w.told(world.find("DaemonSet", "calico-node"), FELIX_INTERFACEPREFIX=felix)
    world.find("Pod", "web-1")["metadata"]["annotations"] = {"vpc.amazonaws.com/pod-eni": "[]"}
    assert sees(world).verdict is verdict


@pytest.mark.parametrize("place", ["env", "envFrom"])
def test_a_prefix_that_stands_elsewhere_is_unknown(place: str, tmp_path: Path):
    world = w.calico_world(tmp_path)
    container = world.find("DaemonSet", "calico-node")["spec"]["template"]["spec"]["containers"][0]
    container.pop("env")
    taken = {"valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}
    container[place] = [{"name": "FELIX_INTERFACEPREFIX", **taken}] if place == "env" else [{"configMapRef": {}}]
    evidence = sees(world)
    assert evidence.verdict is Verdict.UNKNOWN
    assert "Write" in evidence.text()


# -- the next Kubernetes ----------------------------------------------------------------------------


def test_cilium_is_asked_as_well_once_it_runs(tmp_path: Path):
    world = w.calico_world(tmp_path)
    assert ask(world, CheckId.NEXT_KUBERNETES).summary == "Kubernetes 1.36 after 1.35: Calico v3.32.99"
    world.add(w.daemonset("cilium", "kube-system", 2, image="quay.io/cilium/cilium:v1.20.2"))
    evidence = ask(world, CheckId.NEXT_KUBERNETES)
    assert "Cilium v1.20.2 is tested with Kubernetes 1.32 to 1.35, not with 1.36" in evidence.text()
    assert evidence.verdict is Verdict.FAILED
