"""Each pending operation is decided on its own, and the state is edited as the engine itself would have written it."""

import io
import json
import os
import re
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

import programs
from kube.cluster import Cluster
from kube.transport import KubeError
from operations.access.connection import Aws
from operations.access.context import Context
from operations.cli import main
from operations.recover import cli, locks, lookup, sidecars, stack_state
from operations.recover.decide import Step, decide
from operations.recover.locks import Lock, UnseenError
from operations.recover.lookup import Found, Places, UnknownTypeError
from operations.recover.stack_state import Pending
from tests.transport import Answering

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
    after = stack_state.settled(before, {made["urn"]: "node-1"}, [group["urn"]])
    assert after["deployment"]["pending_operations"] == []
    assert [r["urn"] for r in after["deployment"]["resources"]] == [group["urn"], made["urn"]]
    assert after["deployment"]["resources"][-1]["id"] == "node-1"
    assert after["deployment"]["resources"][-1]["outputs"] == {"name": "node-1"}
    assert before["deployment"]["pending_operations"], "the state that was read is not changed"


def test_the_new_half_of_a_replacement_leaves_the_old_one_to_be_deleted():
    old, new = resource(ROLE, "role", name="a") | {"id": "a"}, resource(ROLE, "role", name="b")
    after = stack_state.settled(exported(("creating", new), resources=[old]), {new["urn"]: "b"}, [])
    assert [(r["id"], r.get("delete", False)) for r in after["deployment"]["resources"]] == [("a", True), ("b", False)]


def test_what_nobody_decided_stays_pending():
    made = resource("aws:rds/instance:Instance", "db")
    after = stack_state.settled(exported(("creating", made)), {}, [])
    assert [op["resource"]["urn"] for op in after["deployment"]["pending_operations"]] == [made["urn"]]


def test_a_stack_that_was_never_deployed_has_nothing_pending():
    assert stack_state.pending({"version": 3, "deployment": {}}) == []
    assert stack_state.pending({"version": 3}) == []


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
    return Places(aws, Cluster(lambda: Answering(request)))


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
            pending("aws:iam/rolePolicy:RolePolicy", role="operator", name="operator-7f3a"),
            places("iam", get_role_policy=lambda **_: {"PolicyName": "operator-7f3a"}),
            "operator:operator-7f3a",
        ),
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


def test_an_inline_policy_is_not_simply_made_again_as_the_first_would_stay_under_its_own_name():
    operation = pending("aws:iam/rolePolicy:RolePolicy", role="operator", name="operator-7f3a")
    there = places("iam", get_role_policy=lambda **_: {"PolicyName": "operator-7f3a"})
    found = one(operation, lambda op: lookup.find(op, there))
    assert (found.step, found.id) == (Step.ADOPT, "operator:operator-7f3a")
    gone = places("iam", get_role_policy=missing("NoSuchEntity"))
    assert one(operation, lambda op: lookup.find(op, gone)).step is Step.DROP
    nameless = pending("aws:iam/rolePolicy:RolePolicy", role="operator")
    assert one(nameless, lambda op: lookup.find(op, there)).step is Step.KEEP


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


DEAD = {"pid": 2**22 + 1, "username": "ann", "hostname": socket.gethostname(), "timestamp": "2026-11-21"}
LIVE = DEAD | {"pid": os.getpid()}
ELSEWHERE = DEAD | {"hostname": "runner-7"}


ODD: list[Any] = ["x", None, [], -1, 0, 2**70, True, 1.5]


def lock(root: Path, name: str, value: Any, stack: str = "organization/eks-cilium/dev") -> Path:
    path = root / ".pulumi" / "locks" / stack / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def lives(found: list[Lock]) -> dict[str, str]:
    return {lock.id: str(lock.life) for lock in found}


def test_of_each_lock_it_is_said_whether_its_deploy_runs_is_dead_or_cannot_be_told(tmp_path: Path):
    for name, value in {"a": DEAD, "b": LIVE, "c": ELSEWHERE}.items():
        lock(tmp_path, name, value)
    lock(tmp_path, "d", DEAD, "dev")  # as backends of before projects keep it
    lock(tmp_path, "e", DEAD, "organization/eks-cilium/other")
    lock(tmp_path, "f", DEAD, "organization/another/dev")
    found = locks.read(f"file://{tmp_path}", "eks-cilium", "dev")
    assert lives(found) == {"a": "dead", "b": "runs", "c": "unknown", "d": "dead"}
    assert "ann" in found[0].holder
    assert locks.read(f"file://{tmp_path}", "eks-cilium", "none") == []


@pytest.mark.parametrize(
    "value",
    ["", "{", "[1]", "null", "[" * 100_000, {}, *({**DEAD, "pid": odd} for odd in ODD)],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_a_lock_that_does_not_say_who_made_it_is_no_dead_one(tmp_path: Path, value):
    lock(tmp_path, "a", value)
    assert lives(locks.read(f"file://{tmp_path}", "eks-cilium", "dev")) == {"a": "unknown"}


class FakeS3:
    """Two pages of a bucket."""

    def __init__(self, objects: dict[str, Any], refuses: str = "") -> None:
        self.objects = {key: json.dumps(value).encode() for key, value in objects.items()}
        self.refuses = refuses
        self.made: dict[str, Any] = {}

    def __call__(self, **arguments: Any) -> Any:
        self.made = arguments
        return self

    def _may(self, what: str) -> None:
        if what == self.refuses:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, what)

    def get_paginator(self, _: str) -> Any:
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Any:  # noqa: N803 - AWS's names
        self._may("list")
        assert Bucket == "states"
        keys = [key for key in self.objects if key.startswith(Prefix)]
        return [{"Contents": [{"Key": key} for key in half]} for half in (keys[:1], keys[1:])] + [{}]

    def get_object(self, *, Bucket: str, Key: str) -> Any:  # noqa: N803 - AWS's names
        self._may("get")
        return {"Body": io.BytesIO(self.objects[Key])}


@pytest.mark.parametrize(("path", "above"), [("", ""), ("/team/a", "team/a/"), ("/team/a/", "team/a/")])
def test_locks_in_s3_are_read(path, above):
    here = f"{above}.pulumi/locks/organization/eks-cilium"
    s3 = FakeS3({f"{here}/dev/a.json": ELSEWHERE, f"{here}/dev/b.json": DEAD, f"{here}/other/c.json": DEAD})
    found = locks.read(
        f"s3://states{path}?region=eu-west-1&endpoint=minio:9000&disableSSL=true", "eks-cilium", "dev", s3=s3
    )
    assert lives(found) == {"a": "unknown", "b": "dead"}
    assert (s3.made["region_name"], s3.made["endpoint_url"]) == ("eu-west-1", "http://minio:9000")


@pytest.mark.parametrize(
    ("backend", "refuses", "why"),
    [
        ("s3://states", "list", "AccessDenied"),
        ("s3://states", "get", "AccessDenied"),
        ("s3://states?role=arn:aws:iam::1:role/x", "", "option role"),
        ("s3://states?use_path_style=perhaps", "", "'perhaps'"),
        ("https://api.pulumi.com", "", "https://"),
        ("gs://states", "", "gs://"),
        ("azblob://states", "", "azblob://"),
        ("", "", "''"),
        ("file:///nowhere/at/all", "", "not a directory"),
        ("s3://[x", "", "s3://[x"),
        ("s3://states?endpoint=a&profile", "", "profile"),
    ],
)
def test_locks_that_cannot_be_read_are_not_assumed_away(backend, refuses, why):
    s3 = FakeS3({".pulumi/locks/organization/eks-cilium/dev/a.json": DEAD}, refuses)
    with pytest.raises(UnseenError, match=re.escape(why)):
        locks.read(backend, "eks-cilium", "dev", s3=s3)


# -- the command --------------------------------------------------------------------------------------


class Stack:
    """A stack in files, with a `pulumi` that exports, cancels and imports as the real one does."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.root = directory, directory / "states"
        self.root.mkdir()
        self.exports = [exported(("updating", resource(GROUP, "group")))]
        """What each export says; the last one from then on."""
        self.asked: list[str] = []
        self.imported: list[dict[str, Any]] = []
        self.on_cancel: Callable[[], object] = lambda: None
        self.backend = f"file://{self.root}"

    def pulumi(self, _: Any, *arguments: str, **__: Any) -> programs.Done:
        self.asked.append(" ".join(arguments[:2]))
        out = ""
        if arguments[:2] == ("stack", "export"):
            out = json.dumps(self.exports.pop(0) if len(self.exports) > 1 else self.exports[0])
        elif arguments[0] == "cancel":
            for path in self.root.rglob("*.json"):
                path.unlink()
            self.on_cancel()
        elif arguments[:2] == ("stack", "import"):
            self.imported.append(json.loads(Path(arguments[3]).read_text()))
        return programs.Done(0, out, "")

    @property
    def changed(self) -> bool:
        return bool({"cancel --yes", "stack import"} & set(self.asked))


@pytest.fixture
def stack(tmp_path: Path, monkeypatch) -> Stack:
    made = Stack(tmp_path)
    (tmp_path / "Pulumi.yaml").write_text("name: eks-cilium\n")
    context: Any = SimpleNamespace(stack="dev", directory=tmp_path, aws=None, kube=None)
    monkeypatch.setattr(Context, "load", lambda _: context)
    monkeypatch.setattr(cli, "_backend", lambda _: made.backend)
    monkeypatch.setattr(cli, "_pulumi", made.pulumi)
    monkeypatch.setattr(cli, "REST", (0.0, 4))
    return made


def recover(*arguments: str) -> int:
    return main(["recover", *arguments])


def test_the_lock_of_another_machine_is_taken_only_once_somebody_says_that_its_deploy_is_dead(stack, capsys):
    path = lock(stack.root, "0a1b", ELSEWHERE)
    for arguments in ([], ["--yes"]):
        assert recover(*arguments) == 1
        assert "--dead 0a1b" in capsys.readouterr().err
    assert recover("--yes", "--dead", "another") == 64
    assert "There are: 0a1b" in capsys.readouterr().err
    assert path.exists()
    assert not stack.changed
    assert recover("--yes", "--dead", "0a1b") == 0
    assert not path.exists()
    assert len(stack.imported) == 1


def test_the_lock_of_a_deploy_that_runs_here_is_never_taken(stack):
    path = lock(stack.root, "0a1b", LIVE)
    assert recover("--yes", "--dead", "0a1b") == 1
    assert path.exists()
    assert not stack.changed


def test_the_lock_of_a_process_of_this_machine_that_is_gone_needs_no_word(stack):
    lock(stack.root, "0a1b", DEAD)
    assert recover("--yes") == 0
    assert len(stack.imported) == 1


def test_a_half_written_file_is_left_alone_while_a_deploy_may_be_writing_it(stack):
    lock(stack.root, "0a1b", ELSEWHERE)
    half = stack.root / ".pulumi" / "stacks" / "eks-cilium" / "dev.json.attrs"
    half.parent.mkdir(parents=True)
    half.write_text("")
    assert recover("--yes") == 1
    assert half.exists()


def test_where_locks_cannot_be_read_that_is_said_and_nothing_is_taken(stack, capsys):
    stack.backend = "https://api.pulumi.com"
    assert recover("--yes") == 1
    assert "--dead unseen" in capsys.readouterr().err
    assert not stack.changed
    assert recover("--yes", "--dead", "unseen") == 0
    assert "cancel --yes" in stack.asked
    stack.exports = [exported()]
    assert recover() == 2, "nothing is pending, but whether it is locked nobody knows"
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["locks"] is None


def test_what_is_imported_is_the_state_after_the_lock_was_taken(stack):
    lock(stack.root, "0a1b", DEAD)
    late = resource(GROUP, "late") | {"id": "late"}
    stack.exports.append(exported(("updating", resource(GROUP, "group")), resources=[late]))
    assert recover("--yes") == 0
    (imported,) = stack.imported
    assert [r["urn"] for r in imported["deployment"]["resources"]] == [late["urn"]]
    assert imported["deployment"]["pending_operations"] == []


def test_a_state_that_goes_on_changing_is_not_written_over(stack):
    lock(stack.root, "0a1b", ELSEWHERE)
    stack.exports += [exported(resources=[resource(GROUP, f"n{n}")]) for n in range(9)]
    assert recover("--yes", "--dead", "0a1b") == 2
    assert stack.imported == []


def test_a_deploy_that_takes_the_lock_meanwhile_keeps_it(stack, monkeypatch):
    lock(stack.root, "0a1b", DEAD)
    backup = cli._backup

    def begins(*arguments: Any) -> Path:
        lock(stack.root, "new", ELSEWHERE)
        return backup(*arguments)

    monkeypatch.setattr(cli, "_backup", begins)
    assert recover("--yes") == 2
    assert not stack.changed


def test_a_deploy_that_begins_once_the_lock_is_free_keeps_its_state(stack):
    lock(stack.root, "0a1b", DEAD)
    stack.on_cancel = lambda: lock(stack.root, "new", ELSEWHERE)
    assert recover("--yes") == 2
    assert stack.imported == []


def test_without_a_lock_none_is_cancelled(stack):
    assert recover("--yes") == 0
    assert "cancel --yes" not in stack.asked


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
    for other in ("s3://bucket", "s3://[x"):
        assert sidecars.damaged(other, "eks-cilium", "dev") == []


def test_a_program_that_is_missing_or_fails_is_named():
    with pytest.raises(programs.CommandError, match="no-such-program is not on PATH"):
        programs.run(["no-such-program"])
    with pytest.raises(programs.CommandError, match=r"exit code 3:\nbad"):
        programs.run(["sh", "-c", "echo bad >&2; exit 3"])
    with pytest.raises(programs.CommandError, match="did not end within"):
        programs.run(["sleep", "5"], seconds=0.1)


def test_the_backup_is_for_its_owner_only_and_never_committed(tmp_path: Path):
    context: Any = SimpleNamespace(directory=tmp_path, stack="dev")
    path = cli._backup(context, exported())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == exported()
    assert (path.parent / ".gitignore").read_text() == "*\n"
