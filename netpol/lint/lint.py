"""Findings about policies that are valid and yet not what somebody meant."""

from __future__ import annotations

from netpol.lint.calico import CalicoLint
from netpol.lint.cilium import cilium_findings
from netpol.lint.finding import Finding
from netpol.lint.forecast import forecast
from netpol.model.values import CiliumPolicy
from netpol.model.world import World

_ABOUT_ABSENCE = ("reaches-nothing", "no-such-tier", "selects-nothing")


def lint(world: World) -> tuple[Finding, ...]:
    """Everything worth saying about the world's policies, in the order of the files.

    Only of a whole world is it said that something is not there.

    Calico's and Kubernetes' policies are looked at as Calico decides them, Cilium's as Cilium does.

    >>> for finding in lint(load(["policies/", "cluster.yaml"])): print(finding)    # doctest: +SKIP
    """
    out: list[Finding] = []
    if any(not isinstance(p, CiliumPolicy) for p in world.policies):
        out += CalicoLint(world.enforced_by("calico")).findings()
        out += forecast(world)
    if any(isinstance(p, CiliumPolicy) for p in world.policies):
        out += cilium_findings(world.enforced_by("cilium"))
    if not world.whole:
        # What seems to reach nothing may be meant for what was not given, which is said by itself.
        out = [f for f in out if f.code not in _ABOUT_ABSENCE]
    # Whoever reads this cannot change what the operator makes.
    theirs = {str(p.meta) for p in world.policies if p.meta.of_operator}
    unique = dict.fromkeys(f for f in out if f.policy not in theirs)
    return tuple(sorted(unique, key=lambda f: (f.place.file, f.place.line, f.code, f.rule)))
