"""Network policies: as the files say, accepted, enforced, and changed by nobody else."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from kube.transport import Obj
from migration import manifests
from migration.guarding import freeze
from migration.guarding.freeze import Record
from migration.journeys import CheckId
from migration.manifests import Manifest
from migration.names import (
    AWS_NODE,
    CALICO_NODE,
    FIELD_MANAGER,
    FREEZE_POLICY,
)
from operations.access.context import Context
from operations.checks import AGAIN, check
from operations.checks.cilium import daemonset_of, plural
from operations.cluster import agreement, calico, objects
from operations.evidence import Answer, Finding, UnknownError
from operations.guarding.freeze import live as frozen_now
from operations.guarding.freeze import recorded, remedy, served

CALICO_GROUP: Final = "crd.projectcalico.org"
CALICO_API: Final = manifests.CALICO_API
ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
OWN_MANAGERS: Final = frozenset({FIELD_MANAGER, "operator", "kube-controllers"})
"""Field managers of this program, and of Calico's own controllers; Pulumi's begin with `pulumi`."""


def files(context: Context, engine: str) -> tuple[Manifest, ...]:
    """The policy files of an engine.

    Raises:
        UnknownError: a file cannot be used.
    """
    try:
        return manifests.load(context.directory / context.settings.policies, engine)
    except manifests.InvalidManifest as error:
        raise UnknownError(str(error), "Correct the file", about="policy files") from None


def _live(context: Context, engine: str) -> dict[str, Obj]:
    """Every object of the kinds that files of an engine may hold, by the files' keys."""
    found = {}
    for api, kinds in manifests.KINDS[engine].items():
        for kind in kinds:
            under = calico.api(context.kube) if engine == "calico" else api
            for obj in context.kube.custom(under, plural(kind)):
                if engine != "calico" or not agreement.made_by_calico(kind, obj):
                    found[agreement.key_of(kind, obj)] = obj
    return found


def _schemas(context: Context, wanted: Iterable[Manifest]) -> dict[str, Mapping[str, Any]]:
    groups = {(m.kind, m.api_version) for m in wanted}
    return {
        kind: agreement.schema_of(context.kube.crd(f"{plural(kind)}.{api.split('/', maxsplit=1)[0]}"), api)
        for kind, api in groups
    }


# -- files and cluster ------------------------------------------------------------------------------


@check(CheckId.POLICIES_ACCEPTED)
def policies_accepted(context: Context) -> Answer:
    """Every Cilium policy file is in the cluster as it stands, and Cilium takes it."""
    wanted = files(context, "cilium")
    live = _live(context, "cilium")
    findings = list(missing_or_changed(wanted, live, _schemas(context, wanted)))
    unknown: list[Finding] = []
    for manifest in wanted:
        if manifest.kind.endswith("Policy") and manifest.key in live:
            seen = validity(manifest.key, live[manifest.key])
            if seen is not None:
                (unknown if objects.condition(live[manifest.key], "Valid") is None else findings).append(seen)
    findings += unshared(context)
    return Answer(f"{objects.count(len(wanted), 'object')} from files", tuple(findings), tuple(unknown))


def unshared(context: Context) -> Iterator[Finding]:
    """Cluster-wide policies of Kubernetes that hold on legacy nodes and not on Cilium nodes."""
    if context.facts is not None:
        version = context.facts.calico.version
    else:
        version = context.settings.legacy.calico.version if context.settings.legacy else None
    for resource, kind in freeze.CLUSTER_POLICIES.items():
        if not freeze.by_calico_only(resource, version, context.settings):
            continue
        for obj in served(context.kube, freeze.POLICY_GROUP, resource):
            yield Finding(
                f"{kind}/{objects.name(obj)}",
                "is enforced by Calico and not by Cilium: pods on Cilium nodes are without it",
                f"Say the same in files under {context.settings.policies}/cilium and deploy them, then delete it"
                if resource != "clusternetworkpolicies"
                else "Set cilium.values.k8sClusterNetworkPolicy.enabled to true (Cilium 1.20 and later), or say the "
                f"same in files under {context.settings.policies}/cilium and delete it",
            )


def validity(key: str, live: Obj) -> Finding | None:
    """What Cilium has against a policy; None when it said that it is valid."""
    seen = objects.condition(live, "Valid")
    if seen is None:
        return Finding(key, "Cilium has not judged it yet", "Wait; look at the Cilium operator's logs if it stays so")
    if seen.get("status") != "True":
        return Finding(
            key, f"Cilium refuses it: {seen.get('message') or 'no reason given'}", "Correct the file, deploy"
        )
    return None


def missing_or_changed(
    wanted: Iterable[Manifest], live: Mapping[str, Obj], schemas: Mapping[str, Mapping[str, Any]]
) -> Iterator[Finding]:
    for manifest in wanted:
        found = live.get(manifest.key)
        if found is None:
            yield Finding(manifest.key, f"is in {manifest.source}, not in the cluster", AGAIN)
            continue
        paths = agreement.differences(manifest, found, schemas.get(manifest.kind) or {})
        if paths:
            yield Finding(
                manifest.key,
                f"differs from {manifest.source} at {objects.some(paths)}",
                f"{AGAIN}, or write the change into the file",
            )


def unfiled(wanted: Iterable[Manifest], live: Iterable[str], directory: str) -> Iterator[Finding]:
    """Live objects that no file has."""
    for key in sorted(set(live) - {m.key for m in wanted}):
        yield Finding(key, f"is in the cluster, in no file under {directory}", "Write it into a file, or delete it")


@check(CheckId.POLICIES_AGREE)
def policies_agree(context: Context) -> Answer:
    """Files and cluster hold the same policies, both ways, before Calico's go."""
    ours = files(context, "cilium")
    if not calico.running(context.kube):
        return Answer(f"Calico is not here: nothing is lost; {objects.count(len(ours), 'object')} from files")
    live = _live(context, "cilium")
    findings = [
        *missing_or_changed(ours, live, _schemas(context, ours)),
        *unfiled(ours, live, f"{context.settings.policies}/cilium"),
    ]
    if not context.adopted:
        theirs, there = files(context, "calico"), _live(context, "calico")
        # After a deploy that failed half-way some are gone already: only what is there has to agree.
        left = [m for m in theirs if m.key in there]
        findings += missing_or_changed(left, there, _schemas(context, left))
        findings += unfiled(theirs, there, f"{context.settings.policies}/calico")
    findings += unshared(context)
    return Answer(f"{objects.count(len(ours), 'object')} from files, {len(live)} in the cluster", tuple(findings))


# -- what Calico has --------------------------------------------------------------------------------


@check(CheckId.CALICO_UNCHANGED)
def calico_unchanged(context: Context) -> Answer:
    """What Calico enforces is what the last proof judged: nobody but this stack has changed it since."""
    policies = {
        agreement.key_of(kind, obj): obj
        for kind in sorted(manifests.KINDS["calico"][CALICO_API])
        for obj in calico.custom(context.kube, plural(kind))
        if not agreement.made_by_calico(kind, obj)
    }
    policy = context.kube.get(f"{ADMISSION}/validatingadmissionpolicies/{FREEZE_POLICY}")
    if policy is None and not calico.running(context.kube):
        return Answer("no Calico, no freeze")
    binding = context.kube.get(f"{ADMISSION}/validatingadmissionpolicybindings/{FREEZE_POLICY}")
    findings = list(thaw_findings(policy, binding, policies))
    try:
        kept = recorded(context)
    except UnknownError as error:
        return Answer("who wrote last is all that could be looked at", tuple(findings), (error.finding,))
    if kept is None:
        number = objects.count(len(policies), "Calico object")
        return Answer(f"{number}, judged by who wrote last: no digests of a proof are kept yet", tuple(findings))
    now = Record(objects=frozen_now(context.kube), files=kept.files)
    for key, what in freeze.differences(kept, now).items():
        findings.append(Finding(key, f"{what} {_since(kept)}", remedy(context)))
    said = f"as proved: {kept.proof}" if kept.proof else "as kept by a version that did not prove them"
    return Answer(f"{objects.count(len(kept.objects), 'frozen object')}, {said}", tuple(findings))


def _since(kept: Record) -> str:
    return "since it was proved" if kept.proof else "since the last deploy of this stack"


def thaw_findings(policy: Obj | None, binding: Obj | None, policies: Mapping[str, Obj]) -> Iterator[Finding]:
    """What shows that a Calico policy may have changed since the freeze.

    Args:
        policy: the ValidatingAdmissionPolicy.
        binding: its binding.
        policies: Calico's, by key.
    """
    about = f"validatingadmissionpolicy {FREEZE_POLICY}"
    if policy is None:
        yield Finding(about, "does not exist, so policies may have changed unseen", AGAIN)
        return
    bound = (binding or {}).get("spec") or {}
    if "Deny" not in bound.get("validationActions", []):
        yield Finding(about, "is not bound to deny", AGAIN)
    for part in narrowed(policy.get("spec") or {}, bound):
        yield Finding(about, f"leaves something out: {part}", AGAIN)
    begin = objects.instant(policy["metadata"]["creationTimestamp"])
    for key, obj in policies.items():
        for who, when in strangers(obj, begin):
            yield Finding(
                key,
                f"was changed by {who} at {when:%Y-%m-%d %H:%M:%S} UTC, after the freeze of {begin:%Y-%m-%d %H:%M:%S}",
                "Compare it with its Cilium counterpart, then deploy both from files",
            )


def narrowed(policy: Mapping[str, Any], binding: Mapping[str, Any]) -> Iterator[str]:
    """What of an admission policy or its binding makes it look at less than it says."""
    if policy.get("failurePolicy", "Fail") != "Fail":
        yield "failurePolicy is not Fail"
    for name, match in (
        ("matchConstraints", policy.get("matchConstraints")),
        ("the binding's matchResources", binding.get("matchResources")),
    ):
        for key in ("namespaceSelector", "objectSelector", "excludeResourceRules"):
            if (match or {}).get(key):
                yield f"{name} has a {key}"


def strangers(policy: Obj, since: datetime) -> Iterator[tuple[str, datetime]]:
    """Who else wrote to an object after a moment, and when."""
    for entry in policy["metadata"].get("managedFields") or []:
        manager, text = str(entry.get("manager", "")), entry.get("time")
        ours = manager in OWN_MANAGERS or manager.startswith("pulumi")
        if text and not ours and not entry.get("subresource") and objects.instant(text) > since:
            yield manager, objects.instant(text)


@check(CheckId.NO_FOREIGN_ENFORCER)
def no_foreign_enforcer(context: Context) -> Answer:
    """On the nodes that stay, nothing but Cilium enforces policy."""
    nodes = {objects.name(n) for n in context.kube.nodes() if objects.is_cilium(n)}
    return Answer(f"{objects.count(len(nodes), 'node')} that stay", tuple(enforcers(context.kube.pods(), nodes)))


def enforcers(pods: Iterable[Obj], nodes: set[str]) -> Iterator[Finding]:
    """Pods of other policy engines on some nodes."""
    for pod in pods:
        if objects.node_of(pod) not in nodes:
            continue
        engine = engine_of(pod)
        if engine:
            yield Finding(
                f"pod {objects.key(pod)}",
                f"enforces policy on {objects.node_of(pod)} as well: {engine}",
                "Keep it off Cilium nodes, then replace the node: its rules would stay",
            )


def engine_of(pod: Obj) -> str:
    """Which policy engine other than Cilium a pod is; empty for none."""
    images = [(str(c.get("image", "")), c) for c in pod["spec"].get("containers") or []]
    if daemonset_of(pod) == CALICO_NODE or any("calico/node" in image for image, _ in images):
        return "Calico"
    for image, container in images:
        if "network-policy-agent" in image and _enabled(container):
            return f"the VPC CNI's policy agent ({AWS_NODE})"
        for word in ("kube-router", "weave-npc", "antrea-agent", "romana-agent", "canal"):
            if word in image:
                return word
    return ""


def _enabled(container: Obj) -> bool:
    return "--enable-network-policy=true" in [*(container.get("args") or []), *(container.get("command") or [])]
