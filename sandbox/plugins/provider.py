# ruff: noqa: N802 the protocol names its calls
"""The common part of the stand-in provider plugins: one `Provider`, and one `Resource` for each type.

A plugin names its types and says what each does; the protocol (unknown values in a preview, replacement, partial
failure, errors, cancelling, the end of the process) is here, once. A minimal plugin::

    class Bucket(Resource):
        computed = ("arn",)             # unknown in the preview of a create
        force_new = ("name",)           # a change of these replaces

        def create(self, op, inputs):
            return inputs["name"], {**inputs, "arn": make(inputs["name"])}

    serve(Provider("aws", {"aws:s3/bucket:Bucket": Bucket}))
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2, empty_pb2

from sandbox.plugins.operation import CheckFailed, Diff, Operation, PartialFailure, ProviderError, State
from sandbox.plugins.process import GRPC_OPTIONS, run_until_orphaned
from sandbox.plugins.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc
from sandbox.plugins.resource import Resource
from sandbox.plugins.values import ADD, DELETE, Properties, covered, decode, differences, encode


class Provider(provider_pb2_grpc.ResourceProviderServicer):  # type: ignore[misc]
    """Serves the engine. Subclass it for configuration, functions, or types that are not in a table."""

    def __init__(
        self, name: str, resources: Mapping[str, type[Resource]] | None = None, version: str = "0.0.0"
    ) -> None:
        self.name, self.version = name, version
        self.resources = {token: make(self) for token, make in (resources or {}).items()}
        self.config: Properties = {}
        self.cancelled = threading.Event()
        self.engine_address = ""
        self._engine: Any = None

    # --- what a plugin says -----------------------------------------------------------------------------------------

    def resource(self, token: str) -> Resource:
        """The behaviour of a type token such as ``aws:eks/cluster:Cluster``."""
        if token not in self.resources:
            raise ProviderError(
                f"the sandbox's stand-in for the {self.name} provider has no type {token!r}; it has: "
                f"{', '.join(sorted(self.resources)) or 'none'}"
            )
        return self.resources[token]

    def check_config(self, news: Properties) -> Properties:
        """The provider's own inputs, with defaults; raises `CheckFailed`."""
        return news

    def diff_config(self, olds: Properties, news: Properties) -> Diff:
        """A change of configuration updates the provider unless this names paths to replace it."""
        return Diff(differences(olds, news))

    def configure(self, config: Properties) -> None:
        """Called once before anything is made; the default keeps the values in ``self.config``."""
        self.config = config

    def invoke(self, op: Operation, token: str, args: Properties) -> Properties:
        """A function such as ``aws:index/getCallerIdentity:getCallerIdentity``."""
        raise ProviderError(f"the sandbox's stand-in for the {self.name} provider has no function {token!r}")

    def cancel(self) -> None:
        """Called when the deployment is cancelled and when the process ends; `Operation.sleep` wakes by itself."""

    # --- what the engine calls --------------------------------------------------------------------------------------

    def log(self, text: str, *, urn: str = "", severity: str = "INFO", ephemeral: bool = False) -> None:
        """Sends a line to the engine's display (to stderr when the plugin runs by itself)."""
        if not self.engine_address:
            print(text, file=sys.stderr)
            return
        if self._engine is None:
            self._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(self.engine_address, GRPC_OPTIONS))
        request = engine_pb2.LogRequest(
            severity=engine_pb2.LogSeverity.Value(severity), message=text, urn=urn, ephemeral=ephemeral
        )
        try:
            self._engine.Log(request, timeout=5)
        except grpc.RpcError:  # a line of the display is not worth a deployment
            print(text, file=sys.stderr)

    def Handshake(self, request: Any, context: Any) -> Any:
        self.engine_address = request.engine_address or self.engine_address
        return provider_pb2.ProviderHandshakeResponse()

    def Attach(self, request: Any, context: Any) -> Any:
        self.engine_address = request.address
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=self.version)

    def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema=f'{{"name":"{self.name}","version":"{self.version}"}}')

    def CheckConfig(self, request: Any, context: Any) -> Any:
        with self._reported(context):
            try:
                return provider_pb2.CheckResponse(inputs=encode(self.check_config(decode(request.news))))
            except CheckFailed as error:
                return _check_failures(request.news, error)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        with self._reported(context):
            olds = decode(request.old_inputs) or decode(request.olds)
            return _diff_response(self.diff_config(olds, decode(request.news)), request.ignoreChanges)

    def Configure(self, request: Any, context: Any) -> Any:
        with self._reported(context):
            self.configure(decode(request.args))
            return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Invoke(self, request: Any, context: Any) -> Any:
        with self._reported(context):
            op = Operation(self, name=request.tok, preview=request.preview, stop=self.cancelled)
            result = self.invoke(op, request.tok, decode(request.args))
            return provider_pb2.InvokeResponse(**{"return": encode(result)})

    def Check(self, request: Any, context: Any) -> Any:
        with self._reported(context):
            op, kind = self._operation(request)
            try:
                inputs = kind.check(op, decode(request.olds), decode(request.news))
                return provider_pb2.CheckResponse(inputs=encode(inputs))
            except CheckFailed as error:
                return _check_failures(request.news, error)

    def Diff(self, request: Any, context: Any) -> Any:
        with self._reported(context):
            op, kind = self._operation(request)
            state = State(request.id, decode(request.old_inputs), decode(request.olds))
            return _diff_response(kind.diff(op, state, decode(request.news)), request.ignoreChanges)

    def Create(self, request: Any, context: Any) -> Any:
        with self._reported(context):
            op, kind = self._operation(request)
            inputs = decode(request.properties)
            if request.preview:
                return provider_pb2.CreateResponse(id="", properties=encode(kind.preview(op, None, inputs)))
            id, outputs = kind.create(op, inputs)
            return provider_pb2.CreateResponse(id=id, properties=encode(outputs))

    def Read(self, request: Any, context: Any) -> Any:
        with self._reported(context):
            op, kind = self._operation(request)
            known = State(request.id, decode(request.inputs), decode(request.properties))
            found = kind.read(op, request.id, known if known.inputs or known.outputs else None)
            if found is None:
                return provider_pb2.ReadResponse()
            return provider_pb2.ReadResponse(id=found.id, inputs=encode(found.inputs), properties=encode(found.outputs))

    def Update(self, request: Any, context: Any) -> Any:
        with self._reported(context):
            op, kind = self._operation(request)
            state = State(request.id, decode(request.old_inputs), decode(request.olds))
            news = decode(request.news)
            outputs = kind.preview(op, state, news) if request.preview else kind.update(op, state, news)
            return provider_pb2.UpdateResponse(properties=encode(outputs))

    def Delete(self, request: Any, context: Any) -> Any:
        with self._reported(context):
            op, kind = self._operation(request)
            kind.delete(op, State(request.id, decode(request.old_inputs), decode(request.properties)))
            return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:
        self.cancelled.set()
        self.cancel()
        return empty_pb2.Empty()

    def _operation(self, request: Any) -> tuple[Operation, Resource]:
        # A URN is urn:pulumi:STACK::PROJECT::PARENT$TYPE::NAME. The request's own type may hold the parents too.
        parts = request.urn.split("::", 3)
        token = parts[2].rpartition("$")[2]
        op = Operation(
            self,
            urn=request.urn,
            type=token,
            name=parts[3],
            preview=getattr(request, "preview", False),
            timeout=getattr(request, "timeout", 0.0),
            ignored=tuple(getattr(request, "ignoreChanges", ())),
            stop=self.cancelled,
        )
        return op, self.resource(token)

    @contextmanager
    def _reported(self, context: Any) -> Iterator[None]:
        """Turns errors into what the engine understands; one of ours that nobody foresaw comes with its traceback."""
        try:
            yield
        except PartialFailure as error:
            _abort_partial(context, error)
        except ProviderError as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        except Exception as error:
            if context.code() is not None:  # aborted already
                raise
            text = f"the {self.name} stand-in failed: {error!r}\n{traceback.format_exc()}"
            context.abort(grpc.StatusCode.UNKNOWN, text)


def _check_failures(news: Any, error: CheckFailed) -> Any:
    failures = [provider_pb2.CheckFailure(property=name, reason=reason) for name, reason in error.reasons.items()]
    return provider_pb2.CheckResponse(inputs=news, failures=failures)


def _diff_response(diff: Diff, ignored: Sequence[str]) -> Any:
    kinds = {ADD: "ADD", DELETE: "DELETE"}
    changes = {path: kind for path, kind in diff.changes.items() if not covered(ignored, path)}
    replaces = [path for path in diff.replaces if not covered(ignored, path)]
    detailed = {
        path: provider_pb2.PropertyDiff(
            kind=provider_pb2.PropertyDiff.Kind.Value(
                kinds.get(kind, "UPDATE") + ("_REPLACE" if path in replaces else "")
            ),
            inputDiff=True,
        )
        for path, kind in changes.items()
    }
    response = provider_pb2.DiffResponse
    return response(
        changes=response.DIFF_SOME if changes or replaces else response.DIFF_NONE,
        diffs=sorted({path.partition(".")[0].partition("[")[0] for path in changes}),
        replaces=replaces,
        deleteBeforeReplace=bool(replaces) and diff.delete_before_replace,
        detailedDiff=detailed,
        hasDetailedDiff=True,
    )


def _abort_partial(context: Any, error: PartialFailure) -> NoReturn:
    failure = provider_pb2.ErrorResourceInitFailed(id=error.id, properties=encode(error.outputs), reasons=error.reasons)
    if error.inputs is not None:
        failure.inputs.CopyFrom(encode(error.inputs))
    detail = any_pb2.Any()
    detail.Pack(failure)
    # google.rpc.Status {int32 code = 1; string message = 2; repeated Any details = 3}, written by hand: its generated
    # module lives in a package that nothing else here needs.
    message = str(error).encode()
    packed = detail.SerializeToString()
    code = grpc.StatusCode.UNKNOWN.value[0]
    status = (
        b"\x08" + _varint(code) + b"\x12" + _varint(len(message)) + message + b"\x1a" + _varint(len(packed)) + packed
    )
    context.set_trailing_metadata((("grpc-status-details-bin", status),))
    context.abort(grpc.StatusCode.UNKNOWN, str(error))
    raise AssertionError  # abort has raised


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def serve(provider: Provider) -> None:
    """Runs the plugin until the engine ends it, or is gone itself. The engine's address is the first argument."""
    provider.engine_address = next((arg for arg in sys.argv[1:] if not arg.startswith("-")), "")
    server = grpc.server(ThreadPoolExecutor(max_workers=64), options=GRPC_OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    run_until_orphaned(server, provider.cancel)
