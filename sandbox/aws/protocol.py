"""Requests and responses of the AWS protocols, both ways driven by botocore's own service models.

A handler gets the request as boto3 callers write it and returns what boto3 callers read; this module
is the wire in between, for the protocols of the services here: `ec2`, `query`, `json`, `rest-json`.
"""

from __future__ import annotations

import base64
import datetime
import functools
import json
import re
import threading
import urllib.parse
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

import botocore.session
from botocore.model import OperationModel, ServiceModel
from botocore.utils import parse_timestamp

from sandbox.aws.errors import AwsError

__all__ = ["Request", "Shape", "encode_error", "encode_result", "parse", "service_model"]

Shape = Any  # botocore.model.Shape; its stubs do not tell structures, lists and maps apart
_SESSION = botocore.session.Session()
_LOAD = threading.Lock()


@functools.cache
def _load(service: str) -> ServiceModel:
    return _SESSION.get_service_model(service)


def service_model(service: str) -> ServiceModel:
    """The model of `service` (botocore's name), loaded once."""
    with _LOAD:
        return _load(service)


class Request:
    """One parsed call: service, operation model, and its input in boto3's form."""

    def __init__(self, service: str, operation: OperationModel, values: dict[str, Any]) -> None:
        self.service = service
        self.operation = operation
        self.values = values


# -- in ---------------------------------------------------------------------------------------------


def parse(service: str, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Request:
    """Read an HTTP request; AwsError `UnknownOperationException` when the model has no such call."""
    model = service_model(service)
    path, _, query = target.partition("?")
    if model.protocol in ("query", "ec2"):
        fields = dict(urllib.parse.parse_qsl(body.decode() or query, keep_blank_values=True))
        operation = _operation(model, fields.get("Action", ""))
        read = _read_flat_ec2 if model.protocol == "ec2" else _read_flat_query
        values = read(operation.input_shape, fields, "") if operation.input_shape else {}
        return Request(service, operation, values or {})
    if model.protocol == "json":
        operation = _operation(model, headers.get("X-Amz-Target", "").rpartition(".")[2])
        return Request(service, operation, _read_json(operation.input_shape, json.loads(body or b"{}")))
    operation, labels = _route(model, method, path)
    return Request(service, operation, _read_rest(operation, labels, query, headers, body))


def _operation(model: ServiceModel, name: str) -> OperationModel:
    if name not in model.operation_names:
        raise AwsError("UnknownOperationException", f"{model.service_name} has no operation '{name}'", 404)
    return model.operation_model(name)


@functools.cache
def _routes(service: str) -> list[tuple[str, re.Pattern[str], OperationModel]]:
    model = service_model(service)
    routes = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(operation.http["requestUri"].partition("?")[0]))
        pattern = re.sub(r"\\{(\w+)\\\+\\}", r"(?P<\1>.+)", pattern)
        routes.append((operation.http["method"], re.compile(pattern + "$"), operation))
    return routes


def _route(model: ServiceModel, method: str, path: str) -> tuple[OperationModel, dict[str, str]]:
    for verb, pattern, operation in _routes(model.service_name):
        match = pattern.match(path) if verb == method else None
        if match:
            return operation, {key: urllib.parse.unquote(value) for key, value in match.groupdict().items()}
    raise AwsError("UnknownOperationException", f"{model.service_name} has no call {method} {path}", 404)


def _scalar(shape: Shape, text: Any) -> Any:
    if shape.type_name in ("integer", "long"):
        return int(text)
    if shape.type_name in ("float", "double"):
        return float(text)
    if shape.type_name == "boolean":
        return text if isinstance(text, bool) else str(text).lower() == "true"
    if shape.type_name == "timestamp":
        return parse_timestamp(text).timestamp()
    if shape.type_name == "blob":
        return base64.b64decode(text).decode(errors="replace")
    return text


def _indices(fields: Mapping[str, str], prefix: str) -> list[int]:
    numbers = {
        int(head)
        for key in fields
        if key.startswith(prefix + ".") and (head := key[len(prefix) + 1 :].split(".")[0]).isdigit()
    }
    return sorted(numbers)


def _present(fields: Mapping[str, str], prefix: str) -> bool:
    return any(key == prefix or key.startswith(prefix + ".") for key in fields)


def _read_flat_query(shape: Shape, fields: Mapping[str, str], prefix: str) -> Any:
    if shape.type_name == "structure":
        values = {}
        for name, member in shape.members.items():
            wire = member.serialization.get("name", name)
            if member.type_name == "list" and member.serialization.get("flattened"):
                wire = member.member.serialization.get("name", wire)
            key = f"{prefix}.{wire}" if prefix else wire
            if _present(fields, key):
                values[name] = _read_flat_query(member, fields, key)
        return values
    if shape.type_name == "list":
        if not shape.serialization.get("flattened"):
            prefix = f"{prefix}.{shape.member.serialization.get('name', 'member')}"
        return [_read_flat_query(shape.member, fields, f"{prefix}.{index}") for index in _indices(fields, prefix)]
    if shape.type_name == "map":
        entry = prefix if shape.serialization.get("flattened") else f"{prefix}.entry"
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        return {
            fields[f"{entry}.{index}.{key_name}"]: _read_flat_query(
                shape.value, fields, f"{entry}.{index}.{value_name}"
            )
            for index in _indices(fields, entry)
        }
    return _scalar(shape, fields.get(prefix, ""))


def _read_flat_ec2(shape: Shape, fields: Mapping[str, str], prefix: str) -> Any:
    if shape.type_name == "structure":
        values = {}
        for name, member in shape.members.items():
            wire = member.serialization.get("queryName")
            if wire is None:
                wire = member.serialization.get("name", name)
                wire = wire[0].upper() + wire[1:]
            key = f"{prefix}.{wire}" if prefix else wire
            if _present(fields, key):
                values[name] = _read_flat_ec2(member, fields, key)
        return values
    if shape.type_name == "list":
        return [_read_flat_ec2(shape.member, fields, f"{prefix}.{index}") for index in _indices(fields, prefix)]
    return _scalar(shape, fields.get(prefix, ""))


def _read_json(shape: Shape | None, value: Any) -> Any:
    if shape is None or value is None:
        return {} if shape is None else None
    if shape.type_name == "structure":
        if getattr(shape, "is_document_type", False):
            return value
        return {
            name: _read_json(member, value[wire])
            for name, member in shape.members.items()
            if (wire := member.serialization.get("name", name)) in value and value[wire] is not None
        }
    if shape.type_name == "list":
        return [_read_json(shape.member, item) for item in value]
    if shape.type_name == "map":
        return {key: _read_json(shape.value, item) for key, item in value.items()}
    return _scalar(shape, value)


def _read_rest(
    operation: OperationModel, labels: dict[str, str], query: str, headers: Mapping[str, str], body: bytes
) -> dict[str, Any]:
    shape: Shape = operation.input_shape
    if shape is None:
        return {}
    payload = json.loads(body) if body else {}
    parameters = urllib.parse.parse_qs(query, keep_blank_values=True)
    values: dict[str, Any] = {}
    for name, member in shape.members.items():
        wire = member.serialization.get("name", name)
        location = member.serialization.get("location")
        if location == "uri":
            values[name] = _scalar(member, labels[wire])
        elif location == "querystring":
            if wire in parameters:
                found = parameters[wire]
                values[name] = (
                    [_scalar(member.member, item) for item in found]
                    if member.type_name == "list"
                    else _scalar(member, found[0])
                )
        elif location == "header":
            if wire in headers:
                values[name] = _scalar(member, headers[wire])
        elif payload.get(wire) is not None:
            values[name] = _read_json(member, payload[wire])
    return values


# -- out --------------------------------------------------------------------------------------------


def encode_result(request: Request, result: Mapping[str, Any], request_id: str) -> tuple[int, str, bytes]:
    """(HTTP status, content type, body) of a successful answer."""
    operation, protocol = request.operation, service_model(request.service).protocol
    shape = operation.output_shape
    if protocol in ("json", "rest-json"):
        kind = "application/x-amz-json-1.1" if protocol == "json" else "application/json"
        return 200, kind, json.dumps(_write_json(shape, result) if shape else {}).encode()
    space = service_model(request.service).metadata.get("xmlNamespace", "")
    inner = _write_members(shape, result, protocol) if shape else ""
    if protocol == "ec2":
        inner = f"<requestId>{request_id}</requestId>{inner}"
        xml = f'<{operation.name}Response xmlns="{space}">{inner}</{operation.name}Response>'
        return 200, "text/xml", xml.encode()
    wrapper = shape.serialization.get("resultWrapper") if shape else None
    if wrapper:
        inner = f"<{wrapper}>{inner}</{wrapper}>"
    xml = (
        f'<{operation.name}Response xmlns="{space}">{inner}<ResponseMetadata><RequestId>{request_id}</RequestId>'
        f"</ResponseMetadata></{operation.name}Response>"
    )
    return 200, "text/xml", xml.encode()


def encode_error(service: str, error: AwsError, request_id: str) -> tuple[int, str, bytes, dict[str, str]]:
    """(HTTP status, content type, body, headers) of an error answer in the form of the service's protocol."""
    model = service_model(service)
    status = error.status
    errors: Shape = model.error_shapes
    modelled = next((shape for shape in errors if shape.error_code == error.code), None)
    if modelled is not None:
        status = modelled.metadata.get("error", {}).get("httpStatusCode", status)
    code, message = escape(error.code), escape(error.message)
    if model.protocol == "ec2":
        xml = (
            f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
            f"<RequestID>{request_id}</RequestID></Response>"
        )
        return status, "text/xml", xml.encode(), {}
    if model.protocol == "query":
        xml = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return status, "text/xml", xml.encode(), {}
    body = json.dumps({"__type": error.code, "message": error.message, **error.fields}).encode()
    return status, "application/json", body, {"x-amzn-ErrorType": error.code}


def _time(value: Any) -> str:
    moment = datetime.datetime.fromtimestamp(float(value), tz=datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write_json(shape: Shape, value: Any) -> Any:
    if shape.type_name == "structure":
        return {
            member.serialization.get("name", name): _write_json(member, value[name])
            for name, member in shape.members.items()
            if value.get(name) is not None
        }
    if shape.type_name == "list":
        return [_write_json(shape.member, item) for item in value]
    if shape.type_name == "map":
        return {key: _write_json(shape.value, item) for key, item in value.items()}
    return value


def _write_members(shape: Shape, value: Mapping[str, Any], protocol: str) -> str:
    return "".join(
        _write_xml(member, value[name], member.serialization.get("name", name), protocol)
        for name, member in shape.members.items()
        if value.get(name) is not None
    )


def _write_xml(shape: Shape, value: Any, tag: str, protocol: str) -> str:
    kind = shape.type_name
    if kind == "list" and shape.serialization.get("flattened"):
        name = shape.member.serialization.get("name", tag)
        return "".join(_write_xml(shape.member, item, name, protocol) for item in value)
    if kind == "structure":
        text = _write_members(shape, value, protocol)
    elif kind == "list":
        name = shape.member.serialization.get("name", "item" if protocol == "ec2" else "member")
        text = "".join(_write_xml(shape.member, item, name, protocol) for item in value)
    elif kind == "map":
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        text = "".join(
            f"<entry>{_write_xml(shape.key, key, key_name, protocol)}"
            f"{_write_xml(shape.value, item, value_name, protocol)}</entry>"
            for key, item in value.items()
        )
    elif kind == "boolean":
        text = "true" if value else "false"
    elif kind == "timestamp":
        text = _time(value)
    elif kind == "blob":
        text = base64.b64encode(str(value).encode()).decode()
    else:
        text = escape(str(value))
    return f"<{tag}>{text}</{tag}>"
