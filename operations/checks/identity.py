"""Is it the cluster that is meant, and is it still what was surveyed?"""

from collections.abc import Iterable, Iterator

from kube.transport import Obj
from migration.facts import DaemonSetFacts, Facts
from migration.facts import Verdict as Surveyed
from migration.journeys import CheckId, Piece
from migration.names import (
    AWS_NODE,
    CALICO_NODE,
    CNI_LABEL,
    KUBE_PROXY,
    LEGACY_CNI,
    SYSTEM_NAMESPACE,
)
from migration.rules import affinity
from operations.access.connection import Aws
from operations.access.context import FACTS_HINT, Context
from operations.checks import check
from operations.cluster import calico, objects
from operations.evidence import Answer, Finding, UnknownError
from operations.label import own_groups
from operations.survey import describe
from operations.survey.decisions import decide, mattering
from operations.survey.decisions.cluster import CALICO_TELL, CALICO_UNTOLD
from operations.survey.gather import gather
from operations.survey.moved import EXTERNAL_SNAT, OURS, UNDO, move, settings_of
from operations.survey.surveyed import seen_of

FRONT = {"vpc-cni": AWS_NODE, "kube-proxy": KUBE_PROXY}
"""Managed add-on -> its DaemonSet in kube-system."""


@check(CheckId.IDENTITY_AGREES)
def identity_agrees(context: Context) -> Answer:
    """Credentials, EKS cluster, API server and facts all name the same cluster."""
    caller = str(context.aws.caller()["Account"])
    live = context.aws.cluster(context.cluster_name)
    if context.adopted and context.facts is None:
        return Answer("no facts", (Finding(f"facts of {context.stack}", "there are none", FACTS_HINT),))
    findings = tuple(identity_findings(context.cluster_name, caller, context.aws.region, live, context.facts))
    if not findings:
        context.kube.version()  # a KUBECONFIG that leads elsewhere is refused on connecting
    return Answer(f"{context.cluster_name} in account {caller}, {context.aws.region}", findings)


def identity_findings(name: str, account: str, region: str, live: Obj | None, facts: Facts | None) -> Iterator[Finding]:
    """What disagrees.

    Args:
        account: of the caller.
        live: EKS DescribeCluster, None when there is no such cluster.
    """
    about = f"cluster {name}"
    if live is None:
        yield Finding(about, f"does not exist in {region} of account {account}", "Check credentials and region")
        return
    if live.get("status") not in {"ACTIVE", "UPDATING"}:
        yield Finding(about, f"is {live.get('status')}, not ACTIVE", "Wait until it is")
    arn = str(live["arn"])
    if arn.split(":")[4] != account:
        yield Finding(about, f"is {arn}, the credentials are of account {account}", "Use its own credentials")
    if facts is None:
        return
    known = facts.cluster
    for what, found, surveyed in (
        ("account", account, known.account),
        ("region", region, known.region),
        ("name", name, known.name),
        ("ARN", arn, known.arn),
        ("VPC", live["resourcesVpcConfig"]["vpcId"], known.vpc_id),
        ("issuer", live.get("identity", {}).get("oidc", {}).get("issuer", ""), known.oidc_issuer),
    ):
        if found != surveyed:
            yield Finding(
                about,
                f"its {what} is {found}, the facts say {surveyed}",
                "Use the credentials, region and stack that belong together, or survey this cluster",
            )


@check(CheckId.NOTHING_REFUSED)
def nothing_refused(context: Context) -> Answer:
    """The cluster has nothing that this journey refuses: neither did the survey find it, nor is it there now."""
    if context.adopted and context.facts is None:
        return Answer("no facts", (Finding(f"facts of {context.stack}", "there are none", FACTS_HINT),))
    gathered = gather(context.aws, context.kube, context.cluster_name)
    seen = seen_of(gathered, context.settings, begun=context.stage is not context.journey.first)
    now = decide(seen, mattering(context.stage, adopted=context.adopted))
    refused = {d.item: d for d in now if d.verdict is Surveyed.REFUSED}
    written = context.facts.refused if context.facts is not None else ()
    again = {d.item: d for d in written if d.item not in refused and context.stage is context.journey.first}
    return Answer(
        f"{len(now)} items looked at, {len(refused)} refused",
        tuple(
            Finding(d.item, f"{d.found}: {d.reason}" if d.found else d.reason, d.way_out)
            for d in (*refused.values(), *again.values())
        ),
    )


@check(CheckId.FACTS_HOLD)
def facts_hold(context: Context) -> Answer:
    """The cluster is what the survey saw, but for what this program changed itself."""
    if not context.adopted:
        return Answer("the stack owns the cluster: its own state is the record")
    if context.facts is None:
        return Answer("no facts", (Finding(f"facts of {context.stack}", "there are none", FACTS_HINT),))
    facts, again = context.facts, move(context.stack)
    findings = list(version_findings(facts, context.aws.cluster(context.cluster_name), again))
    findings += block_findings(facts, context.aws, again)
    findings += group_findings(facts, context.aws.nodegroups(context.cluster_name), own_groups(context), again)
    for piece, addon, known in (
        (Piece.VPC_CNI, "vpc-cni", facts.vpc_cni),
        (Piece.KUBE_PROXY, "kube-proxy", facts.kube_proxy),
    ):
        if context.retires(piece):
            continue
        findings += daemonset_findings(
            addon,
            known,
            context.aws.addon(context.cluster_name, addon),
            context.kube.daemonset(SYSTEM_NAMESPACE, FRONT[addon]),
            again,
        )
    findings += _calico(context, facts, again)
    at, calico = facts.moved_at or facts.surveyed_at, facts.calico.version or "absent"
    return Answer(f"surveyed {at}, Kubernetes {facts.cluster.version}, Calico {calico}", tuple(findings))


def version_findings(facts: Facts, live: Obj | None, again: str) -> Iterator[Finding]:
    if live is None:
        raise UnknownError(f"there is no cluster {facts.cluster.name}")
    if str(live["version"]) != facts.cluster.version:
        yield Finding(
            f"cluster {facts.cluster.name}",
            f"runs Kubernetes {live['version']}, the facts say {facts.cluster.version}",
            again,
        )


def block_findings(facts: Facts, aws: Aws, again: str) -> Iterator[Finding]:
    """Blocks that the VPC got or lost."""
    vpcs = aws.pages("ec2", "describe_vpcs", "Vpcs", Filters=[{"Name": "vpc-id", "Values": [facts.cluster.vpc_id]}])
    if not vpcs:
        raise UnknownError(f"EC2 does not show {facts.cluster.vpc_id}", about=f"vpc {facts.cluster.vpc_id}")
    live = set(describe.vpc_blocks(vpcs[0]))
    if live != set(facts.cluster.vpc_cidrs):
        shown, known = (", ".join(map(str, sorted(blocks))) for blocks in (live, facts.cluster.vpc_cidrs))
        yield Finding(f"vpc {facts.cluster.vpc_id}", f"has the blocks {shown}, the facts say {known}", again)


def group_findings(facts: Facts, live: Iterable[Obj], ours: set[str], again: str) -> Iterator[Finding]:
    """Managed node groups of the owner that came or went."""
    there = {str(g["nodegroupName"]) for g in live} - ours
    known = {g.name for g in facts.groups if g.kind == "managed"}
    for name in sorted(there - known):
        yield Finding(f"node group {name}", "was made after the survey: no refresh would empty it", again)
    for name in sorted(known - there):
        yield Finding(f"node group {name}", "was surveyed and is gone: no refresh could fill it again", again)


def daemonset_findings(
    addon: str, known: DaemonSetFacts, record: Obj | None, live: Obj | None, again: str
) -> Iterator[Finding]:
    """How an add-on's DaemonSet differs from the facts. A pin of ours is no difference.

    Args:
        record: EKS DescribeAddon, None for a self-managed one.
        live: the DaemonSet.
        again: what to do about what may move.
    """
    about = f"daemonset {SYSTEM_NAMESPACE}/{FRONT[addon]}"
    kind = "addon" if record is not None else "self-managed" if live is not None else "absent"
    if kind != known.kind:
        yield Finding(f"add-on {addon}", f"is {kind}, the facts say {known.kind}", UNDO)
        return
    if record is not None and record.get("addonVersion") != known.addon_version:
        yield Finding(
            f"add-on {addon}",
            f"has version {record.get('addonVersion')}, the facts say {known.addon_version}",
            again,
        )
    if record is not None and configured(addon, record.get("configurationValues")) != configured(
        addon, known.configuration
    ):
        yield Finding(f"add-on {addon}", "its configuration is not the surveyed one", again)
    if live is None:
        if kind != "absent":
            yield Finding(about, "does not exist, though EKS has the add-on", "Repair the add-on")
        return
    image = objects.images(live)[0]
    if known.image is not None and image != known.image:
        yield Finding(about, f"runs {image}, the facts say {known.image}", again)
    found = live["spec"]["template"]["spec"].get("affinity") or None
    if found not in (known.affinity or None, affinity.pin(known.affinity, CNI_LABEL, LEGACY_CNI)):
        yield Finding(about, "its affinity is neither the surveyed one nor that one pinned", UNDO)
    container = live["spec"]["template"]["spec"]["containers"][0]
    env = {e["name"]: e["value"] for e in container.get("env") or [] if "value" in e}
    for variable in sorted(known.env.keys() | env.keys()):
        if env.get(variable) == OURS.get(variable, object()):
            continue
        if known.env.get(variable) != env.get(variable):
            yield Finding(
                about,
                f"{variable} is {env.get(variable)!r}, the facts say {known.env.get(variable)!r}",
                UNDO if variable == EXTERNAL_SNAT else again,
            )


def configured(addon: str, text: str | None) -> Obj:
    """`settings_of`, and unknown when the text cannot be read."""
    try:
        return settings_of(text)
    except ValueError as error:
        fix = "Write it as JSON with `aws eks update-addon`"
        raise UnknownError(f"its configuration {error}", fix, about=f"add-on {addon}") from None


def _calico(context: Context, facts: Facts, again: str) -> Iterator[Finding]:
    known = facts.calico
    if known.kind == "absent":
        groups = ("crd.projectcalico.org", "projectcalico.org")
        if any(context.kube.crd(f"globalnetworkpolicies.{group}") for group in groups):
            yield Finding("calico", "is installed, the facts say it is absent", UNDO)
        return
    namespace = known.namespace or "calico-system"
    live = context.kube.daemonset(namespace, CALICO_NODE)
    if live is None:
        yield Finding(f"daemonset {namespace}/{CALICO_NODE}", "does not exist, the facts say it does", UNDO)
        return
    running = calico.version(context.kube, live)
    if running is None:
        raise UnknownError(CALICO_UNTOLD, CALICO_TELL, about=f"daemonset {namespace}/{CALICO_NODE}")
    if running.removeprefix("v") != (known.version or "").removeprefix("v"):
        yield Finding(f"daemonset {namespace}/{CALICO_NODE}", f"runs {running}, the facts say {known.version}", again)
