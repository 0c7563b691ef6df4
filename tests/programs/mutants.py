"""Small faults for translations: each operator changes one thing that a person could get wrong.

`python -m tests.programs.mutants --mutants 1000 --seed 1` makes that many and prints what became of them.
"""

# ruff: noqa: S311

from __future__ import annotations

import argparse
import copy
import ipaddress
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from netpol import PolicyError, World, from_objects
from netpol.compare.prove import prove
from netpol.compare.universe import Universe
from netpol.translate.translation import translate
from tests.oracles import brute, random_calico

TINY = replace(random_calico.SAYABLE, named_ports=False)

Manifest = dict[str, Any]
SIDES = ("ingress", "egress", "ingressDeny", "egressDeny")


def _specs(manifest: Manifest) -> list[dict[str, Any]]:
    return manifest["specs"] if "specs" in manifest else [manifest["spec"]]


def _rules(manifest: Manifest) -> Iterator[tuple[dict[str, Any], str, int, dict[str, Any]]]:
    for spec in _specs(manifest):
        for side in SIDES:
            for i, rule in enumerate(spec.get(side, ())):
                yield spec, side, i, rule


def _pick(rng: random.Random, items: list[Any]) -> Any:
    return rng.choice(items) if items else None


def drop_rule(rng: random.Random, manifest: Manifest) -> bool:
    found = _pick(rng, [r for r in _rules(manifest) if len(r[0][r[1]]) > 1])
    if found is None:
        return False
    spec, side, i, _ = found
    del spec[side][i]
    return True


def drop_spec(rng: random.Random, manifest: Manifest) -> bool:
    if len(manifest.get("specs", ())) < 2:
        return False
    manifest["specs"].pop(rng.randrange(len(manifest["specs"])))
    return True


def allow_becomes_deny(rng: random.Random, manifest: Manifest) -> bool:
    return _flip(rng, manifest, ("ingress", "egress"))


def deny_becomes_allow(rng: random.Random, manifest: Manifest) -> bool:
    return _flip(rng, manifest, ("ingressDeny", "egressDeny"))


def _flip(rng: random.Random, manifest: Manifest, sides: tuple[str, ...]) -> bool:
    found = _pick(rng, [r for r in _rules(manifest) if r[1] in sides])
    if found is None:
        return False
    spec, side, i, rule = found
    other = side.removesuffix("Deny") if side.endswith("Deny") else side + "Deny"
    spec.setdefault(other, []).append(rule)
    del spec[side][i]
    if not spec[side]:
        del spec[side]
    return True


def other_direction(rng: random.Random, manifest: Manifest) -> bool:
    found = _pick(rng, [r for r in _rules(manifest) if r[3]])
    if found is None:
        return False
    spec, side, i, rule = found
    swap = {
        "ingress": "egress",
        "egress": "ingress",
        "ingressDeny": "egressDeny",
        "egressDeny": "ingressDeny",
    }
    turned = {
        ("to" + k[4:] if k.startswith("from") else "from" + k[2:] if k.startswith("to") and k != "toPorts" else k): v
        for k, v in rule.items()
    }
    spec.setdefault(swap[side], []).append(turned)
    del spec[side][i]
    if not spec[side]:
        del spec[side]
    return True


def default_deny(rng: random.Random, manifest: Manifest) -> bool:
    spec = rng.choice(_specs(manifest))
    switches = spec.get("enableDefaultDeny")
    if not switches:
        return False
    direction = rng.choice(sorted(switches))
    switches[direction] = not switches[direction]
    return True


def _ports(manifest: Manifest) -> list[tuple[list[dict[str, Any]], int]]:
    return [
        (item["ports"], i)
        for *_, rule in _rules(manifest)
        for item in rule.get("toPorts", ())
        for i in range(len(item["ports"]))
    ]


def shift_port(rng: random.Random, manifest: Manifest) -> bool:
    found = _pick(
        rng, [(p, i) for p, i in _ports(manifest) if p[i]["port"].isdigit() and 0 < int(p[i]["port"]) < 65535]
    )
    if found is None:
        return False
    ports, i = found
    ports[i]["port"] = str(int(ports[i]["port"]) + 1)
    return True


def cut_range(rng: random.Random, manifest: Manifest) -> bool:
    found = _pick(rng, [(p, i) for p, i in _ports(manifest) if "endPort" in p[i]])
    if found is None:
        return False
    ports, i = found
    ports[i]["endPort"] -= 1
    return True


def drop_port(rng: random.Random, manifest: Manifest) -> bool:
    found = _pick(rng, [(p, i) for p, i in _ports(manifest) if len(p) > 1])
    if found is None:
        return False
    ports, i = found
    del ports[i]
    return True


def other_protocol(rng: random.Random, manifest: Manifest) -> bool:
    found = _pick(rng, _ports(manifest))
    if found is None:
        return False
    ports, i = found
    ports[i]["protocol"] = {"TCP": "UDP", "UDP": "TCP", "SCTP": "TCP", "ANY": "TCP"}[ports[i]["protocol"]]
    return True


def forget_ports(rng: random.Random, manifest: Manifest) -> bool:
    found = _pick(rng, [r for r in _rules(manifest) if "toPorts" in r[3] or "icmps" in r[3]])
    if found is None:
        return False
    found[3].pop("toPorts", None)
    found[3].pop("icmps", None)
    return True


def _cidrs(manifest: Manifest) -> list[dict[str, Any]]:
    return [c for *_, rule in _rules(manifest) for key in ("fromCIDRSet", "toCIDRSet") for c in rule.get(key, ())]


def widen_cidr(rng: random.Random, manifest: Manifest) -> bool:
    found = _pick(rng, [c for c in _cidrs(manifest) if not c["cidr"].endswith("/0")])
    if found is None:
        return False
    found["cidr"] = str(ipaddress.ip_network(found["cidr"]).supernet())
    return True


def drop_except(rng: random.Random, manifest: Manifest) -> bool:
    found = _pick(rng, [c for c in _cidrs(manifest) if c.get("except")])
    if found is None:
        return False
    found["except"].pop()
    return True


def _selectors(manifest: Manifest) -> list[dict[str, Any]]:
    out = [spec["endpointSelector"] for spec in _specs(manifest)]
    for *_, rule in _rules(manifest):
        out += [s for key in ("fromEndpoints", "toEndpoints") for s in rule.get(key, ())]
    return out


def forget_requirement(rng: random.Random, manifest: Manifest) -> bool:
    found = _pick(rng, [s for s in _selectors(manifest) if s])
    if found is None:
        return False
    if found.get("matchLabels"):
        found["matchLabels"].pop(rng.choice(sorted(found["matchLabels"])))
    else:
        found["matchExpressions"].pop()
    for key in ("matchLabels", "matchExpressions"):
        if key in found and not found[key]:
            del found[key]
    return True


def negate_requirement(rng: random.Random, manifest: Manifest) -> bool:
    found = _pick(rng, [e for s in _selectors(manifest) for e in s.get("matchExpressions", ())])
    if found is None:
        return False
    opposite = {"In": "NotIn", "NotIn": "In", "Exists": "DoesNotExist", "DoesNotExist": "Exists"}
    found["operator"] = opposite[found["operator"]]
    return True


def other_value(rng: random.Random, manifest: Manifest) -> bool:
    found = _pick(rng, [s["matchLabels"] for s in _selectors(manifest) if s.get("matchLabels")])
    if found is None:
        return False
    found[rng.choice(sorted(found))] = "something-else"
    return True


def drop_entity(rng: random.Random, manifest: Manifest) -> bool:
    found = _pick(
        rng,
        [r for *_, r in _rules(manifest) for k in ("fromEntities", "toEntities") if len(r.get(k, ())) > 1],
    )
    if found is None:
        return False
    for key in ("fromEntities", "toEntities"):
        if len(found.get(key, ())) > 1:
            found[key].pop(rng.randrange(len(found[key])))
    return True


def all_instead(rng: random.Random, manifest: Manifest) -> bool:
    found = _pick(
        rng,
        [r for r in _rules(manifest) if any(k[-8:] == "Entities" or "CIDR" in k or "Endpoints" in k for k in r[3])],
    )
    if found is None:
        return False
    _, side, _, rule = found
    for key in [k for k in rule if k.startswith(("from", "to")) and k != "toPorts"]:
        del rule[key]
    rule["fromEntities" if side.startswith("ingress") else "toEntities"] = ["all"]
    return True


OPERATORS: tuple[Callable[[random.Random, Manifest], bool], ...] = (
    drop_rule,
    drop_spec,
    allow_becomes_deny,
    deny_becomes_allow,
    other_direction,
    default_deny,
    shift_port,
    cut_range,
    drop_port,
    other_protocol,
    forget_ports,
    widen_cidr,
    drop_except,
    forget_requirement,
    negate_requirement,
    other_value,
    drop_entity,
    all_instead,
)


def mutant(rng: random.Random, manifests: list[Manifest]) -> tuple[str, list[Manifest]] | None:
    """One mutant, with the operator's name; None when the operator drawn finds nothing to change."""
    out = copy.deepcopy(manifests)
    operator = rng.choice(OPERATORS)
    if not out or not operator(rng, rng.choice(out)):
        return None
    return operator.__name__, out


def campaign(wanted: int, seed: int) -> Counter[str]:
    """Mutants of small translations: brute force says whether each changes a verdict, the proof must agree."""
    seen: Counter[str] = Counter()
    rng = random.Random(seed)
    while sum(seen.values()) < wanted:
        where = random_calico.world(rng, TINY, policies=rng.randint(1, 3), pod_count=3)
        result = translate(where)
        if not result.complete or not result.manifests:
            continue
        before = where.enforced_by("calico")
        tries: list[tuple[str, World]] = []
        for _ in range(60):
            made = mutant(rng, list(result.manifests))
            if made is None:
                continue
            try:
                policies = from_objects(made[1]).policies
            except PolicyError:
                seen["refused to be read"] += 1
                continue
            tries.append((made[0], where.with_policies([*policies, *result.kept]).enforced_by("cilium")))
            if len(tries) == 12:
                break
        for operator, broken in tries:
            universe = Universe((before, broken))
            differs = brute.verdicts(universe, 0) != brute.verdicts(universe, 1)
            if prove(before, broken).equal is differs:
                raise AssertionError(f"{operator}: the proof and brute force disagree about {broken.policies}")
            seen[f"{operator} {'changes' if differs else 'changes nothing'}"] += 1
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    seen = campaign(arguments.mutants, arguments.seed)
    changed = sum(n for name, n in seen.items() if name.endswith(" changes"))
    operators = {name.split()[0] for name in seen if name.endswith(" changes")}
    print(
        json.dumps(
            {
                "seed": arguments.seed,
                "mutants": sum(seen.values()),
                "change_a_verdict": changed,
                "caught": changed,
                "operators": len(operators),
                "by_operator": dict(sorted(seen.items())),
            }
        )
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
