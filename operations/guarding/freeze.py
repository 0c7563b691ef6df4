"""The policy freeze of a live cluster: see it in force, and keep what was proved of what it froze."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import programs
from kube.cluster import Cluster
from kube.transport import Obj
from migration import manifests
from migration.guarding import freeze
from migration.guarding.freeze import Record
from migration.manifests import InvalidManifest, Manifest
from operations.access import own_state
from operations.access.connection import connect
from operations.access.context import Context
from operations.cluster import agreement, calico, objects
from operations.evidence import UnknownError
from operations.guarding import admission
from operations.say import say
from reading import METADATA, without_labels
from reading.failure import Failure

WRITER: Final = "pulumi-eks-cilium"
"""Field manager of what this command writes on a cluster of somebody else: a manager of the stack's."""
STATE_SECONDS: Final = 60.0
NO_STACK: Final = "no stack named"
"""What the CLI says of a stack that was never deployed (pulumi v3.255)."""
_POLICIES: Final = f"/apis/{freeze.STORED_GROUP}/v1/globalnetworkpolicies"
_BY_KIND: Final = {resource: kind for kind, resource in freeze.RESOURCES.items()}
_VERSIONS: Final = {
    freeze.STORED_GROUP: ("v1",),
    freeze.SERVED_GROUP: ("v3",),
    freeze.OPERATOR_GROUP: ("v1",),
    freeze.POLICY_GROUP: freeze.POLICY_VERSIONS,
}
"""API group → versions under which its objects may be served; the first that is counts."""
_AUTOMATIC: Final = ("projectcalico.org/created-by", "calico-kube-controllers")


class Thawed(Failure):
    """A frozen object was changed by somebody else. The text names each."""


# -- in force ---------------------------------------------------------------------------------------


def wait(context: Context) -> None:
    """Wait until strangers are refused by the declared freeze, and the stack is not.

    Raises:
        operations.guarding.admission.NotInForceError: see there.
    """
    name = "default.eks-cilium-probe"
    body = {
        "apiVersion": f"{freeze.STORED_GROUP}/v1",
        "kind": "GlobalNetworkPolicy",
        "metadata": {"name": name},
        "spec": {"selector": "has(eks-cilium-probe)", "types": ["Ingress"]},
    }
    about = "a GlobalNetworkPolicy (dry run)"
    probes = (
        admission.Probe(
            about=f"{about} by another field manager",
            method="POST",
            path=_POLICIES,
            body=body,
            manager="eks-cilium-probe",
            refusal=freeze.revision(),
        ),
        admission.Probe(about=f"{about} by the stack", method="POST", path=_POLICIES, body=body, manager=WRITER),
    )
    admission.wait(lambda: connect(context.aws, context.cluster_name), probes)


# -- kept -------------------------------------------------------------------------------------------


def keep(context: Context, before: Record | None, prove: Callable[[Context], str]) -> Record:
    """What is frozen now, after a deploy has changed what its files say: proved as it is, or it is not kept.

    The gate proves before the freeze is in force, and takes files for what they will be. So the proof is made again
    here, of nothing but what the cluster holds; its digests are taken before and after it and have to be the same.

    On an adopted cluster no resource of the stack holds Calico's policies: nothing of the owner's may be deleted with
    the stack. There, files that are not as they were at the deploy before are written here; the first deploy writes
    nothing.

    Args:
        before: of the deploy before; None for the first.
        prove: that no flow changes its verdict, on the cluster of a context; it gives what the proof says, in one line,
            and raises where it does not hold or cannot be told.

    Raises:
        Thawed: something else than the changed files is not as it was, or changed while it was proved.
        migration.manifests.InvalidManifest: a file cannot be used.
    """
    files = manifests.load(context.directory / context.settings.policies, "calico")
    digests = freeze.file_digests(files)
    if before is not None:
        changed = freeze.differences(before, Record(objects=live(context.kube), files=digests))
        if changed:
            who = "by somebody else than this stack"
            raise Thawed(f"changed past the freeze, {who}:\n{_lines(changed)}\n{remedy(context)}")
        if context.adopted:
            new = [it for it in files if before.files.get(freeze.file_key(it)) != digests[freeze.file_key(it)]]
            tierless(context.kube, new)
            for manifest in sorted(new, key=lambda it: it.kind.endswith("Policy")):
                write(context.kube, manifest)
    judged = live(context.kube.again())
    told = prove(context.again())
    record = Record(objects=judged, files=digests, proof=told)
    changed = freeze.differences(record, Record(objects=live(context.kube.again()), files=digests))
    if changed:
        raise Thawed(f"changed past the freeze, while it was proved:\n{_lines(changed)}\n{remedy(context)}")
    return record


def _lines(changed: Mapping[str, str]) -> str:
    return "\n".join(f"  - {key} {what}" for key, what in changed.items())


def tierless(kube: Cluster, changed: Sequence[Manifest]) -> None:
    """See that the tier of each policy is there: Calico takes a policy without one, and enforces nothing of it.

    Raises:
        migration.manifests.InvalidManifest: naming the first policy whose tier is not.
    """
    there = {objects.name(tier) for tier in kube.custom(manifests.CALICO_API, "tiers")} | {"default"}
    there |= {it.name for it in changed if it.kind == "Tier"}
    for it in changed:
        tier = it.body.get("spec", {}).get("tier", "default") if it.kind.endswith("Policy") else "default"
        if tier not in there:
            raise InvalidManifest(
                f"{it.source}: tier {tier!r} of {it.key} is not in the cluster. Only changed files are written to a "
                "cluster of somebody else: name a tier that is there, or change the Tier's file too"
            )


def remedy(context: Context) -> str:
    return (
        "Compare each with its Cilium counterpart and put it back, or write the change into the files of both engines. "
        f"Then have what is there proved and kept: `pulumi up --replace '**{freeze.KEPT}' --stack {context.stack}`"
    )


def live(kube: Cluster) -> dict[str, str]:
    """Key → digest of every frozen object, Calico's own tiers and automatic host endpoints left out."""
    return {freeze.object_key(resource, obj): freeze.digest(resource, obj) for resource, obj in frozen(kube)}


def frozen(kube: Cluster) -> Iterator[tuple[str, Obj]]:
    """Resource and object of everything that the freeze keeps, Calico's from where Calico takes them."""
    calicos = calico.api(kube).split("/", maxsplit=1)[0]
    for group, resources in freeze.FROZEN.items():
        kept = calicos if group == freeze.STORED_GROUP else group
        for resource in resources:
            found = (obj for obj in served(kube, kept, resource) if not _calicos_own(resource, obj))
            yield from ((resource, obj) for obj in found)


def served(kube: Cluster, group: str, resource: str) -> list[Obj]:
    """Objects of a kind under whichever version has any."""
    return next((found for v in _VERSIONS[group] if (found := kube.custom(f"{group}/{v}", resource))), [])


def _calicos_own(resource: str, obj: Obj) -> bool:
    if resource == "hostendpoints":
        label, value = _AUTOMATIC
        return objects.labels(objects.as_calico_reads(obj)).get(label) == value
    kind = _BY_KIND.get(resource)
    return kind is not None and agreement.made_by_calico(kind, obj)


def write(kube: Cluster, manifest: Manifest) -> None:
    """Put an object as its file says: fields that the file does not have go, whoever wrote them.

    Raises:
        KubeError: refused.
    """
    resource = freeze.RESOURCES[manifest.kind]
    place = f"/namespaces/{quote(manifest.namespace)}" if manifest.namespace else ""
    path = f"/apis/{manifest.api_version}{place}/{resource}"
    said = {"apiVersion": manifest.api_version, "kind": manifest.kind, **manifest.body}
    meta: Obj = {"name": manifest.name, **({"namespace": manifest.namespace} if manifest.namespace else {})}
    found = kube.again().get(f"{path}/{quote(manifest.name)}")
    say(f"{freeze.file_key(manifest)}: {'changed' if found else 'made'} as {manifest.source} says")
    if found is None:
        meta |= {"labels": dict(manifest.labels), "annotations": dict(manifest.annotations)}
        kube.request(
            "POST",
            f"{path}?fieldManager={WRITER}",
            body={**said, "metadata": meta},
            content_type="application/json",
        )
        return
    kept = found["metadata"]
    # Calico reads the annotation's labels over the object's own: there the file's would count for nothing.
    kept["labels"] = {**objects.labels(objects.as_calico_reads(found)), **manifest.labels}
    kept["annotations"] = {**(kept.get("annotations") or {}), **manifest.annotations}
    if METADATA in kept["annotations"]:
        kept["annotations"][METADATA] = without_labels(kept["annotations"][METADATA])
    kept.pop("managedFields", None)
    kube.request(
        "PUT",
        f"{path}/{quote(manifest.name)}?fieldManager={WRITER}",
        body={**said, "metadata": kept},
        content_type="application/json",
    )


# -- the stack's state ------------------------------------------------------------------------------


def recorded(context: Context) -> Record | None:
    """What the stack's state keeps of the frozen objects; None when no deploy has kept any yet.

    Raises:
        UnknownError: the state cannot be read.
    """
    stack = context.stack
    try:
        done = programs.run(
            ["pulumi", "stack", "export", "--stack", stack], directory=context.directory, seconds=STATE_SECONDS
        )
        return of_state(own_state.loaded(done.out))
    except programs.CommandError as error:
        if NO_STACK in str(error):
            return None
        raise UnknownError(
            f"the stack's state cannot be read: {error}", "Log in to the stack's backend", about=f"stack {stack}"
        ) from None
    except ValueError as error:
        about = f"{freeze.KEPT} in the state of {stack}"
        raise UnknownError(
            f"cannot be read: {error}", f"Deploy with `--replace '**{freeze.KEPT}'`", about=about
        ) from None


def of_state(exported: Mapping[str, Any]) -> Record | None:
    """The record in an exported state.

    Raises:
        ValueError: there is one, and it is damaged.
    """
    try:
        for resource in (exported.get("deployment") or {}).get("resources") or []:
            if resource["urn"].split("::")[-1] == freeze.KEPT and resource.get("custom") and not resource.get("delete"):
                return Record.load(str((resource.get("outputs") or {}).get("stdout") or ""))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"it is not the state of a stack: {type(error).__name__} {error}") from None
    return None
