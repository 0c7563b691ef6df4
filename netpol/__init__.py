"""Network policy as a value: parse, decide, translate, prove, lint. See docs/policy.md.

>>> from netpol import Flow, decide, load
>>> world = load(["policies/", "cluster.yaml"]).enforced_by("calico")           # doctest: +SKIP
>>> print(decide(world, Flow.of("shop/web", "169.254.169.254", "TCP", 80)))     # doctest: +SKIP
"""

from netpol.compare.future import prove_future
from netpol.compare.graded import prove
from netpol.compare.prove import Counterexample, Equality, Grade, Proof
from netpol.decide.flow import Decision, FlowVerdict, Path, decide
from netpol.lint.finding import Finding
from netpol.lint.lint import lint
from netpol.model.errors import Place, PolicyError, UndecidableError
from netpol.model.packets import AddressEnd, Flow, NodeEnd, PodEnd, ServiceEnd
from netpol.model.world import (
    CiliumOptions,
    Engine,
    NamedPort,
    Namespace,
    Node,
    Pod,
    Recognition,
    Rest,
    Service,
    ServiceAccount,
    World,
    spread,
)
from netpol.read.policies import policies_from_files, policies_from_objects, policies_from_text
from netpol.read.world import from_objects, from_text, load
from netpol.translate.refusals import Refusal
from netpol.translate.translation import Translation, translate

__all__ = [
    "AddressEnd",
    "CiliumOptions",
    "Counterexample",
    "Decision",
    "Engine",
    "Equality",
    "Finding",
    "Flow",
    "FlowVerdict",
    "Grade",
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
    "Rest",
    "Service",
    "ServiceAccount",
    "ServiceEnd",
    "Translation",
    "UndecidableError",
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
