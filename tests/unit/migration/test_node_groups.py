"""Node groups as people write them: images, user data, disks, and what nobody would launch."""

import base64
import email
import hashlib
import tomllib
from typing import Any, cast

import botocore.session
import pytest
import yaml

from migration.declared import digest
from migration.desired import desired
from migration.facts import contradictions
from migration.node_groups import Group, GroupRole
from migration.rules import images
from migration.settings import InvalidSettings, Settings
from migration.user_data import node_user_data
from sandbox.cluster.userdata import parse
from tests.unit.migration.examples import adopted, facts, greenfield, owned, raw


def made(stage: str = "move-workloads", cilium: Any = None, **over: Any) -> Group:
    """The first Cilium group of an owned cluster."""
    values = (cilium or {}) | {"groups": [{"name": "workers", "size": 3} | over]}
    groups = desired(owned(cilium=values), None, stage).groups
    return next(group for group in groups if group.role is GroupRole.CILIUM)


def refused(cilium: Any = None, **over: Any) -> list[str]:
    try:
        Settings.load(raw(cilium=(cilium or {}) | {"groups": [{"name": "workers", "size": 3} | over]}))
    except InvalidSettings as error:
        return [str(problem) for problem in error.problems]
    return []


def parts(group: Group) -> list[tuple[str, str]]:
    message = email.message_from_bytes(base64.b64decode(node_user_data(group)))
    return [
        (part.get_content_type(), cast("bytes", part.get_payload(decode=True)).decode())
        for part in message.walk()
        if not part.is_multipart()
    ]


def rocket(group: Group) -> dict[str, Any]:
    settings: dict[str, Any] = tomllib.loads(base64.b64decode(node_user_data(group)).decode())["settings"]
    return settings


# -- what was written before goes on ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "known", "stage", "declared", "data"),
    [
        (owned(), None, "baseline", "67a777bb576060af00b212f78988fe02", "937c368f256da623"),
        (owned(), None, "canary", "9c24ab6982cbec26b921c674911832d1", "b665d1e37bce3227"),
        (adopted(), facts(), "move-workloads", "d60eef2961a76263144d0811ee483051", "6af4942215f2f407"),
        (greenfield(), None, "launch", "82638c07228c2271b866324046c4059c", "68af9c4cf1afa4fd"),
    ],
)
def test_a_group_that_says_nothing_new_declares_what_it_declared_before(settings, known, stage, declared, data):
    """Digests and user data of the version before groups had these fields."""
    wanted = desired(settings, known, stage)
    assert digest(settings, wanted, {}) == declared
    texts = "".join(map(node_user_data, wanted.groups))
    assert hashlib.sha256(texts.encode()).hexdigest()[:16] == data


@pytest.mark.parametrize(
    "change",
    [
        {"instanceType": "m7g.large"},
        {"instanceTypes": ["m5.large", "m5a.large"]},
        {"amiFamily": "Bottlerocket"},
        {"capacityType": "spot"},
        {"taints": [{"key": "a", "effect": "NoSchedule"}]},
        {"tags": {"team": "shop"}},
        {"diskType": "gp2"},
        {"diskIops": 4000},
        {"diskThroughput": 300},
        {"diskKmsKey": "alias/nodes"},
        {"securityGroupIds": ["sg-9"]},
        {"extraUserData": "#!/bin/bash\ntrue"},
        {"maxUnavailable": "33%"},
        {"updateStrategy": "minimal"},
        {"metadataHopLimit": 1},
        {"metadataTokens": "optional"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_new_field_is_part_of_what_a_stage_declares(change):
    plain = owned(cilium={"groups": [{"name": "w", "size": 3}]})
    other = owned(cilium={"groups": [{"name": "w", "size": 3} | change]})
    one, two = (digest(s, desired(s, None, "move-workloads"), {}) for s in (plain, other))
    assert one != two


def test_a_group_named_like_one_of_the_owners_is_refused():
    groups = [{"name": name, "size": 1} for name in ("workers", "older")]
    (found,) = contradictions(adopted(cilium={"groups": groups}), facts())
    assert str(found) == (
        'cilium.groups.1.name = "older": the cluster\'s owner has a node group of this name, and EKS makes no second one. '
        "Choose another name"
    )


# -- images -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"instanceType": "m7g.large"}, "AL2023_ARM_64_STANDARD"),
        ({"instanceType": "m5.large"}, "AL2023_x86_64_STANDARD"),
        ({"instanceType": "g5.xlarge"}, "AL2023_x86_64_NVIDIA"),
        ({"instanceType": "g5g.xlarge"}, "AL2023_ARM_64_NVIDIA"),
        ({"instanceType": "trn1.2xlarge"}, "AL2023_x86_64_NEURON"),
        ({"instanceType": "g5.xlarge", "variant": "standard"}, "AL2023_x86_64_STANDARD"),
        ({"instanceType": "m7g.large", "amiFamily": "Bottlerocket"}, "BOTTLEROCKET_ARM_64"),
        ({"instanceType": "g5.xlarge", "amiFamily": "Bottlerocket"}, "BOTTLEROCKET_x86_64_NVIDIA"),
        ({"amiFamily": "Bottlerocket", "variant": "fips"}, "BOTTLEROCKET_x86_64_FIPS"),
        ({"instanceType": "x9.mega", "maxPods": 20, "architecture": "arm64"}, "AL2023_ARM_64_STANDARD"),
    ],
)
def test_the_image_fits_the_types(said, kind):
    assert made(**said).ami_type == kind


def test_every_image_is_one_that_eks_has():
    model = botocore.session.get_session().get_service_model("eks")
    known: Any = model.shape_for("AMITypes")
    assert set(images.every_ami_type()) <= set(known.enum)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"instanceTypes": ["m5.large", "m7g.large"]}, "m5.large is x86_64, m7g.large is arm64: no image runs on both"),
        ({"instanceType": "m7g.large", "architecture": "x86_64"}, "groups.0.architecture"),
        ({"instanceTypes": ["g5.xlarge", "m5.xlarge"]}, "m5.xlarge has no NVIDIA GPU"),
        ({"variant": "nvidia"}, "m5.large has no NVIDIA GPU"),
        ({"variant": "fips"}, "EKS has no such AL2023 image for x86_64. Choose one of standard, nvidia, neuron"),
        ({"instanceType": "trn1.2xlarge", "amiFamily": "Bottlerocket"}, "no Bottlerocket image with their driver"),
        ({"instanceType": "m5.large", "instanceTypes": ["m5a.large"]}, "instanceTypes says which"),
        ({"instanceTypes": ["m5.large", "m5.large"]}, "is the same as cilium.groups.0.instanceTypes.0"),
        ({"instanceTypes": ["large"]}, "is not an instance type"),
        ({"instanceTypes": [f"m{n}x.large" for n in range(21)], "maxPods": 9, "architecture": "arm64"}, "at most 20"),
        ({"instanceTypes": ["m5.large", "x9.mega"]}, "Set cilium.groups.0.maxPods and cilium.groups.0.architecture"),
    ],
)
def test_types_without_one_image_are_refused(said, text):
    (found,) = refused(**said)
    assert text in found


# -- pods ---------------------------------------------------------------------------------------------


def test_a_mixed_group_holds_as_many_pods_as_its_smallest_type():
    assert made(instanceTypes=["m5.4xlarge", "m5.large"]).max_pods == made(instanceType="m5.large").max_pods == 30
    legacy = {"groups": [{"name": "old", "size": 3, "instanceTypes": ["m5.4xlarge", "t3.medium"]}]}
    assert desired(owned(legacy=legacy), None, "baseline").groups[0].max_pods == 17


def test_prefixes_are_refused_where_cilium_would_give_single_addresses():
    prefixes = {"prefixDelegation": True}
    assert refused(prefixes) == []
    (xen,) = refused(prefixes, instanceType="m4.large")
    assert "is not of the Nitro system" in xen
    (old,) = refused(prefixes | {"version": "1.20.1"})
    assert "Use Cilium 1.20.2 or newer" in old


# -- user data ----------------------------------------------------------------------------------------

TAINTS = [
    {"key": "lifecycle", "value": "spot", "effect": "NoSchedule"},
    {"key": "lifecycle", "value": "spot", "effect": "NoExecute"},
    {"key": "bare", "effect": "PreferNoSchedule"},
]


def test_amazon_linux_registers_labels_and_taints_by_kubelets_flags():
    ((kind, text),) = parts(made(labels={"team": "shop"}, taints=TAINTS))
    assert kind == "application/node.eks.aws"
    kubelet = yaml.safe_load(text)["spec"]["kubelet"]
    assert kubelet["flags"] == [
        "--node-labels=cni-plugin=cilium,team=shop",
        "--register-with-taints=node.cilium.io/agent-not-ready=true:NoSchedule,lifecycle=spot:NoSchedule,"
        "lifecycle=spot:NoExecute,bare=:PreferNoSchedule",
    ]
    assert kubelet["config"] == {"maxPods": 30}


def test_what_is_added_for_amazon_linux_is_a_part_of_its_own():
    config = (
        "apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec:\n  instance: {localStorage: {strategy: RAID0}}\n"
    )
    script = "#!/bin/bash\necho --//\n"
    assert parts(made(extraUserData=config))[1] == ("application/node.eks.aws", config)
    (_, ours), (kind, theirs) = parts(made(extraUserData=script))
    assert (kind, theirs) == ("text/x-shellscript", script)
    assert "maxPods" in ours
    assert parts(made(extraUserData="#cloud-config\npackages: [jq]"))[1][0] == "text/cloud-config"


def test_bottlerocket_registers_the_same_in_its_own_form():
    found = rocket(made(amiFamily="Bottlerocket", labels={"example.com/team": "shop"}, taints=TAINTS))
    assert found == {
        "kubernetes": {
            "max-pods": 30,
            "node-labels": {"cni-plugin": "cilium", "example.com/team": "shop"},
            "node-taints": {
                "node.cilium.io/agent-not-ready": ["true:NoSchedule"],
                "lifecycle": ["spot:NoSchedule", "spot:NoExecute"],
                "bare": [":PreferNoSchedule"],
            },
        }
    }


@pytest.mark.parametrize(("family", "system"), [("AL2023", "amazon-linux-2023"), ("Bottlerocket", "bottlerocket")])
def test_nodes_of_either_family_register_the_same(family, system):
    """As the local EKS reads it."""
    found = parse(node_user_data(made(amiFamily=family, labels={"team": "shop"}, taints=TAINTS)), system)
    assert found.labels == {"cni-plugin": "cilium", "team": "shop"}
    assert found.max_pods == 30
    assert found.taints == [
        {"key": "node.cilium.io/agent-not-ready", "effect": "NoSchedule", "value": "true"},
        *({**taint, "value": taint["value"]} if taint.get("value") else taint for taint in TAINTS),
    ]


def test_what_is_added_for_bottlerocket_is_merged_and_loses_nothing():
    text = """
    [settings]
    motd = "a \\"quoted\\" \\\\ line\\u007f"
    [settings.kernel.sysctl]
    "net.core.somaxconn" = "1024"
    [settings.kubernetes]
    cpu-manager-policy = "static"
    allowed-unsafe-sysctls = ["net.core.*"]
    [settings.kubernetes.eviction-hard]
    "memory.available" = "5%"
    [settings.host-containers.admin]
    enabled = false
    [[settings.container-registry.mirrors]]
    registry = "*"
    endpoint = ["https://mirror.example"]
    """
    found, own = rocket(made(amiFamily="Bottlerocket", extraUserData=text)), tomllib.loads(text)["settings"]
    kubernetes = found["kubernetes"]
    assert {key: kubernetes.pop(key) for key in ("max-pods", "node-labels", "node-taints")}
    assert found == own


EXTRA = {
    "no form": ("AL2023", "echo hello", "is neither a NodeConfig nor a script nor cloud-config"),
    "another kind": ("AL2023", "kind: Node # NodeConfig", "is not a NodeConfig"),
    "another version": ("AL2023", "apiVersion: v2\nkind: NodeConfig", "nodeadm knows no apiVersion"),
    "damaged YAML": ("AL2023", "kind: [NodeConfig", "is not YAML"),
    "a wrong field": ("AL2023", "NODE\nspec: {kubelets: {}}", "nodeadm has no spec.kubelets"),
    "a wrong field of kubelet": ("AL2023", "NODE\nspec: {kubelet: {flag: []}}", "nodeadm has no spec.kubelet.flag"),
    "the cluster": ("AL2023", "NODE\nspec: {cluster: {name: x}}", "spec.cluster is written by EKS"),
    "pods": ("AL2023", "NODE\nspec: {kubelet: {config: {maxPods: 9}}}", "use the group's maxPods"),
    "labels": ("AL2023", "NODE\nspec: {kubelet: {flags: [--node-labels=a=b]}}", "use the group's labels"),
    "labels apart": ("AL2023", "NODE\nspec: {kubelet: {flags: ['--node-labels a=b']}}", "use the group's labels"),
    "taints in a script": ("AL2023", "#!/bin/bash\nx --register-with-taints=a:b", "use the group's taints"),
    "NUL": ("AL2023", "#!/bin/bash\n\x00", "a character that no user data has"),
    "no TOML": ("Bottlerocket", "#!/bin/bash\n[", "is not TOML"),
    "a wrong section": ("Bottlerocket", "[settings.kubernets]\nx = 1", "no settings.kubernets"),
    "no settings": ("Bottlerocket", "[setting.motd]\nx = 1", "Bottlerocket knows no setting"),
    "a value": ("Bottlerocket", "settings = 1", "its settings are no table"),
    "Bottlerocket's pods": ("Bottlerocket", "settings.kubernetes.max-pods = 9", "use the group's maxPods"),
    "Bottlerocket's cluster": ("Bottlerocket", "settings.kubernetes.cluster-name = 'a'", "is written by EKS"),
}


@pytest.mark.parametrize("case", EXTRA)
def test_user_data_that_the_system_would_not_take_is_refused(case):
    family, text, said = EXTRA[case]
    text = text.replace("NODE", "apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig")
    (found,) = refused(amiFamily=family, extraUserData=text)
    assert found.startswith("cilium.groups.0.extraUserData")
    assert said in found


def test_user_data_has_room_for_what_it_is_given_or_says_so():
    text = "#!/bin/bash\n" + "#" * 15_200
    assert refused(extraUserData=text) == []
    assert len(base64.b64decode(node_user_data(made(extraUserData=text)))) <= 16_384
    assert "has no room" in refused(extraUserData=text, labels={"l" * 60: "v" * 60, "m" * 60: "v" * 60})[0]


# -- kubelet, EC2 and EBS -----------------------------------------------------------------------------

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a taint's key": ({"taints": [{"key": "a b", "effect": "NoSchedule"}]}, "its key is not a label key"),
    "a taint's value": ({"taints": [{"key": "a", "value": "b c", "effect": "NoSchedule"}]}, "its value is not"),
    "a taint's effect": ({"taints": [{"key": "a", "effect": "NO_SCHEDULE"}]}, "taints.0.effect"),
    "a taint twice": (
        {"taints": [{"key": "a", "value": v, "effect": "NoSchedule"} for v in "xy"]},
        "has the key and effect of entry 0",
    ),
    "our taint": ({"taints": [{"key": "node.cilium.io/agent-not-ready", "effect": "NoSchedule"}]}, "by this program"),
    "Kubernetes' taint": ({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]}, "by Kubernetes"),
    "IOPS of gp2": ({"diskType": "gp2", "diskIops": 3000}, "gp2 takes none"),
    "IOPS missing": ({"diskType": "io2"}, "io2 has no IOPS of its own accord"),
    "few IOPS": ({"diskIops": 1000}, "gp3 takes 3000 to 80000"),
    "IOPS for the size": ({"diskIops": 30_000}, "gp3 takes 500 for each GiB"),
    "throughput of io1": ({"diskType": "io1", "diskIops": 500, "diskThroughput": 200}, "io1 takes none"),
    "throughput for the IOPS": ({"diskThroughput": 1000}, "Set diskIops to 4000 or more"),
    "a large gp2": ({"diskType": "gp2", "diskGib": 20_000}, "gp2 has at most 16384 GiB"),
    "a key": ({"diskKmsKey": "my key"}, "is not a KMS key"),
    "a tag": ({"tags": {"aws:x": "y"}}, "cilium.groups.0.tags.aws:x"),
    "a security group": ({"securityGroupIds": ["subnet-1"]}, "is not the id of a security group"),
    "hops": ({"metadataHopLimit": 65}, "metadataHopLimit"),
    "many unavailable": ({"maxUnavailable": "101"}, "maxUnavailable"),
    "none unavailable": ({"maxUnavailable": "0"}, "maxUnavailable"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_nobody_would_launch_is_refused_at_once(case):
    said, text = BAD[case]
    (found,) = refused(**said)
    assert text in found


def test_disks_that_ebs_makes_are_taken():
    assert refused(diskIops=20_000, diskThroughput=2_000, diskGib=100) == []
    assert refused(diskType="io2", diskIops=40_000, diskKmsKey="alias/nodes") == []
    key = "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/0f0f0f0f-1111-2222-3333-444455556666"
    assert refused(diskKmsKey=key) == []


def test_bottlerockets_disk_is_the_one_that_holds_images():
    assert made(amiFamily="Bottlerocket").disk.device == "/dev/xvdb"
    assert made().disk.device == "/dev/xvda"
