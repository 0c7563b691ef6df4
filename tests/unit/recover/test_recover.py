"""Each pending operation is decided on its own, and the state is edited as the engine itself would have written it."""

import json
import os
import socket
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from operations import command
from operations.cluster import Cluster, KubeError
from operations.connection import Aws
from operations.recover import cli, locks, lookup, sidecars, state
from operations.recover.decide import Step, decide
from operations.recover.lookup import Found, Places, UnknownTypeError
from operations.recover.state import Pending

ROLE, GROUP = "aws:iam/role:Role", "aws:eks/nodeGroup:NodeGroup"


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:dev::eks-cilium::{kind}::{name}"


def resource(kind: str, name: str, /, **inputs: Any) -> dict[str, Any]:
    return {"urn": urn(kind, name), "type": kind, "custom": True, "inputs": inputs}


def pending(kind: str, /, *, was: str = "creating", **inputs: Any) -> Pending:
    found = resource(kind, "x", **inputs)
    return Pending(was, found["urn"], kind, found)


def exported(*operations: tuple[str, dict[str, Any]], resources: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "version": 3,
        "deployment": {
            "resources": resources or [],
            "pending_operations": [{"type": kind, "resource": found} for kind, found in operations],
        },
    }


def one(operation: Pending, find: Any = lambda _: None, **told: Any) -> Any:
    return decide([operation], find, adopt=told.get("adopt", {}), drop=told.get("drop", frozenset()))[0]


def unknown(operation: Pending) -> Found | None:
    raise UnknownTypeError(operation.type)


# -- decisions --------------------------------------------------------------------------------------


def test_a_create_whose_object_exists_is_adopted_with_its_id():
    found = one(pending(ROLE), lambda _: Found("node-1", "IAM role node-1"))
    assert (found.step, found.id) == (Step.ADOPT, "node-1")


def test_a_create_whose_object_does_not_exist_is_dropped():
    assert one(pending(ROLE)).step is Step.DROP


@pytest.mark.parametrize("was", ["creating", "updating", "deleting"])
@pytest.mark.parametrize(
    "kind", ["command:local:Command", "kubernetes:apps/v1:DaemonSetPatch", "pulumi:providers:kubernetes"]
)
def test_what_may_be_done_twice_is_dropped_without_a_look(kind, was):
    assert one(pending(kind, was=was), unknown).step is Step.DROP


@pytest.mark.parametrize("was", ["updating", "deleting"])
def test_updates_and_deletes_are_dropped_and_their_resource_read_again(was):
    assert one(pending(GROUP, was=was)).step is Step.LOOK


def test_a_type_that_nobody_knows_stays_pending_with_words_on_what_to_do():
    found = one(pending("aws:rds/instance:Instance"), unknown)
    assert found.step is Step.KEEP
    assert "--adopt" in found.why
    assert "--drop" in found.why


def test_what_the_user_says_wins():
    operation = pending("aws:rds/instance:Instance")
    assert one(operation, unknown, adopt={operation.urn: "db-1"}).id == "db-1"
    assert one(operation, unknown, drop=frozenset({operation.urn})).step is Step.DROP


# -- the state --------------------------------------------------------------------------------------


def test_an_adopted_create_becomes_a_finished_resource_after_all_others():
    made, group = resource(ROLE, "role", name="node-1"), resource(GROUP, "group")
    before = exported(("creating", made), ("updating", group), resources=[group])
    after = state.settled(before, {made["urn"]: "node-1"}, [group["urn"]])
    assert after["deployment"]["pending_operations"] == []
    assert [r["urn"] for r in after["deployment"]["resources"]] == [group["urn"], made["urn"]]
    assert after["deployment"]["resources"][-1]["id"] == "node-1"
    assert after["deployment"]["resources"][-1]["outputs"] == {"name": "node-1"}
    assert before["deployment"]["pending_operations"], "the state that was read is not changed"


def test_the_new_half_of_a_replacement_leaves_the_old_one_to_be_deleted():
    old, new = resource(ROLE, "role", name="a") | {"id": "a"}, resource(ROLE, "role", name="b")
    after = state.settled(exported(("creating", new), resources=[old]), {new["urn"]: "b"}, [])
    assert [(r["id"], r.get("delete", False)) for r in after["deployment"]["resources"]] == [("a", True), ("b", False)]


def test_what_nobody_decided_stays_pending():
    made = resource("aws:rds/instance:Instance", "db")
    after = state.settled(exported(("creating", made)), {}, [])
    assert [op["resource"]["urn"] for op in after["deployment"]["pending_operations"]] == [made["urn"]]


def test_a_stack_that_was_never_deployed_has_nothing_pending():
    assert state.pending({"version": 3, "deployment": {}}) == []
    assert state.pending({"version": 3}) == []


# -- lookups ----------------------------------------------------------------------------------------


def missing(code: str = "ResourceNotFoundException") -> Any:
    def call(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": code, "Message": ""}}, "Describe")

    return call


def places(service: str, kube: dict[str, Any] | None = None, **calls: Any) -> Places:
    def request(method: str, path: str, **_: Any) -> dict[str, Any]:
        assert method == "GET"
        if path not in (kube or {}):
            raise KubeError(404, "no")
        found: dict[str, Any] = (kube or {})[path]
        return found

    aws = Aws("eu-west-1", lambda name: SimpleNamespace(**calls) if name == service else None)
    return Places(aws, Cluster(lambda: request))


@pytest.mark.parametrize(
    ("operation", "there", "identity"),
    [
        (
            pending("aws:eks/cluster:Cluster", name="shop"),
            places("eks", describe_cluster=lambda **_: {"cluster": {"status": "CREATING"}}),
            "shop",
        ),
        (
            pending(GROUP, clusterName="shop", nodeGroupName="new"),
            places("eks", describe_nodegroup=lambda **_: {"nodegroup": {"status": "CREATING"}}),
            "shop:new",
        ),
        (
            pending("aws:eks/addon:Addon", clusterName="shop", addonName="vpc-cni"),
            places("eks", describe_addon=lambda **_: {"addon": {"status": "CREATING"}}),
            "shop:vpc-cni",
        ),
        (pending(ROLE, name="node-1"), places("iam", get_role=lambda **_: {"Role": {}}), "node-1"),
        (
            pending("aws:ec2/launchTemplate:LaunchTemplate", name="lt-name"),
            places(
                "ec2",
                describe_launch_templates=lambda **_: {"LaunchTemplates": [{"LaunchTemplateId": "lt-1"}]},
            ),
            "lt-1",
        ),
        (
            pending("aws:iam/openIdConnectProvider:OpenIdConnectProvider", url="https://oidc/id/A"),
            places(
                "iam",
                list_open_id_connect_providers=lambda: {
                    "OpenIDConnectProviderList": [{"Arn": "arn:aws:iam::1:oidc-provider/oidc/id/A"}]
                },
            ),
            "arn:aws:iam::1:oidc-provider/oidc/id/A",
        ),
    ],
    ids=lambda value: value.type if isinstance(value, Pending) else None,
)
def test_objects_of_aws_are_found_under_the_providers_own_id(operation, there, identity):
    found = lookup.find(operation, there)
    assert found is not None
    assert found.id == identity


@pytest.mark.parametrize(
    ("operation", "there"),
    [
        (pending("aws:eks/cluster:Cluster", name="shop"), places("eks", describe_cluster=missing())),
        (pending(GROUP, clusterName="shop", nodeGroupName="n"), places("eks", describe_nodegroup=missing())),
        (pending(ROLE, name="node-1"), places("iam", get_role=missing("NoSuchEntity"))),
    ],
    ids=["cluster", "group", "role"],
)
def test_objects_of_aws_that_do_not_exist_are_not_found(operation, there):
    assert lookup.find(operation, there) is None


def test_what_may_not_be_read_is_no_answer():
    with pytest.raises(ClientError):
        lookup.find(pending(ROLE, name="a"), places("iam", get_role=missing("AccessDenied")))


SERVED = {"resources": [{"name": "tiers", "kind": "Tier", "namespaced": False}]}
CORE = {"resources": [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}]}


def test_objects_of_kubernetes_are_found_by_kind_and_name():
    tier = pending("kubernetes:x/v1:Tier", apiVersion="x.org/v1", kind="Tier", metadata={"name": "platform"})
    there = places("none", {"/apis/x.org/v1": SERVED, "/apis/x.org/v1/tiers/platform": {}})
    found = lookup.find(tier, there)
    assert found is not None
    assert found.id == "platform"
    assert lookup.find(tier, places("none", {"/apis/x.org/v1": SERVED})) is None
    assert lookup.find(tier, places("none", {})) is None, "a kind that is not served has no objects"


def test_the_namespace_is_part_of_the_id():
    made = pending("kubernetes:core/v1:ConfigMap", apiVersion="v1", kind="ConfigMap", metadata={"name": "a"})
    there = places("none", {"/api/v1": CORE, "/api/v1/namespaces/default/configmaps/a": {}})
    found = lookup.find(made, there)
    assert found is not None
    assert found.id == "default/a"


def record(version: int, status: str) -> dict[str, Any]:
    return {"metadata": {"labels": {"version": str(version), "status": status}}}


SECRETS = "/api/v1/namespaces/kube-system/secrets?labelSelector=owner%3Dhelm%2Cname%3Dcilium"


@pytest.mark.parametrize(
    ("records", "status", "stuck", "good"),
    [
        ([record(1, "pending-install")], "pending-install", True, 0),
        ([record(1, "deployed"), record(2, "pending-upgrade")], "pending-upgrade", True, 1),
        ([record(1, "superseded"), record(2, "deployed")], "deployed", False, 2),
        ([record(9, "superseded"), record(10, "failed")], "failed", False, 9),
    ],
)
def test_a_helm_release_says_whether_it_is_stuck_and_where_it_can_go_back_to(records, status, stuck, good):
    kube = places("none", {SECRETS: {"items": records}}).kube
    release = lookup.releases(kube, "kube-system", "cilium")
    assert release is not None
    assert (release.status, release.stuck, release.good) == (status, stuck, good)


def test_a_release_that_was_half_installed_is_not_adopted():
    made = pending("kubernetes:helm.sh/v3:Release", namespace="kube-system", name="cilium")
    half = places("none", {SECRETS: {"items": [record(1, "pending-install")]}})
    whole = places("none", {SECRETS: {"items": [record(1, "deployed")]}})
    assert lookup.find(made, half) is None
    found = lookup.find(made, whole)
    assert found is not None
    assert found.id == "kube-system/cilium"


# -- locks, backups, programs -------------------------------------------------------------------------


def test_the_lock_of_a_file_backend_is_shown_with_its_holder(tmp_path: Path):
    directory = tmp_path / ".pulumi" / "locks" / "organization" / "eks-cilium" / "dev"
    directory.mkdir(parents=True)
    dead = {"pid": 2**22 + 1, "username": "ann", "hostname": socket.gethostname(), "timestamp": "2026-11-21"}
    (directory / "a.json").write_text(json.dumps(dead))
    (directory / "b.json").write_text(json.dumps(dead | {"pid": os.getpid()}))
    found = locks.of_files(f"file://{tmp_path}", "eks-cilium", "dev")
    assert found is not None
    assert [lock.runs for lock in found] == [False, True]
    assert "ann" in found[0].holder
    assert locks.of_files(f"file://{tmp_path}", "eks-cilium", "other") == []
    assert locks.of_files("https://api.pulumi.com", "eks-cilium", "dev") is None


def test_a_half_written_file_beside_the_state_is_found_and_a_whole_one_left_alone(tmp_path: Path):
    stacks = tmp_path / ".pulumi" / "stacks" / "eks-cilium"
    stacks.mkdir(parents=True)
    for name, text in {
        "dev.json": "",
        "dev.json.attrs": "",
        "dev.json.bak.attrs": '{"user.content_type": "',
        "dev-2.json.attrs": "",
        "other.json.attrs": '{"user.content_type": "text/plain"}',
    }.items():
        (stacks / name).write_text(text)
    backend = f"file://{tmp_path}"
    assert [path.name for path in sidecars.damaged(backend, "eks-cilium", "dev")] == [
        "dev.json.attrs",
        "dev.json.bak.attrs",
    ]
    assert sidecars.damaged(backend, "eks-cilium", "other") == []
    assert sidecars.damaged("s3://bucket", "eks-cilium", "dev") == []


def test_a_program_that_is_missing_or_fails_is_named():
    with pytest.raises(command.CommandError, match="no-such-program is not on PATH"):
        command.run(["no-such-program"])
    with pytest.raises(command.CommandError, match=r"exit code 3:\nbad"):
        command.run(["sh", "-c", "echo bad >&2; exit 3"])
    with pytest.raises(command.CommandError, match="did not end within"):
        command.run(["sleep", "5"], seconds=0.1)


def test_the_backup_is_for_its_owner_only_and_never_committed(tmp_path: Path):
    context: Any = SimpleNamespace(directory=tmp_path, stack="dev")
    path = cli._backup(context, exported())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == exported()
    assert (path.parent / ".gitignore").read_text() == "*\n"
