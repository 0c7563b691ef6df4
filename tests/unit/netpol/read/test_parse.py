"""Reading files: every kind, and every fault with file, line, field and reason."""

# ruff: noqa: RUF043, PT012, PLC0415

from __future__ import annotations

import pytest

from netpol import PolicyError, load, policies_from_objects, policies_from_text
from netpol.model.values import CalicoPolicy, CiliumPolicy, ClusterPolicy
from tests.unit.netpol.worlds import ccnp, cnp, docs, gnp, knp, np, tier

EVERY_KIND = docs(
    tier("t", 5),
    gnp("{selector: all()}"),
    np("{selector: all()}"),
    knp("{podSelector: {}}"),
    ccnp("{endpointSelector: {}, ingress: [{}]}"),
    cnp("{endpointSelector: {}, ingress: [{}]}"),
    "apiVersion: projectcalico.org/v3\nkind: StagedNetworkPolicy\nmetadata: {name: s, namespace: red}\nspec: {}",
    "apiVersion: projectcalico.org/v3\nkind: StagedGlobalNetworkPolicy\nmetadata: {name: s}\nspec: {}",
    "apiVersion: projectcalico.org/v3\nkind: StagedKubernetesNetworkPolicy\nmetadata: {name: s, namespace: red}\n"
    "spec: {podSelector: {}}",
    "apiVersion: projectcalico.org/v3\nkind: NetworkSet\nmetadata: {name: s, namespace: red}\nspec: {nets: [10.0.0.1]}",
    "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: s}\nspec: {nets: [10.0.0.0/8]}",
    "apiVersion: projectcalico.org/v3\nkind: Profile\nmetadata: {name: p}\nspec: {labelsToApply: {a: b}}",
    "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: h}\nspec: {node: n1, interfaceName: '*'}",
    "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: g}\nspec: {externalCIDRs: [10.0.0.0/8]}",
    "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: k}\n"
    "spec: {tier: Admin, priority: 1, subject: {namespaces: {}}}",
)

FAULTS = [
    (gnp("{selectr: all()}"), 4, "spec.selectr", "unknown field"),
    (gnp("{selector: 'app = x'}"), 4, "spec.selector", "expected =="),
    (gnp("{order: high}"), 4, "spec.order", "must be a number"),
    (gnp("{types: [In]}"), 4, "spec.types[0]", "not one of Ingress, Egress"),
    (gnp("{ingress: [{action: allow}]}"), 4, "spec.ingress[0].action", "not one of Allow, Deny, Log, Pass"),
    (gnp("{ingress: [{action: Allow, protocol: TPC}]}"), 4, "spec.ingress[0].protocol", "'TPC' is not"),
    (
        gnp("{egress: [{action: Allow, destination: {ports: [80]}}]}"),
        4,
        "spec.egress[0].destination",
        "need protocol",
    ),
    (
        gnp("{egress: [{action: Allow, protocol: TCP, destination: {ports: ['90:80']}}]}"),
        4,
        "ports[0]",
        "a range 'a:b' within",
    ),
    (gnp("{egress: [{action: Allow, destination: {nets: [10.0.0.0/33]}}]}"), 4, "nets[0]", "not a CIDR"),
    (
        gnp("{egress: [{action: Allow, destination: {domains: [a.b]}}]}"),
        4,
        "destination.domains",
        "unknown field",
    ),
    (
        gnp("{egress: [{action: Allow, protocol: ICMP, icmp: {code: 1}}]}"),
        4,
        "icmp.code",
        "a code needs a type",
    ),
    (gnp("{egress: [{action: Allow, icmp: {type: 1}}]}"), 4, "spec.egress[0].protocol", "need protocol ICMP"),
    (gnp("{preDNAT: true}"), 4, "spec.applyOnForward", "need applyOnForward"),
    (np("{selector: all()}", namespace="''"), 3, "metadata.namespace", "is required"),
    (knp("{}"), 4, "spec.podSelector", "is required"),
    (knp("{podSelector: {}, ingress: [{from: [{}]}]}"), 4, "spec.ingress[0].from[0]", "a peer needs"),
    (knp("{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 70}]}]}"), 4, "endPort", "is below port"),
    (
        knp("{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/8]}}]}]}"),
        4,
        "except[0]",
        "is not inside",
    ),
    (knp("{podSelector: {matchLabels: {on: yes}}}"), 4, "matchLabels", "put it in quotes"),
    (knp("{podSelector: {}, ingress: [{ports: [{port: '80'}]}]}"), 4, "port", "which has a letter"),
    (cnp("{endpointSelector: {}}"), 4, "spec", "at least one of"),
    (cnp("{endpointSelector: {}, egres: [{}]}"), 4, "spec.egres", "unknown field"),
    (cnp("{ingress: [{}]}"), 4, "spec", "exactly one of endpointSelector and nodeSelector"),
    (cnp("{nodeSelector: {}, ingress: [{}]}"), 4, "spec.nodeSelector", "only a CiliumClusterwide"),
    (
        cnp("{endpointSelector: {}, ingress: [{fromEntities: [world], fromCIDR: [10.0.0.0/8]}]}"),
        4,
        "spec.ingress[0].fromCIDR",
        "cannot share a rule",
    ),
    (
        cnp("{endpointSelector: {}, ingress: [{fromEntities: [wrld]}]}"),
        4,
        "fromEntities[0]",
        "'wrld' is not one of",
    ),
    (
        cnp("{endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: 80}]}]}]}"),
        4,
        "port",
        "must be a string",
    ),
    (
        cnp('{endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: "80"}]}], icmps: [{fields: [{type: 8}]}]}]}'),
        4,
        "icmps",
        "cannot share a rule",
    ),
    (
        cnp('{endpointSelector: {}, egressDeny: [{toPorts: [{ports: [{port: "80"}], rules: {http: [{}]}}]}]}'),
        4,
        "rules",
        "not allowed in a deny rule",
    ),
    (cnp("{endpointSelector: {}, ingress: [{fromRequires: [{}]}]}"), 4, "spec.ingress[0]", "gone since"),
    ("apiVersion: v1\nkind: NetworkPolicy\nmetadata: {name: a}", 2, "kind", "is not a policy kind"),
    ("apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: a\n", 4, "", "expected"),
    ("a: 1\na: 2", 2, "", "given twice"),
    ("- 1", 1, "", "an object is a mapping"),
]


def test_every_kind_is_read():
    found = policies_from_text(EVERY_KIND)
    assert len(found) == EVERY_KIND.count("kind:") - 1  # the staged Kubernetes policy decides nothing
    assert {type(p).__name__ for p in found} >= {
        "CalicoPolicy",
        "Tier",
        "NetworkSet",
        "Profile",
        "HostEndpoint",
    }
    assert any(isinstance(p, CiliumPolicy) for p in found)
    assert any(isinstance(p, ClusterPolicy) for p in found)


@pytest.mark.parametrize(("text", "line", "field", "reason"), FAULTS)
def test_a_fault_is_told_with_file_line_field_and_reason(tmp_path, text, line, field, reason):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(PolicyError) as caught:
        policies_from_text(text)
    assert caught.value.place.line == line, str(caught.value)
    assert field in caught.value.field
    assert reason in caught.value.reason
    with pytest.raises(PolicyError, match="bad.yaml:"):
        load([file])


def test_the_line_of_a_nested_field_is_its_own():
    text = gnp(
        "\n  selector: all()\n  egress:\n  - action: Allow\n    destination:\n      nets:\n      - 10.0.0.0/8\n      - nonsense"
    )
    with pytest.raises(PolicyError) as caught:
        policies_from_text(text)
    assert caught.value.place.line == 11
    assert caught.value.field == "spec.egress[0].destination.nets[1]"


@pytest.mark.parametrize(
    ("api", "rules", "directions"),
    [
        ("projectcalico.org/v3", "", {"ingress"}),
        ("projectcalico.org/v3", "ingress: [{action: Allow}]", {"ingress"}),
        ("projectcalico.org/v3", "egress: [{action: Allow}]", {"egress"}),
        (
            "projectcalico.org/v3",
            "ingress: [{action: Allow}], egress: [{action: Allow}]",
            {"ingress", "egress"},
        ),
        ("crd.projectcalico.org/v1", "", {"ingress", "egress"}),
        ("crd.projectcalico.org/v1", "egress: [{action: Allow}]", {"ingress", "egress"}),
        ("crd.projectcalico.org/v1", "egress: [{action: Allow}], types: [Egress]", {"egress"}),
    ],
)
def test_missing_types_mean_different_things_in_the_two_apis(api, rules, directions):
    (policy,) = policies_from_text(gnp("{" + rules + "}").replace("projectcalico.org/v3", api))
    assert isinstance(policy, CalicoPolicy)
    assert policy.directions == directions


def test_a_list_is_unwrapped_and_server_fields_are_no_faults():
    item = {
        "apiVersion": "projectcalico.org/v3",
        "kind": "GlobalNetworkPolicy",
        "metadata": {"name": "g", "uid": "1", "resourceVersion": "2", "managedFields": []},
        "spec": {"selector": "all()"},
    }
    assert len(policies_from_objects([{"kind": "List", "apiVersion": "v1", "items": [item, item]}])) == 2


def test_a_policy_given_twice_is_a_fault():
    with pytest.raises(PolicyError, match="given twice, first at"):
        from netpol import from_text

        from_text(docs(gnp("{}"), gnp("{}")))
