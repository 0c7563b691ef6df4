"""Which lists of administrators an owned cluster can take: pure, so that it is refused before anything is made."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from migration.rules.deployers import InvalidDeployer, canonical


@dataclass(frozen=True, kw_only=True)
class Access:
    """An access entry in a state, or the policy that it carries."""

    principal: str
    """ARN of the IAM role or user."""
    urn: str
    policy: bool = False
    """Whether it is the policy of an entry, not the entry."""
    protected: bool = False
    """Whether the state protects it: those of earlier versions are."""


def principal_of(arn: str) -> str:
    """The IAM principal behind an ARN of STS or IAM, in the form in which `canonical` writes it.

    Args:
        arn: of STS GetCallerIdentity; a session of a role has no path (IAM user guide, "IAM identifiers").
    """
    parts = arn.split(":")
    if len(parts) == 6 and parts[2] == "sts" and parts[5].startswith("assumed-role/"):
        return f"arn:{parts[1]}:iam::{parts[4]}:role/{parts[5].split('/')[1]}"
    try:
        return canonical(arn)
    except InvalidDeployer:
        return arn


def refusals(
    wanted: Sequence[str],
    earlier: Iterable[Access],
    *,
    caller: str,
    creates: bool,
    existing: Collection[str],
) -> list[str]:
    """What is wrong with a list of administrators, each with value, reason and fix.

    Args:
        wanted: ARNs in the order of the setting.
        earlier: what the stack's state has.
        caller: ARN of whoever runs this deploy, as STS says it.
        creates: whether this deploy makes the cluster.
        existing: ARNs for which EKS has an entry that is not in the state.
    """
    me = principal_of(caller)
    found: list[str] = []
    for index, arn in enumerate(wanted):
        key = f'cluster.admins.{index} = "{arn}"'
        if creates and principal_of(arn) == me:
            found.append(
                f"{key}: makes the cluster in this deploy, and EKS makes whoever does so its administrator by itself; "
                "a second entry would fail after the cluster is there. Remove it from the list"
            )
        elif arn in existing:
            found.append(
                f"{key}: the cluster has an access entry for it that this stack did not make. Remove it from the list "
                "(whoever made the cluster is its administrator anyway), or delete that entry with "
                "`aws eks delete-access-entry` first"
            )
    for access in earlier:
        if access.policy or access.principal in wanted:
            continue
        if access.protected:
            found.append(
                f"{access.principal}: is an administrator in the state of an earlier version, which protects it. Put "
                "it back into cluster.admins for one deploy; the next one can remove it"
            )
        elif principal_of(access.principal) == me:
            found.append(
                f"{access.principal}: runs this deploy, and without its entry the next one could not reach the "
                "cluster. Put it back into cluster.admins, or let another administrator deploy the change"
            )
    return found
