"""An EKS cluster on its way to Cilium: the stage that the configuration names, and nothing else."""

import secrets
from pathlib import Path

import pulumi

from components import administrators, stack
from components.administrators import administer
from components.bridge import bridged
from components.calico import calico_parts
from components.cilium import cilium_release
from components.cluster import Cluster
from components.coredns import coredns
from components.daemonsets import legacy_network
from components.deploy import Deploy
from components.guarding.freeze import frozen, kept_policies
from components.guarding.gate import Answer, Answered, Gate, Settle, ask
from components.guarding.guard import Guard
from components.guarding.mark import Mark
from components.guarding.unused import unused
from components.network_policies import calico_policies, cilium_policies
from components.nodes import node_groups
from components.probes import probes
from components.prover import proved
from components.workloads import legacy_label, moved_workloads
from migration import manifests
from migration.journeys import Piece
from migration.node_groups import GroupRole
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
    deploy = Deploy(stack=name, settings=settings, facts=facts, move=move, policies=policies, earlier=state.resources)
    done, before = declare(deploy), state.recorded
    # A deploy that does not finish, or leaves the settling out, keeps the stage that was reached before.
    pulumi.export("journey", done.apply(lambda it: settings.journey if it else before.journey))
    pulumi.export("stage", done.apply(lambda it: move.stage.id if it else before.stage))
    if stopped and answer and move.asks is not Asks.GATE and answer.answered is Answered.UNKNOWN:
        pulumi.log.warn(f"{stopped}\nA deploy will ask again, and stop if it stays unknown")
    elif stopped:  # the whole preview is shown first: a reviewer sees the changes and why they would not be made
        raise pulumi.RunError(stopped)


def declare(deploy: Deploy) -> pulumi.Output[bool]:
    """Declare a stage. Pieces that the stage does not have are simply absent; the order is in `after`.

    Returns:
        Whether the stage was reached, as the settling itself says.
    """
    stack_name, move, wanted, settings = deploy.stack, deploy.move, deploy.wanted, deploy.settings
    cluster = Cluster(settings, deploy.facts)
    provider, name = cluster.provider, settings.cluster.name
    # The guard comes before everything that it guards, and so is deleted after it.
    gate = Gate(move, stack_name, after=cluster.resources)
    mark = Mark(move, stack_name, name, after=gate.resources)
    after = Guard(move, stack_name, name, provider=provider, after=mark.resources).resources

    admins = administer(settings, cluster.name, partition=cluster.partition, earlier=deploy.earlier, after=after)
    legacy = legacy_network(deploy, cluster, after=after)
    cilium = cilium_release(deploy, cluster, after=after)
    arrived = [*after, *cilium]
    known = [*cilium, *bridged(settings, wanted, stack_name, provider=provider, after=arrived)]
    known += proved(settings, deploy.facts, wanted, provider=provider, after=arrived)
    agents = {GroupRole.LEGACY: legacy, GroupRole.CANARY: known, GroupRole.CILIUM: known}
    old, canary, new = node_groups(deploy, cluster, before=agents, after=after).values()
    nodes = [*old, *canary, *new]

    freezes, protect = Piece.FREEZE in wanted.pieces, Piece.FREEZE in wanted.protected
    freeze = frozen(stack_name, protect=protect, provider=provider, after=after) if freezes else []
    # Its operator takes Calico down before it goes, and needs a node for that: of either kind.
    calico = calico_parts(deploy, cluster, after=[*after, *freeze, *old, *new])
    calico = [*calico, *calico_policies(deploy, cluster, after=calico)]
    policies = cilium_policies(deploy, cluster, after=[*cilium, *new])
    engines = [*freeze, *calico, *policies]
    engines += kept_policies(stack_name, deploy.policies["calico"], after=engines) if freezes else []

    nodes += coredns(deploy, cluster, after=[*after, *nodes])
    nodes += legacy_label(deploy, after=[*after, *nodes])
    probing = probes(deploy, cluster, after=[*nodes, *engines])
    nodes += moved_workloads(deploy, after=[*nodes, *engines])

    # What a later stage, the stage before or `destroy` deletes: looked at once more right before.
    kept = all(it is None or it.keep for it in (wanted.vpc_cni, wanted.kube_proxy))
    doomed: dict[str, list[pulumi.Resource]] = {
        "legacy-network": [] if kept else [*legacy, *old],
        "canary-nodes": canary,
        "cilium-nodes": new,
        "calico": calico if wanted.calico and wanted.calico.owned else [],
        "cilium": [*cilium, *policies, *new] if wanted.cilium else [],
    }
    made = [*after, *admins, *legacy, *known, *nodes, *engines, *probing]
    checked = unused(doomed, stack_name, name, after=made)
    settle = Settle(move, stack_name, marker=gate.marker.input, after=[*made, *checked])
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
