"""The way to AWS: clients, provider settings, tags, and errors worded as the real provider words them.

The endpoint is `AWS_ENDPOINT_URL`, which botocore honours by itself.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from sandbox.plugins.operation import ProviderError
from sandbox.plugins.values import Properties

Tags = dict[str, str]
_STYLE_WITHOUT_TYPED_ERRORS = {"EC2", "SSM"}


class AwsError(ProviderError):
    """A call failed; the text is what the user sees. `code` is the AWS error code, if there is one."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class Account:
    """One configured provider: region, default tags, and clients by region."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        for name in ("assumeRoles", "assumeRoleWithWebIdentity", "endpoints"):
            if _parsed(config.get(name)):
                raise AwsError(
                    f"provider setting {name!r} is not supported by this stand-in: "
                    "remove it, or use the real AWS provider"
                )
        region = config.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if not region:
            raise AwsError("Missing region information: set `aws:region` in the stack's config, or AWS_REGION")
        self.region = str(region)
        self.profile = config.get("profile")
        default = _parsed(config.get("defaultTags")) or {}
        self.default_tags: Tags = dict(default.get("tags") or {})
        self._session: Any = None
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()
        allowed = _parsed(config.get("allowedAccountIds"))
        forbidden = _parsed(config.get("forbiddenAccountIds"))
        if (allowed and self.id not in allowed) or (forbidden and self.id in forbidden):
            raise AwsError(f"AWS account ID not allowed: {self.id}")

    @cached_property
    def id(self) -> str:
        """The account's twelve digits."""
        return str(self.call("sts", "get_caller_identity")["Account"])

    def client(self, service: str, region: str | None = None) -> Any:
        """The botocore client of a service; made once for each region."""
        with self._lock:
            key = (service, region or self.region)
            if key not in self._clients:
                if self._session is None:
                    import botocore.session  # noqa: PLC0415 importing it takes longer than answering the engine

                    self._session = botocore.session.Session(profile=self.profile)
                self._clients[key] = self._session.create_client(service, region_name=key[1])
            return self._clients[key]

    def call(self, service: str, operation: str, region: str | None = None, /, **arguments: Any) -> Any:
        """One AWS call, without the arguments that are None; AwsError with the service's code when refused."""
        import botocore.exceptions as failures  # noqa: PLC0415

        client = self.client(service, region)
        given = {key: value for key, value in arguments.items() if value is not None}
        try:
            return getattr(client, operation)(**given)
        except failures.ClientError as error:
            raise _api_error(client, error) from error
        except failures.BotoCoreError as error:
            raise AwsError(f"operation error {client.meta.service_model.service_id}: {operation}, {error}") from error

    def all(self, service: str, operation: str, key: str, region: str | None = None, /, **arguments: Any) -> list[Any]:
        """All pages of a listing, joined."""
        import botocore.exceptions as failures  # noqa: PLC0415

        client = self.client(service, region)
        try:
            pages = client.get_paginator(operation).paginate(**arguments)
            return [item for page in pages for item in page.get(key, [])]
        except failures.ClientError as error:
            raise _api_error(client, error) from error

    def find(self, missing: Sequence[str], call: Callable[[], Any]) -> Any:
        """What the call answers; None when it fails with one of the codes in `missing`."""
        try:
            return call()
        except AwsError as error:
            if error.code in missing:
                return None
            raise

    def merged_tags(self, tags: Mapping[str, str] | None) -> Tags:
        """`tagsAll`: the provider's default tags, and the resource's own, which win."""
        return self.default_tags | dict(tags or {})

    def tags_from(self, found: Any) -> tuple[Tags, Tags]:
        """(`tags`, `tagsAll`) from what AWS has, as a map or a list of Key and Value; AWS's own tags left out."""
        pairs = found if isinstance(found, Mapping) else {item["Key"]: item["Value"] for item in found or ()}
        everything = {key: value for key, value in pairs.items() if not key.startswith("aws:")}
        own = {key: value for key, value in everything.items() if self.default_tags.get(key) != value}
        return own, everything


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as EC2 and IAM want them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_changes(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[Tags, list[str]]:
    """(tags to set, keys to remove)."""
    return {key: value for key, value in new.items() if old.get(key) != value}, [key for key in old if key not in new]


def text(value: Any) -> str | None:
    """A time as RFC 3339 text, None as None."""
    return value.isoformat().replace("+00:00", "Z") if value is not None else None


def pascal(value: Any) -> Any:
    """The value with the keys of its objects in PascalCase, as EC2 spells them."""
    if isinstance(value, dict):
        return {key[:1].upper() + key[1:]: pascal(item) for key, item in value.items()}
    return [pascal(item) for item in value] if isinstance(value, list) else value


def camel(value: Any) -> Any:
    """The reverse of `pascal`."""
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: camel(item) for key, item in value.items()}
    return [camel(item) for item in value] if isinstance(value, list) else value


def chosen(properties: Properties, *names: str) -> Properties:
    """These properties, where they are set."""
    return {name: properties[name] for name in names if properties.get(name) is not None}


def _parsed(value: Any) -> Any:
    """Nested provider settings arrive as JSON text."""
    if isinstance(value, str) and value[:1] in "[{":
        return json.loads(value)
    return value


def _api_error(client: Any, error: Any) -> AwsError:
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    about = error.response.get("ResponseMetadata", {})
    service = client.meta.service_model.service_id
    kind = f"api error {code}" if service in _STYLE_WITHOUT_TYPED_ERRORS else code
    return AwsError(
        f"operation error {service}: {error.operation_name}, https response error StatusCode: "
        f"{about.get('HTTPStatusCode')}, RequestID: {about.get('RequestId', '')}, {kind}: {message}",
        code,
    )
