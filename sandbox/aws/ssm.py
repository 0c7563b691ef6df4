"""SSM parameters: the ones that AWS publishes about EKS images."""

from __future__ import annotations

import json
import re

from sandbox.aws.catalog import AMI_TYPES, KUBERNETES_VERSIONS, ami_id, release_version
from sandbox.aws.errors import AwsError
from sandbox.aws.registry import answers
from sandbox.aws.state import Aws, Json

__all__: list[str] = []

_EKS = re.compile(
    r"/aws/service/eks/optimized-ami/(?P<version>[\d.]+)/amazon-linux-2023/(?P<arch>x86_64|arm64)/standard/"
    r"recommended(?:/(?P<field>image_id|release_version|image_name))?$"
)


def _parameter(aws: Aws, name: str) -> Json | None:
    match = _EKS.match(name)
    if match is None or match["version"] not in KUBERNETES_VERSIONS:
        return None
    version = match["version"]
    ami_type = next(key for key, row in AMI_TYPES.items() if row[:2] == ("amazon-linux-2023", match["arch"]))
    release = release_version(version)
    fields = {
        "schema_version": "2",
        "image_id": ami_id(version, ami_type),
        "image_name": f"amazon-eks-node-al2023-{match['arch']}-standard-{version}-v{release.split('-')[1]}",
        "release_version": release,
    }
    value = fields[match["field"]] if match["field"] else json.dumps(fields)
    arn = f"arn:aws:ssm:{aws.region}::parameter{name}"
    return {"Name": name, "Type": "String", "Value": value, "Version": 1, "ARN": arn, "DataType": "text"}


@answers("ssm", "GetParameter")
def get_parameter(aws: Aws, values: Json) -> Json:
    found = _parameter(aws, values["Name"])
    if found is None:
        raise AwsError("ParameterNotFound", f"Parameter {values['Name']} not found.")
    return {"Parameter": found}


@answers("ssm", "GetParameters")
def get_parameters(aws: Aws, values: Json) -> Json:
    found = {name: _parameter(aws, name) for name in values["Names"]}
    return {
        "Parameters": [parameter for parameter in found.values() if parameter],
        "InvalidParameters": [name for name, parameter in found.items() if parameter is None],
    }
