"""The HTTP endpoint: AWS calls, the token webhook of the API server, seeding and health."""

from __future__ import annotations

import json
import logging
import re
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sandbox.aws import identity, seeding
from sandbox.aws.errors import AwsError
from sandbox.aws.protocol import encode_error, encode_result, parse, service_model
from sandbox.aws.registry import answer, each_tick
from sandbox.aws.state import Aws

__all__ = ["Endpoint"]

log = logging.getLogger(__name__)

_TICK = 0.1  # seconds between two steps of the account's clockwork
# Signing names that differ from botocore's service names.
_SERVICES = {"elasticloadbalancing": "elbv2"}
_KNOWN = frozenset({"ec2", "autoscaling", "elbv2", "iam", "sts", "ssm", "eks"})
_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")


class Endpoint:
    """`AWS_ENDPOINT_URL` of a sandbox, on 127.0.0.1 only. Port 0 picks a free one."""

    def __init__(self, aws: Aws, port: int = 0) -> None:
        self.aws = aws
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.aws = aws
        self._stop = threading.Event()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        aws.endpoint = self.url

    def start(self, *, clockwork: bool = True) -> Endpoint:
        """Serve, and run the account's clockwork, in background threads; without it only calls change anything."""
        threading.Thread(target=self._server.serve_forever, name="aws-http", daemon=True).start()
        if clockwork:
            threading.Thread(target=self._clockwork, name="aws-clockwork", daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop serving and write the state."""
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        self.aws.flush()

    def _clockwork(self) -> None:
        while not self._stop.wait(_TICK):
            try:
                each_tick(self.aws)
                self.aws.flush()
            except Exception:
                log.exception("the account's clockwork failed in this step; it goes on with the next")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    aws: Aws


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)

    def _reply(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _reply_json(self, status: int, value: Any) -> None:
        self._reply(status, "application/json", json.dumps(value).encode())

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/sandbox/"):
            self._own(self.path.partition("?")[0], body)
            return
        request_id = str(uuid.uuid4())
        match = _CREDENTIAL.search(self.headers.get("Authorization", ""))
        if match is None:
            self._reply_json(403, {"message": "unsigned request: sign it with Signature Version 4"})
            return
        key, region, signing_name = match.groups()
        service = _SERVICES.get(signing_name, signing_name)
        if service not in _KNOWN:
            self._reply_json(501, {"message": f"the sandbox does not emulate the service '{signing_name}'"})
            return
        if region != self.server.aws.region and service not in ("iam", "sts"):
            message = f"the sandbox is in {self.server.aws.region}, the request was signed for {region}"
            self._fail(service, AwsError("InvalidRegion", message), request_id)
            return
        try:
            request = parse(service, self.command, self.path, self.headers, body)  # type: ignore[arg-type]
            result = answer(self.server.aws, request, identity.caller(self.server.aws, key))
            self._reply(*encode_result(request, result, request_id), {"x-amzn-RequestId": request_id})
        except AwsError as error:
            self._fail(service, error, request_id)
        except Exception as error:
            log.exception("%s %s failed", service, self.path)
            self._fail(service, AwsError("InternalFailure", f"in the sandbox: {error!r}", 500), request_id)

    def _fail(self, service: str, error: AwsError, request_id: str) -> None:
        status, kind, body, headers = encode_error(service, error, request_id)
        self._reply(status, kind, body, {**headers, "x-amzn-RequestId": request_id})

    def _own(self, path: str, body: bytes) -> None:
        aws = self.server.aws
        if path == "/sandbox/healthz":
            self._reply_json(200, {"ok": True, "services": sorted(_KNOWN)})
        elif path == "/sandbox/token-review" and self.command == "POST":
            self._reply_json(200, identity.review(aws, json.loads(body)))
        elif path == "/sandbox/seed" and self.command == "POST":
            with aws.change():
                self._reply_json(200, seeding.seed(aws, **json.loads(body or b"{}")))
        elif path == "/sandbox/flush" and self.command == "POST":
            aws.flush()
            self._reply_json(200, {"ok": True})
        else:
            self._reply_json(404, {"message": f"no such path: {self.command} {path}"})

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _handle  # noqa: N815


def warm_up() -> None:
    """Load the service models, which takes some tenths of a second, before the first call needs them."""
    for service in sorted(_KNOWN):
        service_model(service)
