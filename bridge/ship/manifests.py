"""The objects with which a bridge runs in a cluster, as values."""

from typing import Final

from bridge.names import NAME
from bridge.options import Options
from bridge.process.requests import NAMED_RIGHTS, RIGHTS
from bridge.ship import program
from bridge.ship.program import OPTIONS, Obj, Program

__all__ = ["OPTIONS", "PACK", "deployment", "objects", "rights"]
PACK: Final = "bridge.pyz"


def bridge(options: Options) -> Program:
    """The bridge as what runs."""
    names = {"cilium-config": options.cilium_config, NAME: options.lease}
    return Program(
        name=NAME,
        short="bridge",
        namespace=options.namespace,
        options=options.dump(),
        listen=options.listen,
        rights=RIGHTS,
        named_rights=[(group, kind, verbs, names.get(name, name)) for group, kind, verbs, name in NAMED_RIGHTS],
    )


def objects(options: Options, *, image: str, pack: bytes) -> tuple[Obj, ...]:
    """All objects, each after what it needs.

    Args:
        image: with Python 3.11 or later as `python3`, by digest.
        pack: from `zipapp.build`.
    """
    return program.objects(bridge(options), image=image, pack=pack)


def rights(options: Options) -> tuple[Obj, ...]:
    """What the bridge may do."""
    return program.rights(bridge(options))


def deployment(options: Options, *, image: str, pack: bytes) -> Obj:
    """Two replicas on two nodes; one writes, the other has seen everything and waits for its turn."""
    return program.deployment(bridge(options), image=image, pack=pack)
