"""Who calls: access keys, roles assumed, and the bearer tokens of EKS.

A token is `k8s-aws-v1.` and the base64url form of a presigned STS GetCallerIdentity URL, signed with the
header x-k8s-aws-id = cluster name, as `aws eks get-token` makes it. The header is not in the URL: only
who knows the cluster's name and the secret key can check the signature, and that is what `review` does
for keys of this account. Other key ids are let in as the account's user, their signature unchecked,
because the sandbox works with any credentials.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
import urllib.parse
from typing import Any

from sandbox.aws.errors import AwsError
from sandbox.aws.registry import CALLER, answers
from sandbox.aws.state import ACCOUNT, Aws, Json

__all__ = ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "caller", "review", "role_of"]

ACCESS_KEY_ID = "sandbox"
SECRET_ACCESS_KEY = "sandbox"  # noqa: S105 - opens nothing outside 127.0.0.1
USER = f"arn:aws:iam::{ACCOUNT}:user/sandbox"
_PREFIX = "k8s-aws-v1."
_MAX_AGE = 15 * 60  # seconds, as EKS; the signature itself carries X-Amz-Expires of 60


def caller(aws: Aws, key: str) -> str:
    """ARN of the owner of an access key id: a session of an assumed role, else the account's user."""
    with aws.lock:
        session: Json = aws.table("sts.keys").get(key, {})
    return str(session.get("arn", USER))


def role_of(arn: str) -> str:
    """The role's ARN for the ARN of an assumed-role session, any other ARN as it is."""
    parts = arn.split(":")
    if parts[2] == "sts" and parts[5].startswith("assumed-role/"):
        return f"arn:aws:iam::{parts[4]}:role/{parts[5].split('/')[1]}"
    return arn


@answers("sts", "GetCallerIdentity")
def get_caller_identity(_aws: Aws, values: Json) -> Json:
    arn = values[CALLER]
    return {
        "UserId": "AIDASANDBOX" if ":user/" in arn else f"AROASANDBOX:{arn.rsplit('/', 1)[1]}",
        "Account": ACCOUNT,
        "Arn": arn,
    }


@answers("sts", "AssumeRole")
def assume_role(aws: Aws, values: Json) -> Json:
    name = values["RoleArn"].rsplit("/", 1)[1]
    if name not in aws.table("iam.roles"):
        raise AwsError(
            "AccessDenied",
            f"User: {values[CALLER]} is not authorized to perform: sts:AssumeRole on resource: {values['RoleArn']}",
            403,
        )
    key = aws.new_id("ASIA").replace("-", "").upper()
    secret = hashlib.sha256(key.encode()).hexdigest()[:40]
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{values['RoleSessionName']}"
    expires = aws.now() + values.get("DurationSeconds", 3600)
    aws.table("sts.keys")[key] = {"secret": secret, "arn": arn, "expires": expires}
    return {
        "Credentials": {
            "AccessKeyId": key,
            "SecretAccessKey": secret,
            "SessionToken": "sandbox",
            "Expiration": expires,
        },
        "AssumedRoleUser": {"AssumedRoleId": f"AROASANDBOX:{values['RoleSessionName']}", "Arn": arn},
    }


# -- token review -----------------------------------------------------------------------------------


def review(aws: Aws, request: Json) -> Json:
    """Answer a TokenReview (authentication.k8s.io/v1) of the API server."""
    status: Json
    try:
        status = {"authenticated": True, "user": _user(aws, request.get("spec", {}).get("token", ""))}
    except ValueError as refusal:
        status = {"authenticated": False, "error": str(refusal)}
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}


def _user(aws: Aws, token: str) -> Json:
    if not token.startswith(_PREFIX):
        raise ValueError("not an EKS token: it does not start with k8s-aws-v1.")
    text = token.removeprefix(_PREFIX)
    try:
        url = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        parts = urllib.parse.urlsplit(url)
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))
    except (binascii.Error, UnicodeDecodeError, ValueError) as problem:
        raise ValueError(f"the token does not hold a presigned URL: {problem}") from None
    if query.get("Action") != "GetCallerIdentity":
        raise ValueError("the token's URL is not a GetCallerIdentity call")
    if "x-k8s-aws-id" not in query.get("X-Amz-SignedHeaders", "").split(";"):
        raise ValueError("the token's signature does not cover the header x-k8s-aws-id")
    try:
        signed_at = datetime.datetime.strptime(query.get("X-Amz-Date", ""), "%Y%m%dT%H%M%SZ").replace(
            tzinfo=datetime.UTC
        )
    except ValueError:
        raise ValueError("the token's URL has no X-Amz-Date of the form 20261231T235959Z") from None
    if abs(aws.now() - signed_at.timestamp()) > _MAX_AGE:
        raise ValueError("the token has expired: it is older than 15 minutes")
    key = query.get("X-Amz-Credential", "").split("/")[0]
    with aws.lock:
        for name, cluster in aws.table("eks.clusters").items():
            if _signed_for(aws, key, parts, query, name):
                return _mapped(cluster, caller(aws, key), key)
    raise ValueError("the token was not signed for this cluster, or no cluster exists")


def _signed_for(aws: Aws, key: str, parts: urllib.parse.SplitResult, query: dict[str, str], cluster: str) -> bool:
    secret = SECRET_ACCESS_KEY if key == ACCESS_KEY_ID else aws.table("sts.keys").get(key, {}).get("secret")
    if secret is None:
        return True
    scope = query["X-Amz-Credential"].split("/", 1)[1]
    given = query.pop("X-Amz-Signature", "")
    canonical_query = "&".join(
        f"{urllib.parse.quote(name, safe='-_.~')}={urllib.parse.quote(value, safe='-_.~')}"
        for name, value in sorted(query.items())
    )
    query["X-Amz-Signature"] = given
    headers = f"host:{parts.netloc}\nx-k8s-aws-id:{cluster}\n"
    empty = hashlib.sha256(b"").hexdigest()
    canonical = f"GET\n{parts.path or '/'}\n{canonical_query}\n{headers}\n{query['X-Amz-SignedHeaders']}\n{empty}"
    to_sign = f"AWS4-HMAC-SHA256\n{query['X-Amz-Date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signing_key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        signing_key = hmac.new(signing_key, part.encode(), hashlib.sha256).digest()
    return hmac.compare_digest(given, hmac.new(signing_key, to_sign.encode(), hashlib.sha256).hexdigest())


def _mapped(cluster: Json, arn: str, key: str) -> Json:
    principal = role_of(arn)
    entry: dict[str, Any] | None = cluster["access"].get(principal)
    if entry is None:
        raise ValueError(f"{principal} has no access entry in cluster {cluster['name']}: create one")
    groups = list(entry["kubernetesGroups"])
    if any(policy["policyArn"].endswith("/AmazonEKSClusterAdminPolicy") for policy in entry["policies"]):
        groups.append("system:masters")
    session = arn.rsplit("/", 1)[1] if ":assumed-role/" in arn else ""
    return {
        "username": entry["username"].replace("{{SessionName}}", session),
        "uid": f"aws-iam-authenticator:{ACCOUNT}:{principal.rsplit('/', 1)[1]}",
        "groups": groups,
        # What EKS says of a caller besides (aws-iam-authenticator, pkg/server): the canonical ARN has no session.
        "extra": {
            "accessKeyId": [key],
            "arn": [arn],
            "canonicalArn": [principal],
            "principalId": [f"AROASANDBOX:{session}" if session else "AIDASANDBOX"],
            "sessionName": [session],
        },
    }
