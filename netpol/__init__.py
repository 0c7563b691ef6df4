"""Network policy as a value: parse, decide, translate, prove, lint. See docs/policy.md.

What is taken from here is read when it is asked for: a command that explains a flow needs no translation.

>>> from netpol import Flow, decide, load
>>> world = load(["policies/", "cluster.yaml"]).enforced_by("calico")           # doctest: +SKIP
>>> print(decide(world, Flow.of("shop/web", "169.254.169.254", "TCP", 80)))     # doctest: +SKIP
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_WHERE = {
    "netpol.compare.future": ("prove_future",),
    "netpol.compare.graded": ("prove",),
    "netpol.compare.prove": ("Counterexample", "Equality", "Grade", "Proof"),
    "netpol.decide.flow": ("Decision", "FlowVerdict", "Path", "decide"),
    "netpol.lint.finding": ("Finding",),
    "netpol.lint.lint": ("lint",),
    "netpol.model.errors": ("Place", "PolicyError", "UndecidableError"),
    "netpol.model.packets": ("AddressEnd", "Flow", "NodeEnd", "PodEnd", "ServiceEnd"),
    "netpol.model.world": (
        "CiliumOptions",
        "Engine",
        "NamedPort",
        "Namespace",
        "Node",
        "Pod",
        "Recognition",
        "Rest",
        "Service",
        "ServiceAccount",
        "World",
        "spread",
    ),
    "netpol.read.policies": ("policies_from_files", "policies_from_objects", "policies_from_text"),
    "netpol.read.world": ("from_objects", "from_text", "load"),
    "netpol.translate.refusals": ("Refusal",),
    "netpol.translate.translation": ("Translation", "translate"),
}
_MODULES = {name: module for module, names in _WHERE.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return found


class _Door(ModuleType):
    """Some functions are called what the floor is called on which they stand; from here the function is meant."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Door
