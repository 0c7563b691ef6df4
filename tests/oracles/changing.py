"""Worlds that change: what is proved after each change, against a proof from scratch.

`python -m tests.oracles.changing --sequences 1000 --seed 1` makes that many sequences and prints what became of them.
"""

# ruff: noqa: S311

from __future__ import annotations

import argparse
import ipaddress
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from netpol import UndecidableError, World, from_objects
from netpol.compare.again.proving import Proving
from netpol.compare.prove import Equality, prove
from netpol.decide.flow import judge
from netpol.model.values import AdminPolicy, CalicoPolicy, CiliumPolicy, ClusterPolicy, KubernetesPolicy, Policy
from netpol.model.world import Engine, NamedPort, Pod, Recognition, Service, ServiceAccount, ServicePort
from tests.oracles import random_calico, random_cilium

SHAPE = random_calico.Shape(services=False)
CHANGES = 6
"""In one sequence."""
Pair = tuple[World, World]
_SPEAKING = (KubernetesPolicy, CalicoPolicy, CiliumPolicy, ClusterPolicy, AdminPolicy)


@dataclass
class Result:
    """How proofs after changes ended, and where one of them is not that of a proof from scratch."""

    said: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Changes:
    """A pair of worlds, and random changes to it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.kind = rng.choice(("calico", "migration", "mixed", "cilium"))
        base, self.pool = self._cilium() if self.kind == "cilium" else self._calico()
        silent = [p for p in base.policies if not isinstance(p, _SPEAKING)]
        mine = rng.sample(self.pool, k=rng.randint(0, len(self.pool)))
        base = base.with_policies([*silent, *mine])
        self.pair: Pair = self._engines(base)
        if rng.random() < 0.2:
            self.pair = self._policies(self.pair, one_sided=True)

    def _calico(self) -> tuple[World, list[Policy]]:
        rng = self.rng
        shape = replace(
            SHAPE,
            six=rng.random() < 0.2,
            source_ports=rng.random() < 0.2,
            pod_nets=rng.random() < 0.5,
            sets=rng.random() < 0.5,
            kubernetes=True,
        )
        if self.kind != "calico":
            shape = replace(shape, tiers=False)
        base = random_calico.world(rng, shape, policies=8, pod_count=rng.choice((4, 9, 14)))
        accounts = tuple(
            ServiceAccount(namespace=n, name=a, labels={"kind": "machine"} if a == "robot" else {})
            for n in random_calico.NAMESPACES
            for a in ("default", "robot")
        )
        services = (Service(namespace="red", name="db", selector={"app": "db"}, ports=(ServicePort(port=80),)),)
        extra: list[Policy] = []
        if rng.random() < 0.3:
            rule = {"action": "Allow", "destination": {"services": {"name": "db", "namespace": "red"}}}
            extra += from_objects(
                [random_calico.global_policy("by-service", {"selector": "app == 'web'", "egress": [rule]})]
            ).policies
        if rng.random() < 0.3:
            rule = {"action": "Deny", "source": {"serviceAccounts": {"selector": "kind == 'machine'"}}}
            extra += from_objects(
                [random_calico.global_policy("by-account", {"order": 5, "ingress": [rule, {"action": "Allow"}]})]
            ).policies
        base = replace(base, service_accounts=accounts, services=services)
        speaking: list[Policy] = [p for p in (*base.policies, *extra) if isinstance(p, _SPEAKING)]
        if self.kind != "calico":
            speaking = [p for p in speaking if isinstance(p, KubernetesPolicy)]
        return base, speaking

    def _cilium(self) -> tuple[World, list[Policy]]:
        base = next(random_cilium.cases(self.rng.randrange(1 << 30))).world
        return base, [p for p in base.policies if isinstance(p, _SPEAKING)]

    def _engines(self, base: World) -> Pair:
        if self.kind == "cilium":
            return base, base.with_policies(self.rng.sample(base.policies, k=len(base.policies)))
        before = base.enforced_by("calico")
        if self.kind == "calico":
            return before, before.with_policies(self.rng.sample(base.policies, k=len(base.policies)))
        if self.kind == "migration":
            return before, base.enforced_by("cilium")
        first, *rest = before.nodes
        seen = self.rng.choice((Recognition.BRIDGE, Recognition.WORLD))
        moved = [replace(n, engines=frozenset((Engine.CILIUM,)), recognised=Recognition.CILIUM) for n in rest]
        return before, replace(before, nodes=(replace(first, recognised=seen), *moved))

    # --- changes
    def change(self) -> None:
        """One change, mostly of both worlds alike."""
        kinds: list[tuple[int, Callable[[Pair], Pair]]] = [
            (3, self._come),
            (3, self._go),
            (2, self._relabel),
            (1, self._relabel_namespace),
            (1, self._relabel_account),
            (4, lambda pair: self._policies(pair, one_sided=self.rng.random() < 0.3)),
            (2, self._agree),
            (2, self._node_comes),
            (1, self._node_goes),
            (1, self._node_changes),
        ]
        for _ in range(self.rng.choice((1, 1, 1, 2))):
            (chosen,) = self.rng.choices([k for _, k in kinds], [w for w, _ in kinds])
            self.pair = chosen(self.pair)

    def _pods(self, pair: Pair, pods: Sequence[Pod]) -> Pair:
        return replace(pair[0], pods=tuple(pods)), replace(pair[1], pods=tuple(pods))

    def _come(self, pair: Pair) -> Pair:
        rng, pods = self.rng, list(pair[0].pods)
        like = rng.choice(pods) if pods else Pod(namespace="red", name="x", node=pair[0].nodes[0].name)
        taken = {a for pod in pods for a in pod.addresses}
        addresses = tuple(_beside(a, taken) for a in like.addresses)
        made = replace(like, name=f"q{rng.randrange(10**6)}", addresses=addresses)
        if rng.random() < 0.6:
            labels = {k: rng.choice(v) for k, v in random_calico.LABELS.items() if rng.random() < 0.7}
            made = replace(made, labels=labels, node=rng.choice(pair[0].nodes).name)
        if rng.random() < 0.3:
            made = replace(made, ports=(NamedPort(name="http", protocol=6, number=rng.choice(random_calico.PORTS)),))
        pods.insert(rng.randrange(len(pods) + 1), made)
        return self._pods(pair, pods)

    def _go(self, pair: Pair) -> Pair:
        pods = list(pair[0].pods)
        if len(pods) > 1:
            pods.pop(self.rng.randrange(len(pods)))
        return self._pods(pair, pods)

    def _relabel(self, pair: Pair) -> Pair:
        rng, pods = self.rng, list(pair[0].pods)
        at = rng.randrange(len(pods))
        key = rng.choice(tuple(random_calico.LABELS))
        labels = {k: v for k, v in pods[at].labels.items() if k != key}
        if rng.random() < 0.7:
            labels[key] = rng.choice(random_calico.LABELS[key])
        pods[at] = replace(pods[at], labels=labels)
        return self._pods(pair, pods)

    def _relabel_namespace(self, pair: Pair) -> Pair:
        spaces = list(pair[0].namespaces)
        if not spaces:
            return pair
        at = self.rng.randrange(len(spaces))
        team = self.rng.choice(("red", "blue", "green"))
        spaces[at] = replace(spaces[at], labels={**spaces[at].labels, "team": team})
        return replace(pair[0], namespaces=tuple(spaces)), replace(pair[1], namespaces=tuple(spaces))

    def _relabel_account(self, pair: Pair) -> Pair:
        accounts = [
            replace(a, labels={"kind": self.rng.choice(("machine", "person"))}) if self.rng.random() < 0.5 else a
            for a in pair[0].service_accounts
        ]
        return replace(pair[0], service_accounts=tuple(accounts)), replace(pair[1], service_accounts=tuple(accounts))

    def _node_comes(self, pair: Pair) -> Pair:
        """One like another, perhaps at an address that a policy names."""
        rng = self.rng
        like, name = rng.choice(pair[0].nodes).name, f"n{rng.randrange(10**6)}"
        taken = {a for w in pair for n in w.nodes for a in n.addresses} | {a for p in pair[0].pods for a in p.addresses}
        addresses = tuple(_beside(a, taken) for a in pair[0].node_by_name[like].addresses)
        if rng.random() < 0.3:
            addresses = (ipaddress.ip_address(f"10.{rng.randrange(3)}.{rng.randrange(3)}.{rng.randrange(9)}"),)
        made = [replace(w.node_by_name[like], name=name, addresses=addresses) for w in pair]
        first, second = (replace(w, nodes=(*w.nodes, n)) for w, n in zip(pair, made, strict=True))
        if rng.random() < 0.5:
            return first, second
        moved = [replace(p, node=name) if rng.random() < 0.3 else p for p in pair[0].pods]
        return self._pods((first, second), moved)

    def _node_goes(self, pair: Pair) -> Pair:
        """And its pods with it, or to another."""
        if len(pair[0].nodes) < 2:
            return pair
        gone, other = self.rng.sample([n.name for n in pair[0].nodes], 2)
        stay = self.rng.random() < 0.5
        pods = [replace(p, node=other) if p.node == gone else p for p in pair[0].pods if stay or p.node != gone]
        first, second = self._pods(pair, pods or [replace(pair[0].pods[0], node=other)])
        first, second = (replace(w, nodes=tuple(n for n in w.nodes if n.name != gone)) for w in (first, second))
        return first, second

    def _node_changes(self, pair: Pair) -> Pair:
        """It has another address, or another label."""
        name = self.rng.choice(pair[0].nodes).name
        address = ipaddress.ip_address(f"10.{self.rng.randrange(3)}.0.{self.rng.randrange(9)}")
        said: dict[str, Any] = {"labels": {"zone": self.rng.choice("ab")}}
        if self.rng.random() < 0.5:
            said = {"addresses": (address,)}
        first, second = (
            replace(w, nodes=tuple(replace(n, **said) if n.name == name else n for n in w.nodes)) for w in pair
        )
        return first, second

    def _policies(self, pair: Pair, *, one_sided: bool) -> Pair:
        """A policy comes, goes, or says what another one said."""
        rng = self.rng
        if not self.pool:
            return pair
        one, other = rng.choice(self.pool), rng.choice(self.pool)
        if type(one) is type(other) and rng.random() < 0.5:
            one = replace(other, meta=one.meta)
        goes = rng.random() < 0.4
        sides = (rng.randrange(2),) if one_sided else (0, 1)
        out = list(pair)
        for side in sides:
            rest = [p for p in pair[side].policies if p.meta != one.meta or type(p) is not type(one)]
            out[side] = pair[side].with_policies(rest if goes else [*rest, one])
        return out[0], out[1]

    def _agree(self, pair: Pair) -> Pair:
        """Both worlds have the same policies again."""
        return pair[0], pair[1].with_policies(pair[0].policies)


def run(seed: int, result: Result) -> None:
    """One sequence of changes."""
    rng = random.Random(seed)
    try:
        changes = Changes(rng)
        proving = Proving(*changes.pair)
    except UndecidableError:
        result.said["undecidable"] += 1
        return
    for turn in range(CHANGES):
        changes.change()
        try:
            wanted = prove(*changes.pair)
        except UndecidableError:
            result.said["undecidable"] += 1
            return
        found = proving.change(*changes.pair)
        result.said[f"{changes.kind}: {'from scratch' if proving.touched.anew else 'what is touched'}"] += 1
        result.said[str(found.verdict)] += 1
        if found.verdict is not wanted.verdict or found.assumptions != wanted.assumptions:
            result.wrong.append(f"seed {seed} turn {turn}: {found} instead of {wanted}; {proving.touched}")
            return
        example = found.counterexample
        if (example is None) is not (found.verdict is Equality.EQUAL):
            result.wrong.append(f"seed {seed} turn {turn}: a verdict without its flow")
        elif example is not None:
            ends = example.before.ends, example.after.ends
            verdicts = [judge(w, *e, example.packet).allowed for w, e in zip(changes.pair, ends, strict=True)]
            if verdicts[0] is verdicts[1]:
                result.wrong.append(f"seed {seed} turn {turn}: {example} is no difference")


def _beside(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, taken: set[ipaddress.IPv4Address | ipaddress.IPv6Address]
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    while address in taken:
        address += 1
    return address


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.0, help="stop after that many; 0: when all are done")
    arguments = parser.parse_args()
    result, started, done = Result(), time.monotonic(), 0
    for seed in range(arguments.seed, arguments.seed + arguments.sequences):
        run(seed, result)
        done += 1
        if arguments.seconds and time.monotonic() - started > arguments.seconds:
            break
    for line in result.wrong[:5]:
        print(line, file=sys.stderr)
    print(json.dumps({"sequences": done, "wrong": len(result.wrong), "said": dict(result.said.most_common())}))
    return 1 if result.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
