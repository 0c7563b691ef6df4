"""What the Tigera operator will say about a Calico that it is to take over, told beforehand and all at once."""

from __future__ import annotations

import pytest

from migration.rules.conversion import refusals
from migration.rules.felix_fields import carried
from tests.oracles.random_handover import Case, as_the_chart_leaves_it


def test_the_chart_as_it_is_has_to_be_prepared_and_then_goes_over():
    told = [f"{r.object} {r.problem}" for r in refusals(as_the_chart_leaves_it().found())]
    assert told == [
        "daemonset calico-node has the annotations meta.helm.sh/release-name, meta.helm.sh/release-namespace",
        "deployment calico-typha has the annotations meta.helm.sh/release-name, meta.helm.sh/release-namespace",
        "daemonset calico-node has an affinity",
    ]
    assert refusals(Case().found()) == ()


def test_all_that_is_wrong_is_told_at_once():
    case = as_the_chart_leaves_it()
    container = case.node["spec"]["template"]["spec"]["containers"][0]
    container["env"] += [{"name": "HTTP_PROXY", "value": "p"}, {"name": "FELIX_HEALTHPORT", "value": "many"}]
    told = "\n".join(r.problem for r in refusals(case.found()))
    assert "has HTTP_PROXY in container calico-node" in told
    assert "FELIX_HEALTHPORT does not go over into a FelixConfiguration: 'many' is no whole number" in told
    assert "has an affinity" in told


@pytest.mark.parametrize(
    ("variable", "text", "why"),
    [
        ("FELIX_IPV6SUPPORT", "false", ""),
        ("FELIX_IPV6SUPPORT", "no", "'no' is no boolean"),
        ("FELIX_ROUTEREFRESHINTERVAL", "90", "'90' is no duration, such as 90s"),
        ("FELIX_KUBENODEPORTRANGES", "30000:32767", ""),
        ("FELIX_ROUTETABLERANGE", "65", "'65' is no range, such as 65-99"),
        ("FELIX_TYPHAADDR", "a:1", "no field of FelixConfiguration is called so, or it holds something else than one text"),
    ],
)  # fmt: skip
def test_what_of_felix_goes_over(variable: str, text: str, why: str):
    assert carried(variable, text) == why
