"""The objects with which a prover runs in a cluster, as values: those of any program, and what it publishes in."""

from functools import cache

from bridge.ship import program, zipapp
from bridge.ship.program import Obj, Program
from prover.names import NAME, PROOF
from prover.options import Options
from prover.process.requests import NAMED_RIGHTS, RIGHTS

ROOMS = ("bridge/__init__.py", "bridge/labels.py", "bridge/patterns.py", "kube", "netpol", "prover", "reading")
"""Of the bridge only how Cilium chooses labels, so that a change of the rest rolls no prover."""


@cache
def pack() -> bytes:
    """The pack."""
    return zipapp.build("prover", ROOMS)


def prover(options: Options) -> Program:
    """The prover as what runs."""
    names = {"cilium-config": options.cilium_config, NAME: options.lease, PROOF: options.proof}
    rights = [
        (group, kind, verbs, options.bridge if name == "bridge" else names.get(name, name))
        for group, kind, verbs, name in NAMED_RIGHTS
        if name != "bridge" or options.bridge
    ]
    return Program(
        name=NAME,
        short="prover",
        namespace=options.namespace,
        options=options.dump(),
        listen=options.listen,
        rights=RIGHTS,
        named_rights=rights,
        memory=("384Mi", "1Gi"),
        cpu="100m",
    )


def objects(options: Options, *, image: str) -> tuple[Obj, ...]:
    """All objects, each after what it needs.

    Args:
        image: with Python 3.11 or later as `python3`, by digest.
    """
    return (published(options), *program.objects(prover(options), image=image, pack=pack()))


def published(options: Options) -> Obj:
    """Where it publishes. It is here and not made by the prover, so that it goes when the prover goes."""
    metadata = {"name": options.proof, "namespace": options.namespace, "labels": prover(options).labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def rights(options: Options) -> tuple[Obj, ...]:
    """What the prover may do."""
    return program.rights(prover(options))
