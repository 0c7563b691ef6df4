"""The cluster itself: versions, address family, identity provider."""

from typing import Final

from migration.facts import Decision
from migration.rules import versions
from operations.survey.decisions.base import Decider, Seen, absent, handled, refused

CALICO_UNTOLD: Final = "neither its image, its Installation nor its ClusterInformation says which version runs"
CALICO_TELL: Final = (
    "Name the version besides the digest (node:v3.31.2@sha256:…), or let calico-node write ClusterInformation default"
)


def versions_fit(seen: Seen) -> Decision:
    kubernetes, calico = seen.gathered.cluster["version"], seen.calico.version
    cilium = seen.settings.cilium.version
    there = seen.calico.kind != "absent"
    found = f"Kubernetes {kubernetes}, Cilium {cilium}, Calico {calico or ('unknown' if there else 'absent')}"
    if there and calico is None:
        return refused("versions", found, CALICO_UNTOLD, CALICO_TELL)
    try:
        misfits = versions.misfits(kubernetes=kubernetes, cilium=cilium, calico=calico)
    except ValueError as error:
        return refused("versions", found, str(error), "Use a released version that names itself")
    if misfits:
        return refused(
            "versions", found, "; ".join(m.text for m in misfits), "Bring the versions together, then survey again"
        )
    return handled("versions", found, "tested together by their makers")


def ipv6(seen: Seen) -> Decision:
    family = (seen.gathered.cluster.get("kubernetesNetworkConfig") or {}).get("ipFamily", "ipv4")
    if family != "ipv4":
        return refused(
            "IPv6",
            f"address family {family}",
            "Cilium's ENI mode gives pods IPv4 addresses only",
            "Build a new cluster with the journey greenfield and move the workloads there",
        )
    return absent("IPv6", "the cluster's address family is ipv4")


def identity_provider(seen: Seen) -> Decision:
    issuer = ((seen.gathered.cluster.get("identity") or {}).get("oidc") or {}).get("issuer", "")
    host = issuer.removeprefix("https://")
    arn = next((a for a in seen.gathered.oidc_providers if host and a.endswith(f":oidc-provider/{host}")), None)
    if arn is None:
        return refused(
            "IAM OIDC provider",
            f"none for {issuer or 'the cluster, which has no issuer'}",
            "Cilium's operator gets its AWS rights through it",
            "Create an IAM OpenID Connect provider for the issuer, with the audience sts.amazonaws.com",
        )
    return handled("IAM OIDC provider", arn, "Cilium's operator gets a role that trusts it")


DECIDERS: tuple[Decider, ...] = (versions_fit, ipv6, identity_provider)
