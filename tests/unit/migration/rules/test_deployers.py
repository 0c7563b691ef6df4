"""Who counts as a deployer: roles whatever their session, nobody by a name that anybody may choose."""

from typing import Any

import pytest

from migration.rules.deployers import InvalidDeployer, canonical, is_deployer, principal
from migration.settings import InvalidSettings, Settings
from tests.unit.migration.examples import owned, raw

ROLE = "arn:aws:iam::111122223333:role/deploy"


def session(name: str, role: str = "deploy", **more: Any) -> dict[str, Any]:
    """What EKS says of a session of a role."""
    arn = f"arn:aws:sts::111122223333:assumed-role/{role}/{name}"
    extra = {"arn": [arn], "canonicalArn": [f"arn:aws:iam::111122223333:role/{role}"], "sessionName": [name]}
    return {"username": arn, "groups": ["system:authenticated"], "extra": extra} | more


def test_two_people_and_ci_are_one_deployer_by_the_role_that_they_share():
    for name in ("anna@example.com", "ben", "GitHubActions"):
        assert principal(session(name)) == ROLE
        assert is_deployer(session(name), [ROLE])
    assert not is_deployer(session("deploy", role="support"), [ROLE])
    assert not is_deployer({"username": ROLE, "groups": [ROLE]}, [ROLE])


def test_users_and_groups_that_the_api_server_knows_itself_count_by_their_names():
    ci = {"username": "oidc:ci", "groups": ["oidc:platform", "system:authenticated"]}
    assert principal(ci) == "user:oidc:ci"
    assert is_deployer(ci, ["user:oidc:ci"])
    assert is_deployer(ci, [ROLE, "group:oidc:platform"])
    assert not is_deployer(ci, ["user:oidc:platform", "group:oidc:ci", ""])
    assert not is_deployer({}, [ROLE])


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        (ROLE, ROLE),
        ("arn:aws:iam::111122223333:role/ci/eu/deploy", ROLE),
        (
            "arn:aws-cn:iam::111122223333:role/aws-reserved/sso.amazonaws.com/cn-north-1/AWSReservedSSO_Admin_0a1b",
            "arn:aws-cn:iam::111122223333:role/AWSReservedSSO_Admin_0a1b",
        ),
        ("arn:aws-us-gov:iam::111122223333:user/ops/anna", "arn:aws-us-gov:iam::111122223333:user/ops/anna"),
        ("user:system:serviceaccount:ci:runner", "user:system:serviceaccount:ci:runner"),
        ("group:oidc:platform team", "group:oidc:platform team"),
    ],
)
def test_a_principal_is_written_as_the_api_server_will_say_it(written: str, compared: str):
    assert canonical(written) == compared


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("deploy", "is not a principal"),
        ("", "is not a principal"),
        ("arn:aws:iam::1111:role/deploy", "not the ARN of an IAM role"),
        ("arn:aws:iam::111122223333:role/", "not the ARN of an IAM role"),
        ("arn:aws:iam::111122223333:role/dep*", "not the ARN of an IAM role"),
        ("arn:aws:iam::111122223333:policy/deploy", "not the ARN of an IAM role"),
        ("arn:aws:iam::111122223333:root", "whole account"),
        ("arn:aws:sts::111122223333:assumed-role/deploy/anna", "Write arn:aws:iam::111122223333:role/deploy"),
        ("user:arn:aws:sts::111122223333:assumed-role/deploy/anna", "one session"),
        ("user:arn:aws:sts::111122223333:assumed-role/deploy/{{SessionName}}", "one session"),
        ("user:", "names no user"),
        ("user: anna", "names no user"),
        ("group:a\nuser:b", "names no group"),
        ("group:system:authenticated", "nearly everybody"),
        ("group:system:serviceaccounts:default", "nearly everybody"),
        ("user:system:anonymous", "nearly everybody"),
        ("group:*", "is a pattern"),
    ],
)
def test_what_cannot_be_compared_or_is_everybody_is_refused_with_the_fix(entry: str, said: str):
    with pytest.raises(InvalidDeployer) as caught:
        canonical(entry)
    assert said in str(caught.value)
    with pytest.raises(InvalidSettings) as refused:
        Settings.load(raw(deployers=[entry]))
    assert [problem.key for problem in refused.value.problems] == ["deployers.0"]


def test_more_deployers_than_the_mark_holds_are_refused():
    many = [f"user:{number:0100}" for number in range(700)]
    with pytest.raises(
        InvalidSettings, match=r"700 entries.: have 74200 bytes, and the mark in the cluster holds 65536"
    ):
        Settings.load(raw(deployers=many))
    assert owned(deployers=many[:600]).deployers[0] == many[0]


def test_settings_name_a_deployer_once():
    assert owned(deployers=[ROLE, "group:platform"]).deployers == (ROLE, "group:platform")
    with pytest.raises(InvalidSettings, match=r"deployers\.1 = .*is the same as deployers\.0"):
        Settings.load(raw(deployers=[ROLE, "arn:aws:iam::111122223333:role/ci/deploy"]))
