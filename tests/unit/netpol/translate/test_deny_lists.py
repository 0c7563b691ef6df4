"""A tier of deny lists that passes on the rest isolates nobody, however many policies come behind it."""

from __future__ import annotations

import pytest

from netpol import World, translate
from netpol.compare.prove import prove
from netpol.translate.translation import Translation
from tests.unit.netpol.worlds import docs, gnp, knp, tier, world

BLOCKED = "{action: Deny, source: {nets: [203.0.113.0/24]}}"
LISTS = docs(
    tier("security", 50),
    gnp("{tier: security, order: 10, selector: quarantine == 'true', ingress: [{action: Deny}]}", "quarantine"),
    gnp("{tier: security, order: 20, selector: app == 'db', ingress: [{action: Deny, source: {selector: role == 'job'}}]}", "jobs"),
    gnp(f"{{tier: security, order: 90, selector: all(), ingress: [{BLOCKED}, {{action: Pass}}]}}", "blocked"),
)  # fmt: skip


def after(where: World, result: Translation) -> World:
    return where.with_policies(result.policies()).enforced_by("cilium")


def isolating(result: Translation) -> list[str]:
    """Manifests that put a pod into default deny on ingress."""
    return [
        manifest["metadata"]["name"]
        for manifest in result.manifests
        for spec in (manifest["specs"] if "specs" in manifest else [manifest.get("spec", {})])
        if (spec.get("ingress") is not None or spec.get("ingressDeny") is not None)
        and spec.get("enableDefaultDeny", {}).get("ingress", True)
    ]


@pytest.mark.parametrize("teams", [0, 1, 4, 10])
def test_deny_lists_that_pass_on_the_rest_are_said_as_denies(teams: int):
    policies = [knp(f"{{podSelector: {{matchLabels: {{app: app-{i}, tier: t-{i}}}}}, ingress: [{{from: [{{podSelector: {{}}}}]}}]}}", f"team-{i}") for i in range(teams)]  # fmt: skip
    where = world(docs(LISTS, *policies))
    result = translate(where)
    assert result.complete, [str(r) for r in result.refused]
    assert set(isolating(result)) <= {"quarantine"}, "whoever is in quarantine, and nobody else"
    assert prove(where.enforced_by("calico"), after(where, result)).equal


def test_whom_only_some_policies_of_the_tier_pass_on_is_still_isolated_by_its_end():
    # `jobs` selects app == 'db' and says nothing of other sources: without a policy that passes them on, they end here.
    where = world(LISTS.replace("selector: all()", "selector: app == 'web'"))
    result = translate(where)
    assert result.complete, [str(r) for r in result.refused]
    assert "jobs" in " ".join(isolating(result))
    assert prove(where.enforced_by("calico"), after(where, result)).equal


def test_a_pass_for_some_traffic_only_does_not_spare_the_tiers_end():
    where = world(LISTS.replace("{action: Pass}", "{action: Pass, protocol: TCP}"))
    result = translate(where)
    assert prove(where.enforced_by("calico"), after(where, result)).equal or not result.complete
