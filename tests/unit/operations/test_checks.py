"""Each check: it passes on a healthy cluster, names what breaks it, and is unknown when it cannot read."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from migration.facts import Decision
from migration.facts import Verdict as Surveyed
from migration.guarding import guard
from migration.guarding.freeze import Record
from migration.guarding.mark import Own
from migration.guarding.workloads import seal
from migration.journeys import JOURNEYS, CheckId
from migration.names import GUARD_DIGEST, MARK, WORKLOADS
from migration.rules import affinity
from migration.settings import Addon
from operations.checks import policies, proof, registry
from operations.evidence import Evidence, UnknownError, Verdict
from operations.guarding import freeze as keeping
from tests.unit.operations import world as w
from tests.unit.operations.world import World

MakeWorld = Callable[[Path], World]
LEGACY, MIXED, MOVED = w.legacy_world, w.mixed_world, w.moved_world


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cluster of these tests publishes anything anew."""
    monkeypatch.setattr(proof, "_PATIENCE", 0.0)


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the stack's state keeps of the frozen objects, by test; a state of an older version keeps nothing."""
    held: dict[str, Any] = {"record": None}
    monkeypatch.setattr(policies, "recorded", lambda _: held["record"])
    return held


def mixed_adopted(directory: Path) -> World:
    return w.mixed_world(directory, adopted=True)


def canary_empty(directory: Path) -> World:
    world = w.mixed_world(directory)
    world.drop("Pod", "web-3")
    return world


def about_to_move(directory: Path) -> World:
    world = w.mixed_world(directory)
    world.at("move-workloads")
    return world


def pinned_legacy(directory: Path) -> World:
    return World(directory, w.legacy_objects(pinned=True), stage="pin-legacy")


HOME: dict[CheckId, MakeWorld] = {
    CheckId.IDENTITY_AGREES: mixed_adopted,
    CheckId.MARK_AGREES: LEGACY,
    CheckId.AWS_MADE: LEGACY,
    CheckId.AWS_WELL: LEGACY,
    CheckId.GUARD_HOLDS: LEGACY,
    CheckId.NOTHING_REFUSED: LEGACY,
    CheckId.FACTS_HOLD: LEGACY,
    CheckId.SETTINGS_AGREE: MIXED,
    CheckId.NODES_READY: LEGACY,
    CheckId.CNI_KNOWN: LEGACY,
    CheckId.NODES_LABELLED: MIXED,
    CheckId.GROUPS_LABELLED: lambda d: w.legacy_world(d, adopted=False),
    CheckId.ADDON_TAKES_AFFINITY: LEGACY,
    CheckId.PINS_HOLD: mixed_adopted,
    CheckId.LEGACY_HEALTHY: LEGACY,
    CheckId.CALICO_COMPLETE: w.calico_world,
    CheckId.CALICO_SEES_PODS: w.calico_world,
    CheckId.CALICO_CONVERTIBLE: w.chart_world,
    CheckId.NEXT_KUBERNETES: w.calico_world,
    CheckId.CILIUM_OPERATOR_HEALTHY: MIXED,
    CheckId.CILIUM_CONFIGURED: MIXED,
    CheckId.CRDS_ESTABLISHED: MIXED,
    CheckId.POLICIES_ACCEPTED: MIXED,
    CheckId.ADDRESSES_SUFFICE: about_to_move,
    CheckId.WEBHOOKS_ANSWER: MIXED,
    CheckId.SPREAD_UNHARMED: pinned_legacy,
    CheckId.CANARY_READY: MIXED,
    CheckId.POLICIES_REALISED: MIXED,
    CheckId.ENDPOINTS_COMPLETE: MIXED,
    CheckId.PROBES_PASS: MIXED,
    CheckId.NODES_ALIKE: MIXED,
    CheckId.REFRESH_UNBLOCKED: MIXED,
    CheckId.NO_LEGACY_PODS: MOVED,
    CheckId.AWS_NODE_IDLE: MOVED,
    CheckId.SOAKED: MOVED,
    CheckId.WORKLOADS_NO_WORSE: MOVED,
    CheckId.LEGACY_GROUPS_EMPTY: MOVED,
    CheckId.NO_CILIUM_NODES: pinned_legacy,
    CheckId.CANARY_UNUSED: canary_empty,
    CheckId.POLICIES_AGREE: MOVED,
    CheckId.CALICO_UNCHANGED: MOVED,
    CheckId.NO_FOREIGN_ENFORCER: MOVED,
    CheckId.CILIUM_READY: MOVED,
    CheckId.CONTINUITY: w.known_world,
    CheckId.BRIDGE_IN_STEP: w.known_world,
    CheckId.PROOF_CURRENT: w.known_world,
}
"""For each check, a cluster on which it passes."""


def ask(check: CheckId, world: World) -> Evidence:
    return registry()[check](world.context)


def told(evidence: Evidence) -> str:
    return "\n".join([evidence.summary, *(f"{f.object}: {f.problem}. {f.fix}" for f in evidence.findings)])


def test_every_check_that_a_journey_names_exists():
    assert set(registry()) == set(CheckId)
    used = {c for j in JOURNEYS.values() for s in j.stages for c in (*s.gate, *s.settle, *s.leave)}
    assert used <= set(registry())


@pytest.mark.parametrize("check", CheckId)
def test_a_check_passes_where_all_is_well(check: CheckId, tmp_path: Path):
    evidence = ask(check, HOME[check](tmp_path))
    assert evidence.verdict is Verdict.PASSED, told(evidence)
    assert evidence.findings == ()
    assert evidence.summary


@pytest.mark.parametrize("check", CheckId)
@pytest.mark.parametrize("status", [403, 500])
def test_a_check_that_cannot_read_is_unknown(check: CheckId, status: int, tmp_path: Path):
    world = HOME[check](tmp_path)
    world.api.refuse, world.aws.refuse = status, True
    evidence = ask(check, world)
    assert evidence.verdict is Verdict.UNKNOWN, told(evidence)
    assert "refused" in told(evidence) or "AccessDenied" in told(evidence)


@pytest.mark.parametrize("check", CheckId)
def test_a_check_whose_time_is_over_is_not_passed(check: CheckId, tmp_path: Path):
    world = HOME[check](tmp_path)
    world.aws.refuse = True  # AWS clients have time limits of their own
    evidence = registry()[check](world.context.until(0.0))
    assert evidence.verdict is Verdict.UNKNOWN, told(evidence)


@pytest.mark.parametrize(
    "check",
    [
        CheckId.IDENTITY_AGREES,
        CheckId.SETTINGS_AGREE,
        CheckId.POLICIES_AGREE,
        CheckId.CALICO_UNCHANGED,
        CheckId.NO_FOREIGN_ENFORCER,
    ],
)
def test_the_gate_of_a_launch_passes_on_an_empty_cluster(check: CheckId, tmp_path: Path):
    w.write_policy(tmp_path)
    assert ask(check, World(tmp_path, [], stage="launch")).verdict is Verdict.PASSED


def test_a_calico_of_which_nothing_tells_the_version_is_unknown(tmp_path: Path):
    world = w.legacy_world(tmp_path)
    by_digest(world)
    evidence = ask(CheckId.FACTS_HOLD, world)
    assert evidence.verdict is Verdict.UNKNOWN, told(evidence)
    assert "neither its image, its Installation nor its ClusterInformation" in told(evidence)
    world.add(w.thing("ClusterInformation", "default", spec={"calicoVersion": "v3.32.1"}))
    assert ask(CheckId.FACTS_HOLD, world).verdict is Verdict.PASSED


def test_a_configuration_in_yaml_says_the_same_as_one_in_json(tmp_path: Path):
    world = w.legacy_world(tmp_path)
    addon = world.aws.answers["describe_addon"]["addon"]
    addon["configurationValues"] = "env:\n  WARM_IP_TARGET: '5'\n"
    assert "configuration is not the surveyed one" in told(ask(CheckId.FACTS_HOLD, world))
    facts = world.facts
    assert facts is not None
    as_json = {"configuration": '{"env":{"WARM_IP_TARGET":"5"}}'}
    world.facts = facts.model_copy(
        update={
            "vpc_cni": facts.vpc_cni.model_copy(update=as_json),
            "kube_proxy": facts.kube_proxy.model_copy(update=as_json),
        }
    )
    assert ask(CheckId.FACTS_HOLD, world).verdict is Verdict.PASSED
    assert ask(CheckId.ADDON_TAKES_AFFINITY, world).verdict is Verdict.PASSED


def test_pods_may_stand_in_subnets_of_their_own_with_the_same_way_out(tmp_path: Path):
    world = MIXED(tmp_path)
    another_subnet(world)
    local = {"DestinationCidrBlock": "100.64.0.0/16", "GatewayId": "local"}
    world.aws.answers["describe_route_tables"]["RouteTables"].append(table_of("subnet-0p", OUT, local))
    evidence = ask(CheckId.SETTINGS_AGREE, world)
    assert evidence.verdict is Verdict.PASSED, told(evidence)


def test_a_version_that_is_asked_for_and_not_yet_there_is_no_disagreement(tmp_path: Path):
    world = MIXED(tmp_path)
    world.aws.answers["describe_cluster"]["cluster"]["version"] = "1.34"
    assert ask(CheckId.SETTINGS_AGREE, world).verdict is Verdict.PASSED


# -- what breaks them -------------------------------------------------------------------------------

Break = Callable[[World], Any]
CASES: list[tuple[CheckId, str, Break, str]] = []


def case(check: CheckId, expected: str) -> Callable[[Break], Break]:
    """A way to break the cluster, and words that the evidence must then hold."""

    def register(change: Break) -> Break:
        CASES.append((check, change.__name__, change, expected))
        return change

    return register


def ready(world: World, kind: str, name: str, status: str = "False", condition: str = "Ready") -> None:
    found = world.find(kind, name)["status"]["conditions"]
    next(c for c in found if c["type"] == condition).update(status=status, message="broken")


@case(CheckId.IDENTITY_AGREES, "account is 999900001111")
def credentials_of_another_account(world):
    world.aws.answers["get_caller_identity"] = {"Account": "999900001111"}


@case(CheckId.IDENTITY_AGREES, "does not exist")
def no_such_cluster(world):
    world.aws.answers["describe_cluster"] = None


@case(CheckId.IDENTITY_AGREES, "CREATING")
def cluster_not_active(world):
    world.aws.answers["describe_cluster"]["cluster"]["status"] = "CREATING"


@case(CheckId.IDENTITY_AGREES, "its issuer is https://oidc.example/2")
def another_cluster_of_the_same_name(world):
    world.aws.answers["describe_cluster"]["cluster"]["identity"]["oidc"]["issuer"] = "https://oidc.example/2"


@case(CheckId.IDENTITY_AGREES, "python -m operations survey")
def adopted_without_facts(world):
    world.facts = None


@case(CheckId.NOTHING_REFUSED, "security groups for pods: found on node x: no counterpart. turn it off")
def a_refused_item(world):
    refused = Decision(
        item="security groups for pods",
        verdict=Surveyed.REFUSED,
        found="found on node x",
        reason="no counterpart",
        way_out="turn it off",
    )
    world.facts = world.facts.model_copy(update={"decisions": (refused,)})
    world.at("baseline")


@case(CheckId.NOTHING_REFUSED, "security groups for pods: 1 SecurityGroupPolicy: shop/db")
def a_security_group_policy_came_later(world):
    world.add(w.thing("SecurityGroupPolicy", "db", "shop"))


@case(CheckId.NOTHING_REFUSED, "Calico host endpoints: 1 HostEndpoint: uplink")
def a_host_endpoint_came_later(world):
    world.add(w.thing("HostEndpoint", "uplink"))


@case(CheckId.NOTHING_REFUSED, "Fargate: 1 profile: jobs")
def a_fargate_profile_came_later(world):
    world.aws.answers["list_fargate_profiles"] = {"fargateProfileNames": ["jobs"]}


@case(CheckId.NOTHING_REFUSED, "NodeLocal DNSCache: 1 DaemonSet: kube-system/node-local-dns")
def node_local_dns_came_later(world):
    world.add(w.daemonset("node-local-dns", "kube-system", 2))


@case(CheckId.NOTHING_REFUSED, "custom networking: pods live in subnet-p")
def custom_networking_came_later(world):
    container = world.find("DaemonSet", "aws-node")["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "value": "true"}]
    world.add(w.thing("ENIConfig", w.ZONES[0], spec={"subnet": "subnet-p", "securityGroups": ["sg-9"]}))


@case(CheckId.NOTHING_REFUSED, "versions: Kubernetes 1.37")
def an_upgrade_that_nobody_tested(world):
    world.aws.answers["describe_cluster"]["cluster"]["version"] = "1.37"


@case(CheckId.NOTHING_REFUSED, "Karpenter: 1 NodePool: spot")
def karpenter_came_later(world):
    world.add(w.thing("NodePool", "spot", spec={"template": {}, "limits": {"cpu": "100"}}))


@case(CheckId.FACTS_HOLD, "add-on vpc-cni: has version v2, the facts say v1")
def addon_updated(world):
    world.aws.answers["describe_addon"]["addon"]["addonVersion"] = "v2"


@case(CheckId.FACTS_HOLD, "its configuration is not the surveyed one")
def addon_configured(world):
    world.aws.answers["describe_addon"]["addon"]["configurationValues"] = '{"env":{"ENABLE_POD_ENI":"true"}}'


@case(CheckId.FACTS_HOLD, "add-on vpc-cni: is self-managed, the facts say addon")
def addon_gone(world):
    world.aws.answers["describe_addon"] = None


@case(CheckId.FACTS_HOLD, "daemonset kube-system/kube-proxy: runs img:v9")
def other_image(world):
    world.find("DaemonSet", "kube-proxy")["spec"]["template"]["spec"]["containers"][0]["image"] = "img:v9"


@case(CheckId.FACTS_HOLD, "daemonset calico-system/calico-node: runs v3.32.9, the facts say v3.32.1")
def other_calico(world):
    world.find("DaemonSet", "calico-node")["spec"]["template"]["spec"]["containers"][0]["image"] = "img:v3.32.9"


def by_digest(world: World) -> None:
    image = f"calico/node@sha256:{'0' * 64}"
    world.find("DaemonSet", "calico-node")["spec"]["template"]["spec"]["containers"][0]["image"] = image


@case(CheckId.FACTS_HOLD, "runs v3.31.4, the facts say v3.32.1")
def other_calico_by_digest(world):
    by_digest(world)
    world.add(w.thing("Installation", "default", status={"calicoVersion": "v3.31.4"}))


@case(CheckId.FACTS_HOLD, "neither the surveyed one nor that one pinned")
def other_affinity(world):
    world.find("DaemonSet", "aws-node")["spec"]["template"]["spec"]["affinity"] = None


@case(CheckId.FACTS_HOLD, "AWS_VPC_K8S_CNI_EXTERNALSNAT is 'true', the facts say None")
def other_environment(world):
    container = world.find("DaemonSet", "aws-node")["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "AWS_VPC_K8S_CNI_EXTERNALSNAT", "value": "true"}]


@case(CheckId.FACTS_HOLD, "vpc vpc-01: has the blocks 10.0.0.0/16, 100.64.0.0/16, the facts say 10.0.0.0/16. Run")
def a_block_was_added(world):
    more = {"CidrBlock": "100.64.0.0/16", "CidrBlockState": {"State": "associated"}}
    world.aws.answers["describe_vpcs"]["Vpcs"][0]["CidrBlockAssociationSet"].append(more)


@case(CheckId.FACTS_HOLD, "node group spot: was made after the survey")
def a_group_was_made(world):
    world.sizes["spot"] = 1


@case(CheckId.FACTS_HOLD, "node group old: was surveyed and is gone")
def a_group_was_deleted(world):
    world.sizes = {}


@case(CheckId.FACTS_HOLD, "calico-node: does not exist, the facts say it does. This may not move")
def calico_is_gone(world):
    world.drop("DaemonSet", "calico-node")


@case(
    CheckId.FACTS_HOLD,
    "runs Kubernetes 1.36, the facts say 1.35. Run `python -m operations survey --stack test --moved`, "
    "review the difference, commit it",
)
def upgraded(world):
    world.aws.answers["describe_cluster"]["cluster"]["version"] = "1.36"


def network(world: World, **changes: Any) -> None:
    changed = world.settings.network.model_copy(update=changes)
    world.settings = world.settings.model_copy(update={"network": changed})


def another_subnet(world: World, **changes: Any) -> Any:
    """The world's settings name one more subnet for pods."""
    made = w.subnet("subnet-0p", w.ZONES[0], 5) | changes
    more = w.subnet("subnet-0q", w.ZONES[1], 6)
    world.aws.answers["describe_subnets"]["Subnets"] += [made, more]
    network(world, pod_subnet_ids=("subnet-0p", "subnet-0q"))
    return made


def table_of(subnet: str, *routes: Any) -> Any:
    return {"VpcId": "vpc-01", "Associations": [{"SubnetId": subnet}], "Routes": list(routes)}


OUT = {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1"}


@case(CheckId.SETTINGS_AGREE, "network.vpcCidrs: lacks 100.64.0.0/16 of vpc-01")
def a_second_block_of_the_vpc(world):
    more = {"CidrBlock": "100.64.0.0/16", "CidrBlockState": {"State": "associated"}}
    world.aws.answers["describe_vpcs"]["Vpcs"][0]["CidrBlockAssociationSet"].append(more)


@case(CheckId.SETTINGS_AGREE, "network.vpcCidrs: has 10.9.0.0/16, which is not a block of vpc-01")
def a_block_that_is_not_of_the_vpc(world):
    network(world, vpc_cidrs=(IPv4Network("10.0.0.0/16"), IPv4Network("10.9.0.0/16")))


@case(CheckId.SETTINGS_AGREE, "network.vpcId vpc-01: does not exist in eu-west-1")
def no_such_vpc(world):
    world.aws.answers["describe_vpcs"]["Vpcs"] = []


@case(CheckId.SETTINGS_AGREE, "network.vpcId: is vpc-01, the cluster lives in vpc-02")
def the_vpc_of_another_cluster(world):
    world.aws.answers["describe_cluster"]["cluster"]["resourcesVpcConfig"]["vpcId"] = "vpc-02"


@case(CheckId.SETTINGS_AGREE, "network.serviceCidr: is 172.20.0.0/16, the cluster's is 10.100.0.0/16")
def another_service_block(world):
    world.aws.answers["describe_cluster"]["cluster"]["kubernetesNetworkConfig"]["serviceIpv4Cidr"] = "10.100.0.0/16"


@case(CheckId.SETTINGS_AGREE, "cluster.version: asks for 1.35, and 1.36 runs")
def a_cluster_raised_by_somebody_else(world):
    world.aws.answers["describe_cluster"]["cluster"]["version"] = "1.36"


@case(CheckId.SETTINGS_AGREE, "legacy.vpcCni.version: asks for v1.21.1-eksbuild.3, and v1.22.2-eksbuild.1 runs")
def an_add_on_raised_by_somebody_else(world):
    world.aws.answers["describe_addon"]["addon"]["addonVersion"] = "v1.22.2-eksbuild.1"
    asked = world.settings.legacy.model_copy(update={"vpc_cni": Addon(version="v1.21.1-eksbuild.3")})
    world.settings = world.settings.model_copy(update={"legacy": asked})


@case(CheckId.SETTINGS_AGREE, "network.subnetIds subnet-0b: does not exist")
def a_subnet_is_gone(world):
    world.aws.answers["describe_subnets"]["Subnets"].pop()


@case(CheckId.SETTINGS_AGREE, "network.podSubnetIds subnet-0p: is in vpc-02, not in vpc-01")
def a_subnet_of_another_vpc(world):
    another_subnet(world, VpcId="vpc-02")


@case(CheckId.SETTINGS_AGREE, "network.podSubnetIds: has no subnet in eu-west-1a, where nodes stand")
def no_pod_subnet_in_a_zone(world):
    another_subnet(world, AvailabilityZone=w.ZONES[1])


@case(CheckId.SETTINGS_AGREE, "subnet-0p: leaves to 0.0.0.0/0 by nat-2, pods leave by nat-1 today")
def pods_would_leave_by_another_gateway(world):
    another_subnet(world)
    table = table_of("subnet-0p", OUT | {"NatGatewayId": "nat-2"})
    world.aws.answers["describe_route_tables"]["RouteTables"].append(table)


@case(CheckId.SETTINGS_AGREE, "subnet-0p: leaves to 10.50.0.0/16 by nothing, pods leave by pcx-1 today")
def pods_would_lose_a_peer(world):
    another_subnet(world)
    peer = {"DestinationCidrBlock": "10.50.0.0/16", "VpcPeeringConnectionId": "pcx-1"}
    world.aws.answers["describe_route_tables"]["RouteTables"][0]["Routes"].append(peer)
    world.aws.answers["describe_route_tables"]["RouteTables"].append(table_of("subnet-0p", OUT))


@case(CheckId.SETTINGS_AGREE, "network.securityGroupIds sg-9: does not exist")
def a_security_group_is_gone(world):
    network(world, security_group_ids=("sg-9",))


@case(CheckId.SETTINGS_AGREE, "network.securityGroupIds sg-9: is of vpc-02, not of vpc-01")
def a_security_group_of_another_vpc(world):
    network(world, security_group_ids=("sg-9",))
    world.aws.answers["describe_security_groups"] = {"SecurityGroups": [{"GroupId": "sg-9", "VpcId": "vpc-02"}]}


@case(CheckId.NODES_READY, "node old-b: is not Ready: broken")
def node_not_ready(world):
    ready(world, "Node", "old-b")


@case(CheckId.NODES_READY, "node late: is not Ready: it never reported")
def node_never_reported(world):
    world.add({**w.node("late", "aws"), "status": {}})


@case(CheckId.CNI_KNOWN, "daemonset kube-system/kube-flannel-ds: looks like flannel")
def flannel(world):
    world.add(w.daemonset("kube-flannel-ds", "kube-system", 2))


@case(CheckId.CNI_KNOWN, "daemonset net/homemade: writes to /etc/cni/net.d")
def an_unknown_writer(world):
    made = w.daemonset("homemade", "net", 2)
    spec = made["spec"]["template"]["spec"]
    spec["volumes"] = [{"name": "v", "hostPath": {"path": "/etc/cni/net.d"}}]
    spec["containers"][0]["volumeMounts"] = [{"name": "v"}]
    world.add(made)


@case(CheckId.CNI_KNOWN, "this Calico wires pods")
def calico_as_cni(world):
    spec = world.find("DaemonSet", "calico-node")["spec"]["template"]["spec"]
    spec["initContainers"] = [{"name": "install-cni", "image": "calico/cni:v3"}]


@case(CheckId.CNI_KNOWN, "node odd: is labelled cni-plugin=weave")
def a_foreign_label(world):
    world.add(w.node("odd", "weave"))


@case(CheckId.NODES_LABELLED, "node joined: has no label cni-plugin")
def a_node_joined(world):
    world.add(w.node("joined", None, labels={"eks.amazonaws.com/nodegroup": "batch"}))


@case(CheckId.GROUPS_LABELLED, "node group old: gives its nodes no label")
def group_without_label(world):
    world.labels = {}


@case(CheckId.GROUPS_LABELLED, "nodepool spot: gives its nodes no label")
def pool_without_label(world):
    world.add(w.thing("NodePool", "spot", spec={"template": {"metadata": {"labels": {"team": "a"}}}}))


@case(CheckId.ADDON_TAKES_AFFINITY, "Additional properties are not allowed ('affinity' was unexpected)")
def schema_without_affinity(world):
    world.aws.answers["describe_addon_configuration"]["configurationSchema"] = w.SCHEMA.replace("affinity", "other")


@case(CheckId.ADDON_TAKES_AFFINITY, "takes no configuration at all")
def no_schema(world):
    world.aws.answers["describe_addon_configuration"] = {}


@case(CheckId.PINS_HOLD, "daemonset kube-system/kube-proxy: its affinity does not ask for cni-plugin=aws")
def a_pin_was_reverted(world):
    world.find("DaemonSet", "kube-proxy")["spec"]["template"]["spec"]["affinity"] = affinity.on_linux_ec2()


@case(CheckId.PINS_HOLD, "no longer asks for eks.amazonaws.com/compute-type NotIn fargate,hybrid,auto")
def a_term_was_lost(world):
    world.find("DaemonSet", "aws-node")["spec"]["template"]["spec"]["affinity"] = affinity.pin(
        None, "cni-plugin", "aws"
    )


@case(CheckId.PINS_HOLD, "node new-a: runs kube-system/kube-proxy-new-a")
def a_stray_pod(world):
    world.add(w.pod("kube-proxy-new-a", "new-a", "DaemonSet/kube-proxy", "kube-system", host_network=True))


@case(CheckId.PINS_HOLD, "daemonset kube-system/aws-node: does not exist")
def aws_node_deleted(world):
    world.drop("DaemonSet", "aws-node")


@case(CheckId.LEGACY_HEALTHY, "1 ready of 2 desired on 2 nodes; not ready on old-b")
def an_agent_is_down(world):
    ready(world, "Pod", "calico-node-old-b")
    world.find("DaemonSet", "calico-node")["status"]["numberReady"] = 1


@case(CheckId.LEGACY_HEALTHY, "daemonset kube-system/aws-node: 0 ready of 2 desired")
def a_roll_out_is_unseen(world):
    world.find("DaemonSet", "aws-node")["metadata"]["generation"] = 2


@case(CheckId.LEGACY_HEALTHY, "on 3 nodes; not ready on fresh")
def a_node_without_agent(world):
    world.add(w.node("fresh", None))


@case(CheckId.LEGACY_HEALTHY, "tigerastatus calico: Available is False: broken")
def calico_unavailable(world):
    ready(world, "TigeraStatus", "calico", "False", "Available")


@case(CheckId.LEGACY_HEALTHY, "tigerastatus calico: Degraded is True: broken")
def calico_degraded(world):
    ready(world, "TigeraStatus", "calico", "True", "Degraded")


@case(CheckId.CALICO_COMPLETE, "crd tiers.crd.projectcalico.org: does not exist, and Calico v3.32.99 needs it. `helm")
def a_definition_of_calico_is_missing(world):
    world.drop("CustomResourceDefinition", "tiers.crd.projectcalico.org")


@case(CheckId.CALICO_COMPLETE, "crd networksets.crd.projectcalico.org: is not established")
def a_definition_of_calico_is_not_established(world):
    ready(world, "CustomResourceDefinition", "networksets.crd.projectcalico.org", condition="Established")


@case(
    CheckId.CALICO_SEES_PODS, "polices interfaces named cali…, and the VPC CNI names them eni…: Calico enforces nothing"
)
def felix_polices_the_interfaces_of_another_cni(world):
    w.told(world.find("DaemonSet", "calico-node"), FELIX_INTERFACEPREFIX="cali")


@case(CheckId.CALICO_SEES_PODS, "deployment calico-system/calico-typha: looks for pods' interfaces under eni…, and")
def the_vpc_cni_names_interfaces_otherwise(world):
    w.told(world.find("DaemonSet", "aws-node"), AWS_VPC_K8S_CNI_VETHPREFIX="vpc")
    w.told(world.find("DaemonSet", "calico-node"), FELIX_INTERFACEPREFIX="vpc")


@case(CheckId.CALICO_SEES_PODS, "pod shop/web-1: hangs on a branch interface, vlan…")
def a_pod_on_a_branch_interface(world):
    w.told(world.find("DaemonSet", "aws-node"), ENABLE_POD_ENI="true")
    world.find("Pod", "web-1")["metadata"]["annotations"] = {"vpc.amazonaws.com/pod-eni": "[]"}


@case(CheckId.CALICO_CONVERTIBLE, "daemonset calico-node: has the annotation meta.helm.sh/release-name. Take them off")
def helm_has_annotated_calico_node(world):
    world.find("DaemonSet", "calico-node")["metadata"]["annotations"] = {"meta.helm.sh/release-name": "aws-calico"}


@case(CheckId.CALICO_CONVERTIBLE, "daemonset calico-node: has an affinity. Take it off: the operator sets its own")
def the_chart_keeps_off_fargate(world):
    world.find("DaemonSet", "calico-node")["spec"]["template"]["spec"]["affinity"] = affinity.on_linux_ec2()


@case(CheckId.CALICO_CONVERTIBLE, "daemonset calico-node: has HTTP_PROXY in container calico-node. Take it out")
def a_variable_of_their_own(world):
    container = world.find("DaemonSet", "calico-node")["spec"]["template"]["spec"]["containers"][0]
    container["env"].append({"name": "HTTP_PROXY", "value": "http://proxy"})


@case(CheckId.CALICO_CONVERTIBLE, "its limits (cpu 100m, memory 64Mi) go over into the Installation, and are too small")
def the_limits_of_the_chart(world):
    container = world.find("DaemonSet", "calico-node")["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {"memory": "64Mi", "cpu": "100m"}}


@case(CheckId.CALICO_CONVERTIBLE, "deployment kube-system/calico-typha: is kept in place by Argo CD")
def argo_keeps_typha(world):
    world.find("Deployment", "calico-typha")["metadata"]["labels"]["argocd.argoproj.io/instance"] = "calico"


@case(CheckId.CALICO_CONVERTIBLE, "daemonset kube-system/calico-node: is kept in place by Terraform")
def terraform_wrote_calico_node(world):
    world.find("DaemonSet", "calico-node")["metadata"]["managedFields"] = [{"manager": "Terraform"}]


@case(CheckId.CALICO_CONVERTIBLE, "nodes: 3 nodes: the chart's typha and the operator's, one to a node, have no room")
def three_nodes(world):
    world.drop("Node", "old-d")


@case(CheckId.CALICO_CONVERTIBLE, "felixconfiguration default: is not there, or cannot be read")
def no_felix_configuration(world):
    world.drop("FelixConfiguration")


@case(CheckId.NEXT_KUBERNETES, "Calico v3.32.99 is tested with Kubernetes 1.33 to 1.36, not with 1.37")
def kubernetes_at_its_last_minor_for_this_calico(world):
    world.aws.answers["describe_cluster"]["cluster"]["version"] = "1.36"


@case(CheckId.CILIUM_OPERATOR_HEALTHY, "1 of 2 replicas available")
def one_operator(world):
    world.find("Deployment", "cilium-operator")["status"]["availableReplicas"] = 1


@case(CheckId.CILIUM_OPERATOR_HEALTHY, "is scaled to zero")
def no_operator(world):
    world.find("Deployment", "cilium-operator")["spec"]["replicas"] = 0


@case(CheckId.CRDS_ESTABLISHED, "crd ciliumendpoints.cilium.io: does not exist")
def crd_missing(world):
    world.drop("CustomResourceDefinition", "ciliumendpoints.cilium.io")


@case(CheckId.CRDS_ESTABLISHED, "crd ciliumnodes.cilium.io: is not established")
def crd_not_established(world):
    ready(world, "CustomResourceDefinition", "ciliumnodes.cilium.io", condition="Established")


@case(CheckId.POLICIES_ACCEPTED, "deny.yaml:1, not in the cluster")
def policy_missing(world):
    world.drop("CiliumClusterwideNetworkPolicy")


@case(CheckId.POLICIES_ACCEPTED, "at spec.egressDeny.0.toCIDR.0")
def policy_changed(world):
    world.find("CiliumClusterwideNetworkPolicy", "deny-metadata")["spec"]["egressDeny"] = [{"toCIDR": ["1.1.1.1/32"]}]


@case(CheckId.POLICIES_ACCEPTED, "at spec.ingress")
def policy_extended(world):
    world.find("CiliumClusterwideNetworkPolicy", "deny-metadata")["spec"]["ingress"] = [{}]


@case(CheckId.POLICIES_ACCEPTED, "Cilium refuses it: broken")
def policy_invalid(world):
    ready(world, "CiliumClusterwideNetworkPolicy", "deny-metadata", condition="Valid")


@case(CheckId.ADDRESSES_SUFFICE, "zone eu-west-1b: its subnets have 2 free addresses")
def subnet_full(world):
    world.aws.answers["describe_subnets"]["Subnets"][1]["AvailableIpAddressCount"] = 2


def webhook(**more: Any) -> Any:
    rules = [{"apiGroups": ["*"], "resources": ["*/*"], "operations": ["*"]}]
    client = {"service": {"namespace": "shop", "name": "guard"}}
    hook = {"name": "guard.example", "failurePolicy": "Fail", "clientConfig": client, "rules": rules, **more}
    return w.thing("ValidatingWebhookConfiguration", "guard", webhooks=[hook])


def slice_of(*nodes: str) -> Any:
    endpoints = [{"nodeName": n, "conditions": {"ready": True}} for n in nodes]
    labels = {"kubernetes.io/service-name": "guard"}
    return w.thing("EndpointSlice", "guard-1", "shop", meta={"labels": labels}, endpoints=endpoints)


@case(CheckId.WEBHOOKS_ANSWER, "service shop/guard has no ready endpoint")
def webhook_unserved(world):
    world.add(webhook())


@case(
    CheckId.WEBHOOKS_ANSWER,
    "fails closed on nodes, leases, pods, pods/eviction, pods/binding, pods/status, volumeattachments, "
    "and is served from old-a alone",
)
def webhook_on_one_leaving_node(world):
    world.add(webhook(), slice_of("old-a"))


@case(CheckId.SPREAD_UNHARMED, "replicaset shop/wide: spreads its 3 replicas by kubernetes.io/hostname with maxSkew 1")
def spread_over_nodes(world):
    rule = {"topologyKey": "kubernetes.io/hostname", "maxSkew": 1, "labelSelector": {"matchLabels": {"app": "wide"}}}
    for name, where in (("wide-1", "old-a"), ("wide-2", "old-b"), ("wide-3", "old-b")):
        labels = {"app": "wide"}
        world.add(w.pod(name, where, "ReplicaSet/wide", labels=labels, topologySpreadConstraints=[rule]))


@case(CheckId.CANARY_READY, "zone eu-west-1b: has no Ready canary node")
def canary_missing(world):
    world.drop("Node", "new-b")


@case(CheckId.CANARY_READY, "node new-a: still has the taint")
def canary_tainted(world):
    world.find("Node", "new-a")["spec"]["taints"].append({"key": "node.cilium.io/agent-not-ready"})


@case(CheckId.CANARY_READY, "node new-a: has no CiliumNode")
def canary_unpublished(world):
    world.drop("CiliumNode", "new-a")


@case(CheckId.CANARY_READY, "node new-b: has no ready Cilium agent")
def canary_agent_down(world):
    ready(world, "Pod", "cilium-new-b")


@case(CheckId.CANARY_READY, "node new-a: runs kube-proxy")
def canary_with_kube_proxy(world):
    world.add(w.pod("kube-proxy-x", "new-a", "DaemonSet/kube-proxy", "kube-system", host_network=True))


@case(CheckId.POLICIES_REALISED, "pod shop/web-3: a policy isolates its egress, its endpoint does not enforce")
def not_enforcing(world):
    world.find("CiliumEndpoint", "web-3")["status"]["policy"]["egress"]["enforcing"] = False


@case(CheckId.POLICIES_REALISED, "pod shop/web-3: a policy isolates its ingress")
def network_policy_not_enforced(world):
    spec = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]}
    world.add(w.thing("NetworkPolicy", "isolate", "shop", spec=spec))


@case(CheckId.POLICIES_REALISED, "enable-policy is never")
def enforcement_off(world):
    world.find("ConfigMap", "cilium-config")["data"]["enable-policy"] = "never"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("enable-policy", "never"),
        ("enable-policy", "always"),
        ("policy-audit-mode", "true"),
        ("enable-k8s-networkpolicy", "false"),
        ("enable-cilium-network-policy", "false"),
        ("kube-proxy-replacement", "false"),
        ("cni-chaining-mode", "aws-cni"),
        ("routing-mode", "tunnel"),
        ("cluster-id", "7"),
        ("enable-ipv4-masquerade", "false"),
        ("unmanaged-pod-watcher-interval", "15"),
        ("ipam", None),
    ],
)
@pytest.mark.parametrize("where", ["cilium-config", "ciliumnodeconfig"])
def test_a_configuration_that_somebody_edited_is_found_wherever_it_stands(tmp_path, where, key, value):
    world = MIXED(tmp_path)
    if where == "cilium-config":
        data = world.find("ConfigMap", "cilium-config")["data"]
        data.pop(key, None) if value is None else data.update({key: value})
    else:
        spec = {"nodeSelector": {}, "defaults": {key: str(value)}}
        world.add(w.thing("CiliumNodeConfig", "quiet", "kube-system", spec=spec))
    evidence = ask(CheckId.CILIUM_CONFIGURED, world)
    assert evidence.verdict is Verdict.FAILED
    (finding,) = evidence.findings
    assert where in finding.object
    assert key in finding.problem


def test_a_configuration_that_says_nothing_of_it_changes_nothing(tmp_path):
    world = MIXED(tmp_path)
    spec = {"nodeSelector": {}, "defaults": {"debug": "true", "enable-policy": "default"}}
    world.add(w.thing("CiliumNodeConfig", "loud", "kube-system", spec=spec))
    assert ask(CheckId.CILIUM_CONFIGURED, world).verdict is Verdict.PASSED


@case(CheckId.CILIUM_CONFIGURED, "configmap kube-system/cilium-config: does not exist")
def no_configuration(world):
    world.drop("ConfigMap", "cilium-config")


@case(CheckId.AWS_WELL, "cluster shop: is UPDATING")
def cluster_being_updated(world):
    world.aws.answers["describe_cluster"] = {"cluster": {"name": "shop", "status": "UPDATING", "version": "1.35"}}


@case(CheckId.POLICIES_REALISED, "pod shop/web-3: has no CiliumEndpoint")
def realised_without_endpoint(world):
    world.drop("CiliumEndpoint", "web-3")


@case(CheckId.ENDPOINTS_COMPLETE, "pod shop/web-3: has no CiliumEndpoint")
def endpoint_missing(world):
    world.drop("CiliumEndpoint", "web-3")


@case(CheckId.ENDPOINTS_COMPLETE, "its CiliumEndpoint has no identity")
def endpoint_without_identity(world):
    del world.find("CiliumEndpoint", "web-3")["status"]["identity"]


@case(CheckId.ENDPOINTS_COMPLETE, "its CiliumEndpoint 10.9.9.9")
def endpoint_with_other_address(world):
    world.find("CiliumEndpoint", "web-3")["status"]["networking"]["addressing"] = [{"ipv4": "10.9.9.9"}]


@case(CheckId.PROBES_PASS, "node new-b: its probe does not reach cni-plugin=aws")
def probe_fails(world):
    ready(world, "Pod", "eks-cilium-probe-cilium-new-b")
    world.find("DaemonSet", "eks-cilium-probe-cilium")["status"]["numberReady"] = 1


@case(CheckId.PROBES_PASS, "daemonset kube-system/eks-cilium-probe-aws: does not exist")
def no_probe(world):
    world.drop("DaemonSet", "eks-cilium-probe-aws")


@case(CheckId.PROBES_PASS, "eks-cilium-probe-cilium: runs on no node")
def probe_nowhere(world):
    world.find("DaemonSet", "eks-cilium-probe-cilium")["status"]["desiredNumberScheduled"] = 0


def some_instances(world: World, name: str, **more: Any) -> None:
    def describe(InstanceIds: list[str]) -> Any:  # noqa: N803 - boto3's names
        found = [w.instance(i, **(more if i.endswith(name) else {})) for i in InstanceIds]
        return {"Reservations": [{"Instances": found}]}

    world.aws.answers["describe_instances"] = describe


@case(CheckId.NODES_ALIKE, "node new-a: lacks sg-1")
def other_security_group(world):
    some_instances(world, "new-a", SecurityGroups=[{"GroupId": "sg-2"}])


@case(CheckId.NODES_ALIKE, "node new-a: has sg-2, which no legacy node has")
def one_security_group_more(world):
    some_instances(world, "new-a", SecurityGroups=[{"GroupId": "sg-1"}, {"GroupId": "sg-2"}])


@case(CheckId.NODES_ALIKE, "its metadata hop limit is 1, legacy nodes have 2 or more")
def smaller_hop_limit(world):
    some_instances(world, "new-a", MetadataOptions={"HttpPutResponseHopLimit": 1})


@case(CheckId.NODES_ALIKE, "node new-a: leaves by internet-gateway, legacy nodes by nat")
def other_way_out(world):
    some_instances(world, "new-a", SubnetId="subnet-public")
    world.aws.answers["describe_route_tables"]["RouteTables"].append(
        {
            "VpcId": "vpc-01",
            "Associations": [{"SubnetId": "subnet-public"}],
            "Routes": [{"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1"}],
        }
    )


@case(CheckId.NODES_ALIKE, "its role lacks AmazonEKSWorkerNodePolicy")
def role_without_policies(world):
    world.aws.answers["list_attached_role_policies"] = {"AttachedPolicies": []}


@case(CheckId.NODES_ALIKE, "zone eu-west-1b: has legacy nodes and no Cilium node")
def zone_uncovered(world):
    world.drop("Node", "new-b")


@case(CheckId.NODES_ALIKE, "no Cilium group has all of them: new will lack sg-db")
def a_security_group_of_some_legacy_nodes(world):
    some_instances(world, "old-b", SecurityGroups=[{"GroupId": "sg-1"}, {"GroupId": "sg-db"}])


@case(CheckId.NODES_ALIKE, "node group new: gives its nodes sg-9, which no legacy node has")
def a_security_group_of_nobodys(world):
    cilium = world.settings.cilium
    groups = tuple(group.model_copy(update={"security_group_ids": ("sg-9",)}) for group in cilium.groups)
    world.settings = world.settings.model_copy(update={"cilium": cilium.model_copy(update={"groups": groups})})


def test_the_plugin_of_a_mesh_is_let_be_where_cilium_leaves_it_there(tmp_path):
    world = HOME[CheckId.CNI_KNOWN](tmp_path)
    world.add(w.daemonset("istio-cni-node", "istio-system", 2))
    assert registry()[CheckId.CNI_KNOWN](world.context).verdict is Verdict.FAILED
    cilium = world.settings.cilium.model_copy(update={"values": {"cni": {"exclusive": False}}})
    world.settings = world.settings.model_copy(update={"cilium": cilium})
    assert registry()[CheckId.CNI_KNOWN](world.context).verdict is Verdict.PASSED


def test_a_group_that_takes_over_what_some_legacy_nodes_have_is_alike(tmp_path):
    world = HOME[CheckId.NODES_ALIKE](tmp_path)
    some_instances(world, "old-b", SecurityGroups=[{"GroupId": "sg-1"}, {"GroupId": "sg-db"}])
    cilium = world.settings.cilium
    groups = tuple(group.model_copy(update={"security_group_ids": ("sg-db",)}) for group in cilium.groups)
    world.settings = world.settings.model_copy(update={"cilium": cilium.model_copy(update={"groups": groups})})
    assert registry()[CheckId.NODES_ALIKE](world.context).findings == ()


def budget(name: str, allowed: int) -> Any:
    return w.thing(
        "PodDisruptionBudget",
        name,
        "shop",
        spec={"selector": {"matchLabels": {"app": "web"}}},
        status={
            "currentHealthy": 3,
            "desiredHealthy": 3 - allowed,
            "expectedPods": 3,
            "disruptionsAllowed": allowed,
        },
    )


@case(CheckId.REFRESH_UNBLOCKED, "poddisruptionbudget shop/strict: never allows a disruption, and 2 pods under it")
def budget_allows_nothing(world):
    world.add(budget("strict", 0))


@case(CheckId.REFRESH_UNBLOCKED, "pod shop/web-1: more than one PodDisruptionBudget selects it (one, two)")
def two_budgets(world):
    world.add(budget("one", 1), budget("two", 1))


@case(CheckId.REFRESH_UNBLOCKED, "pod shop/alone: has no controller")
def bare_pod(world):
    world.add(w.pod("alone", "old-a", ""))


@case(CheckId.REFRESH_UNBLOCKED, "pod shop/db-0: its volume pv-1 is a disk of old-a")
def local_disk(world):
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "db"}}]
    world.add(
        w.pod("db-0", "old-a", "StatefulSet/db", volumes=volumes),
        w.thing("PersistentVolumeClaim", "db", "shop", spec={"volumeName": "pv-1"}),
        w.thing(
            "PersistentVolume",
            "pv-1",
            spec={"local": {"path": "/mnt"}, "claimRef": {"namespace": "shop", "name": "db"}},
        ),
    )


@case(CheckId.REFRESH_UNBLOCKED, "service shop/guard has no ready endpoint")
def closed_webhook(world):
    world.add(webhook())


@case(
    CheckId.WORKLOADS_NO_WORSE, "deployment kube-system/coredns: has 1 of 2 ready, and had 2 of 2 ready before the move"
)
def workload_is_worse(world):
    world.find("Deployment", "coredns")["status"]["readyReplicas"] = 1


@case(CheckId.NO_LEGACY_PODS, "pod shop/left: still runs on legacy node old-z")
def pod_left_behind(world):
    world.add(w.node("old-z", "aws"), w.pod("left", "old-z"))


@case(CheckId.AWS_NODE_IDLE, "is wanted on 1 node: old-z")
def aws_node_runs(world):
    world.find("DaemonSet", "aws-node")["status"]["desiredNumberScheduled"] = 1
    world.add(w.pod("aws-node-z", "old-z", "DaemonSet/aws-node", "kube-system", host_network=True))


@case(CheckId.SOAKED, "lease kube-system/eks-cilium-refresh: workloads have run on Cilium for 0 min only")
def refresh_just_ended(world):
    world.add(w.thing("Lease", "eks-cilium-refresh", "kube-system", spec={"renewTime": now()}))


@case(CheckId.SOAKED, "pod shop/web-1: workloads have run on Cilium for 0 min only")
def pod_just_ready(world):
    world.find("Pod", "web-1")["status"]["conditions"][0]["lastTransitionTime"] = now()


@case(CheckId.SOAKED, "pod shop/web-1: workloads have run on Cilium for 0 min only")
def pod_just_ready_long_after_the_refresh(world):
    world.add(w.thing("Lease", "eks-cilium-refresh", "kube-system", spec={"renewTime": w.AGO}))
    pod_just_ready(world)


@case(CheckId.SOAKED, "lease kube-system/eks-cilium-refresh: workloads have run on Cilium for 0 min only")
def refresh_just_ended_on_a_machine_whose_clock_is_slow(world):
    world.add(written("spec", "renewTime", of=w.thing("Lease", "eks-cilium-refresh", "kube-system")))
    world.find("Lease", "eks-cilium-refresh")["spec"] = {"renewTime": w.AGO}


@case(CheckId.SOAKED, "pod shop/web-1: workloads have run on Cilium for 0 min only")
def pod_just_made_on_a_node_whose_clock_is_slow(world):
    world.find("Pod", "web-1")["metadata"]["creationTimestamp"] = now()


@case(CheckId.SOAKED, "pod shop/web-1: workloads have run on Cilium for 0 min only")
def pod_just_ready_on_a_node_whose_clock_is_slow(world):
    written("status", "conditions", 'k:{"type":"Ready"}', of=world.find("Pod", "web-1"))


@case(CheckId.SOAKED, "workloads have run on Cilium for 30 min only")
def our_own_clock_is_fast(world):
    ago = datetime.now(UTC) - datetime.strptime(w.AGO, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    world.api.ahead = timedelta(minutes=30, seconds=30) - ago


@case(CheckId.SOAKED, "pod shop/web-1: is not Ready, so its soak has not begun")
def pod_not_ready(world):
    world.find("Pod", "web-1")["status"]["conditions"][0]["status"] = "False"


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        (
            lambda world: world.find("Pod", "web-1")["status"].pop("conditions"),
            "pod shop/web-1 does not say since when",
        ),
        (lambda world: world.add(w.thing("Lease", "eks-cilium-refresh", "kube-system", spec={})), "lease kube-system/"),
        (lambda world: setattr(world.api, "ahead", -timedelta(hours=4)), "and the API server's clock"),
        (lambda world: setattr(world.api, "ahead", None), "does not say what time it is"),
    ],
    ids=["pod", "lease", "future", "server"],
)
def test_a_soak_whose_beginning_or_present_nobody_tells_is_unknown(missing: Break, expected: str, tmp_path: Path):
    world = MOVED(tmp_path)
    missing(world)
    evidence = ask(CheckId.SOAKED, world)
    assert evidence.verdict is Verdict.UNKNOWN, told(evidence)
    assert expected in told(evidence)


def test_jobs_and_pods_that_are_leaving_do_not_hold_up_the_soak(tmp_path: Path):
    world = MOVED(tmp_path)
    for name, owner in (("nightly", "Job/nightly"), ("leaving", "ReplicaSet/web")):
        late = w.pod(name, "new-a", owner)
        late["status"]["conditions"] = [w.condition("Ready", "False")]
        world.add(late)
    world.find("Pod", "leaving")["metadata"]["deletionTimestamp"] = now()
    assert ask(CheckId.SOAKED, world).verdict is Verdict.PASSED


def written(*path: str, of: Any) -> Any:
    """Say that the API server took in a field just now."""
    fields: Any = {}
    for part in reversed(path):
        fields = {part if part.startswith("k:") else f"f:{part}": fields}
    of["metadata"]["managedFields"] = [{"manager": "m", "time": now(), "fieldsV1": fields}]
    return of


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@case(CheckId.LEGACY_GROUPS_EMPTY, "node group old: wants 1 node")
def group_not_empty(world):
    world.sizes = {"old": 1}


@case(CheckId.LEGACY_GROUPS_EMPTY, "scaling group asg-old: wants 0 and has 1 instance: i-1")
def instance_lives_on(world):
    group = {"AutoScalingGroupName": "asg-old", "DesiredCapacity": 0, "Instances": [{"InstanceId": "i-1"}]}
    world.aws.answers["describe_auto_scaling_groups"] = {"AutoScalingGroups": [group]}


@case(CheckId.LEGACY_GROUPS_EMPTY, "node old-z: is still a legacy node")
def node_lives_on(world):
    world.add(w.node("old-z", None))


@case(CheckId.NO_CILIUM_NODES, "node new-a: is wired by Cilium")
def cilium_node(world):
    world.add(w.node("new-a", "cilium"))


@case(CheckId.CANARY_UNUSED, "pod shop/web-3: runs on new-a")
def canary_used(world):
    world.add(w.pod("web-3", "new-a"))


@case(CheckId.POLICIES_AGREE, "CiliumNetworkPolicy/shop/extra: is in the cluster, in no file")
def policy_without_file(world):
    world.add(w.thing("CiliumNetworkPolicy", "extra", "shop", spec={"endpointSelector": {}}))


@case(CheckId.POLICIES_AGREE, "GlobalNetworkPolicy/stray: is in the cluster, in no file")
def calico_policy_without_file(world):
    world.add(w.thing("GlobalNetworkPolicy", "stray", spec={"selector": "all()"}))


@case(CheckId.POLICIES_AGREE, "not in the cluster")
def file_not_deployed(world):
    world.drop("CiliumClusterwideNetworkPolicy")


@case(CheckId.POLICIES_AGREE, "ClusterNetworkPolicy/admin: is enforced by Calico and not by Cilium")
@case(CheckId.POLICIES_ACCEPTED, "ClusterNetworkPolicy/admin: is enforced by Calico and not by Cilium")
def policy_of_calico_only(world):
    world.add(w.thing("ClusterNetworkPolicy", "admin", spec={"tier": "Admin", "priority": 1}))


@case(CheckId.CALICO_UNCHANGED, "GlobalNetworkPolicy/open: was changed by kubectl-edit")
def somebody_edited(world):
    entry = {"manager": "kubectl-edit", "operation": "Update", "time": now()}
    world.add(w.thing("GlobalNetworkPolicy", "open", meta={"managedFields": [entry]}, spec={}))


@case(CheckId.CALICO_UNCHANGED, "does not exist, so policies may have changed unseen")
def freeze_missing(world):
    world.drop("ValidatingAdmissionPolicy")


@case(CheckId.CALICO_UNCHANGED, "is not bound to deny")
def freeze_unbound(world):
    world.find("ValidatingAdmissionPolicyBinding", "eks-cilium-policy-freeze")["spec"]["validationActions"] = ["Warn"]


@case(CheckId.AWS_MADE, "cluster shop: is UPDATING")
def cluster_being_changed(world):
    world.aws.answers["describe_cluster"]["cluster"]["status"] = "UPDATING"


def marked(world):
    """The annotations that are the mark."""
    return world.find("Role", MARK)["metadata"]["annotations"]


@case(CheckId.MARK_AGREES, "belongs to another stack or a lost state: it was written by stack 'test' (id 0000)")
def another_stack(world):
    marked(world)["eks-cilium.io/id"] = "0000"


@case(
    CheckId.MARK_AGREES,
    "configmap kube-system/eks-cilium-mark: belongs to another stack or a lost state: it was written by stack 'test' (id 0b)",
)
def another_stack_of_an_earlier_version(world):
    world.drop("Role", MARK)
    world.add(w.earlier_mark(id="0b"))


@case(
    CheckId.MARK_AGREES, "says id 0a1b, but the ConfigMap beside it, where earlier versions kept the mark, says id 0b"
)
def another_stack_of_an_earlier_version_beside_this_one(world):
    world.add(w.earlier_mark(id="0b"))


@case(CheckId.MARK_AGREES, "this stack has no id yet. Deploy with the stack and backend that wrote it")
def a_lost_state(world):
    world.own = Own()


@case(CheckId.MARK_AGREES, "is gone, so nothing keeps another stack from moving this cluster too")
def mark_gone(world):
    world.drop("Role", MARK)


@case(CheckId.MARK_AGREES, "the state is older than the cluster. Restore the newest state")
def an_older_state(world):
    world.own = Own(id="0a1b", attempt=3, taken=True, reached=True)


@case(CheckId.MARK_AGREES, "it has no id. Restore it")
def a_damaged_mark(world):
    del marked(world)["eks-cilium.io/id"]


def begins(world):
    """A stack that was never deployed, in a cluster without a mark."""
    world.own = Own()
    world.drop("Role", MARK)


@case(CheckId.MARK_AGREES, "nodes old-a, old-b: carry the label cni-plugin already")
def labels_of_somebody_else(world):
    begins(world)


@case(CheckId.MARK_AGREES, "daemonset kube-system/aws-node: is bound to labelled nodes already")
def pins_of_somebody_else(world):
    begins(world)
    world.find("DaemonSet", "aws-node")["spec"]["template"]["spec"]["affinity"] = w.PIN


@case(CheckId.MARK_AGREES, "daemonset kube-system/cilium: is there already")
def cilium_of_somebody_else(world):
    begins(world)
    world.add(w.daemonset("cilium", "kube-system", 2))


@case(CheckId.GUARD_HOLDS, "eks-cilium-guard: is gone: nothing keeps the network from being deleted")
def guard_gone(world):
    world.drop("ValidatingAdmissionPolicy", "eks-cilium-guard")


@case(CheckId.GUARD_HOLDS, "validatingadmissionpolicybinding eks-cilium-guard: is gone")
def guard_unbound(world):
    world.drop("ValidatingAdmissionPolicyBinding", "eks-cilium-guard")


@case(CheckId.GUARD_HOLDS, "was changed since the last deploy, or its binding was")
def guard_that_only_warns(world):
    world.find("ValidatingAdmissionPolicyBinding", "eks-cilium-guard")["spec"]["validationActions"] = ["Warn"]


@case(CheckId.GUARD_HOLDS, "was changed since the last deploy, or its binding was")
def guard_that_skips_an_object(world):
    limits = {"objectSelector": {"matchLabels": {"guard": "please"}}}
    world.find("ValidatingAdmissionPolicyBinding", "eks-cilium-guard")["spec"]["matchResources"] = limits


@case(CheckId.GUARD_HOLDS, "was changed since the last deploy, or its binding was")
def guard_with_a_way_through(world):
    world.find("ValidatingAdmissionPolicy", "eks-cilium-guard")["spec"]["validations"].pop()


@case(CheckId.GUARD_HOLDS, "is gone, so the guard refuses everything")
def guard_without_its_mark(world):
    world.drop("Role", MARK)


def held_open(world, until):
    held = {"reason": "repair", "by": "user:ann", **({"until": until} if until else {})}
    marked(world)["eks-cilium.io/open"] = json.dumps(held)


@case(CheckId.GUARD_HOLDS, "open until 2026-01-01T00:00:00+00:00, by user:ann: repair; that time is over")
def guard_open_for_too_long(world):
    held_open(world, "2026-01-01T00:00:00+00:00")


@case(CheckId.GUARD_HOLDS, "that time is over")
def guard_open_for_nobody_knows_how_long(world):
    held_open(world, "")


@pytest.mark.parametrize("check", [CheckId.MARK_AGREES, CheckId.GUARD_HOLDS, CheckId.WORKLOADS_NO_WORSE])
def test_a_mark_of_a_version_before_answers_as_its_own_guard_and_record_would(tmp_path: Path, check: CheckId):
    world = HOME[check](tmp_path)
    record = world.find("ConfigMap", WORKLOADS)["data"]["workloads"]
    world.drop("Role", MARK)
    world.drop("ConfigMap", WORKLOADS)
    world.add(w.earlier_mark(record, id="0a1b", attempt=4))
    spec = world.find("ValidatingAdmissionPolicy", "eks-cilium-guard")["spec"]
    spec["paramKind"] = {"apiVersion": "v1", "kind": "ConfigMap"}
    noted = world.find("ConfigMap", MARK)["metadata"]["annotations"]
    noted[GUARD_DIGEST] = guard.digest(spec, guard.binding())
    evidence = ask(check, world)
    assert evidence.verdict is Verdict.PASSED, told(evidence)


def test_a_guard_that_a_deploy_changed_before_it_died_is_no_change_of_somebody_else(tmp_path: Path):
    world = HOME[CheckId.GUARD_HOLDS](tmp_path)
    marked(world)[GUARD_DIGEST] = "of a version before"
    evidence = ask(CheckId.GUARD_HOLDS, world)
    assert evidence.verdict is Verdict.PASSED, told(evidence)


def test_an_open_guard_is_shown_while_its_time_lasts(tmp_path: Path):
    world = HOME[CheckId.GUARD_HOLDS](tmp_path)
    held_open(world, "2999-01-01T00:00:00+00:00")
    evidence = ask(CheckId.GUARD_HOLDS, world)
    assert evidence.verdict is Verdict.PASSED, told(evidence)
    assert "OPEN: open until 2999-01-01T00:00:00+00:00, by user:ann: repair" in evidence.summary


def test_a_guard_that_no_deploy_has_found_in_force_is_not_missed(tmp_path: Path):
    world = HOME[CheckId.GUARD_HOLDS](tmp_path)
    del marked(world)[GUARD_DIGEST]
    world.drop("ValidatingAdmissionPolicy", "eks-cilium-guard")
    evidence = ask(CheckId.GUARD_HOLDS, world)
    assert (evidence.verdict, evidence.summary) == (Verdict.PASSED, "not in force yet: this deploy makes it")


@case(CheckId.CALICO_UNCHANGED, "leaves something out: matchConstraints has a excludeResourceRules")
def freeze_narrowed(world):
    policy = world.find("ValidatingAdmissionPolicy", "eks-cilium-policy-freeze")
    policy.setdefault("spec", {})["matchConstraints"] = {"excludeResourceRules": [{"resources": ["tiers"]}]}


@case(CheckId.NO_FOREIGN_ENFORCER, "enforces policy on new-a as well: Calico")
def calico_on_a_node_that_stays(world):
    world.add(w.pod("calico-node-x", "new-a", "DaemonSet/calico-node", "calico-system", host_network=True))


@case(CheckId.NO_FOREIGN_ENFORCER, "the VPC CNI's policy agent")
def vpc_cni_agent(world):
    container = {
        "name": "aws-eks-nodeagent",
        "image": "x/amazon/aws-network-policy-agent:v1",
        "args": ["--enable-network-policy=true"],
    }
    world.add(w.pod("aws-node-x", "new-a", "DaemonSet/aws-node", "kube-system", containers=[container]))


@case(CheckId.CILIUM_READY, "daemonset kube-system/cilium: 1 ready of 2 desired on 2 nodes; not ready on new-b")
def agent_down(world):
    ready(world, "Pod", "cilium-new-b")
    world.find("DaemonSet", "cilium")["status"]["numberReady"] = 1


@case(CheckId.CILIUM_READY, "node lost: is not Ready: it never reported. It has no label cni-plugin")
def unlabelled_node(world):
    world.add({**w.node("lost", None), "status": {}})


@case(CheckId.CILIUM_READY, "daemonset kube-system/cilium-envoy: does not exist")
def envoy_missing(world):
    world.drop("DaemonSet", "cilium-envoy")


@case(CheckId.CILIUM_READY, "deployment kube-system/coredns: 0 of 2")
def dns_down(world):
    world.find("Deployment", "coredns")["status"]["availableReplicas"] = 0


@case(CheckId.CILIUM_READY, "deployment kube-system/cilium-operator: does not exist")
def operator_missing(world):
    world.drop("Deployment", "cilium-operator")


@case(CheckId.CONTINUITY, "would be denied")
def isolated_by_cilium_alone(world):
    (world.directory / "policies" / "network" / "cilium" / "deny.yaml").write_text(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: alone, namespace: shop}\n"
        "spec: {endpointSelector: {}, ingressDeny: [{fromEntities: [world]}]}\n"
    )


@case(CheckId.BRIDGE_IN_STEP, "pod shop/web-1: has no CiliumEndpoint")
def pod_without_endpoint(world):
    world.drop("CiliumEndpoint", "web-1")


@case(CheckId.PROOF_CURRENT, "says different: a flow changes its verdict: pod shop/a -> pod shop/b")
def a_policy_changed_between_two_gates(world):
    w.publish(world, verdict="different", why="a flow changes its verdict", counterexample="pod shop/a -> pod shop/b")


@case(CheckId.PROOF_CURRENT, "the last proof is ")
def a_prover_that_was_killed(world):
    long_ago = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    w.publish(world, published=long_ago)


@case(CheckId.PROOF_CURRENT, "the last proof is 100 s old")
def a_prover_that_does_not_come_round(world):
    w.publish(world, age=100.0)


@case(CheckId.PROOF_CURRENT, "nothing is published")
def a_prover_that_never_proved(world):
    world.drop("ConfigMap", "eks-cilium-proof")


@case(CheckId.PROOF_CURRENT, "deployment kube-system/eks-cilium-prover: does not exist")
def no_prover(world):
    world.drop("Deployment", "eks-cilium-prover")


@pytest.mark.parametrize(("check", "name", "change", "expected"), CASES, ids=[f"{c[0]}:{c[1]}" for c in CASES])
def test_a_check_names_what_breaks_it(check: CheckId, name: str, change: Break, expected: str, tmp_path: Path):
    world = HOME[check](tmp_path)
    change(world)
    evidence = ask(check, world)
    assert evidence.verdict is Verdict.FAILED, told(evidence)
    assert expected in told(evidence)


def test_every_check_is_shown_to_fail():
    assert {c[0] for c in CASES} == set(CheckId)


# -- what must not break them -----------------------------------------------------------------------


def test_what_the_prover_cannot_decide_is_unknown_and_its_clock_may_be_wrong(tmp_path: Path):
    world = w.known_world(tmp_path)
    w.publish(world, verdict="undecided", why="CiliumNetworkPolicy shop/a cannot be read")
    evidence = ask(CheckId.PROOF_CURRENT, world)
    assert evidence.verdict is Verdict.UNKNOWN
    assert "shop/a cannot be read" in told(evidence)
    w.publish(world, published=(datetime.now(UTC) + timedelta(hours=2)).isoformat())
    assert ask(CheckId.PROOF_CURRENT, world).verdict is Verdict.PASSED


def test_a_fargate_node_needs_no_label(tmp_path: Path):
    world = MIXED(tmp_path)
    world.add(w.node("fargate", None, labels={"eks.amazonaws.com/compute-type": "fargate"}))
    assert ask(CheckId.NODES_LABELLED, world).verdict is Verdict.PASSED


def test_our_own_pin_and_annotation_are_no_difference_to_the_facts(tmp_path: Path):
    world = mixed_adopted(tmp_path)
    record = world.aws.answers["describe_addon"]["addon"]
    record["configurationValues"] = '{"affinity": {"nodeAffinity": {}}, "env": {"ANNOTATE_POD_IP": "true"}}'
    container = world.find("DaemonSet", "aws-node")["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "ANNOTATE_POD_IP", "value": "true"}]
    evidence = ask(CheckId.FACTS_HOLD, world)
    assert evidence.verdict is Verdict.PASSED, told(evidence)


@pytest.mark.parametrize("check", JOURNEYS["replace"]["retire-legacy"].gate)
def test_retiring_the_legacy_network_can_be_tried_again_when_half_of_it_is_gone(check: CheckId, tmp_path: Path):
    world = MOVED(tmp_path)
    world.at("retire-legacy")
    for name in ("aws-node", "kube-proxy"):
        world.drop("DaemonSet", name)
    world.sizes = {}
    evidence = ask(check, world)
    assert evidence.verdict is Verdict.PASSED, told(evidence)


@pytest.mark.parametrize("check", JOURNEYS["replace"]["retire-calico"].gate)
def test_retiring_calico_can_be_tried_again_when_half_of_it_is_gone(check: CheckId, tmp_path: Path):
    world = MOVED(tmp_path)
    world.at("retire-calico")
    world.drop("DaemonSet", "calico-node")
    world.drop("ValidatingAdmissionPolicy", "eks-cilium-policy-freeze")
    world.add(w.thing("GlobalNetworkPolicy", "not-yet-gone", spec={}))
    evidence = ask(check, world)
    assert evidence.verdict is Verdict.PASSED, told(evidence)


def test_a_policy_that_is_not_yet_judged_is_unknown(tmp_path: Path):
    world = MIXED(tmp_path)
    world.find("CiliumClusterwideNetworkPolicy", "deny-metadata")["status"] = {}
    evidence = ask(CheckId.POLICIES_ACCEPTED, world)
    assert evidence.verdict is Verdict.UNKNOWN
    assert "has not judged it yet" in told(evidence)


def test_leaving_the_canary_stage_asks_every_cilium_node(tmp_path: Path):
    world = MOVED(tmp_path)
    world.at("install-cilium")
    assert "pod shop/web-1: runs on new-a" in told(ask(CheckId.CANARY_UNUSED, world))


def test_without_a_record_of_how_workloads_stood_nobody_can_say_that_none_is_worse(tmp_path: Path):
    world = MOVED(tmp_path)
    for text in ("", "{", '{"deployment shop/web": 3}'):
        world.find("ConfigMap", WORKLOADS)["data"]["workloads"] = text
        marked(world)["eks-cilium.io/workloads"] = seal(text)
        evidence = ask(CheckId.WORKLOADS_NO_WORSE, world)
        assert evidence.verdict is Verdict.UNKNOWN, told(evidence)
        assert "`python -m operations workloads record`" in told(evidence)
    world.drop("Role", MARK)
    assert ask(CheckId.WORKLOADS_NO_WORSE, world).verdict is Verdict.UNKNOWN


def test_a_workload_that_may_stand_worse_is_named_in_the_settings_and_shown(tmp_path: Path):
    world = MOVED(tmp_path)
    world.find("Deployment", "coredns")["status"]["readyReplicas"] = 1
    world.settings = world.settings.model_copy(update={"accept_worse": ("deployment kube-system/coredns",)})
    evidence = ask(CheckId.WORKLOADS_NO_WORSE, world)
    assert evidence.verdict is Verdict.PASSED
    assert "worse, and accepted: deployment kube-system/coredns" in evidence.summary


def test_every_point_of_no_return_asks_whether_workloads_stand_worse():
    ends = [stage for stage in JOURNEYS["replace"].stages if not stage.reversible]
    assert ends
    assert all(CheckId.WORKLOADS_NO_WORSE in stage.gate for stage in ends)


def test_a_webhook_on_two_nodes_may_lose_one(tmp_path: Path):
    world = MIXED(tmp_path)
    world.add(webhook(), slice_of("old-a", "old-b"))
    assert ask(CheckId.WEBHOOKS_ANSWER, world).verdict is Verdict.PASSED


def test_a_webhook_that_fails_open_is_nobody_s_business(tmp_path: Path):
    world = MIXED(tmp_path)
    world.add(webhook(failurePolicy="Ignore"))
    assert ask(CheckId.WEBHOOKS_ANSWER, world).verdict is Verdict.PASSED


def test_a_server_side_default_is_no_change_of_a_policy(tmp_path: Path):
    world = MIXED(tmp_path)
    schema = {"properties": {"spec": {"properties": {"log": {"default": {"level": "info"}}}}}}
    world.drop("CustomResourceDefinition", "ciliumclusterwidenetworkpolicies.cilium.io")
    world.add(w.crd("ciliumclusterwidenetworkpolicies", schema=schema))
    world.find("CiliumClusterwideNetworkPolicy", "deny-metadata")["spec"]["log"] = {"level": "info"}
    assert ask(CheckId.POLICIES_ACCEPTED, world).verdict is Verdict.PASSED


def test_a_self_managed_group_is_labelled_by_its_user_data(tmp_path: Path):
    world = LEGACY(tmp_path)
    group = {"AutoScalingGroupName": "asg-own", "LaunchTemplate": {"LaunchTemplateId": "lt-1", "Version": "3"}}
    world.aws.answers["describe_auto_scaling_groups"] = {"AutoScalingGroups": [group]}
    assert "scaling group asg-own" in told(ask(CheckId.GROUPS_LABELLED, world))
    data = base64.b64encode(b"kubelet:\n  flags: [--node-labels=team=a,cni-plugin=aws]\n").decode()
    world.aws.answers["describe_launch_template_versions"] = {
        "LaunchTemplateVersions": [{"LaunchTemplateData": {"UserData": data}}]
    }
    assert ask(CheckId.GROUPS_LABELLED, world).verdict is Verdict.PASSED


def test_a_fault_of_a_check_is_unknown_and_says_so(tmp_path: Path):
    world = MIXED(tmp_path)
    world.add({"kind": "Node", "metadata": None})
    evidence = ask(CheckId.NODES_READY, world)
    assert evidence.verdict is Verdict.UNKNOWN
    assert "This is a fault of the program" in told(evidence)


# -- what the state keeps of the frozen policies ----------------------------------------------------


def kept(world: World) -> Record:
    return Record(objects=keeping.live(world.context.kube), files={}, proof="equal")


def test_a_freeze_that_was_deleted_and_put_back_does_not_hide_what_went_in_between(
    state: dict[str, Any], tmp_path: Path
):
    world = w.moved_world(tmp_path)
    world.add(w.thing("GlobalNetworkPolicy", "default.x", spec={"selector": "all()"}))
    world.add(w.thing("FelixConfiguration", "default", spec={"logSeverityScreen": "Info"}))
    state["record"] = kept(world)
    assert ask(CheckId.CALICO_UNCHANGED, world).verdict is Verdict.PASSED

    world.find("FelixConfiguration", "default")["spec"]["logSeverityScreen"] = "Debug"
    assert ask(CheckId.CALICO_UNCHANGED, world).verdict is Verdict.PASSED
    # The freeze is younger than the change, which nobody's managedFields tell of.
    world.find("GlobalNetworkPolicy", "default.x")["spec"]["selector"] = "app == 'web'"
    world.find("FelixConfiguration", "default")["spec"]["interfacePrefix"] = "azv"
    world.add(w.thing("GlobalNetworkPolicy", "default.new", spec={"selector": "all()"}))
    evidence = ask(CheckId.CALICO_UNCHANGED, world)
    assert evidence.verdict is Verdict.FAILED
    for text in (
        "globalnetworkpolicies/default.x: is not as it was since it was proved",
        "felixconfigurations/default: is not as it was",
        "globalnetworkpolicies/default.new: is new",
        "--replace '**calico-kept'",
    ):
        assert text in told(evidence)


def test_a_kind_that_was_deleted_hides_nothing(state: dict[str, Any], tmp_path: Path):
    world = w.moved_world(tmp_path)
    world.add(w.thing("GlobalNetworkPolicy", "default.x", spec={}))
    state["record"] = kept(world)
    world.drop("GlobalNetworkPolicy")
    evidence = ask(CheckId.CALICO_UNCHANGED, world)
    assert evidence.verdict is Verdict.FAILED
    assert "globalnetworkpolicies/default.x: is gone" in told(evidence)


def test_a_state_that_cannot_be_read_is_unknown_and_what_is_seen_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def refuse(_: Any) -> None:
        raise UnknownError("the stack's state cannot be read", "Log in")

    monkeypatch.setattr(policies, "recorded", refuse)
    world = w.moved_world(tmp_path)
    assert ask(CheckId.CALICO_UNCHANGED, world).verdict is Verdict.UNKNOWN
    freeze_unbound(world)
    evidence = ask(CheckId.CALICO_UNCHANGED, world)
    assert evidence.verdict is Verdict.FAILED
    assert "is not bound to deny" in told(evidence)
