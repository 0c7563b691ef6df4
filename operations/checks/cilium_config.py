"""The configuration that Cilium's agents read, as it is now."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from kube.transport import Obj
from migration.cilium_config import allowed, differences
from migration.journeys import CheckId
from migration.names import SYSTEM_NAMESPACE
from operations.access.context import Context
from operations.checks import check
from operations.checks.cilium import CONFIG, configuration
from operations.cluster import objects
from operations.continuity.options import node_configs
from operations.evidence import Answer, Finding

MEND: Final = (
    "Find out who changed it and put it back (`kubectl -n kube-system edit configmap cilium-config`), then "
    "`kubectl -n kube-system rollout restart daemonset cilium` if agents have read it"
)


@check(CheckId.CILIUM_CONFIGURED)
def cilium_configured(context: Context) -> Answer:
    """Agents are told what the journey rests on: which policies to enforce, how to wire, what to replace."""
    kube, about = context.kube, f"configmap {SYSTEM_NAMESPACE}/{CONFIG}"
    live = configuration(kube)
    if live is None:
        return Answer("none", (Finding(about, "does not exist", "Look at the Helm release cilium, and deploy again"),))
    wanted = allowed(context.settings, context.facts)
    findings = [*config_findings(about, live.get("data") or {}, wanted)]
    laid_over = node_configs(kube)
    findings += node_config_findings(laid_over, wanted)
    return Answer(f"{len(wanted)} keys, {objects.count(len(laid_over), 'CiliumNodeConfig')}", tuple(findings))


def config_findings(about: str, data: Mapping[str, str], wanted: Mapping[str, tuple[str, ...]]) -> Iterator[Finding]:
    for key, value, right in differences(data, wanted, whole=True):
        shown = "is not there" if value is None else f"is {str(value)[:80]!r}"
        yield Finding(about, f"{key} {shown}, the journey rests on {' or '.join(map(repr, right))}", MEND)


def node_config_findings(found: Iterable[Obj], wanted: Mapping[str, tuple[str, ...]]) -> Iterator[Finding]:
    for one in found:
        for key, value, right in differences((one.get("spec") or {}).get("defaults") or {}, wanted, whole=False):
            yield Finding(
                f"ciliumnodeconfig {objects.key(one)}",
                f"sets {key} to {str(value)[:80]!r} on the nodes that it selects, the journey rests on "
                f"{' or '.join(map(repr, right))}",
                "Take the key out of it, then restart the agents of those nodes",
            )
