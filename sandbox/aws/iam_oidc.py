"""OIDC providers of IAM."""

from __future__ import annotations

from sandbox.aws.errors import AwsError
from sandbox.aws.registry import OPERATION, answers
from sandbox.aws.state import Aws, Json, tags_as_list

__all__: list[str] = []

_GONE = "NoSuchEntity"


def _tags(values: Json) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in values.get("Tags", [])}


def _provider(aws: Aws, values: Json) -> Json:
    arn = values["OpenIDConnectProviderArn"]
    record: Json | None = aws.table("iam.oidc").get(arn)
    if record is None:
        raise AwsError(_GONE, f"OpenIDConnect Provider not found for arn {arn}", 404)
    return record


@answers("iam", "CreateOpenIDConnectProvider")
def create_oidc_provider(aws: Aws, values: Json) -> Json:
    url = values["Url"].removeprefix("https://")
    arn = aws.arn("iam", f"oidc-provider/{url}", regional=False)
    if arn in aws.table("iam.oidc"):
        raise AwsError("EntityAlreadyExists", f"Provider with url https://{url} already exists.", 409)
    aws.table("iam.oidc")[arn] = {
        "Url": url, "ClientIDList": values.get("ClientIDList", []), "CreateDate": aws.now(), "tags": _tags(values),
        "ThumbprintList": values.get("ThumbprintList", []),
    }  # fmt: skip
    return {"OpenIDConnectProviderArn": arn, "Tags": values.get("Tags", [])}


@answers("iam", "GetOpenIDConnectProvider")
def get_oidc_provider(aws: Aws, values: Json) -> Json:
    record = _provider(aws, values)
    return {**record, "Tags": tags_as_list(record["tags"])}


@answers("iam", "ListOpenIDConnectProviders")
def list_oidc_providers(aws: Aws, _values: Json) -> Json:
    return {"OpenIDConnectProviderList": [{"Arn": arn} for arn in sorted(aws.table("iam.oidc"))]}


@answers("iam", "UpdateOpenIDConnectProviderThumbprint")
def update_oidc_provider_thumbprint(aws: Aws, values: Json) -> Json:
    _provider(aws, values)["ThumbprintList"] = values["ThumbprintList"]
    return {}


@answers("iam", "TagOpenIDConnectProvider")
def tag_oidc_provider(aws: Aws, values: Json) -> Json:
    _provider(aws, values)["tags"].update(_tags(values))
    return {}


@answers("iam", "DeleteOpenIDConnectProvider")
def delete_oidc_provider(aws: Aws, values: Json) -> Json:
    aws.table("iam.oidc").pop(values["OpenIDConnectProviderArn"], None)
    return {}


@answers("iam", "AddClientIDToOpenIDConnectProvider", "RemoveClientIDFromOpenIDConnectProvider")
def change_client_ids(aws: Aws, values: Json) -> Json:
    record, client = _provider(aws, values), values["ClientID"]
    others = [name for name in record["ClientIDList"] if name != client]
    record["ClientIDList"] = others if values[OPERATION].startswith("Remove") else [*others, client]
    return {}
