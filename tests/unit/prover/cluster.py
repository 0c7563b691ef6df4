"""Clusters of plain objects, as the prover sees them."""

from __future__ import annotations

from datetime import date
from typing import Any

from kube.transport import Obj
from netpol.model.world import Engine, Recognition
from prover.judge import Judgement, Prover
from prover.kinds import CORE, NATIVE, STORED, Of, of_calico, read
from prover.known import Known
from prover.options import Options
from prover.places import Kind, Moment

TODAY = date(2026, 6, 1)
OF = {of.name: of for of in (*CORE, *of_calico(STORED), *of_calico(NATIVE))}
_LEGACY = Kind(engines=frozenset({Engine.CALICO}), recognised=Recognition.BRIDGE)
_CILIUM = Kind(engines=frozenset({Engine.CILIUM}), recognised=Recognition.CILIUM)
MIXED = Moment(name="while both kinds of nodes run", kinds={"legacy": _LEGACY, "cilium": _CILIUM})
ARRIVED = Moment(name="once every pod runs on a Cilium node", kinds={"cilium": _CILIUM})
ONLY_WEB = {
    "podSelector": {"matchLabels": {"app": "db"}},
    "policyTypes": ["Ingress"],
    "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}],
}
"""Both engines read it alike."""
BY_ADDRESS = {**ONLY_WEB, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}
"""To Calico pods have addresses, to Cilium identities."""


def options(**more: Any) -> Options:
    return Options(**({"moments": (MIXED, ARRIVED), "listen": ""} | more))


def of(kind: str) -> Of:
    """By its kind; of kinds that several groups have, the first."""
    return next(one for one in OF.values() if one.kind == kind)


def thing(name: str, namespace: str = "", labels: dict[str, str] | None = None, **rest: Any) -> Obj:
    metadata: Obj = {"name": name, "labels": labels or {}}
    if namespace:
        metadata["namespace"] = namespace
    return {"metadata": metadata, **rest}


def pod(name: str, address: str, app: str, node: str = "old", **more: Any) -> Obj:
    return thing(
        name,
        "shop",
        {"app": app},
        spec={"nodeName": node, "containers": [{"name": "main"}], **more},
        status={"phase": "Running", "podIP": address, "podIPs": [{"ip": address}] if address else []},
    )


def policy(name: str, spec: Obj) -> Obj:
    return thing(name, "shop", spec=spec)


class Home:
    """A cluster with two nodes and three pods, one policy, and its prover."""

    def __init__(self, **more: Any) -> None:
        self.known = Known(options=options(**more))
        self.prover = Prover(self.known.options)
        self.put("Node", thing("old", labels={"cni-plugin": "aws"}))
        self.put("Node", thing("new", labels={"cni-plugin": "cilium"}))
        self.put("Namespace", thing("shop", labels={"team": "red"}))
        for number, app in enumerate(("web", "db", "job")):
            self.put("Pod", pod(f"{app}-1", f"10.0.0.{number + 1}", app))
        self.put("NetworkPolicy", policy("db", ONLY_WEB))

    def put(self, kind: str, obj: Obj) -> bool:
        """Whether that has to be covered."""
        return self.known.put(of(kind).name, read(of(kind), obj))

    def drop(self, kind: str, name: str, namespace: str = "") -> bool:
        return self.known.drop(of(kind).name, (namespace, name))

    def judge(self, today: date = TODAY) -> Judgement:
        return self.prover.judge(self.known, today)
