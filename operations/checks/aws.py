"""What a stage has in AWS: there, and well, as EKS itself says. A deploy that ended does not mean that it is."""

from collections.abc import Iterable, Iterator

from kube.transport import Obj
from migration.journeys import CheckId, Piece
from migration.names import CANARY_GROUP
from operations.access.context import Context
from operations.checks import check
from operations.evidence import Answer, Finding

_ADDONS = {Piece.VPC_CNI: "vpc-cni", Piece.KUBE_PROXY: "kube-proxy", Piece.COREDNS: "coredns"}
_PASSING = frozenset({"CREATING", "UPDATING", "DELETING", "PENDING"})


@check(CheckId.AWS_MADE)
def aws_made(context: Context) -> Answer:
    """The cluster, the node groups and the add-ons of this stage are ACTIVE, and EKS has nothing against them."""
    return _asked(context, made=True)


@check(CheckId.AWS_WELL)
def aws_well(context: Context) -> Answer:
    """What of it is there before the stage begins is ACTIVE.

    Asked only where there is no way back afterwards: a group that is not well may be the reason for going back.
    """
    return _asked(context, made=False)


def _asked(context: Context, *, made: bool) -> Answer:
    """
    Args:
        made: whether all of the stage must be there; else only what is there is asked about.
    """
    name = context.cluster_name
    groups = {str(group["nodegroupName"]): group for group in context.aws.nodegroups(name)}
    asked = [group for group in declared_groups(context) if made or group in groups]
    addons = {addon: context.aws.addon(name, addon) for addon in declared_addons(context)}
    addons = {addon: record for addon, record in addons.items() if made or record is not None}
    findings = [*ill(f"cluster {name}", context.aws.cluster(name), "Look at it in the EKS console")]
    for group in asked:
        findings += ill(f"node group {group}", groups.get(group), heal_group(name, group, groups.get(group)))
    for addon, record in addons.items():
        findings += ill(f"add-on {addon}", record, heal_addon(name, addon, record))
    return Answer(f"1 cluster, {len(asked)} node groups, {len(addons)} add-ons", tuple(findings))


def declared_groups(context: Context) -> list[str]:
    """Managed node groups that the stack makes at the stage that is asked about."""
    pieces, settings = context.stage.pieces if context.stage else frozenset(), context.settings
    found = [g.name for g in settings.legacy.groups] if settings.legacy and Piece.LEGACY_GROUPS in pieces else []
    found += [CANARY_GROUP] if Piece.CANARY_GROUP in pieces else []
    return found + ([g.name for g in settings.cilium.groups] if Piece.CILIUM_GROUPS in pieces else [])


def declared_addons(context: Context) -> list[str]:
    """Managed add-ons that the stack has at the stage: its own, or the owner's that it takes in."""
    pieces, facts = context.stage.pieces if context.stage else frozenset(), context.facts
    kinds = {"vpc-cni": facts.vpc_cni.kind, "kube-proxy": facts.kube_proxy.kind} if facts else {}
    wanted = [addon for piece, addon in _ADDONS.items() if piece in pieces]
    return [addon for addon in wanted if not context.adopted or kinds.get(addon) == "addon"]


def ill(about: str, record: Obj | None, fix: str) -> Iterator[Finding]:
    """What EKS says against a thing; a status that nobody knows is no good one."""
    if record is None:
        yield Finding(about, "does not exist", "Run `pulumi up --refresh`: it is made again")
        return
    status, issues = str(record.get("status")), list(issues_of(record))
    if status in _PASSING:
        yield Finding(about, f"is {status}", "Wait until EKS is done with it")
    elif status != "ACTIVE" or issues:
        yield Finding(about, f"is {status}{': ' if issues else ''}{'; '.join(issues)}", fix)


def issues_of(record: Obj) -> Iterable[str]:
    """The health issues of a cluster, a node group or an add-on, each in one line."""
    for issue in (record.get("health") or {}).get("issues") or []:
        ids = ", ".join(issue.get("resourceIds") or [])
        yield f"{issue.get('code')}: {issue.get('message')}{f' ({ids})' if ids else ''}"


def heal_group(cluster: str, group: str, record: Obj | None) -> str:
    """How a node group becomes well: one that failed to be made is never tried again by EKS."""
    if (record or {}).get("status") in {"CREATE_FAILED", "DELETE_FAILED"}:
        return (
            "EKS does not try again. Mend the reason; when it has no workload, "
            f"`aws eks delete-nodegroup --cluster-name {cluster} --nodegroup-name {group}`, wait until it is gone, "
            "then `pulumi up --refresh` makes it again"
        )
    return "Mend the reason: EKS notices by itself within minutes. Then deploy this stage again"


def heal_addon(cluster: str, addon: str, record: Obj | None) -> str:
    """How an add-on becomes well."""
    if str((record or {}).get("status")).endswith("_FAILED"):
        return (
            f"Mend the reason, then `aws eks update-addon --cluster-name {cluster} --addon-name {addon} "
            "--resolve-conflicts PRESERVE` lets EKS try again. Then deploy this stage again"
        )
    return "Mend the reason (its pods in kube-system): EKS notices by itself within minutes. Then deploy again"
