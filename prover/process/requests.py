"""The requests that the prover makes, all of them: what it may do in a cluster is made from this list."""

from typing import Final
from urllib.parse import quote

from kube.events import tell
from kube.transport import MERGE, KubeError, Obj, Response, Transport
from prover.calico import MIGRATIONS, TRACES
from prover.kinds import CORE, NATIVE, STORED, Of, of_calico
from prover.names import NAME, PROOF
from prover.options import Options
from prover.said import Said, Verdict

SECONDS: Final = 5.0
DAEMONSETS: Final = "/apis/apps/v1/daemonsets?fieldSelector=metadata.name%3Dcalico-node"
_CALICO: Final = (*of_calico(STORED), *of_calico(NATIVE))


def _right(of: Of) -> tuple[str, str, tuple[str, ...]]:
    return of.api.rpartition("/")[0], of.plural, ("list", "watch")


RIGHTS: Final = (
    *map(_right, (*CORE, *_CALICO)),
    *((group.rpartition("/")[0], trace, ("list",)) for group in (STORED, NATIVE) for trace in TRACES),
    ("apps", "daemonsets", ("list",)),
    (MIGRATIONS.split("/")[2], "datastoremigrations", ("list",)),
)
"""(API group, resource, verbs) that hold in the whole cluster: it only reads there."""
NAMED_RIGHTS: Final = (
    ("", "configmaps", ("get",), "cilium-config"),
    ("cilium.io", "ciliumnodeconfigs", ("list",), ""),
    ("", "configmaps", ("patch",), PROOF),
    ("coordination.k8s.io", "leases", ("get",), "bridge"),
    ("coordination.k8s.io", "leases", ("get", "update"), NAME),
    ("coordination.k8s.io", "leases", ("create",), ""),
    ("", "events", ("create",), ""),
)
"""(API group, resource, verbs, name) that hold in the prover's namespace; no name: of any."""


def publish(transport: Transport, options: Options, said: Said) -> Response:
    """Put a publication into its ConfigMap."""
    path = f"/api/v1/namespaces/{quote(options.namespace)}/configmaps/{quote(options.proof)}?fieldManager={NAME}"
    return transport.send("PATCH", path, body={"data": said.data()}, content_type=MERGE, seconds=SECONDS)


def event(transport: Transport, options: Options, said: Said) -> str:
    """Make an Event about a verdict; says why it could not."""
    text = "every flow keeps its verdict" if said.verdict is Verdict.EQUAL else f"{said.verdict}: {said.why}"
    return tell(
        transport,
        by=NAME,
        about={"apiVersion": "v1", "kind": "ConfigMap", "namespace": options.namespace, "name": options.proof},
        reason={"equal": "PolicyEqual", "different": "PolicyDifferent", "undecided": "PolicyUndecided"}[said.verdict],
        text=f"{text}\n{said.counterexample}".strip(),
        warning=said.verdict is not Verdict.EQUAL,
    )


def bridge_lease(transport: Transport, options: Options) -> Obj | None:
    """The Lease of the bridge; None when there is none.

    Raises:
        KubeError: it cannot be read.
    """
    return _found(
        transport, f"/apis/coordination.k8s.io/v1/namespaces/{quote(options.namespace)}/leases/{quote(options.bridge)}"
    )


def cilium_config(transport: Transport, options: Options) -> dict[str, str] | None:
    """The data of Cilium's configuration; None when there is none.

    Raises:
        KubeError: it cannot be read.
    """
    there = _found(
        transport, f"/api/v1/namespaces/{quote(options.namespace)}/configmaps/{quote(options.cilium_config)}"
    )
    return None if there is None else {str(k): str(v) for k, v in (there.get("data") or {}).items()}


def node_configs(options: Options) -> str:
    """Path of what some nodes' agents are told besides; of the namespace that agents read."""
    return f"/apis/cilium.io/v2/namespaces/{quote(options.namespace)}/ciliumnodeconfigs"


def listed(transport: Transport, path: str) -> list[Obj]:
    """A short list; empty where the kind is not served.

    Raises:
        KubeError: it cannot be read.
    """
    found = _found(transport, path)
    return [] if found is None else list(found.get("items") or [])


def served(transport: Transport, group: str) -> bool:
    """Whether Calico's policies are served under an API group.

    Raises:
        KubeError: nobody can tell.
    """
    return _found(transport, f"/apis/{group}/globalnetworkpolicies?limit=1") is not None


def traces(transport: Transport, group: str) -> bool:
    """Whether a Calico that runs left anything under an API group.

    Raises:
        KubeError: nobody can tell.
    """
    return any(listed(transport, f"/apis/{group}/{trace}?limit=1") for trace in TRACES)


def _found(transport: Transport, path: str) -> Obj | None:
    answer = transport.send("GET", path, seconds=SECONDS)
    if answer.status == 404:
        return None
    if not answer.ok:
        raise KubeError(answer.status, f"GET {path}: {answer.text}")
    return answer.body
