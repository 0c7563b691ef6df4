"""Who may deploy: principals in one written form, and the question "is this request's user one of them?".

A principal is written as

- `arn:aws:iam::ACCOUNT:role/NAME` or `…:user/NAME`: an IAM principal, whatever the name of its session. EKS says it in
  `userInfo.extra.canonicalArn`, for roles without their path (aws-iam-authenticator, pkg/arn, `Canonicalize`);
- `user:NAME` or `group:NAME`: somebody whom the API server knows in another way (OIDC, certificates, service accounts).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from migration.names import ANNOTATION_PREFIX, MARK, SYSTEM_NAMESPACE
from reading import brief
from reading.failure import USAGE, Failure

CANONICAL_ARN: Final = "canonicalArn"
"""Key of `userInfo.extra` in which EKS says the IAM principal behind a session."""
DEPLOYERS_KEY: Final = "deployers"
"""What of the mark says them: principals in canonical form, one a line."""
MOST_BYTES: Final = 64 * 1024
"""For all of them: they are an annotation, and an object has 256 KiB for them (apimachinery, `ValidateAnnotations`)."""
USER, GROUP = "user:", "group:"

_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):(?P<service>iam|sts)::(?P<account>[0-9]{12}):"
    r"(?P<kind>role|user|assumed-role|federated-user|root)(?P<path>/[\x21-\x7e]+)?"
)
_PART = re.compile(r"[A-Za-z0-9_+=,.@-]+")
"""What an IAM name may hold (IAM API reference, CreateRole)."""
_LONGEST_NAME: Final = 64
_EVERYBODY: Final = frozenset(
    {"system:authenticated", "system:unauthenticated", "system:serviceaccounts", "system:nodes", "system:bootstrappers"}
)
_FORMS: Final = "Write arn:aws:iam::ACCOUNT:role/NAME, user:NAME or group:NAME"


class InvalidDeployer(Failure, ValueError):
    """An entry is not a principal that can be compared. `reason` and `fix` are sentences without a full stop."""

    exit_code = USAGE

    def __init__(self, value: str, reason: str, fix: str) -> None:
        super().__init__(f"{brief(value)} {reason}. {fix}")
        self.reason, self.fix = reason, fix


def canonical(entry: str) -> str:
    """A principal in the one form in which it is compared.

    Args:
        entry: as a person writes it; a role may have its path.

    Raises:
        InvalidDeployer: it is none, or one that stands for everybody, or for one session.
    """
    if entry.startswith((USER, GROUP)):
        return _named(entry)
    if not entry.startswith("arn:"):
        raise InvalidDeployer(entry, "is not a principal", _FORMS)
    found = _ARN.fullmatch(entry)
    if found is None:
        raise InvalidDeployer(entry, "is not the ARN of an IAM role or user", _FORMS)
    begin = f"arn:{found['partition']}:iam::{found['account']}"
    parts = (found["path"] or "").split("/")[1:]
    kind, service = found["kind"], found["service"]
    if kind == "root":
        raise InvalidDeployer(entry, "is the whole account", "Name the role that deploys")
    if kind in {"assumed-role", "federated-user"}:
        role = parts[0] if parts else "NAME"
        why = f"is one session of {'a role' if kind == 'assumed-role' else 'a user'}, and its name is chosen by whoever"
        raise InvalidDeployer(entry, f"{why} begins it", f"Write {begin}:role/{role}")
    if service != "iam" or not parts or not _PART.fullmatch(parts[-1]):
        raise InvalidDeployer(entry, "is not the ARN of an IAM role or user", _FORMS)
    if len(parts[-1]) > _LONGEST_NAME:
        raise InvalidDeployer(
            entry, f"names a {kind} of {len(parts[-1])} characters, and IAM has none above {_LONGEST_NAME}", _FORMS
        )
    # A session's own ARN has no path, so nobody can tell from it which path its role has; users keep theirs.
    return f"{begin}:role/{parts[-1]}" if kind == "role" else f"{begin}:user/{'/'.join(parts)}"


def _named(entry: str) -> str:
    kind, name = entry.split(":", 1)
    if not name or name != name.strip() or not name.isprintable():
        raise InvalidDeployer(entry, f"names no {kind}", _FORMS)
    if name.startswith("arn:") and ":sts:" in name:
        raise InvalidDeployer(entry, "is the name of one session", "Write the role: arn:aws:iam::ACCOUNT:role/NAME")
    if "{{" in name or "*" in name:
        raise InvalidDeployer(entry, "is a pattern, and names are compared as they are", "Write each name in full")
    everybody = kind == "group" and (name in _EVERYBODY or name.startswith("system:serviceaccounts:"))
    if everybody or entry == "user:system:anonymous":
        raise InvalidDeployer(entry, "is nearly everybody", "Name a role, or a group of those who deploy")
    return entry


def principals(user_info: Mapping[str, Any]) -> frozenset[str]:
    """Every form under which a user may stand among the deployers.

    Args:
        user_info: `userInfo` of a SelfSubjectReview's status or of an admission request.
    """
    extra = user_info.get("extra") or {}
    return frozenset(
        {*extra.get(CANONICAL_ARN, ()), f"{USER}{user_info.get('username', '')}"}
        | {f"{GROUP}{group}" for group in user_info.get("groups") or ()}
    )


def principal(user_info: Mapping[str, Any]) -> str:
    """The form in which a user who names nobody is recorded: the IAM principal where there is one, else the user.

    Raises:
        InvalidDeployer: the API server knows the user by a name that would not be the same the next time.
    """
    arns = (user_info.get("extra") or {}).get(CANONICAL_ARN) or ()
    return canonical(arns[0] if arns else f"{USER}{user_info.get('username', '')}")


def is_deployer(user_info: Mapping[str, Any], deployers: Iterable[str]) -> bool:
    """What `IS_DEPLOYER` asks the API server, asked here.

    Args:
        user_info: as of `principals`.
        deployers: in canonical form.
    """
    return not principals(user_info).isdisjoint(deployers)


def of_mark(key: str) -> str:
    """CEL: what the mark, a policy's parameter, says under a key; empty where it says nothing."""
    return f"params.metadata.?annotations[?'{ANNOTATION_PREFIX}/{key}'].orValue('')"


_LISTED: Final = f"{of_mark(DEPLOYERS_KEY)}.split('\\n')"
IS_DEPLOYER: Final = (
    f"request.userInfo.?extra[?'{CANONICAL_ARN}'].orValue([]).exists(arn, arn in variables.deployers) "
    f"|| ('{USER}' + request.userInfo.?username.orValue('')) in variables.deployers "
    f"|| request.userInfo.?groups.orValue([]).exists(group, ('{GROUP}' + group) in variables.deployers)"
)
"""CEL: whether the user of a request is a deployer. Uses the variable `deployers`, so `VARIABLES` come along."""
VARIABLES: Final = (
    {"name": "deployers", "expression": _LISTED},
    {"name": "isDeployer", "expression": IS_DEPLOYER},
)
"""`spec.variables` of a ValidatingAdmissionPolicy that asks for `variables.isDeployer`; its parameter is the mark."""
PARAM_KIND: Final = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}
PARAM_REF: Final = {"name": MARK, "namespace": SYSTEM_NAMESPACE, "parameterNotFoundAction": "Deny"}
"""`spec.paramKind` of such a policy, and `spec.paramRef` of its binding: without the mark nothing passes."""
