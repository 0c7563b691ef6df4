"""What keeps nodes from being emptied is judged once: a gate and `refresh plan` say the same of one cluster."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from kube.transport import Obj
from migration.journeys import CheckId, NodeKind
from migration.settings import NodeGroup
from operations.checks import registry
from operations.evidence import Verdict
from operations.refresh.cluster import parse
from operations.refresh.model.request import RefreshRequest
from operations.refresh.model.terms import Goal
from operations.refresh.model.values import CloudView, Group, Instance, Sizes
from operations.refresh.model.world import World as Picture
from operations.refresh.plan import gather, planning
from tests.unit.operations import world as w
from tests.unit.operations.world import World

CHECKS: Final = (CheckId.REFRESH_UNBLOCKED, CheckId.ADDRESSES_SUFFICE)
"""What the gate of move-workloads asks of all that the plan foresees."""
HOSTNAME: Final = "kubernetes.io/hostname"


def gate(world: World) -> set[tuple[str, str]]:
    """(object, problem) of everything that keeps the gate from passing."""
    found = [registry()[check](world.context) for check in CHECKS]
    assert all(e.verdict is not Verdict.UNKNOWN for e in found), found
    assert all(bool(e.findings) == (e.verdict is Verdict.FAILED) for e in found)
    return {(f.object, f.problem) for evidence in found for f in evidence.findings}


def plan(world: World, target: NodeKind = NodeKind.CILIUM) -> set[tuple[str, str]]:
    """(object, problem) of everything at which the plan stops."""
    context = world.context
    request = RefreshRequest.towards(target, marked=context.settings.refresh.evict_marked)
    kube, seen = context.kube, Picture("aws", "cilium")
    seen.replace_nodes(map(parse.node, kube.nodes()))
    seen.replace_budgets(map(parse.budget, kube.items(w.PLURALS["PodDisruptionBudget"])))
    seen.replace_pods(parse.pod(p, "cilium") for p in kube.pods())
    groups = {name: Group(name, True, Sizes(0, 2, 9), (f"asg-{name}",)) for name in ("old", "new")}
    instances = {n.instance: Instance(n.instance, "old", "asg-old", n.zone, "in-service") for n in seen.old.values()}
    instances = {i: instance for i, instance in instances.items() if i.removeprefix("i-") not in world.strays}
    seen.see_cloud(CloudView(groups, instances, {}), 0.0)
    goal = Goal(("old",), {"new": Sizes(0, 2, 4)}, len(seen.old))
    found = planning.plan(seen, request, goal, gather.surroundings(context, seen))
    return {(f.object, f.problem) for f in found.stops}


# -- what is seen -----------------------------------------------------------------------------------


def budget(name: str, *, healthy: int, wanted: int, pods: int = 3, selector: Any = None) -> Obj:
    status = {
        "currentHealthy": healthy,
        "desiredHealthy": wanted,
        "expectedPods": pods,
        "disruptionsAllowed": max(0, healthy - wanted),
    }
    chosen = {"matchLabels": {"app": "web"}} if selector is None else selector
    return w.thing("PodDisruptionBudget", name, "shop", spec={"selector": chosen}, status=status)


def webhook(resources: list[str], **more: Any) -> Obj:
    rules = [{"apiGroups": [""], "resources": resources, "operations": ["CREATE"]}]
    client = {"service": {"namespace": "shop", "name": "guard"}}
    hook = {"name": "guard.example", "failurePolicy": "Fail", "clientConfig": client, "rules": rules, **more}
    return w.thing("ValidatingWebhookConfiguration", "guard", webhooks=[hook])


def serving(*nodes: str) -> list[Obj]:
    """Pods, Service and EndpointSlice of the webhook."""
    endpoints = [{"nodeName": n, "conditions": {"ready": True}} for n in nodes]
    labels = {"kubernetes.io/service-name": "guard"}
    return [
        w.thing("Service", "guard", "shop", spec={"selector": {"app": "guard"}}),
        w.thing("EndpointSlice", "guard-1", "shop", meta={"labels": labels}, endpoints=endpoints),
        *(w.pod(f"guard-{n}", n, "ReplicaSet/guard", labels={"app": "guard"}) for n in nodes),
    ]


def claimed(spec: Obj) -> list[Obj]:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "db"}}]
    bound = {"claimRef": {"namespace": "shop", "name": "db"}, **spec}
    return [
        w.pod("db-0", "old-a", "StatefulSet/db", labels={"app": "db"}, volumes=volumes),
        w.thing("PersistentVolumeClaim", "db", "shop", spec={"volumeName": "pv-1"}),
        w.thing("PersistentVolume", "pv-1", spec=bound),
    ]


def on_host(key: str, value: str) -> Obj:
    term = {"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]}
    return {"csi": {"driver": "local.example"}, "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}


def required(*terms: Obj) -> Obj:
    node = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"affinity": {"nodeAffinity": node}}


def leaves_alone(key: str, value: str, owner: str = "ReplicaSet/web") -> Obj:
    pod = w.pod("busy", "old-a", owner)
    pod["metadata"]["annotations"] = {key: value}
    return pod


def stray(world: World) -> None:
    world.add(w.node("stray", "aws"), w.pod("web-9", "stray"))
    world.strays.add("stray")


def strange(app: str) -> Any:
    return {"matchExpressions": [{"key": "app", "operator": "Resembles", "values": [app]}]}


GROUP = "eks.amazonaws.com/nodegroup"
SPOT = {"key": "lifecycle", "value": "spot", "effect": "NoSchedule"}


def asking(**requests: str) -> Obj:
    return {"name": "c", "resources": {"requests": requests}}


def both(*changes: Callable[[w.World], None]) -> Callable[[w.World], None]:
    """One change after the other."""

    def made(world: w.World) -> None:
        for change in changes:
            change(world)

    return made


def regroup(world: World, *, beside: bool = False, **over: Any) -> None:
    """The settings' Cilium group with other values, or such a group beside it."""
    values = {"name": "more" if beside else "new", "size": 2, **over}
    groups = [NodeGroup.model_validate(values), *(world.settings.cilium.groups if beside else ())]
    cilium = world.settings.cilium.model_copy(update={"groups": tuple(groups)})
    world.settings = world.settings.model_copy(update={"cilium": cilium})
    if beside:
        world.sizes["more"] = 0


Change = Callable[[World], object]
BOUND: Final = {"key": HOSTNAME, "operator": "In", "values": ["old-a"]}
CASES: Final[dict[str, tuple[Change, str, str]]] = {
    "a budget of which one pod is not healthy": (
        lambda c: c.add(budget("web", healthy=2, wanted=2)),
        "poddisruptionbudget shop/web",
        "allows no disruption now (2 of 3 pods are healthy, it wants 2), and 2 pods under it must move: web-1, web-2",
    ),
    "a budget that is never whole": (
        lambda c: c.add(budget("web", healthy=3, wanted=3)),
        "poddisruptionbudget shop/web",
        "never allows a disruption, and 2 pods under it must move",
    ),
    "a budget that wants more than there is, of which one pod is not healthy": (
        lambda c: c.add(budget("web", healthy=2, wanted=3)),
        "poddisruptionbudget shop/web",
        "never allows a disruption",
    ),
    "a budget that nobody has counted": (
        lambda c: c.add(w.thing("PodDisruptionBudget", "web", "shop", spec={"selector": {}})),
        "poddisruptionbudget shop/web",
        "has not been counted by its controller yet",
    ),
    "a budget that cannot be counted": (
        lambda c: c.add(uncountable()),
        "poddisruptionbudget shop/web",
        "cannot be counted, so it allows no disruption: found no controllers for pod",
    ),
    "a budget whose selector cannot be read": (
        lambda c: c.add(budget("web", healthy=3, wanted=1, selector=strange("web"))),
        "poddisruptionbudget shop/web",
        "has an operator in its selector that is not known here (Resembles)",
    ),
    "two budgets over one pod": (
        lambda c: c.add(budget("one", healthy=3, wanted=1), budget("two", healthy=3, wanted=1)),
        "pod shop/web-1",
        "more than one PodDisruptionBudget selects it (one, two)",
    ),
    "a pod without a controller": (
        lambda c: c.add(w.pod("alone", "old-a", "")),
        "pod shop/alone",
        "has no controller",
    ),
    "a pod without a controller on the network of its node": (
        lambda c: c.add(w.pod("alone", "old-a", "", host_network=True)),
        "pod shop/alone",
        "has no controller",
    ),
    "a pod bound to its node's name": (
        lambda c: c.add(w.pod("pinned", "old-a", nodeSelector={HOSTNAME: "old-a"})),
        "pod shop/pinned",
        "can run on old-a only",
    ),
    "a pod bound to its node's name by affinity": (
        lambda c: c.add(w.pod("pinned", "old-a", **required({"matchExpressions": [BOUND]}))),
        "pod shop/pinned",
        "can run on old-a only",
    ),
    "a pod bound to its node's name by a field": (
        lambda c: c.add(w.pod("pinned", "old-a", **required({"matchFields": [{**BOUND, "key": "metadata.name"}]}))),
        "pod shop/pinned",
        "can run on old-a only",
    ),
    "a pod that asks for legacy nodes": (
        lambda c: c.add(w.pod("pinned", "old-a", nodeSelector={"cni-plugin": "aws"})),
        "pod shop/pinned",
        "asks by node selector or affinity for cni-plugin",
    ),
    "a pod that asks for a label of its own group": (
        lambda c: c.add(w.pod("pinned", "old-a", nodeSelector={"team": "a"})),
        "pod shop/pinned",
        "asks by node selector or affinity for team",
    ),
    "a pod that asks for its node group": (
        lambda c: c.add(w.pod("pinned", "old-a", nodeSelector={"eks.amazonaws.com/nodegroup": "old"})),
        "pod shop/pinned",
        "asks by node selector or affinity for eks.amazonaws.com/nodegroup",
    ),
    "a pod of another architecture": (
        lambda c: c.add(w.pod("pinned", "old-a", nodeSelector={"kubernetes.io/arch": "arm64"})),
        "pod shop/pinned",
        "asks by node selector or affinity for kubernetes.io/arch",
    ),
    "a pod that wants spot": (
        lambda c: c.add(w.pod("pinned", "old-a", nodeSelector={"eks.amazonaws.com/capacityType": "SPOT"})),
        "pod shop/pinned",
        "asks by node selector or affinity for eks.amazonaws.com/capacityType",
    ),
    "a pod too large for the new type": (
        lambda c: c.add(w.pod("large", "old-a", containers=[asking(cpu="1"), asking(cpu="1001m", memory="1Gi")])),
        "pod shop/large",
        "asks for 2.001 CPUs, and new nodes that it may run on have 2",
    ),
    "a pod whose beginning is too large": (
        lambda c: c.add(w.pod("large", "old-a", initContainers=[asking(memory="16Gi")])),
        "pod shop/large",
        "asks for 16384 MiB of memory, and new nodes that it may run on have 8092",
    ),
    "a pod that wants a GPU": (
        lambda c: c.add(w.pod("model", "old-a", containers=[{"resources": {"limits": {"nvidia.com/gpu": "1"}}}])),
        "pod shop/model",
        "asks for 1 NVIDIA GPUs, and new nodes that it may run on have 0",
    ),
    "a pod on a branch interface": (
        lambda c: c.add(w.pod("branch", "old-a", containers=[asking(**{"vpc.amazonaws.com/pod-eni": "1"})])),
        "pod shop/branch",
        "asks for vpc.amazonaws.com/pod-eni, which only the VPC CNI gives",
    ),
    "a pod that no group's taints let in": (
        both(lambda c: regroup(c, taints=[SPOT]), lambda c: c.drop("Pod", "web-2")),
        "pod shop/web-1",
        "tolerates no new node that it may run on: they have",
    ),
    "a volume on a local disk": (
        lambda c: c.add(*claimed({"local": {"path": "/mnt"}})),
        "pod shop/db-0",
        "its volume pv-1 is a disk of old-a",
    ),
    "a CSI volume that one host has": (
        lambda c: c.add(*claimed(on_host(HOSTNAME, "old-a"))),
        "pod shop/db-0",
        "its volume pv-1 is a disk of old-a",
    ),
    "a CSI volume that one host has, by a label of its driver": (
        lambda c: c.add(*claimed(on_host("topology.example/node", "old-a"))),
        "pod shop/db-0",
        "its volume pv-1 is a disk of old-a",
    ),
    "a volume of a zone without new nodes": (
        lambda c: c.add(*claimed(on_host("topology.ebs.csi.aws.com/zone", "eu-west-1z"))),
        "pod shop/db-0",
        "its volume pv-1 is in eu-west-1z, where no new node can be",
    ),
    "a webhook on pods that one leaving node serves": (
        lambda c: c.add(webhook(["pods"]), *serving("old-a")),
        "webhook guard.example of guard",
        "fails closed on pods, and is served from old-a alone",
    ),
    "a webhook on bindings, by a URL": (
        lambda c: c.add(
            webhook(["pods/binding"], clientConfig={"url": "https://guard.shop.svc:8443/"}), *serving("old-a")
        ),
        "webhook guard.example of guard",
        "fails closed on pods/binding, and is served from old-a alone",
    ),
    "a webhook on pods that nobody serves": (
        lambda c: c.add(webhook(["pods"])),
        "webhook guard.example of guard",
        "fails closed, and service shop/guard has no ready endpoint",
    ),
    "a node of no group": (
        stray,
        "node stray",
        "belongs to no node group of the settings or facts",
    ),
    "a pod that its owner asks to be left alone": (
        lambda c: c.add(leaves_alone("cluster-autoscaler.kubernetes.io/safe-to-evict", "false")),
        "pod shop/busy",
        "its owner asks that it be left alone (cluster-autoscaler.kubernetes.io/safe-to-evict=false)",
    ),
    "a pod of a job that its owner asks to be left alone": (
        lambda c: c.add(leaves_alone("karpenter.sh/do-not-disrupt", "true", "Job/report")),
        "pod shop/busy",
        "its owner asks that it be left alone (karpenter.sh/do-not-disrupt=true)",
    ),
}
PASS: Final[dict[str, Change]] = {
    "nothing special": lambda c: None,
    "a budget with room": lambda c: c.add(budget("web", healthy=3, wanted=2)),
    "a budget without a selector": lambda c: c.add(no_selector()),
    "a budget whose pods need not move": lambda c: c.add(
        budget("db", healthy=1, wanted=1, pods=1, selector={"matchLabels": {"app": "db"}})
    ),
    "a pod bound to a node that stays": lambda c: c.add(w.pod("pinned", "old-a", nodeSelector={HOSTNAME: "new-a"})),
    "a pod that avoids a node": lambda c: c.add(
        w.pod(
            "shy",
            "old-a",
            **required({"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["x"]}]}),
        )
    ),
    "a pod that fits, with what starts before it": lambda c: c.add(
        w.pod("fits", "old-a", containers=[asking(cpu="1500m")], initContainers=[asking(cpu="2")])
    ),
    "a pod that wants what nobody here counts": lambda c: c.add(
        w.pod("odd", "old-a", containers=[asking(**{"example.com/dongle": "1", "ephemeral-storage": "900Gi"})])
    ),
    "a pod that tolerates the group's taint": both(
        lambda c: regroup(c, taints=[SPOT]),
        lambda c: c.drop("Pod"),
        lambda c: c.add(w.pod("spot", "old-a", tolerations=[{"key": "lifecycle", "operator": "Exists"}])),
    ),
    "a pod that avoids a taint by a group without it": lambda c: regroup(c, taints=[SPOT], beside=True),
    "a pod for which one type of a mixed group is large enough": both(
        lambda c: regroup(c, instanceTypes=["m5.large", "m5.2xlarge"]),
        lambda c: c.add(w.pod("large", "old-a", containers=[asking(cpu="7")])),
    ),
    "a pod of either node group": lambda c: c.add(
        w.pod(
            "either",
            "old-a",
            **required({"matchExpressions": [{"key": GROUP, "operator": "In", "values": ["old", "new"]}]}),
        )
    ),
    "a pod that asks for what kubelet will say": lambda c: c.add(
        w.pod(
            "web-8", "old-a", nodeSelector={"kubernetes.io/os": "linux", "node.kubernetes.io/instance-type": "m5.large"}
        )
    ),
    "a volume of a region": lambda c: c.add(*claimed(on_host("topology.kubernetes.io/region", "eu-west-1"))),
    "a volume of a zone that has new nodes": lambda c: c.add(
        *claimed(on_host("topology.ebs.csi.aws.com/zone", w.ZONES[0]))
    ),
    "a webhook on two leaving nodes": lambda c: c.add(webhook(["pods"]), *serving("old-a", "old-b")),
    "a webhook on a node that stays": lambda c: c.add(webhook(["pods"]), *serving("new-a")),
    "a webhook that fails open": lambda c: c.add(webhook(["pods"], failurePolicy="Ignore")),
    "a webhook on what a refresh does not write": lambda c: c.add(webhook(["secrets"]), *serving("old-a")),
    "a pod whose owner would rather not": lambda c: c.add(leaves_alone("karpenter.sh/do-not-disrupt", "30m")),
    "a pod that may be evicted": lambda c: c.add(
        leaves_alone("cluster-autoscaler.kubernetes.io/safe-to-evict", "true")
    ),
}


def uncountable() -> Obj:
    found = budget("web", healthy=0, wanted=0)
    why = {"reason": "SyncFailed", "message": "found no controllers for pod"}
    found["status"]["conditions"] = [w.condition("DisruptionAllowed", "False", **why)]
    return found


def no_selector() -> Obj:
    found = budget("nobody", healthy=0, wanted=0, pods=0)
    found["spec"]["selector"] = None
    return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two legacy nodes with a pod each, two canaries, and groups for two Cilium nodes."""
    found = w.mixed_world(tmp_path)
    found.at("move-workloads")
    return found


Entry = Callable[[World], set[tuple[str, str]]]


@pytest.mark.parametrize("entry", [gate, plan])
@pytest.mark.parametrize("name", CASES)
def test_gate_and_plan_stop_at_the_same(name: str, entry: Entry, world: World):
    change, about, problem = CASES[name]
    change(world)
    assert any(a == about and p.startswith(problem) for a, p in entry(world)), entry(world)
    assert gate(world) == plan(world)


@pytest.mark.parametrize("entry", [gate, plan])
@pytest.mark.parametrize("name", PASS)
def test_gate_and_plan_pass_the_same(name: str, entry: Entry, world: World):
    PASS[name](world)
    assert entry(world) == set()


def test_marked_pods_are_evicted_where_the_settings_say_so(world: World):
    CASES["a pod that its owner asks to be left alone"][0](world)
    refresh = world.settings.refresh.model_copy(update={"evict_marked": True})
    world.settings = world.settings.model_copy(update={"refresh": refresh})
    assert gate(world) == plan(world) == set()


def test_of_one_cluster_gate_and_plan_count_the_same_addresses(world: World):
    world.sizes["small"] = 0
    groups = world.settings.cilium.groups
    mixed = tuple(
        groups[0].model_copy(update={"name": name, "instance_type": kind, "size": 10})
        for name, kind in (("new", "t3.large"), ("small", "t3.medium"))
    )
    cilium = world.settings.cilium.model_copy(update={"groups": mixed})
    world.settings = world.settings.model_copy(update={"cilium": cilium})
    world.drop("Pod", "web-1")
    world.drop("Pod", "web-2")
    world.add(*(w.pod(f"many-{n}", ("old-a", "old-b")[n % 2]) for n in range(400)))
    for subnet in world.aws.answers["describe_subnets"]["Subnets"]:
        subnet["AvailableIpAddressCount"] = 245
    short = "its subnets have 245 free addresses, 250 are needed while old nodes hold theirs"
    assert gate(world) == plan(world) == {(f"zone {zone}", short) for zone in w.ZONES}


# -- spread beside canary nodes ---------------------------------------------------------------------


def spreading(replicas: int = 6, key: str = HOSTNAME, skew: int = 1, more: Any = None, **rule: Any) -> list[Obj]:
    """A Deployment of which half runs on each legacy node."""
    constraint = {
        "topologyKey": key,
        "maxSkew": skew,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "wide"}},
        **rule,
    }
    labels = {"app": "wide", "pod-template-hash": "6c"}
    pods = [
        w.pod(
            f"wide-{n}",
            ("old-a", "old-b")[n % 2],
            "ReplicaSet/wide-6c",
            labels=labels,
            topologySpreadConstraints=[constraint],
            **(more or {}),
        )
        for n in range(replicas)
    ]
    return [w.thing("Deployment", "wide", "shop", spec={"replicas": replicas}), *pods]


def before_canaries(world: World) -> set[tuple[str, str]]:
    """(object, problem) that the gate of canary finds, where no canary node is there yet."""
    for name in ("new-a", "new-b"):
        world.drop("Node", name)
    return {(f.object, f.problem) for f in registry()[CheckId.SPREAD_UNHARMED](world.context).findings}


TOLERANT: Final = {"tolerations": [{"key": "eks-cilium.io/canary", "operator": "Exists"}]}
LEGACY_ONLY: Final = {"nodeSelector": {"eks.amazonaws.com/nodegroup": "old"}}
SPREADS: Final[dict[str, tuple[dict[str, Any], int]]] = {
    "by host": ({}, 4),
    "by host, of as many replicas as there are nodes": ({"replicas": 2}, 0),
    "by host, with room": ({"skew": 3}, 0),
    "by host, rather than not at all": ({"whenUnsatisfiable": "ScheduleAnyway"}, 0),
    "by host, without tainted nodes": ({"nodeTaintsPolicy": "Honor"}, 0),
    "by host, on canary nodes too": ({"more": TOLERANT}, 0),
    "by host, by a selector that excludes canary nodes": ({"more": LEGACY_ONLY}, 0),
    "by host, by a selector that does not count": ({"more": LEGACY_ONLY, "nodeAffinityPolicy": "Ignore"}, 4),
    "by zone, each of which has other nodes": ({"key": "topology.kubernetes.io/zone"}, 0),
    "by a label that no canary node has": ({"key": "rack"}, 0),
    "of other pods": ({"labelSelector": {"matchLabels": {"app": "other"}}}, 0),
}


@pytest.mark.parametrize("name", SPREADS)
def test_a_spread_that_counts_canary_nodes_as_empty_is_seen_before_they_are_made(name: str, world: World):
    what, pending = SPREADS[name]
    world.add(*spreading(**what))
    found = before_canaries(world)
    assert {about for about, _ in found} == ({"deployment shop/wide"} if pending else set())
    assert all(f"now, {pending} of them could not be scheduled once they restart" in problem for _, problem in found)


def test_a_spread_over_zones_counts_a_zone_that_has_canary_nodes_only(world: World):
    world.find("Node", "old-b")["metadata"]["labels"]["topology.kubernetes.io/zone"] = w.ZONES[0]
    world.add(*spreading(key="topology.kubernetes.io/zone"))
    [(about, problem)] = before_canaries(world)
    assert about == "deployment shop/wide"
    assert "now, 5 of them could not be scheduled" in problem


def test_beside_canary_nodes_gate_and_plan_stop_at_the_same_spread(world: World):
    world.add(*spreading())
    found = gate(world)
    assert {about for about, _ in found} == {"deployment shop/wide"}
    assert found == plan(world)


def test_a_spread_that_fits_now_and_not_when_all_have_moved_is_said_too(world: World):
    world.add(w.node("old-c", "aws"), *spreading(replicas=3))
    [(_, problem)] = before_canaries(world)
    assert "when all have moved, 1 of them could not be scheduled" in problem
