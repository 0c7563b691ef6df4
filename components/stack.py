"""What the stack says about itself, read before anything is registered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pulumi
import pulumi.runtime.settings
from google.protobuf import json_format
from pulumi.runtime.proto import resource_pb2

from components.common import token
from components.guarding.gate import MARKER, SETTLE
from components.guarding.mark import MARK
from migration.facts import Facts, contradictions
from migration.guarding.freeze import SERVED_POLICY
from migration.guarding.mark import Own
from migration.journeys import Piece
from migration.names import BRIDGE, CILIUM, FREEZE_POLICY, GUARD_POLICY, PROBE, PROJECT
from migration.node_groups import GroupRole
from migration.settings import InvalidSettings, Settings
from migration.transition import Marker, Move, Recorded

_STASH: Final = "pulumi:index:Stash"
_COMMAND: Final = "command:local:Command"
_NODE_GROUP: Final = "aws:eks/nodeGroup:NodeGroup"
_ADDON, _RELEASE = "aws:eks/addon:Addon", "kubernetes:helm.sh/v3:Release"
_POLICY: Final = "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy"
_BY_NAME: Final = {
    (_POLICY, FREEZE_POLICY): Piece.FREEZE,
    (f"{_POLICY}Binding", FREEZE_POLICY): Piece.FREEZE,
    (_POLICY, SERVED_POLICY): Piece.FREEZE,
    (f"{_POLICY}Binding", SERVED_POLICY): Piece.FREEZE,
    (_POLICY, GUARD_POLICY): Piece.GUARD,
    (f"{_POLICY}Binding", GUARD_POLICY): Piece.GUARD,
    (_ADDON, "vpc-cni"): Piece.VPC_CNI,
    (_ADDON, "kube-proxy"): Piece.KUBE_PROXY,
    (_RELEASE, "calico-crds"): Piece.CALICO,
    (_RELEASE, "tigera-operator"): Piece.CALICO,
    ("kubernetes:operator.tigera.io/v1:Installation", "installation"): Piece.CALICO,
    (_RELEASE, CILIUM): Piece.CILIUM,
    ("kubernetes:apps/v1:Deployment", f"{BRIDGE}-deployment"): Piece.BRIDGE,
}
_BY_TYPE: Final = {
    "kubernetes:crd.projectcalico.org/": Piece.CALICO_POLICIES,
    "kubernetes:cilium.io/": Piece.CILIUM_POLICIES,
}
"""Beginnings of type tokens."""
_OF_ROLE: Final = {
    GroupRole.LEGACY: Piece.LEGACY_GROUPS,
    GroupRole.CANARY: Piece.CANARY_GROUP,
    GroupRole.CILIUM: Piece.CILIUM_GROUPS,
}


def settings() -> Settings:
    """The stack configuration; unknown keys of the project's namespace are errors.

    Raises:
        InvalidSettings: with everything that is wrong.
    """
    # The SDK has no public way to list keys; this is its own store of what the engine handed over.
    everything: dict[str, str] = pulumi.runtime.config.CONFIG.get()
    prefix = f"{PROJECT}:"
    return Settings.from_pulumi({k.removeprefix(prefix): v for k, v in everything.items() if k.startswith(prefix)})


def facts(chosen: Settings, stack: str) -> Facts | None:
    """The facts of an adopted cluster.

    Raises:
        InvalidFacts: they are missing or damaged.
        InvalidSettings: the settings say something else of the same thing.
    """
    if not chosen.cluster.adopt:
        return None
    found = Facts.load(Path(f"facts.{stack}.yaml"))
    problems = tuple(contradictions(chosen, found))
    if problems:
        raise InvalidSettings(problems)
    return found


@dataclass(frozen=True)
class State:
    """What the stack's own state says."""

    recorded: Recorded
    taken: bool
    """Whether a deploy has put the mark into the cluster."""
    resources: Mapping[str, Any] = field(default_factory=dict)
    """URN -> {type, outputs} of everything in it, as the engine answers."""

    def own(self, move: Move, *, deploys: bool) -> Own:
        """What it says about the mark, for the move that is to be made."""
        before = self.recorded.marker
        return Own(
            id=before.id if before else None,
            attempt=max(before.attempt, self.recorded.settle_attempt or 0) if before else move.marker.attempt,
            taken=self.taken,
            reached=self.recorded.stage is not None,
            deploys=deploys,
        )


def state() -> State:
    """Outputs, marker and the attempt of the settling, read from the engine."""
    name = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    outputs = _ask("readStackOutputs", {"name": name}).get("outputs") or {}
    resources = _ask("readStackResourceOutputs", {"stackName": name}).get("outputs") or {}
    marker = _state(resources, _STASH, MARKER)
    found = Recorded(
        journey=outputs.get("journey"),
        stage=outputs.get("stage"),
        marker=Marker.load(marker["input"]) if marker and marker.get("input") else None,
        settle_attempt=_attempt(resources, SETTLE),
        present=present(resources),
    )
    return State(found, taken=_state(resources, _COMMAND, MARK) is not None, resources=resources)


def present(resources: Mapping[str, Any]) -> frozenset[Piece]:
    """The pieces of which a state has something, that of the cluster itself left out.

    Args:
        resources: URN -> {type, outputs}, as the engine answers.
    """
    names = {urn: urn.split("::")[-1] for urn in resources}
    of_group = {
        group: _OF_ROLE[GroupRole(names[urn].removesuffix("-nodes"))]
        for urn, entry in resources.items()
        if entry["type"] == token("nodes", "NodeGroups")
        for group in (entry.get("outputs") or {}).get("names") or []
    }
    found: set[Piece | None] = set()
    for urn, entry in resources.items():
        kind, name = entry["type"], names[urn]
        found.add(_BY_NAME.get((kind, name)))
        found |= {piece for beginning, piece in _BY_TYPE.items() if kind.startswith(beginning)}
        if kind == _NODE_GROUP:
            found.add(of_group.get(name))
        if kind == "kubernetes:apps/v1:DaemonSet" and name.startswith(PROBE):
            found.add(Piece.PROBES)
    return frozenset(piece for piece in found if piece is not None)


def _ask(function: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """A function of the engine itself; it answers at once, and with nothing for a stack that was never deployed.

    Asked without the SDK's own `invoke`: that one would look up every resource to which an output of the old state
    refers, and none of them is registered yet.
    """
    return invoke(f"pulumi:pulumi:{function}", arguments)


def invoke(function: str, arguments: dict[str, Any], *, version: str = "") -> dict[str, Any]:
    """A function of a plugin; it answers at once.

    Args:
        function: its token.
        version: of the plugin, as the SDK asks for it.

    Raises:
        grpc.RpcError: it failed. The SDK's own `invoke` would remember that and end the program later, caught or not.
    """
    request = resource_pb2.ResourceInvokeRequest(tok=function, acceptResources=False, version=version)
    request.args.update(arguments)
    monitor = pulumi.runtime.settings.get_monitor()
    assert monitor is not None, "the program runs under an engine"  # noqa: S101
    response = monitor.Invoke(request)
    answer: dict[str, Any] = json_format.MessageToDict(getattr(response, "return"))
    return answer


def _state(resources: dict[str, Any], kind: str, name: str) -> dict[str, Any] | None:
    for urn, entry in resources.items():
        if urn.split("::")[-1] == name and entry["type"] == kind:
            outputs: dict[str, Any] = entry["outputs"]
            return outputs
    return None


def _attempt(resources: dict[str, Any], name: str) -> int | None:
    found = _state(resources, _COMMAND, name)
    triggers = (found or {}).get("triggers") or []
    return int(triggers[0]) if triggers else None
