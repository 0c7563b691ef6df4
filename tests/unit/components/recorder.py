"""The real program against a monitor that records what the engine would be asked for, options included."""

import asyncio
import contextlib
import json
import os
import runpy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest import mock

import grpc
import pulumi
from pulumi.runtime import mocks, rpc
from pulumi.runtime.proto import callback_pb2, resource_pb2
from pulumi.runtime.stack import run_pulumi_func
from pulumi.runtime.sync_await import _sync_await

from components.guarding import gate
from components.guarding.gate import Answer, Answered
from migration.guarding.mark import Own
from migration.transition import Move

ROOT = Path(__file__).parents[3]
STACK = "test"


@dataclass(frozen=True)
class Registered:
    """One registration, as the engine sees it."""

    type: str
    name: str
    parent: str
    inputs: dict[str, Any]
    depends_on: tuple[str, ...]
    protect: bool
    retain: bool
    import_id: str
    ignore_changes: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    """URNs under which the state of an earlier version has it."""
    transforms: tuple[pulumi.ResourceTransform, ...] = ()
    """What the engine would have the program do to its children."""


PASSED: Final = Answer(Answered.PASSED, "")


@dataclass(frozen=True)
class Asked:
    """A question to the cluster."""

    move: Move
    own: Own
    wait: bool
    registered: int
    """Resources that were registered before it."""


@dataclass
class State:
    """What the engine answers about the stack's own state."""

    outputs: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    partition: str = "aws"
    caller: str = "arn:aws:sts::111122223333:assumed-role/deployer/a-session"
    entries: tuple[str, ...] = ()
    """Principals that have an access entry of the cluster, whoever made it."""


class _NotFoundError(grpc.RpcError):  # type: ignore[misc]
    def details(self) -> str:
        return "reading EKS Access Entry: couldn't find resource"


class _Outputs(mocks.Mocks):
    """Values that only providers know, as they would look after a deploy."""

    def __init__(self, state: State) -> None:
        self._state = state

    def call(self, args: mocks.MockCallArgs) -> Any:
        answers: dict[str, dict[str, Any]] = {
            "pulumi:pulumi:readStackOutputs": {"name": "", "outputs": self._state.outputs},
            "pulumi:pulumi:readStackResourceOutputs": {"outputs": self._state.resources},
            "aws:index/getRegion:getRegion": {"id": "eu-west-1", "region": "eu-west-1"},
            "aws:index/getPartition:getPartition": {"id": "it", "partition": self._state.partition},
            "aws:index/getCallerIdentity:getCallerIdentity": {"id": "it", "arn": self._state.caller},
            "aws:eks/getCluster:getCluster": {
                "endpoint": "https://api.example",
                "certificateAuthorities": [{"data": "Q0E="}],
            },
        }
        if args.token.startswith("aws:eks/getAccessEntry"):
            if args.args["principalArn"] not in self._state.entries:
                raise _NotFoundError
            return {"id": "it", "principalArn": args.args["principalArn"]}
        return answers[args.token]

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        more: dict[str, dict[str, Any]] = {
            "eks:index:Cluster": {
                "eksCluster": _EKS_REFERENCE,
                "oidcProviderArn": "arn:aws:iam::1:oidc-provider/oidc.example",
                "oidcProviderUrl": "https://oidc.example",
                "kubeconfigJson": "{}",
            },
            "aws:iam/role:Role": {"arn": f"arn:aws:iam::1:role/{args.name}", "name": args.name},
            "aws:ec2/launchTemplate:LaunchTemplate": {"latestVersion": 1},
            "command:local:Command": {"stdout": '{"verdict": "passed"}', "stderr": ""},
            "pulumi:index:Stash": {"output": args.inputs.get("input")},
        }
        return f"{args.name}-id", {**args.inputs, **more.get(args.typ, {})}


_EKS_URN = f"urn:pulumi:{STACK}::eks-cilium::aws:eks/cluster:Cluster::it"
_EKS_REFERENCE = {rpc._special_sig_key: rpc._special_resource_sig, "urn": _EKS_URN, "id": "it"}


class _Monitor(mocks.MockMonitor):
    def __init__(self, inner: mocks.Mocks) -> None:
        super().__init__(inner)
        self.seen: list[Registered] = []
        self.transforms: dict[str, pulumi.ResourceTransform] = {}
        state = {"name": "staging", "endpoint": "https://api.example", "vpcConfig": {"clusterSecurityGroupId": "sg-1"}}
        self.resources[_EKS_URN] = self.ResourceRegistration(_EKS_URN, "it", state)

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> Any:  # noqa: N802 - the monitor's own name
        if request.type != "pulumi:pulumi:Stack":
            self.seen.append(
                Registered(
                    type=request.type,
                    name=request.name,
                    parent=request.parent.split("::")[-1] if request.parent else "",
                    inputs=rpc.deserialize_properties(request.object),
                    depends_on=tuple(urn.split("::")[-1] for urn in request.dependencies),
                    protect=request.protect,
                    retain=request.retainOnDelete,
                    import_id=request.importId,
                    ignore_changes=tuple(request.ignoreChanges),
                    aliases=tuple(alias.urn for alias in request.aliases),
                    transforms=tuple(self.transforms[it.token] for it in request.transforms),
                )
            )
        return super().RegisterResource(request)

    def register_transform(self, transform: pulumi.ResourceTransform) -> callback_pb2.Callback:
        """What the SDK's own server of callbacks does; nobody would call it here."""
        token = str(len(self.transforms))
        self.transforms[token] = transform
        return callback_pb2.Callback(target="nobody", token=token)


@dataclass(frozen=True)
class Recording:
    """Everything one run of the program registered, and what it exported."""

    registered: tuple[Registered, ...]
    outputs: dict[str, Any]
    asked: tuple[Asked, ...]

    def one(self, kind: str, name: str) -> Registered:
        found = [r for r in self.registered if r.type == kind and r.name == name]
        assert len(found) == 1, f"{len(found)} of {kind} {name} among {self.names()}"
        return found[0]

    def of(self, kind: str) -> dict[str, Registered]:
        return {r.name: r for r in self.registered if r.type == kind}

    def names(self) -> list[str]:
        return sorted(f"{r.type} {r.name}" for r in self.registered)


def record(
    configuration: Mapping[str, Any],
    *,
    state: State | None = None,
    preview: bool = False,
    cwd: Path = ROOT,
    answer: Answer = PASSED,
) -> Recording:
    """Run `__main__.py` once.

    Args:
        answer: of the cluster, when it is asked before anything is registered.

    Raises:
        pulumi.RunError: the program refused.
    """
    state = state or State()
    inner = _Outputs(state)
    monitor = _Monitor(inner)
    mocks.set_mocks(
        inner, project="eks-cilium", stack=STACK, preview=preview, monitor=monitor, organization="organization"
    )
    values = {f"eks-cilium:{k}": v if isinstance(v, str) else json.dumps(v) for k, v in configuration.items()}
    pulumi.runtime.set_all_config(values)
    outputs: dict[str, Any] = {}

    asked: list[Asked] = []

    def ask(move: Move, stack: str, own: Own, *, wait: bool) -> Answer:
        asked.append(Asked(move, own, wait, len(monitor.seen)))
        return answer

    def run() -> None:
        runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")

    with _in(cwd), _exports(outputs), mock.patch.object(gate, "ask", ask), _hooks(), _transforms(monitor):
        _sync_await(run_pulumi_func(run))
        resolved = {key: _sync_await(pulumi.Output.from_input(value).future()) for key, value in outputs.items()}
    return Recording(tuple(monitor.seen), resolved, tuple(asked))


@contextlib.contextmanager
def _hooks() -> Iterator[None]:
    """Hooks are registered at once: a monitor of mocks has nobody who would call them."""

    def register(_: pulumi.ResourceHook) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_event_loop().create_future()
        done.set_result(None)
        return done

    with mock.patch("pulumi.resource_hooks.register_resource_hook", register):
        yield


@contextlib.contextmanager
def _transforms(monitor: _Monitor) -> Iterator[None]:
    async def callbacks() -> _Monitor:
        return monitor

    with (
        mock.patch("pulumi.runtime.resource._sync_monitor_supports_transforms", return_value=True),
        mock.patch("pulumi.runtime.resource._get_callbacks", callbacks),
    ):
        yield


@contextlib.contextmanager
def _in(directory: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _exports(into: dict[str, Any]) -> Iterator[None]:
    before = pulumi.export
    pulumi.export = into.__setitem__  # type: ignore[assignment]
    try:
        yield
    finally:
        pulumi.export = before
