"""EKS tokens: who may in, and as whom."""

from __future__ import annotations

import base64
import json
import os
import sys
import urllib.request
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

from sandbox.aws import ACCESS_KEY_ID, SECRET_ACCESS_KEY

from .conftest import Account

Token = Callable[..., str]
SHIM = Path(__file__).parents[3] / "sandbox" / "bin" / "aws"


@pytest.fixture(autouse=True)
def _cluster(account: Account) -> None:
    account.cluster()


@pytest.fixture
def token(account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Token:
    """`aws eks get-token`, run in this process."""
    loader = SourceFileLoader("aws_shim", str(SHIM))
    shim = module_from_spec(spec_from_loader(loader.name, loader))  # type: ignore[arg-type]
    loader.exec_module(shim)

    def get(*arguments: str, secret: str = SECRET_ACCESS_KEY) -> str:
        environment = {
            "AWS_ENDPOINT_URL": account.url,
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        monkeypatch.setattr(sys, "argv", ["aws", "eks", "get-token", "--output", "json", *arguments])
        assert shim.main() == 0
        credential = json.loads(capsys.readouterr().out)
        assert credential["kind"] == "ExecCredential"
        return str(credential["status"]["token"])

    return get


def _review(account: Account, token: str) -> dict[str, Any]:
    body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}})
    request = urllib.request.Request(f"{account.url}/sandbox/token-review", data=body.encode())  # noqa: S310
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        status: dict[str, Any] = json.load(answer)["status"]
    return status


def test_the_creator_is_let_in_as_an_administrator(account: Account, token: Token):
    status = _review(account, token("--cluster-name", "demo"))
    assert status["authenticated"] is True
    assert status["user"]["username"] == "arn:aws:iam::111122223333:user/sandbox"
    assert status["user"]["groups"] == ["system:masters"]


def test_a_token_for_another_cluster_or_signed_with_another_key_is_refused(account: Account, token: Token):
    for given in (token("--cluster-name", "other"), token("--cluster-name", "demo", secret="x")):  # noqa: S106
        status = _review(account, given)
        assert status["authenticated"] is False
        assert "not signed for this cluster" in status["error"]


def test_a_role_needs_an_access_entry_of_its_own(account: Account, token: Token):
    role = account.seed["node_role"].replace("node", "reader")
    account.client("iam").create_role(RoleName="sandbox-reader", AssumeRolePolicyDocument="{}")
    given = token("--cluster-name", "demo", "--role-arn", role)
    assert "has no access entry" in _review(account, given)["error"]
    account.client("eks").create_access_entry(clusterName="demo", principalArn=role, kubernetesGroups=["readers"])
    user = _review(account, given)["user"]
    session = "arn:aws:sts::111122223333:assumed-role/sandbox-reader/EKSGetTokenAuth"
    assert (user["username"], user["groups"]) == (session, ["readers"])
    assert (user["extra"]["arn"], user["extra"]["canonicalArn"]) == ([session], [role])
    assert user["extra"]["sessionName"] == ["EKSGetTokenAuth"]


def test_an_old_token_is_refused(account: Account, token: Token):
    given = token("--cluster-name", "demo")
    account.time += 16 * 60
    assert "expired" in _review(account, given)["error"]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (None, "k8s-aws-v1"),
        ("http://127.0.0.1/?Action=AssumeRole", "not a GetCallerIdentity"),
        ("http://127.0.0.1/?Action=GetCallerIdentity&X-Amz-SignedHeaders=host", "x-k8s-aws-id"),
        ("http://127.0.0.1/?Action=GetCallerIdentity&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id", "X-Amz-Date"),
        ("http://127.0.0.1/?Action", "presigned URL"),
    ],
)
def test_what_is_no_token_is_refused_with_the_reason(account: Account, url: str | None, reason: str):
    given = "eyJhbGciOi" if url is None else "k8s-aws-v1." + base64.urlsafe_b64encode(url.encode()).decode()
    status = _review(account, given)
    assert status["authenticated"] is False
    assert reason in status["error"]


def test_other_keys_than_the_sandboxes_own_are_the_accounts_user(account: Account):
    account.aws.table("sts.keys").clear()
    assert account.client("sts").get_caller_identity()["Account"] == "111122223333"
