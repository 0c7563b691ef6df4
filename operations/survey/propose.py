"""A section `cilium.groups` that mirrors the legacy groups, with a word at each value that cannot be kept. Pure."""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kube.transport import Obj
from migration.facts import GroupFacts
from migration.names import ANNOTATION_PREFIX, CANARY_GROUP, LABELLED_BY_US
from migration.rules import instances, node_labels
from migration.rules.images import DATA_DISK, Family, architecture, known
from operations.cluster import objects
from operations.survey import describe
from operations.survey.gather import instance_id, scaling_group_names
from operations.survey.gathered import Gathered

SUFFIX: Final = "-cilium"
_LONGEST: Final = 41
"""Of a group's name in the settings."""
_LEAST_GIB: Final = 20
_EFFECTS: Final = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}
_TAINTS_OF_OTHERS: Final = re.compile(
    rf"(.*\.)?({re.escape(ANNOTATION_PREFIX)}|node\.kubernetes\.io|node\.cloudprovider\.kubernetes\.io)/|"
    r"ToBeDeletedByClusterAutoscaler|DeletionCandidateOfClusterAutoscaler|node\.cilium\.io/"
)
"""That come and go with what happens to a node."""
_TAGS_OF_OTHERS: Final = re.compile(r"aws:|eks:|k8s\.io/|kubernetes\.io/|Name$")
_CARRIED: Final = {
    *("ImageId", "InstanceType", "SecurityGroupIds", "MetadataOptions", "BlockDeviceMappings", "UserData"),
    *("NetworkInterfaces", "TagSpecifications", "IamInstanceProfile", "InstanceMarketOptions", "EbsOptimized"),
}
"""Of a launch template: carried over, said in words of its own, or EKS's to choose."""


@dataclass
class Proposal:
    """One group to be, as keys of the settings; `why` has words by key, those under "" about the whole."""

    values: dict[str, Any] = field(default_factory=dict)
    why: dict[str, list[str]] = field(default_factory=dict)

    def say(self, key: str, *words: str) -> None:
        self.why.setdefault(key, []).extend(words)


@dataclass(frozen=True)
class _Old:
    """A legacy group and what belongs to it."""

    facts: GroupFacts
    nodegroup: Obj
    scaling: Obj
    template: Obj
    nodes: Sequence[Obj]
    instances: Sequence[Obj]

    @property
    def user_data(self) -> str:
        try:
            return base64.b64decode(self.template.get("UserData", ""), validate=True).decode(errors="replace")
        except binascii.Error:
            return str(self.template["UserData"])


def proposals(g: Gathered, groups: Sequence[GroupFacts], subnet_ids: Sequence[str]) -> list[Proposal]:
    """A group for each legacy one; one of several architectures becomes several.

    Args:
        groups: the legacy ones.
        subnet_ids: of `network`: groups that stand in all of them need not say so.
    """
    sets = [set(group.security_group_ids) for group in groups if group.security_group_ids]
    common = set.intersection(*sets) if sets else set()
    found, taken = [], {str(n["nodegroupName"]) for n in g.nodegroups} | {CANARY_GROUP}
    for group in groups:
        if group.kind in {"managed", "self-managed"}:
            for proposal in _of(_old(g, group), common, set(subnet_ids)):
                _name(proposal, group, taken)
                found.append(proposal)
    return found


def text(found: Sequence[Proposal], unsaid: Iterable[str] = ()) -> str:
    """The section, as YAML."""
    lines = ["  eks-cilium:cilium:", "    groups:"]
    lines += [f"      # {word}" for word in unsaid]
    for proposal in found:
        lines += [f"      # {word}" for word in proposal.why.get("", [])]
        dash = "- "
        for key, value in proposal.values.items():
            lines += [f"        # {word}" for word in proposal.why.get(key, [])] if dash == "  " else []
            lines.append(f"      {dash}{key}: {json.dumps(value, ensure_ascii=False)}")
            dash = "  "
    lines += _canary(found)
    return "\n".join(lines) + "\n"


def _canary(found: Sequence[Proposal]) -> Iterator[str]:
    """Canary nodes like those of the largest group that has no accelerators: probes need none."""
    plain = [p for p in found if p.values["instanceTypes"] and not _accelerated(p.values["instanceTypes"])]
    largest = max(plain or found, key=lambda proposal: int(proposal.values["size"]), default=None)
    if largest is not None and largest.values["instanceTypes"]:
        yield "    canary:"
        yield f"      instanceType: {largest.values['instanceTypes'][0]}"
        if "amiFamily" in largest.values:
            yield f"      amiFamily: {largest.values['amiFamily']}"


def _accelerated(types: Sequence[str]) -> bool:
    return any(kind.nvidia or kind.neurons for kind in known(types))


def left_out(g: Gathered, groups: Sequence[GroupFacts]) -> Iterator[str]:
    """What has no group here, and why."""
    for group in groups:
        if group.kind not in {"managed", "self-managed"}:
            yield f"{group.name} ({group.kind}) is not mirrored: nothing says how its nodes are made"
        elif not _types(_old(g, group))[0]:
            yield f"{group.name} ({group.kind}) is not mirrored: it has no node, and nothing says of which types"


# -- one group ----------------------------------------------------------------------------------------


def _old(g: Gathered, group: GroupFacts) -> _Old:
    managed = group.kind == "managed"
    nodegroup = next((n for n in g.nodegroups if managed and n["nodegroupName"] == group.name), {})
    names = scaling_group_names(nodegroup) if managed else [group.name]
    ids = {i for i, name in g.scaling_group_of.items() if name in names}
    scaling = next((g.scaling_groups[name] for name in names if name in g.scaling_groups), {})
    return _Old(
        facts=group,
        nodegroup=nodegroup,
        scaling=scaling,
        template=g.templates.get(group.name, {}),
        nodes=[node for node in g.nodes if instance_id(node) in ids],
        instances=[i for i in g.instances if i["InstanceId"] in ids],
    )


def _of(old: _Old, common: set[str], subnets: set[str]) -> Iterator[Proposal]:
    types, words = _types(old)
    machines: dict[str, list[str]] = {}
    for name in types:
        machines.setdefault(architecture([name], None), []).append(name)
    for machine, of_it in machines.items():
        proposal = Proposal()
        proposal.say("instanceTypes", *words)
        proposal.values["name"] = f"{old.facts.name}-{machine}" if len(machines) > 1 else old.facts.name
        proposal.values["instanceTypes"] = of_it
        _image(proposal, old, of_it)
        _capacity(proposal, old)
        _sizes(proposal, old, machines=len(machines))
        _labels(proposal, old)
        _taints(proposal, old)
        _disk(proposal, old)
        _place(proposal, old, common, subnets)
        _metadata(proposal, old)
        _rest(proposal, old)
        yield proposal


def _name(proposal: Proposal, group: GroupFacts, taken: set[str]) -> None:
    """A name that no group has, made of the old one's."""
    base, number, ending = re.sub(r"[^0-9A-Za-z-]", "-", proposal.values["name"]), 1, SUFFIX
    while (name := base[: _LONGEST - len(ending)] + ending) in taken:
        number += 1
        ending = f"{SUFFIX}-{number}"
    taken.add(name)
    proposal.values["name"] = name
    words = [f"For {group.kind} group {group.name}."]
    if group.kind == "managed":
        words.append(f"Its nodes have {objects.NODEGROUP}: {name}; EKS calls nodes by their group.")
    proposal.why[""] = [*words, *proposal.why.get("", [])]


def _types(old: _Old) -> tuple[list[str], list[str]]:
    """Its types, first choice first, and what is to be said of them."""
    template = (old.scaling.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
    overrides = [o["InstanceType"] for o in template.get("Overrides") or [] if o.get("InstanceType")]
    said = old.nodegroup.get("instanceTypes") or overrides or [old.template.get("InstanceType")]
    types = list(dict.fromkeys(t for t in said if t)) or list(old.facts.instance_types)
    words = []
    if old.template.get("InstanceRequirements") or any(
        o.get("InstanceRequirements") for o in template.get("Overrides") or []
    ):
        types = list(old.facts.instance_types)
        words.append("chosen by attributes (InstanceRequirements), which a managed group has not: those that run now")
    words += [
        f"{name} is not among the known types: say architecture and maxPods, or run `{instances.REFRESH}`"
        for name in types
        if instances.known(name) is None
    ]
    return types, words


def _image(proposal: Proposal, old: _Old, types: list[str]) -> None:
    kind = str(old.nodegroup.get("amiType") or "CUSTOM")
    systems = sorted(
        {str(((n.get("status") or {}).get("nodeInfo") or {}).get("osImage", "")) for n in old.nodes} - {""}
    )
    system = systems[0] if systems else ""
    family: Family = "Bottlerocket" if kind.startswith("BOTTLEROCKET") or "Bottlerocket" in system else "AL2023"
    key = "instanceTypes"
    if family != "AL2023":
        key = "amiFamily"
        proposal.values["amiFamily"] = family
    if kind.startswith("AL2_") or (system.startswith("Amazon Linux 2") and "2023" not in system):
        proposal.say(key, "Amazon Linux 2 is not kept: EKS has no image of it for Kubernetes 1.33 and later")
    elif kind == "CUSTOM" and "Bottlerocket" not in system and not system.startswith("Amazon Linux 2023"):
        shown = old.template.get("ImageId") or "its image"
        proposal.say(key, f"{shown} ({system or 'unknown system'}) is not kept: groups here have EKS's own images")
    elif kind == "CUSTOM" and old.facts.kind == "managed":
        proposal.say(key, f"{old.template.get('ImageId', 'its image')} is not kept: groups here have EKS's own images")
    gpus = _accelerated(types)
    if kind.endswith("_FIPS"):
        proposal.values["variant"] = "nvidia-fips" if "NVIDIA" in kind else "fips"
    elif gpus and kind != "CUSTOM" and not kind.endswith(("_NVIDIA", "_NEURON", "_GPU")):
        proposal.values["variant"] = "standard"
        proposal.say("variant", "as now: the drivers of its accelerators come another way")


def _capacity(proposal: Proposal, old: _Old) -> None:
    kind = str(old.nodegroup.get("capacityType") or "")
    shares = (old.scaling.get("MixedInstancesPolicy") or {}).get("InstancesDistribution") or {}
    market = (old.template.get("InstanceMarketOptions") or {}).get("MarketType")
    on_demand = int(shares.get("OnDemandPercentageAboveBaseCapacity", 100))
    base = int(shares.get("OnDemandBaseCapacity", 0))
    if kind == "SPOT" or market == "spot" or (shares and on_demand == 0 and base == 0):
        proposal.values["capacityType"] = "spot"
    elif kind == "CAPACITY_BLOCK":
        proposal.say("", "Its capacity block is not kept: groups here are on demand or on spot.")
    elif shares and (on_demand < 100):
        share = f"{base} and {on_demand} % above them"
        proposal.say(
            "", f"On demand, where {share} were: a managed group is one or the other. Make a second one on spot."
        )


def _sizes(proposal: Proposal, old: _Old, *, machines: int) -> None:
    proposal.values["size"] = -(-old.facts.desired // machines)
    proposal.values["maxSize"] = max(old.facts.max_size, proposal.values["size"], 1)
    if machines > 1:
        proposal.say("size", f"a share of {old.facts.desired}: no image runs on both architectures")


def _labels(proposal: Proposal, old: _Old) -> None:
    labels = dict(old.facts.labels)
    if old.nodes:
        shared = dict(set.intersection(*(set(objects.labels(node).items()) for node in old.nodes)))
        labels |= {key: value for key, value in shared.items() if _named(key, old.user_data)}
    refused = {key: (reason, fix) for key, _, reason, fix in node_labels.problems(labels)}
    kept = {key: labels[key] for key in sorted(labels) if key not in refused}
    if kept:
        proposal.values["labels"] = kept
    for key, (reason, _) in refused.items():
        if not key.startswith("cni-plugin"):
            proposal.say("labels" if kept else "size", f"{key}: {labels[key]} is not kept: it {reason}")


def _named(key: str, user_data: str) -> bool:
    return re.search(rf"(?<![\w./-]){re.escape(key)}(?![\w./-])", user_data) is not None


def _taints(proposal: Proposal, old: _Old) -> None:
    if old.nodegroup:
        found = [{**t, "effect": _EFFECTS.get(t["effect"], t["effect"])} for t in old.nodegroup.get("taints") or []]
    else:
        found = []
    for taint in _shared_taints(old.nodes):
        if taint not in found and _named(str(taint["key"]), old.user_data):
            found.append(taint)
    if found:
        proposal.values["taints"] = found


def _shared_taints(nodes: Sequence[Obj]) -> list[Obj]:
    if not nodes:
        return []
    every = [[{k: v for k, v in t.items() if k != "timeAdded"} for t in n["spec"].get("taints") or []] for n in nodes]
    return [t for t in every[0] if all(t in other for other in every) and not _TAINTS_OF_OTHERS.match(str(t["key"]))]


def _disk(proposal: Proposal, old: _Old) -> None:
    device = DATA_DISK[proposal.values.get("amiFamily", "AL2023")]
    mappings = {m["DeviceName"]: m.get("Ebs") or {} for m in old.template.get("BlockDeviceMappings") or []}
    disk = mappings.pop(device, {})
    gib = int(disk.get("VolumeSize") or old.nodegroup.get("diskSize") or 0)
    if gib:
        proposal.values["diskGib"] = max(gib, _LEAST_GIB)
        if gib < _LEAST_GIB:
            proposal.say("diskGib", f"{gib} GiB before: images need {_LEAST_GIB}")
    kind = disk.get("VolumeType", "gp3")
    if kind in {"gp2", "io1", "io2"}:
        proposal.values["diskType"] = kind
    elif kind != "gp3":
        proposal.say("diskGib" if gib else "size", f"its type {kind} is not kept: gp3 is as cheap and faster")
    for key, name in (("diskIops", "Iops"), ("diskThroughput", "Throughput"), ("diskKmsKey", "KmsKeyId")):
        if disk.get(name) and not (name == "Iops" and kind == "gp2"):
            proposal.values[key] = disk[name]
    for name in sorted(mappings.keys() - {"/dev/xvda"}):
        proposal.say("diskGib" if gib else "size", f"its further volume {name} is not kept")


def _place(proposal: Proposal, old: _Old, common: set[str], subnets: set[str]) -> None:
    own = set(str(old.scaling.get("VPCZoneIdentifier") or "").split(",")) - {""} or set(old.facts.subnet_ids)
    own = set(old.nodegroup.get("subnets") or ()) or own
    if own and own != subnets:
        proposal.values["subnetIds"] = sorted(own)
    more = sorted(set(old.facts.security_group_ids) - common)
    if more:
        proposal.values["securityGroupIds"] = more
        proposal.say("securityGroupIds", "besides those that all groups share")
    if len(old.template.get("NetworkInterfaces") or []) > 1:
        proposal.say("size", "its further network interfaces are not kept: Cilium attaches its own")


def _metadata(proposal: Proposal, old: _Old) -> None:
    options = old.template.get("MetadataOptions") or {}
    hops, tokens = options.get("HttpPutResponseHopLimit"), options.get("HttpTokens")
    if hops is not None and int(hops) != 2:
        proposal.values["metadataHopLimit"] = int(hops)
    if tokens == "optional":
        proposal.values["metadataTokens"] = tokens
    config: Mapping[str, Any] = old.nodegroup.get("updateConfig") or {}
    if share := config.get("maxUnavailablePercentage"):
        proposal.values["maxUnavailable"] = f"{share}%"
    elif int(config.get("maxUnavailable", 1)) != 1:
        proposal.values["maxUnavailable"] = str(config["maxUnavailable"])


def _rest(proposal: Proposal, old: _Old) -> None:
    tags = {
        key: value
        for key, value in sorted((old.nodegroup.get("tags") or {}).items())
        if not _TAGS_OF_OTHERS.match(key) and key != LABELLED_BY_US
    }
    if tags:
        proposal.values["tags"] = tags
    if old.user_data.strip():
        proposal.say(
            "", "Its user data is not copied: what nodes need of it besides labels and taints, extraUserData takes."
        )
    for key in sorted(old.template.keys() - _CARRIED):
        proposal.say("", f"{key} of its launch template is not kept.")


def section(g: Gathered, subnet_ids: Sequence[str], ours: set[str]) -> str:
    """The whole section for a cluster.

    Args:
        subnet_ids: of `network`.
        ours: names of groups that this stack makes, which are not mirrored.
    """
    groups = [group for group in describe.groups(g) if group.name not in ours]
    return text(proposals(g, groups, subnet_ids), left_out(g, groups))
