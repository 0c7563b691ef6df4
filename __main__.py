"""An EKS cluster on its way to Cilium: the stage that the configuration names, and nothing else."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi

from components import administrators, stack
from components.administrators import administer
from components.bridge import bridged
from components.calico import Calico
from components.cilium import Cilium
from components.cluster import Cluster
from components.coredns import CoreDns
from components.daemonsets import NetworkDaemonSet
from components.guarding.freeze import frozen, kept_policies
from components.guarding.gate import Answer, Answered, Established, Gate, Settle, ask
from components.guarding.guard import Guard
from components.guarding.mark import Mark
from components.guarding.unused import unused
from components.network_policies import NetworkPolicies
from components.nodes import NodeGroups, NodeRole
from components.probes import Probes
from components.prover import proved
from components.workloads import LegacyLabel, Workloads
from migration import manifests
from migration.desired import GroupRole
from migration.facts import Facts
from migration.journeys import Piece
from migration.names import MAY_GO
from migration.settings import Settings
from migration.transition import Asks, Direction, Move, plan_move
from reading.failure import Failure


def main() -> None:
    name = pulumi.get_stack()
    try:
        settings = stack.settings()
        facts = stack.facts(settings, name)
        policies = {engine: manifests.load(Path(settings.policies), engine) for engine in manifests.KINDS}
        state = stack.state()
        move = plan_move(state.recorded, settings, facts, policies=policies, new_id=secrets.token_hex(8))
        administrators.refuse(settings, state.resources, starts=move.direction is Direction.START)
    except Failure as error:
        raise pulumi.RunError(error.told()) from None

    preview = pulumi.runtime.is_dry_run()
    # Asked before anything is registered: what is left out with --target or --exclude, the gate in the graph among
    # it, is left out after the question. A cluster that does not exist yet cannot be asked.
    askable = move.direction is not Direction.START or settings.cluster.adopt
    if askable and not preview:
        pulumi.log.info(f"asking the cluster whether it may be at {move.stage.id}", ephemeral=True)
    answer = ask(move, name, state.own(move, deploys=not preview), wait=not preview) if askable else None
    stopped = _stopped(move, answer)
    if stopped and not preview:
        raise pulumi.RunError(stopped)
    done, before = declare(name, settings, facts, move, policies, earlier=state.resources), state.recorded
    # A deploy that does not finish, or leaves the settling out, keeps the stage that was reached before.
    pulumi.export("journey", done.apply(lambda it: settings.journey if it else before.journey))
    pulumi.export("stage", done.apply(lambda it: move.stage.id if it else before.stage))
    if stopped and answer and move.asks is not Asks.GATE and answer.answered is Answered.UNKNOWN:
        pulumi.log.warn(f"{stopped}\nA deploy will ask again, and stop if it stays unknown")
    elif stopped:  # the whole preview is shown first: a reviewer sees the changes and why they would not be made
        raise pulumi.RunError(stopped)


def declare(
    name: str,
    settings: Settings,
    facts: Facts | None,
    move: Move,
    policies: dict[str, tuple[manifests.Manifest, ...]],
    *,
    earlier: Mapping[str, Any],
) -> pulumi.Output[bool]:
    """Declare a stage. Pieces that the stage does not have are simply absent; the order is in `after`.

    Returns:
        Whether the stage was reached, as the settling itself says.
    """
    wanted = move.desired
    cluster = Cluster(settings, facts)
    provider = cluster.provider
    # The guard comes before everything that it guards, and so is deleted after it.
    gate = Gate(move, name, after=cluster.resources)
    mark = Mark(move, name, settings.cluster.name, after=gate.resources)
    after = Guard(move, name, settings.cluster.name, provider=provider, after=mark.resources).resources

    admins = administer(settings, cluster.name, partition=cluster.partition, earlier=earlier, after=after)
    legacy: list[pulumi.Resource] = []
    for daemonset in (wanted.vpc_cni, wanted.kube_proxy):
        if daemonset is not None:
            it = NetworkDaemonSet(
                daemonset,
                cluster=cluster.name,
                cluster_name=settings.cluster.name,
                provider=provider,
                stage=move.stage.id,
                earlier=earlier,
                after=after,
            )
            legacy += it.resources

    cilium = [Cilium(wanted.cilium, settings, cluster, after=after).release] if wanted.cilium else []

    known = [
        *cilium,
        *bridged(settings, wanted, name, provider=provider, after=[*after, *cilium]),
        *proved(settings, facts, wanted, provider=provider, after=[*after, *cilium]),
    ]
    role, groups = None, dict[GroupRole, list[pulumi.Resource]]()
    for kind, before in ((GroupRole.LEGACY, legacy), (GroupRole.CANARY, known), (GroupRole.CILIUM, known)):
        members = [group for group in wanted.groups if group.role is kind]
        if not members:
            continue
        role = role or NodeRole(
            settings.cluster.name,
            partition=cluster.partition,
            boundary=settings.permissions_boundary,
            with_vpc_cni=Piece.LEGACY_GROUPS in wanted.pieces,
            after=after,
        )
        groups[kind] = NodeGroups(
            kind,
            members,
            cluster=cluster.name,
            node_role=role,
            security_group_ids=settings.network.security_group_ids or (facts.security_group_ids if facts else ()),
            tags=settings.cluster.tags,
            after=[*after, *before],
        ).groups
    nodes = [group for members in groups.values() for group in members]

    # What a later stage, the stage before or `destroy` deletes: looked at once more right before.
    kept = all(it is None or it.keep for it in (wanted.vpc_cni, wanted.kube_proxy))
    doomed: dict[str, list[pulumi.Resource]] = {
        "legacy-network": [] if kept else [*legacy, *groups.get(GroupRole.LEGACY, [])],
        "canary-nodes": groups.get(GroupRole.CANARY, []),
        "cilium-nodes": groups.get(GroupRole.CILIUM, []),
    }

    freezes = Piece.FREEZE in wanted.pieces
    engines = frozen(name, protect=Piece.FREEZE in wanted.protected, provider=provider, after=after) if freezes else []
    if wanted.calico is not None:
        calico = Calico(
            wanted.calico,
            settings.legacy.calico if settings.legacy else None,
            provider=provider,
            # Its operator takes Calico down before it goes, and needs a node for that: of either kind.
            after=[*after, *engines, *groups.get(GroupRole.LEGACY, []), *groups.get(GroupRole.CILIUM, [])],
        )
        parts = list(calico.resources)
        if wanted.calico.policies:
            parts += NetworkPolicies(
                "calico",
                policies["calico"],
                protect=wanted.calico.protect_policies,
                annotations={MAY_GO: "true"} if wanted.calico.may_go else None,
                provider=provider,
                after=calico.resources,
            ).objects
        doomed["calico"] = parts if wanted.calico.owned else []
        engines += parts
    if wanted.cilium is not None:
        crds = Established(name, after=[*cilium, *groups.get(GroupRole.CILIUM, [])])
        ours = NetworkPolicies(
            "cilium",
            policies["cilium"],
            protect=wanted.cilium.protect_policies,
            provider=provider,
            after=[crds.command],
        ).objects
        doomed["cilium"] = [*cilium, *ours, *groups.get(GroupRole.CILIUM, [])]
        engines += ours
    engines += kept_policies(name, policies["calico"], after=engines) if freezes else []
    if wanted.coredns is not None:
        nodes.append(CoreDns(wanted.coredns, cluster=cluster.name, after=[*after, *nodes]).addon)
    if wanted.legacy_label is not None:
        nodes.append(LegacyLabel(wanted.legacy_label, move, name, after=[*after, *nodes]).command)
    probes = (
        Probes(settings, provider=provider, after=[*nodes, *engines]).resources if Piece.PROBES in wanted.pieces else []
    )
    if wanted.refresh_to is not None:
        minutes = settings.refresh.deadline_minutes
        nodes.append(Workloads(wanted.refresh_to, minutes, move, name, after=[*nodes, *engines]).command)

    made = [*after, *admins, *legacy, *known, *nodes, *engines, *probes]
    checked = unused(doomed, name, settings.cluster.name, after=made)
    settle = Settle(move, name, marker=gate.marker.input, after=[*made, *checked])
    pulumi.export("cluster", cluster.name)
    return settle.reached


def _stopped(move: Move, answer: Answer | None) -> str:
    """Why the deploy may not go on; empty when it may."""
    if answer is None or answer.answered is Answered.PASSED:
        return ""
    if move.asks is Asks.GATE:
        return f"the gate of {move.stage.id} does not pass, so nothing was changed:\n{answer.report}"
    what = "what must hold to change it" if move.asks is Asks.STEADY else "whose cluster this is"
    return f"the stack stays at {move.stage.id}, and {what} does not pass, so nothing was changed:\n{answer.report}"


main()
