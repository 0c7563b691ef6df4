"""What Calico stores: metadata that stands in its annotation alone is read as Calico reads it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from kube.cluster import Cluster
from migration import manifests
from netpol import Flow, PolicyError, decide, from_objects, policies_from_objects, policies_from_text
from netpol.model.values import Tier
from operations.cluster import agreement, objects
from operations.guarding import freeze
from operations.survey.decisions.base import Seen
from operations.survey.decisions.calico import host_endpoints
from operations.survey.describe import calico, vpc_cni
from reading import METADATA
from tests.transport import Answering
from tests.unit.netpol.worlds import CLUSTER, gnp
from tests.unit.survey.cluster import gathered, settings

SPECS: dict[str, dict[str, Any]] = {
    "Tier": {"order": 5},
    "GlobalNetworkPolicy": {"selector": "all()", "types": ["Ingress"]},
    "NetworkPolicy": {"selector": "all()", "types": ["Egress"]},
    "StagedGlobalNetworkPolicy": {"selector": "all()", "types": ["Ingress"]},
    "StagedNetworkPolicy": {"selector": "all()", "types": ["Ingress"]},
    "GlobalNetworkSet": {"nets": ["10.9.0.0/16"]},
    "NetworkSet": {"nets": ["10.9.0.0/16"]},
    "HostEndpoint": {"node": "n1", "interfaceName": "*", "expectedIPs": ["10.1.0.1"]},
    "Profile": {"labelsToApply": {"a": "b"}},
}
NAMESPACED = {"NetworkPolicy", "StagedNetworkPolicy", "NetworkSet"}
OWNER = {"apiVersion": "operator.tigera.io/v1", "kind": "Installation", "name": "default", "uid": "u"}


def stored(kind: str, name: str = "x", *, kept: dict[str, Any] | None = None, **own: Any) -> dict[str, Any]:
    """As Calico's API server stores what came through `projectcalico.org/v3`."""
    meta: dict[str, Any] = {"name": name, **({"namespace": "red"} if kind in NAMESPACED else {}), **own}
    if kept is not None:
        meta["annotations"] = {**meta.get("annotations", {}), METADATA: json.dumps(kept)}
    return {"apiVersion": "crd.projectcalico.org/v1", "kind": kind, "metadata": meta, "spec": SPECS[kind]}


def plain(kind: str, **meta: Any) -> dict[str, Any]:
    own = {"name": "x", **({"namespace": "red"} if kind in NAMESPACED else {}), **meta}
    return {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": own, "spec": SPECS[kind]}


@pytest.mark.parametrize("kind", SPECS)
def test_an_object_of_each_kind_is_the_same_as_shown_and_as_stored(kind):
    said = {"labels": {"team": "a", "old": "new"}, "annotations": {"why": "b"}, "ownerReferences": [OWNER]}
    kept = {**said, "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    (shown,) = policies_from_objects([plain(kind, **said)])
    (read,) = policies_from_objects([stored(kind, kept=kept, labels={"old": "gone"})])
    assert read.meta.labels == said["labels"]
    assert read.meta.annotations == said["annotations"]
    assert read.meta.owners == ("operator.tigera.io/v1",)
    assert replace(read, meta=shown.meta) == shown
    (own,) = policies_from_objects([stored(kind, kept={}, labels={"own": "1"}, annotations={"mine": "2"})])
    assert (own.meta.labels, own.meta.annotations) == ({"own": "1"}, {"mine": "2"})


def test_a_policy_has_the_name_that_it_was_given_whatever_it_is_stored_as():
    (policy,) = policies_from_objects([stored("GlobalNetworkPolicy", "default.x", kept={"name": "x"})])
    assert (policy.meta.name, policy.meta.stored) == ("x", "default.x")


def test_a_deny_by_a_label_that_only_the_annotation_has_counts():
    deny = gnp("{selector: all(), egress: [{action: Deny, destination: {selector: zone == 'bad'}}, {action: Allow}]}")
    bad = stored("GlobalNetworkSet", kept={"labels": {"zone": "bad"}})
    world = from_objects(
        [bad, *(reader.value for reader in _readers(CLUSTER)), *(reader.value for reader in _readers(deny))]
    ).enforced_by("calico")
    assert not decide(world, Flow.of("red/web", "10.9.1.1", "TCP", 80)).allowed
    assert decide(world, Flow.of("red/web", "10.8.1.1", "TCP", 80)).allowed


def _readers(text: str) -> list[Any]:
    from netpol.read import documents  # noqa: PLC0415

    return documents.load_text(text)


@pytest.mark.parametrize(
    "text", ["{x", "[]", '{"labels": ["a"]}', '{"labels": {"a": 1}}', '{"ownerReferences": {}}', '{"name": 1}']
)
def test_an_annotation_that_holds_no_metadata_is_named(text):
    broken = stored("Tier")
    broken["metadata"]["annotations"] = {METADATA: text}
    with pytest.raises(PolicyError, match=METADATA):
        policies_from_objects([broken])
    assert objects.as_calico_reads(broken) is broken


def test_only_what_calico_stores_has_the_annotation_read():
    shown = plain("Tier", annotations={METADATA: "{x"})
    (tier,) = policies_from_objects([shown])
    assert isinstance(tier, Tier)
    (kubernetes,) = policies_from_text(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
        "metadata: {name: a, namespace: b, annotations: {projectcalico.org/metadata: '{x'}}\nspec: {podSelector: {}}"
    )
    assert kubernetes.meta.labels == {}


def test_what_the_operator_owns_is_known_by_the_owner_in_the_annotation():
    owned = stored("NetworkPolicy", "calico-system.default-deny", kept={"ownerReferences": [OWNER]})
    assert agreement.made_by_calico("NetworkPolicy", owned)
    assert not agreement.made_by_calico("NetworkPolicy", stored("NetworkPolicy", kept={}))
    # Calico shows the annotation's owners, whatever the stored object says besides.
    assert not agreement.made_by_calico("NetworkPolicy", stored("NetworkPolicy", kept={}, ownerReferences=[OWNER]))


def test_labels_in_the_annotation_alone_count_where_files_are_compared(tmp_path):
    (tmp_path / "calico").mkdir()
    (tmp_path / "calico" / "set.yaml").write_text(
        "apiVersion: crd.projectcalico.org/v1\nkind: GlobalNetworkSet\n"
        "metadata: {name: x, labels: {zone: bad, team: a}}\nspec: {nets: [10.9.0.0/16]}\n"
    )
    (manifest,) = manifests.load(tmp_path, "calico")
    said = {"labels": {"zone": "bad", "team": "a", "more": "m"}}
    assert agreement.differences(manifest, stored("GlobalNetworkSet", kept=said), {}) == []
    other = stored("GlobalNetworkSet", kept={"labels": {"zone": "good"}}, labels={"zone": "bad", "team": "a"})
    assert agreement.differences(manifest, other, {}) == ["metadata.labels.zone"]
    assert agreement.differences(manifest, stored("GlobalNetworkSet"), {}) == [
        "metadata.labels.team",
        "metadata.labels.zone",
    ]


def test_what_is_written_from_a_file_is_what_calico_reads_afterwards(tmp_path):
    (tmp_path / "calico").mkdir()
    (tmp_path / "calico" / "set.yaml").write_text(
        "apiVersion: crd.projectcalico.org/v1\nkind: GlobalNetworkSet\n"
        "metadata: {name: x, labels: {zone: good}}\nspec: {nets: [10.9.0.0/16]}\n"
    )
    (manifest,) = manifests.load(tmp_path, "calico")
    live = stored("GlobalNetworkSet", kept={"labels": {"zone": "bad", "more": "m"}, "ownerReferences": [OWNER]})
    sent: list[dict[str, Any]] = []

    def answer(method: str, path: str, *, body: Any = None, **_: Any) -> dict[str, Any]:
        sent.extend([body] if method == "PUT" else [])
        return live

    freeze.write(Cluster(lambda: Answering(answer)), manifest)
    (written,) = sent
    read = objects.as_calico_reads(written)["metadata"]
    assert (read["labels"], read["ownerReferences"]) == ({"zone": "good", "more": "m"}, [OWNER])


def test_an_automatic_host_endpoint_is_known_by_the_label_in_the_annotation():
    kept = {"labels": {"projectcalico.org/created-by": "calico-kube-controllers"}}
    found = gathered(custom={"hostendpoints": [stored("HostEndpoint", kept=kept)]})
    seen = Seen(
        gathered=found, settings=settings(), vpc_cni=vpc_cni(found), calico=calico(found), groups=(), subnets=()
    )
    assert "automatic" in host_endpoints(seen).found
