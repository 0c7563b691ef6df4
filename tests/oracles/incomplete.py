"""Worlds with objects missing: whatever is said of one must be true of the whole it was taken from.

`python -m tests.oracles.incomplete --cases 10000 --seed 1` makes that many and prints what became of them.
"""

# ruff: noqa: S311

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from netpol import Flow, PolicyError, Rest, UndecidableError, World, decide, from_objects
from netpol.compare import graded
from netpol.compare import prove as given
from netpol.model.values import NetworkSet, Policy, Tier
from netpol.model.world import Service, ServiceAccount, ServicePort
from netpol.translate.translation import translate
from tests.oracles import random_calico
from tests.oracles.random_shapes import LEAST, SHAPES, some, stored

TINY = random_calico.Shape(
    texts=False, icmp=False, six=False, odd_protocols=False, source_ports=False, services=True, named_ports=False
)
T = TypeVar("T")
_ENDS = ("8.8.8.8", "192.168.3.4", "169.254.169.254")


@dataclass
class Result:
    """How often what was said, and what of it is not true of the whole."""

    said: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    shapes: Counter[str] = field(default_factory=Counter)
    cases: int = 0

    def rare(self) -> list[str]:
        """The shapes that were in less than 1 % of the worlds."""
        return [name for name in SHAPES if self.shapes[name] < LEAST * self.cases]


def whole_world(rng: random.Random, shapes: Counter[str] | None = None) -> World:
    """A world with everything that can be missing: labelled namespaces and accounts, services, tiers, network sets.

    What it has of the counted shapes goes into `shapes`.
    """
    shape = replace(TINY, pod_nets=rng.random() < 0.2, tiers=rng.random() < 0.5, sets=rng.random() < 0.6)
    world = random_calico.world(rng, shape, policies=0, pod_count=rng.randint(1, 4))
    more = some(rng)
    objects = random_calico.PolicyMaker(rng, shape).objects(rng.randint(1, 3))
    objects, any_stored = stored(rng, [*objects, *(one for made in more.values() for one in made)])
    if shapes is not None:
        shapes.update([*more, *(["metadata in an annotation"] if any_stored else [])])
    if rng.random() < 0.4:
        service = {"services": {"name": "db", "namespace": "red"}}
        rule = {"action": rng.choice(("Allow", "Deny")), "destination": service}
        egress = [rule, {"action": rng.choice(("Allow", "Deny"))}]
        objects.append(random_calico.global_policy("by-service", {"selector": "app == 'web'", "egress": egress}))
    if rng.random() < 0.4:
        rule = {"action": "Deny", "source": {"serviceAccounts": {"selector": "kind == 'machine'"}}}
        objects.append(
            random_calico.global_policy(
                "by-account", {"order": 5, "ingress": [rule, {"action": rng.choice(("Allow", "Pass"))}]}
            )
        )
    accounts = tuple(
        ServiceAccount(namespace=n, name=a, labels={"kind": "machine"} if a == "robot" else {})
        for n in random_calico.NAMESPACES
        for a in ("default", "robot")
    )
    services = (Service(namespace="red", name="db", selector={"app": "db"}, ports=(ServicePort(port=80),)),)
    made = from_objects(objects).policies
    version = (3, 30) if "AdminNetworkPolicy" in more else (3, 32)
    return replace(world, policies=made, service_accounts=accounts, services=services, calico_version=version)


def without(world: World, rng: random.Random) -> World:
    """The world as files would hold it from which somebody left out some objects (policies are never left out)."""
    share = rng.choice((0.1, 0.3, 0.6, 1.0))

    def some(parts: Sequence[T]) -> tuple[T, ...]:
        return tuple(p for p in parts if rng.random() >= share)

    policies: list[Policy] = [p for p in world.policies if not _object(p) or rng.random() >= share]
    left = replace(
        world,
        policies=tuple(policies),
        pods=some(world.pods),
        namespaces=some(world.namespaces),
        service_accounts=some(world.service_accounts),
        services=some(world.services),
        rest=Rest.UNKNOWN,
    )
    if rng.random() < 0.3:
        left = replace(left, nodes=(), pods=tuple(replace(p, node="") for p in left.pods))
    return left.with_named()


def _object(policy: Policy) -> bool:
    return isinstance(policy, Tier | NetworkSet)


def changed(policies: Sequence[Policy], rng: random.Random) -> tuple[Policy, ...]:
    """The policies, perhaps in another order, perhaps without one of them."""
    out = list(policies)
    rng.shuffle(out)
    real = [p for p in out if not _object(p)]
    if real and rng.random() < 0.5:
        gone = rng.choice(real)
        out = [p for p in out if p is not gone]
    return tuple(out)


def case(rng: random.Random, result: Result, name: str) -> None:
    """One world, one way of leaving things out, and all that is said of it."""
    whole = whole_world(rng, result.shapes)
    result.cases += 1
    less = without(whole, rng)
    before = whole.enforced_by("calico")
    # --- a translation
    made = translate(less)
    result.said[f"translated {made.grade} {'complete' if made.complete else 'not complete'}"] += 1
    if made.complete:
        added = made.policies()
        if not given.prove(before, whole.with_policies(added).enforced_by("cilium")).equal:
            result.wrong.append(f"{name}: complete, and the whole world differs")
    # --- a proof, with a change that may matter
    kept = [p for p in whole.policies if _object(p)]
    other = changed(less.policies, rng)
    said = graded.prove(less.enforced_by("calico"), less.with_policies(other).enforced_by("calico"))
    result.said[f"proved {said.verdict}"] += 1
    if said.equal:
        after = whole.with_policies([*(p for p in other if not _object(p)), *kept]).enforced_by("calico")
        if not given.prove(before, after).equal:
            result.wrong.append(f"{name}: equal, and the whole world differs")
    # --- single flows
    ends = [str(p) for p in less.pods]
    for _ in range(3 if ends else 0):
        flow = Flow.of(rng.choice(ends), rng.choice((*ends, *_ENDS)), "TCP", rng.choice((80, 443)))
        if rng.random() < 0.5:
            flow = replace(flow, source=flow.destination, destination=flow.source)
        try:
            verdict = decide(less.enforced_by("calico"), flow)
        except UndecidableError:
            result.said["explained undecidable"] += 1
            continue
        result.said["explained"] += 1
        if verdict.allowed is not decide(before, flow).allowed:
            result.wrong.append(f"{name}: {flow} explained otherwise than in the whole world")


def run(seed: int, cases: int, first: int = 0) -> Result:
    """Cases `first` to `first + cases` of a seed; each is its own, so a run may be made in pieces."""
    result = Result()
    for number in range(first, first + cases):
        try:
            case(random.Random(f"{seed}-{number}"), result, f"case {number} of seed {seed}")
        except PolicyError as error:
            result.wrong.append(f"case {number} of seed {seed}: {error}")
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    result = run(arguments.seed, arguments.cases, arguments.first)
    for text in result.wrong[:10]:
        print(text, file=sys.stderr)
    told = {"cases": arguments.cases, "said": dict(sorted(result.said.items())), "shapes": dict(result.shapes)}
    print(json.dumps({**told, "rare": result.rare(), "wrong": len(result.wrong)}))
    return 1 if result.wrong or result.rare() else 0


if __name__ == "__main__":
    raise SystemExit(main())
