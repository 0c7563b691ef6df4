"""How to reach AWS and the API server of an EKS cluster, in this process, without the aws CLI.

Every command reaches the cluster through `connect` or `through_kubeconfig`, which refuse another one than is meant.
The clients of AWS and Kubernetes are read when they are used: that takes most of a second, and most commands need none.
"""

# ruff: noqa: PLC0415

import base64
import contextlib
import copy
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from kube.transport import JSON, KubeError, Obj, Response, answer
from reading.failure import UNKNOWN, Failure

TOKEN_SECONDS: Final = 14 * 60
"""EKS takes a token for 15 minutes after it was signed."""
CLUSTER_HEADER: Final = "x-k8s-aws-id"
CONNECT_SECONDS: Final = 5.0
_CLIENTS: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "read_timeout": 10,
    "retries": {"mode": "adaptive", "max_attempts": 4},
    "user_agent_extra": "eks-cilium",
}


class WrongClusterError(Failure):
    """The cluster cannot be used as it is reached now: it is another one, or there is none."""

    exit_code = UNKNOWN


class Aws:
    """Clients of one region, each made once. Endpoint and credentials are found as botocore finds them.

    Args:
        region: for example "eu-west-1".
        make: makes a client by its name ("eks"); left out: botocore's.
    """

    def __init__(self, region: str, make: Callable[[str], Any] | None = None) -> None:
        self.region = region
        self._made: dict[str, Any] = {}
        self._remembered: dict[tuple[Any, ...], Any] = {}
        self._lock = threading.RLock()
        self._make = make or self._botocore

    def _botocore(self, name: str) -> Any:
        return _aws_client(name, self.region)

    def client(self, name: str) -> Any:
        """The botocore client of a service."""
        with self._lock:  # making clients is not safe in threads, using them is
            if name not in self._made:
                self._made[name] = self._make(name)
            return self._made[name]

    def again(self) -> "Aws":
        """The same clients with nothing read yet."""
        other = Aws(self.region, self._make)
        other._made, other._lock = self._made, self._lock
        return other

    def once(self, key: tuple[Any, ...], read: Callable[[], Any]) -> Any:
        """What `read` gives, read once."""
        with self._lock:
            if key not in self._remembered:
                self._remembered[key] = read()
            return self._remembered[key]

    def pages(self, service: str, operation: str, key: str, **arguments: Any) -> list[Any]:
        """All items of a listing, for example `pages("eks", "list_nodegroups", "nodegroups", clusterName=…)`."""

        def read() -> list[Any]:
            pager = self.client(service).get_paginator(operation)
            return [item for page in pager.paginate(**arguments) for item in page.get(key, [])]

        found: list[Any] = self.once((service, operation, json.dumps(arguments, sort_keys=True)), read)
        return found

    def caller(self) -> Obj:
        """STS GetCallerIdentity."""
        found: Obj = self.once(("caller",), lambda: self.client("sts").get_caller_identity())
        return found

    def cluster(self, name: str) -> Obj | None:
        """EKS DescribeCluster; None when there is none."""
        return self._described(("cluster", name), "describe_cluster", "cluster", name=name)

    def addon(self, cluster: str, name: str) -> Obj | None:
        """EKS DescribeAddon; None when it is not installed as an add-on."""
        return self._described(("addon", cluster, name), "describe_addon", "addon", clusterName=cluster, addonName=name)

    def nodegroups(self, cluster: str) -> list[Obj]:
        """EKS DescribeNodegroup of every managed node group."""
        names = self.pages("eks", "list_nodegroups", "nodegroups", clusterName=cluster)
        found = [
            self._described(
                ("nodegroup", cluster, name),
                "describe_nodegroup",
                "nodegroup",
                clusterName=cluster,
                nodegroupName=name,
            )
            for name in names
        ]
        return [group for group in found if group is not None]

    def _described(self, key: tuple[Any, ...], operation: str, answer: str, **arguments: Any) -> Obj | None:
        def read() -> Obj | None:
            from botocore.exceptions import ClientError

            try:
                found: Obj = getattr(self.client("eks"), operation)(**arguments)[answer]
            except ClientError as error:
                if error.response["Error"]["Code"] == "ResourceNotFoundException":
                    return None
                raise
            return found

        described: Obj | None = self.once(key, read)
        return described


def _aws_client(name: str, region: str) -> Any:
    import botocore.session
    from botocore.config import Config

    return botocore.session.get_session().create_client(name, region_name=region, config=Config(**_CLIENTS))


def token(aws: Aws, cluster: str) -> str:
    """A bearer token for the API server: a presigned STS request that names the cluster in a signed header."""
    sts = _aws_client("sts", aws.region)
    sts.meta.events.register(
        "before-sign.sts.GetCallerIdentity",
        lambda request, **_: request.headers.add_header(CLUSTER_HEADER, cluster),
    )
    url: str = sts.generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET")
    return "k8s-aws-v1." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


def connect(aws: Aws, cluster: str, *, arn: str = "") -> "Api":
    """A transport to the API server of an EKS cluster: through KUBECONFIG when it is set, else through EKS itself.

    Args:
        arn: of the cluster that is meant; empty where only its name is known.

    Raises:
        WrongClusterError: there is no such cluster, it is another one of that name, or KUBECONFIG leads to another one.
    """
    described = aws.cluster(cluster)
    if described is None or not described.get("endpoint"):
        state = "does not exist" if described is None else f"is {described.get('status')} and has no endpoint"
        raise WrongClusterError(f"EKS cluster {cluster} {state} in {aws.region}")
    if arn and described["arn"] != arn:
        raise WrongClusterError(
            f"the facts are about {arn}, the cluster found is {described['arn']}: "
            "correct the region or the name, or survey again"
        )
    if os.environ.get("KUBECONFIG"):
        return through_kubeconfig(described["endpoint"], f"the endpoint of EKS cluster {cluster} is")
    settings = _configuration()
    settings.host = described["endpoint"]
    settings.ca_cert_data = base64.b64decode(described["certificateAuthority"]["data"]).decode()
    settings.refresh_api_key_hook = _refresher(aws, cluster)
    settings.api_key["BearerToken"] = ""  # without an entry the client asks for no token at all
    settings.api_key_prefix["BearerToken"] = "Bearer"
    return _api(settings)


def own_account(aws: Aws, described: Mapping[str, Any]) -> None:
    """Make sure that a cluster is of the account that the credentials are of.

    Args:
        described: see `Aws.cluster`.

    Raises:
        WrongClusterError: it is not.
    """
    account, owner = str(aws.caller()["Account"]), str(described["arn"]).split(":")[4]
    if account != owner:
        raise WrongClusterError(
            f"the credentials belong to account {account}, cluster {described['arn']} to {owner}: use credentials of it"
        )


def through_kubeconfig(server: str, meant: str) -> "Api":
    """A transport to an API server through KUBECONFIG, or the kubeconfig of the home directory.

    Args:
        server: its address, for example "https://10.0.0.1:6443".
        meant: how an error introduces the address.

    Raises:
        WrongClusterError: the kubeconfig cannot be read, or leads to another server.
    """
    from kubernetes import config

    settings = _configuration()
    try:
        config.load_kube_config(client_configuration=settings)
    except Exception as error:  # the client raises whatever a damaged file makes it stumble over
        raise WrongClusterError(
            f"KUBECONFIG ({os.environ.get('KUBECONFIG') or '~/.kube/config'}) cannot be read: {error or repr(error)}. "
            "Write it anew with `aws eks update-kubeconfig`, or name another one"
        ) from error
    if not same_server(settings.host, server):
        raise WrongClusterError(
            f"KUBECONFIG leads to {settings.host}, {meant} {server}. "
            "Unset KUBECONFIG, or choose the context of that cluster"
        )
    return _api(settings)


def _api(settings: Any) -> "Api":
    from kubernetes import client

    return Api(client.ApiClient(settings))


def _configuration() -> Any:
    from kubernetes import client

    settings = client.Configuration()
    settings.retries = 1  # the callers ask again themselves
    return settings


def same_server(first: str, second: str) -> bool:
    """Whether two addresses of API servers are the same; the port of https may be left out. Behind one proxy, the path
    tells clusters apart.
    """
    a, b = urlsplit(first), urlsplit(second)
    return (a.scheme, a.hostname, a.port or 443, a.path.rstrip("/")) == (
        b.scheme,
        b.hostname,
        b.port or 443,
        b.path.rstrip("/"),
    )


def _refresher(aws: Aws, cluster: str) -> Callable[[Any], None]:
    lock = threading.Lock()
    made: list[float] = []

    def refresh(settings: Any) -> None:
        with lock:
            if not made or time.monotonic() - made[-1] > TOKEN_SECONDS:
                settings.api_key["BearerToken"] = token(aws, cluster)
                made[:] = [time.monotonic()]

    return refresh


class Api:
    """A transport over the kubernetes client, which keeps the credentials fresh."""

    def __init__(self, api: Any) -> None:
        self.api = api
        """The `kubernetes.client.ApiClient`."""

    def wide(self, requests: int) -> "Api":
        """The same cluster and credentials, with connections for so many requests at once."""
        self.api.configuration.connection_pool_maxsize = requests
        return _api(self.api.configuration)

    def send(
        self, method: str, path: str, *, body: Any = None, content_type: str = "", seconds: float = 10.0
    ) -> Response:
        """See `kube.transport.Transport`."""
        headers = {"Accept": JSON}
        if content_type or body is not None:
            headers["Content-Type"] = content_type or JSON
        try:
            return answer(*self._read(method, path, headers, body, seconds))
        except OSError as error:
            return Response(0, {"message": str(error)})

    def text(self, path: str, *, seconds: float) -> str:
        """See `kube.transport.Texting`."""
        try:
            status, reason, data, _ = self._read("GET", path, {"Accept": "text/plain"}, None, seconds)
        except OSError as error:
            raise KubeError(0, str(error)) from error
        if not 200 <= status < 300:
            raise KubeError(status, answer(status, reason, data).text)
        return data.decode(errors="replace")

    def stream(self, path: str, *, silence: float) -> "_Stream":
        """See `kube.transport.Streaming`."""
        with _asking(self.api):
            return _Stream(self.api, self._begin("GET", path, {"Accept": JSON}, None, (CONNECT_SECONDS, silence)))

    def _read(
        self, method: str, path: str, headers: dict[str, str], body: Any, seconds: float
    ) -> tuple[int, str, bytes, str | None]:
        with _asking(self.api):
            found = self._begin(method, path, headers, body, (min(seconds, CONNECT_SECONDS), seconds))
            return int(found.status), str(found.reason), bytes(found.data), found.headers.get("Retry-After")

    def _begin(self, method: str, path: str, headers: dict[str, str], body: Any, timeout: tuple[float, float]) -> Any:
        """The urllib3 response, whose body has not been read."""
        verb, url, sent, data, form = self.api.param_serialize(
            method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        return self.api.call_api(verb, url, sent, data, form, _request_timeout=timeout).response

    def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], *, seconds: float) -> str:
        """Standard output of a command in a container.

        Raises:
            KubeError: it cannot be run.
        """
        from kubernetes import client
        from kubernetes.stream import stream

        try:
            with authority(self.api.configuration) as settings:
                socket = stream(
                    # the stream client changes the one that it is given
                    client.CoreV1Api(client.ApiClient(settings)).connect_get_namespaced_pod_exec,
                    pod,
                    namespace,
                    container=container,
                    command=list(command),
                    stdout=True,
                    stderr=False,
                    stdin=False,
                    tty=False,
                    _preload_content=False,  # otherwise JSON comes back as the text of a Python value
                    _request_timeout=seconds,
                )
            socket.run_forever(timeout=seconds)
            text = str(socket.read_all())
            socket.close()
        except Exception as error:  # websocket, TLS and HTTP failures have no common base there
            raise KubeError(0, f"cannot run {command[0]} in {namespace}/{pod}: {error}") from error
        return text


class _Stream:
    """See `kube.transport.Stream`."""

    def __init__(self, api: Any, response: Any) -> None:
        self.status = int(response.status)
        self._api, self._response = api, response

    def chunks(self) -> Iterator[bytes]:
        with _asking(self._api):
            yield from self._response.stream(1 << 16, decode_content=True)

    def close(self) -> None:
        self._response.close()


@contextlib.contextmanager
def _asking(api: Any) -> Iterator[None]:
    """Whatever the client raises is an OSError."""
    import urllib3
    from botocore.exceptions import BotoCoreError, ClientError
    from kubernetes import client

    host = api.configuration.host
    try:
        yield
    except urllib3.exceptions.HTTPError as error:
        raise OSError(f"the API server at {host} does not answer: {error}") from error
    except client.exceptions.ApiException as error:
        raise OSError(f"the API server at {host} cannot be asked: {error.reason or error}") from error
    except (BotoCoreError, ClientError) as error:  # a token is signed with AWS credentials, which may have run out
        raise OSError(f"no token for the API server: {error}") from error


@contextlib.contextmanager
def authority(settings: Any) -> Iterator[Any]:
    """The same settings with the cluster's authority in a file: the stream client reads no `ca_cert_data`, and would
    trust the public authorities instead, which sign no EKS cluster."""
    if not settings.ca_cert_data:
        yield settings
        return
    with tempfile.NamedTemporaryFile("w", suffix=".crt") as file:
        file.write(settings.ca_cert_data)
        file.flush()
        found = copy.copy(settings)
        found.ssl_ca_cert, found.ca_cert_data = file.name, None
        yield found
