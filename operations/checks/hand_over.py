"""Calico from AWS's deprecated chart: whether the Tigera operator would take it over as it stands, and lose nothing."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from kube.cluster import Cluster
from kube.transport import Obj
from migration.journeys import CheckId
from migration.names import CALICO_NODE, SYSTEM_NAMESPACE
from migration.rules import conversion
from operations.access.context import Context
from operations.checks import check
from operations.cluster import calico, objects, quantities
from operations.evidence import Answer, Finding

CANAL: Final = "canal-node"
ENDPOINT_MAP: Final = "kubernetes-services-endpoint"
OPERATOR: Final = "v1.42.4"
"""The version of the operator whose conversion this is."""
MANAGERS: Final[Mapping[str, str]] = {
    "argocd.argoproj.io/instance": "Argo CD",
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
    "app.terraform.io/run-id": "Terraform",
}
"""Labels and annotations → who sets them on what it keeps in place."""
FIELD_MANAGERS: Final[Mapping[str, str]] = {
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
    "Terraform": "Terraform",
    "HashiCorp": "Terraform",
}
LEAST: Final = {"memory": 200 * 1024**2, "cpu": 250}
"""Bytes, and thousandths of cores, that Felix needs in a cluster of some size: below, limits have stopped pods from
starting."""
FEWEST_NODES: Final = 4
"""With fewer, the operator's typha and the chart's, one to a node, have not both room."""


@check(CheckId.CALICO_CONVERTIBLE)
def calico_convertible(context: Context) -> Answer:
    """The Tigera operator would take over the Calico in kube-system as it stands, without a node that it starves."""
    found = gathered(context.kube)
    if found is None:
        return Answer(f"no {CALICO_NODE} in {SYSTEM_NAMESPACE}: there is nothing to hand over")
    version = calico.told_version(found.node, None, None) or "of a version that its image does not tell"
    findings = [Finding(one.object, one.problem, one.fix) for one in conversion.refusals(found)]
    parts = [part for part in (found.node, found.typha) if part is not None]
    for part in parts:
        findings += manager_findings(part)
    findings += limit_findings(found.node)
    findings += room_findings(context.kube.nodes())
    return Answer(f"Calico {version}, judged as operator {OPERATOR} does", tuple(findings))


def gathered(kube: Cluster) -> conversion.Found | None:
    """What the operator looks at; None where there is no DaemonSet for it to take over."""
    node = kube.daemonset(SYSTEM_NAMESPACE, CALICO_NODE)
    if node is None:
        return None
    typha = kube.deployment(SYSTEM_NAMESPACE, conversion.TYPHA)
    controllers = kube.deployment(SYSTEM_NAMESPACE, conversion.CONTROLLERS)
    names = {ENDPOINT_MAP, *(n for part in (node, typha, controllers) if part for n in _referred(part))}
    maps = {n: kube.get(f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps/{n}") for n in sorted(names)}
    felix = next((f for f in calico.custom(kube, "felixconfigurations") if objects.name(f) == "default"), None)
    return conversion.Found(
        node=node,
        typha=typha,
        controllers=controllers,
        canal=kube.daemonset(SYSTEM_NAMESPACE, CANAL) is not None,
        config_maps={name: found.get("data") or {} for name, found in maps.items() if found is not None},
        felix=felix,
        pools=calico.custom(kube, "ippools"),
    )


def _referred(part: Obj) -> Iterator[str]:
    """ConfigMaps that the variables of a workload's containers refer to."""
    pod = part["spec"]["template"]["spec"]
    for container in [*(pod.get("containers") or []), *(pod.get("initContainers") or [])]:
        for entry in container.get("env") or []:
            name = ((entry.get("valueFrom") or {}).get("configMapKeyRef") or {}).get("name")
            if name:
                yield str(name)


def manager_findings(part: Obj) -> Iterator[Finding]:
    """Who else would put back what is taken off: the operator falls over it half-way."""
    marks = {**objects.labels(part), **objects.annotations(part)}
    written = {str(e.get("manager", "")) for e in part["metadata"].get("managedFields") or []}
    who = {name for key, name in MANAGERS.items() if key in marks}
    who |= {name for manager, name in FIELD_MANAGERS.items() if manager in written}
    for name in sorted(who):
        yield Finding(
            f"{(part.get('kind') or 'workload').lower()} {objects.key(part)}",
            f"is kept in place by {name}, which would put it back while the operator replaces it",
            f"Let {name} forget it without deleting it, before anything else",
        )


def limit_findings(node: Obj) -> Iterator[Finding]:
    """Limits of calico-node go over into the Installation; the chart's starve a Felix of today."""
    container = next((c for c in node["spec"]["template"]["spec"]["containers"] if c["name"] == CALICO_NODE), None)
    limits: Mapping[str, Any] = ((container or {}).get("resources") or {}).get("limits") or {}
    small = [f"{what} {text}" for what, text in limits.items() if what in LEAST and _amount(what, text) < LEAST[what]]
    if small:
        yield Finding(
            f"daemonset {objects.key(node)}",
            f"its limits ({', '.join(sorted(small))}) go over into the Installation, and are too small for Felix",
            "Take them off in the same restart, or say others in the Installation's calicoNodeDaemonSet",
        )


def _amount(resource: str, quantity: object) -> int:
    return quantities.amount(str(quantity), thousandths=resource == "cpu")


def room_findings(nodes: Iterable[Obj]) -> Iterator[Finding]:
    room = [n for n in nodes if objects.is_ec2_linux(n) and not (n.get("spec") or {}).get("unschedulable")]
    if len(room) < FEWEST_NODES:
        yield Finding(
            "nodes",
            f"{objects.count(len(room), 'node')}: the chart's typha and the operator's, one to a node, have no room "
            "beside each other",
            f"Have {FEWEST_NODES} nodes until the hand-over is done",
        )
