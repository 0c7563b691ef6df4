"""Random Calico and Kubernetes policies against the other analyzer."""

# ruff: noqa: S311, PLW2901

from __future__ import annotations

import argparse
import ipaddress
import json
import random
import sys
from collections import Counter
from dataclasses import dataclass, field, replace

from netpol import from_objects
from netpol.decide.calico_kubernetes import from_kubernetes
from netpol.decide.flow import judge
from netpol.model.packets import AddressEnd, Packet, PodEnd, party
from netpol.model.ranges import IPNetwork, Ranges, of_networks, to_networks
from netpol.model.values import (
    ICMP,
    SCTP,
    TCP,
    UDP,
    CalicoPolicy,
    CalicoRule,
    Entity,
    KubernetesPolicy,
    NetworkSet,
    Policy,
)
from netpol.model.world import World
from tests.oracles import random_calico
from tests.oracles.nca_oracle import NcaOracle
from tests.oracles.random_shapes import LEAST, some, stored

SHARED = ("allow list", "host endpoints only", "metadata in an annotation")
"""Shapes that the analyzer need not know, or knows."""
_OUTSIDE = ("8.8.8.8", "169.254.169.254", "192.168.1.1", "172.16.5.5", "10.0.0.200")


@dataclass
class Result:
    seed: int
    cases: int = 0
    sets: int = 0
    allowed: int = 0
    explained: int = 0
    unanswered: list[str] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)
    shapes: Counter[str] = field(default_factory=Counter)

    def rare(self) -> list[str]:
        """The shapes that were in less than 1 % of the policy sets."""
        return [name for name in SHARED if self.shapes[name] < LEAST * self.sets]


def run(seed: int, sets: int, *, flows: int = 60) -> Result:
    """`sets` random policy sets, each with `flows` random flows."""
    result = Result(seed)
    with NcaOracle() as oracle:
        for i in range(sets):
            rng = random.Random(f"{seed}/{i}")
            shape = random_calico.PLAIN_SETS if i % 4 == 3 else random_calico.PLAIN
            maker = random_calico.PolicyMaker(rng, shape)
            objects = maker.objects(rng.randint(1, 4))
            more = {name: made for name, made in some(rng).items() if name in SHARED}
            objects += more.get("allow list", [])
            # The analyzer is told neither how an object is stored nor of what pods never see.
            ours, any_stored = stored(rng, [*objects, *more.get("host endpoints only", [])])
            world = _world(rng, ours)
            assumed = blind(world)
            ends = [PodEnd(p.namespace, p.name) for p in world.pods]
            others = [AddressEnd(ipaddress.ip_address(a)) for a in _OUTSIDE]
            tries = []
            for _ in range(flows):
                first, second = rng.choice(ends), rng.choice([*ends, *others])
                if first == second:
                    continue
                pair = (first, second) if rng.random() < 0.5 else (second, first)
                tries.append((*pair, _packet(rng)))
            told = [(str(a), str(b), p.protocol, p.port, p.icmp_type, p.icmp_code) for a, b, p in tries]
            answer = oracle.verdicts(objects, world.pods, world.namespaces, told)
            if "error" in answer:
                result.unanswered.append(answer["error"] + answer.get("trace", "")[-300:])
                continue
            result.sets += 1
            result.shapes.update([*more, *(["metadata in an annotation"] if any_stored else [])])
            for (a, b, packet), truth in zip(tries, answer["verdicts"], strict=True):
                path = judge(world, party(world, a, 4), party(world, b, 4), packet)
                result.cases += 1
                result.allowed += truth
                if path.allowed != truth:
                    if judge(assumed, party(assumed, a, 4), party(assumed, b, 4), packet).allowed == truth:
                        result.explained += 1
                        continue
                    text = {"set": i, "path": str(path), "analyzer": truth, "policies": objects}
                    result.disagreements.append(json.dumps(text))
    return result


def blind(world: World) -> World:
    """The same policies with every net cut around the pods: the analyzer's networks never hold pods.

    Its documentation calls them external; a disagreement is explained exactly when our decision under this one
    assumption is the analyzer's.
    """
    pods = Ranges.of((int(a), int(a)) for p in world.pods for a in p.addresses if a.version == 4)

    def cut(nets: tuple[IPNetwork, ...]) -> tuple[IPNetwork, ...]:
        return tuple(n for net in nets for n in to_networks(of_networks((net,), 4) - pods, 4))

    def entity(one: Entity) -> Entity:
        return replace(one, nets=cut(one.nets), not_nets=cut(one.not_nets))

    def rules(some: tuple[CalicoRule, ...]) -> tuple[CalicoRule, ...]:
        return tuple(replace(r, source=entity(r.source), destination=entity(r.destination)) for r in some)

    out: list[Policy] = []
    for policy in world.policies:
        if isinstance(policy, KubernetesPolicy):
            policy = replace(from_kubernetes(policy), meta=policy.meta)
        if isinstance(policy, CalicoPolicy):
            policy = replace(policy, ingress=rules(policy.ingress), egress=rules(policy.egress))
        elif isinstance(policy, NetworkSet):
            policy = replace(policy, nets=cut(policy.nets))
        out.append(policy)
    return world.with_policies(out)


def _world(rng: random.Random, objects: list[dict[str, object]]) -> World:
    base = random_calico.world(rng, random_calico.PLAIN, policies=0)
    return base.with_policies(from_objects(objects).policies).enforced_by("calico")


def _packet(rng: random.Random) -> Packet:
    protocol = rng.choice((TCP, TCP, UDP, SCTP, ICMP, 47))
    if protocol == ICMP:
        return Packet(4, ICMP, icmp_type=rng.choice((0, 3, 8)), icmp_code=rng.choice((0, 1)))
    return Packet(4, protocol, port=rng.choice((53, 79, 80, 443, 8080, 9000, 22)) if protocol != 47 else 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    result = run(arguments.seed, arguments.sets)
    for text in result.disagreements[:5]:
        print(text, file=sys.stderr)
    print(
        json.dumps(
            {
                "seed": result.seed,
                "sets": result.sets,
                "cases": result.cases,
                "allowed_share": round(result.allowed / max(result.cases, 1), 3),
                "unanswered": len(result.unanswered),
                "explained": result.explained,
                "disagreements": len(result.disagreements),
                "shapes": dict(result.shapes),
                "rare": result.rare(),
            }
        )
    )
    return 1 if result.disagreements or result.rare() else 0


if __name__ == "__main__":
    raise SystemExit(main())
