"""Network policy as a value: parse, decide, translate, prove, lint. See docs/policy.md.

>>> from netpol import Flow, decide, load
>>> world = load(["policies/", "cluster.yaml"]).enforced_by("calico")           # doctest: +SKIP
>>> print(decide(world, Flow.of("shop/web", "169.254.169.254", "TCP", 80)))     # doctest: +SKIP
"""

from netpol.cluster import from_objects, from_text, load
from netpol.decide import Decision, Path, Verdict, decide
from netpol.errors import Place, PolicyError, UndecidableError
from netpol.future import prove_future
from netpol.lint import Finding, lint
from netpol.packets import AddressEnd, Flow, NodeEnd, PodEnd, ServiceEnd
from netpol.parse import policies_from_files, policies_from_objects, policies_from_text
from netpol.prove import Counterexample, Equality, Proof, prove
from netpol.refusals import Refusal
from netpol.translate import Translation, translate
from netpol.world import (
    CiliumOptions,
    Engine,
    NamedPort,
    Namespace,
    Node,
    Pod,
    Recognition,
    Service,
    ServiceAccount,
    World,
    spread,
)

__all__ = [
    "AddressEnd",
    "CiliumOptions",
    "Counterexample",
    "Decision",
    "Engine",
    "Equality",
    "Finding",
    "Flow",
    "NamedPort",
    "Namespace",
    "Node",
    "NodeEnd",
    "Path",
    "Place",
    "Pod",
    "PodEnd",
    "PolicyError",
    "Proof",
    "Recognition",
    "Refusal",
    "Service",
    "ServiceAccount",
    "ServiceEnd",
    "Translation",
    "UndecidableError",
    "Verdict",
    "World",
    "decide",
    "from_objects",
    "from_text",
    "lint",
    "load",
    "policies_from_files",
    "policies_from_objects",
    "policies_from_text",
    "prove",
    "prove_future",
    "spread",
    "translate",
]
