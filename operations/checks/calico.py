"""Calico as it runs: all of its CRDs are there, it polices the interfaces that pods have, and what may be upgraded."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kube.transport import Obj
from migration.journeys import CheckId
from migration.names import AWS_NODE, CALICO_NODE, CILIUM, SYSTEM_NAMESPACE
from migration.rules import calico_crds, versions
from operations.access.context import Context
from operations.checks import check
from operations.cluster import calico, objects
from operations.evidence import Answer, Finding, UnknownError
from operations.survey.gathered import is_true

CHARTS: Final = "https://docs.tigera.io/calico/charts"
FELIX_PREFIX: Final = "FELIX_INTERFACEPREFIX"
VETH_PREFIX: Final = "AWS_VPC_K8S_CNI_VETHPREFIX"
CALICO_TYPHA: Final = "calico-typha"
BRANCH: Final = "vpc.amazonaws.com/pod-eni"
"""Annotation of a pod that hangs on a branch interface (security groups for pods)."""
BRANCH_PREFIX: Final = "vlan"
_DEFAULT_FELIX, _DEFAULT_VETH = "cali", "eni"
_OPERATOR_GROUP: Final = ".operator.tigera.io"
_SEPARATE_CHART: Final = (3, 32)
"""Since then the operator's chart has no CRDs; they are a chart of their own."""


# -- CRDs -------------------------------------------------------------------------------------------


@check(CheckId.CALICO_COMPLETE)
def calico_complete(context: Context) -> Answer:
    """Every CRD that the Calico that runs needs is there, and looks as in that version."""
    live = next(iter(calico.running(context.kube)), None)
    if live is None:
        return Answer("Calico is not here")
    version = calico.version(context.kube, live)
    if version is None:
        raise UnknownError(
            "neither its image, its Installation nor its ClusterInformation tells the version",
            "Name Calico's image by its version",
            about="Calico",
        )
    native = calico.api(context.kube) == calico.NATIVE
    wanted = calico_crds.complete(version, native=native)
    if wanted is None:
        known = ", ".join(f"{major}.{minor}" for major, minor in calico_crds.minors())
        raise UnknownError(f"which CRDs {version} needs is not known here", f"Use one of {known}", about="Calico")
    by_operator = context.facts is None or context.facts.calico.kind == "operator"
    wanted = {n: one for n, one in wanted.items() if by_operator or not n.endswith(_OPERATOR_GROUP)}
    found = {name: context.kube.crd(name) for name in wanted}
    mode = " as projectcalico.org/v3" if native else ""
    summary = f"{len(wanted)} CRDs of Calico {version}{mode}"
    if not any(one.digests for one in wanted.values()):
        summary += f"; their schemas are not compared, which are known up to {calico_crds.releases(native=native)[-1]}"
    return Answer(summary, tuple(crd_findings(version, wanted, found, native=native)))


def crd_findings(
    version: str, wanted: Mapping[str, calico_crds.Definition], found: Mapping[str, Obj | None], *, native: bool
) -> Iterator[Finding]:
    fix = bring(version, native=native)
    for name, definition in sorted(wanted.items()):
        crd = found[name]
        for problem in calico_crds.problems(definition, calico_crds.look(crd) if crd else None):
            yield Finding(f"crd {name}", f"{problem}, and Calico {version} needs it", fix)
        if crd is not None and not objects.holds(crd, "Established"):
            yield Finding(f"crd {name}", "is not established", f"`kubectl describe crd {name}`")


def bring(version: str, *, native: bool) -> str:
    """How the CRDs of a version get into a cluster. On the client's side some are too large for an annotation."""
    if versions.minor(version) < _SEPARATE_CHART:
        source = f"helm show crds tigera-operator --repo {CHARTS} --version {version}"
    else:
        chart = "projectcalico.org.v3" if native else "crd.projectcalico.org.v1"
        source = f"helm template {chart} --repo {CHARTS} --version {version}"
    return f"`{source} | kubectl apply --server-side --force-conflicts -f -`"


# -- interfaces -------------------------------------------------------------------------------------


@check(CheckId.CALICO_SEES_PODS)
def calico_sees_pods(context: Context) -> Answer:
    """Felix polices the interfaces that the VPC CNI makes: under another prefix it enforces nothing."""
    node = next(iter(calico.running(context.kube)), None)
    if node is None:
        return Answer("Calico is not here")
    wiring = context.kube.daemonset(SYSTEM_NAMESPACE, AWS_NODE)
    if wiring is None:
        return Answer(f"{AWS_NODE} is not here: no pod has an interface of the VPC CNI")
    veth = said(wiring, VETH_PREFIX) or _DEFAULT_VETH
    configured = {objects.name(one): one for one in calico.custom(context.kube, "felixconfigurations")}
    policed = polices(node, configured.values())
    findings = [*police_findings(veth, policed, node, configured)]
    typha = context.kube.deployment(objects.namespace(node), CALICO_TYPHA)
    # Whoever reads pods from the API server works out the interfaces' names: typha for all, else each calico-node.
    namer = typha if typha is not None else node
    findings += naming_findings(veth, namer)
    findings += branch_findings(wiring, policed, context.kube.pods())
    return Answer(f"pods hang on {veth}…, Felix polices {', '.join(f'{p}…' for p in policed)}", tuple(findings))


def said(workload: Obj, variable: str) -> str | None:
    """What any of a workload's containers is told; None when nothing.

    Raises:
        UnknownError: it is taken from elsewhere, so that the object does not say it.
    """
    about = f"{workload.get('kind') or 'workload'} {objects.key(workload)}".lower()
    containers = workload["spec"]["template"]["spec"]["containers"]
    entries = [e for c in containers for e in c.get("env") or [] if e["name"] == variable]
    if any(e.get("valueFrom") for e in entries):
        raise UnknownError(
            f"{variable} comes from another object", "Write the value into the container itself", about=about
        )
    if not entries and any(c.get("envFrom") for c in containers):
        raise UnknownError(
            f"it takes its environment from other objects, so {variable} may be there",
            f"Write {variable} into the container itself",
            about=about,
        )
    return str(entries[0].get("value") or "") if entries else None


def polices(node: Obj, configurations: Iterable[Obj]) -> Sequence[str]:
    """Prefixes of the interfaces that Felix takes for pods'; the environment beats the configuration `default`.

    Source: calico v3.32, felix/config: InterfacePrefix.
    """
    told = said(node, FELIX_PREFIX)
    if not told:
        specs = {objects.name(c): c.get("spec") or {} for c in configurations}
        told = (specs.get("default") or {}).get("interfacePrefix")
    return tuple(part.strip() for part in (told or _DEFAULT_FELIX).split(",") if part.strip())


def police_findings(veth: str, policed: Sequence[str], node: Obj, configured: Mapping[str, Obj]) -> Iterator[Finding]:
    about = f"daemonset {objects.key(node)}"
    if not any(veth.startswith(prefix) for prefix in policed):
        yield Finding(
            about,
            f"polices interfaces named {', '.join(policed)}…, and the VPC CNI names them {veth}…: "
            "Calico enforces nothing on pods",
            f"Set {FELIX_PREFIX} of calico-node and of calico-typha to {veth}"
            if veth != _DEFAULT_VETH
            else f"Set {FELIX_PREFIX} of calico-node and of calico-typha to {veth}; the operator does so where "
            "`cni.type` of the Installation is AmazonVPC",
        )
    if said(node, FELIX_PREFIX):
        return
    for name, one in sorted(configured.items()):
        own = (one.get("spec") or {}).get("interfacePrefix")
        if name.startswith("node.") and own and not any(veth.startswith(p.strip()) for p in own.split(",")):
            yield Finding(
                f"felixconfiguration {name}",
                f"has Felix on {name.removeprefix('node.')} police {own}…, and the VPC CNI names interfaces {veth}…",
                "Take interfacePrefix out of it",
            )


def naming_findings(veth: str, namer: Obj) -> Iterator[Finding]:
    """Whether the interface that Calico looks for on behalf of a pod is the one that the pod has.

    Source: calico v3.32, libcalico-go/lib/backend/k8s/conversion: the first prefix in the environment, and no other.
    """
    first = (said(namer, FELIX_PREFIX) or _DEFAULT_FELIX).split(",")[0]
    if first != veth:
        yield Finding(
            f"{'deployment' if objects.name(namer) == CALICO_TYPHA else 'daemonset'} {objects.key(namer)}",
            f"looks for pods' interfaces under {first}…, and the VPC CNI names them {veth}…: "
            "Calico enforces nothing on pods",
            f"Let {FELIX_PREFIX} of {objects.name(namer)} begin with {veth}",
        )


def branch_findings(wiring: Obj, policed: Sequence[str], pods: Iterable[Obj]) -> Iterator[Finding]:
    """Pods on branch interfaces, whose names begin otherwise unless the VPC CNI is in its standard mode."""
    if not is_true(said(wiring, "ENABLE_POD_ENI")):
        return
    standard = said(wiring, "POD_SECURITY_GROUP_ENFORCING_MODE") == "standard"
    if standard or any(BRANCH_PREFIX.startswith(prefix) for prefix in policed):
        return
    for pod in pods:
        if BRANCH in objects.annotations(pod):
            yield Finding(
                f"pod {objects.key(pod)}",
                f"hangs on a branch interface, {BRANCH_PREFIX}…, which Felix does not police: no policy of Calico "
                "holds for it",
                "Set POD_SECURITY_GROUP_ENFORCING_MODE of the VPC CNI to standard and make the pod anew",
            )


# -- what comes next --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Running:
    """A product that runs, and its version."""

    product: str
    version: str


@check(CheckId.NEXT_KUBERNETES)
def next_kubernetes(context: Context) -> Answer:
    """Before Kubernetes is raised: whether the Calico and the Cilium that run go with its next minor version."""
    live = context.aws.cluster(context.cluster_name)
    if live is None:
        raise UnknownError(f"cluster {context.cluster_name} does not exist", "Correct its name", about="EKS")
    major, minor = versions.minor(str(live["version"]))
    following = f"{major}.{minor + 1}"
    running = _running(context)
    told = ", ".join(f"{one.product} {one.version}" for one in running) or "neither Calico nor Cilium"
    return Answer(f"Kubernetes {following} after {live['version']}: {told}", tuple(next_findings(following, running)))


def next_findings(following: str, running: Sequence[Running]) -> Iterator[Finding]:
    found = {one.product: one.version for one in running}
    for misfit in versions.misfits(kubernetes=following, cilium=found.get("Cilium"), calico=found.get("Calico")):
        yield Finding(f"{misfit.subject} {misfit.value}", misfit.text, f"Do that before Kubernetes {following}")


def _running(context: Context) -> list[Running]:
    found = [
        Running("Calico", _told(calico.version(context.kube, daemonset), CALICO_NODE))
        for daemonset in calico.running(context.kube)[:1]
    ]
    cilium = context.kube.daemonset(SYSTEM_NAMESPACE, CILIUM)
    if cilium is not None:
        tag = objects.tag(objects.images(cilium)[0])
        found.append(Running("Cilium", _told(tag if versions.is_version(tag or "") else None, CILIUM)))
    return found


def _told(version: str | None, daemonset: str) -> str:
    if version is None:
        raise UnknownError("nothing tells its version", "Name its image by its version", about=f"daemonset {daemonset}")
    return version
