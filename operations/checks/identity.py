"""Is it the cluster that is meant, and is it still what was surveyed?"""

from collections.abc import Iterable, Iterator

from migration import addon_values, affinity
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
from operations import objects
from operations.checks import check
from operations.cluster import Obj
from operations.context import FACTS_HINT, Context
from operations.evidence import Answer, Finding, UnknownError
from operations.survey import describe
from operations.survey.decisions import decide, mattering
from operations.survey.decisions.cluster import CALICO_TELL, CALICO_UNTOLD
from operations.survey.gather import gather
from operations.survey.surveyed import seen_of

RESURVEY = "Undo the change, or survey again and review the difference"
FRONT = {"vpc-cni": AWS_NODE, "kube-proxy": KUBE_PROXY}
"""Managed add-on -> its DaemonSet in kube-system."""
OURS = {"ANNOTATE_POD_IP": "true"}
"""Environment of aws-node that this program may have set: Calico needs it."""


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
    facts = context.facts
    findings = list(version_findings(facts, context.aws.cluster(context.cluster_name)))
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
        )
    findings += _calico(context, facts)
    return Answer(
        f"surveyed {facts.surveyed_at}, Kubernetes {facts.cluster.version}, Calico {facts.calico.version or 'absent'}",
        tuple(findings),
    )


def version_findings(facts: Facts, live: Obj | None) -> Iterator[Finding]:
    if live is None:
        raise UnknownError(f"there is no cluster {facts.cluster.name}")
    if str(live["version"]) != facts.cluster.version:
        yield Finding(
            f"cluster {facts.cluster.name}",
            f"runs Kubernetes {live['version']}, the facts say {facts.cluster.version}",
            "Survey again: versions that go together may have changed",
        )


def daemonset_findings(addon: str, known: DaemonSetFacts, record: Obj | None, live: Obj | None) -> Iterator[Finding]:
    """How an add-on's DaemonSet differs from the facts. A pin of ours is no difference.

    Args:
        record: EKS DescribeAddon, None for a self-managed one.
        live: the DaemonSet.
    """
    about = f"daemonset {SYSTEM_NAMESPACE}/{FRONT[addon]}"
    kind = "addon" if record is not None else "self-managed" if live is not None else "absent"
    if kind != known.kind:
        yield Finding(f"add-on {addon}", f"is {kind}, the facts say {known.kind}", RESURVEY)
        return
    if record is not None and record.get("addonVersion") != known.addon_version:
        yield Finding(
            f"add-on {addon}",
            f"has version {record.get('addonVersion')}, the facts say {known.addon_version}",
            RESURVEY,
        )
    if record is not None and settings_of(record.get("configurationValues")) != settings_of(known.configuration):
        yield Finding(f"add-on {addon}", "its configuration is not the surveyed one", RESURVEY)
    if live is None:
        if kind != "absent":
            yield Finding(about, "does not exist, though EKS has the add-on", "Repair the add-on")
        return
    image = objects.images(live)[0]
    if known.image is not None and image != known.image:
        yield Finding(about, f"runs {image}, the facts say {known.image}", RESURVEY)
    found = live["spec"]["template"]["spec"].get("affinity") or None
    if found not in (known.affinity or None, affinity.pin(known.affinity, CNI_LABEL, LEGACY_CNI)):
        yield Finding(about, "its affinity is neither the surveyed one nor that one pinned", RESURVEY)
    container = live["spec"]["template"]["spec"]["containers"][0]
    env = {e["name"]: e["value"] for e in container.get("env") or [] if "value" in e}
    for variable in sorted(known.env.keys() | env.keys()):
        if env.get(variable) == OURS.get(variable, object()):
            continue
        if known.env.get(variable) != env.get(variable):
            yield Finding(
                about,
                f"{variable} is {env.get(variable)!r}, the facts say {known.env.get(variable)!r}",
                RESURVEY,
            )


def settings_of(configuration: str | None) -> Obj:
    """`configurationValues` of an add-on without what this program may have put there.

    Raises:
        UnknownError: the text cannot be read.
    """
    try:
        values: Obj = addon_values.parse(configuration)
    except ValueError as error:
        raise UnknownError(f"the configuration of an add-on {error}", RESURVEY, about="add-on") from None
    values.pop("affinity", None)  # compared on the DaemonSet itself
    env = {k: v for k, v in (values.pop("env", None) or {}).items() if v != OURS.get(k)}
    return values | ({"env": env} if env else {})


def _calico(context: Context, facts: Facts) -> Iterator[Finding]:
    known = facts.calico
    if known.kind == "absent":
        if context.kube.crd("globalnetworkpolicies.crd.projectcalico.org"):
            yield Finding("calico", "is installed, the facts say it is absent", "Survey again")
        return
    namespace = known.namespace or "calico-system"
    live = context.kube.daemonset(namespace, CALICO_NODE)
    if live is None:
        yield Finding(f"daemonset {namespace}/{CALICO_NODE}", "does not exist, the facts say it does", RESURVEY)
        return
    running = calico_version(context, live)
    if running is None:
        raise UnknownError(CALICO_UNTOLD, CALICO_TELL, about=f"daemonset {namespace}/{CALICO_NODE}")
    if running.removeprefix("v") != (known.version or "").removeprefix("v"):
        yield Finding(
            f"daemonset {namespace}/{CALICO_NODE}", f"runs {running}, the facts say {known.version}", RESURVEY
        )


def calico_version(context: Context, live: Obj) -> str | None:
    """Version of the Calico that runs; None when nothing tells it. See `describe.calico_version`."""
    installations = context.kube.custom("operator.tigera.io/v1", "installations")
    information = context.kube.custom("crd.projectcalico.org/v1", "clusterinformations")
    return describe.calico_version(live, *(_default(found) for found in (installations, information)))


def _default(found: Iterable[Obj]) -> Obj | None:
    return next((one for one in found if objects.name(one) == "default"), None)
