"""Launch templates and their versions."""

from __future__ import annotations

from typing import Any

from sandbox.aws.ec2.core import describe, select, set_tags, specified_tags, with_tags
from sandbox.aws.errors import AwsError
from sandbox.aws.registry import CALLER, answers
from sandbox.aws.state import Aws, Json

__all__ = ["add_version", "find_template", "make_template", "resolve", "version_of"]


def find_template(aws: Aws, reference: Json) -> Json:
    """The template that {LaunchTemplateId} or {LaunchTemplateName} names."""
    templates = aws.table("ec2.templates")
    identifier, name = reference.get("LaunchTemplateId"), reference.get("LaunchTemplateName")
    if identifier:
        found: Json | None = templates.get(identifier)
        if found is None:
            raise AwsError(
                "InvalidLaunchTemplateId.NotFound",
                f"The specified launch template, with template ID {identifier}, does not exist.",
            )
        return found
    for template in templates.values():
        if template["LaunchTemplateName"] == name:
            record: Json = template
            return record
    raise AwsError(
        "InvalidLaunchTemplateName.NotFoundException",
        f"The specified launch template, with template name {name}, does not exist.",
    )


def version_of(template: Json, wanted: Any) -> Json:
    """The version `wanted`: a number, $Latest, $Default or nothing, which means the default."""
    text = str(wanted or "$Default")
    number = (
        template[{"$Latest": "LatestVersionNumber", "$Default": "DefaultVersionNumber"}[text]]
        if text[0] == "$"
        else text
    )
    version: Json | None = template["versions"].get(str(number))
    if version is None:
        raise AwsError(
            "InvalidLaunchTemplateId.VersionNotFound",
            f"Could not find launch template version {text} for template {template['LaunchTemplateId']}.",
        )
    return version


def resolve(aws: Aws, reference: Json) -> tuple[Json, Json]:
    """(template, version) of a LaunchTemplateSpecification."""
    template = find_template(aws, reference)
    return template, version_of(template, reference.get("Version"))


def make_template(
    aws: Aws, name: str, data: Json, tags: dict[str, str], *, creator: str, description: str = ""
) -> Json:
    """A template with its version 1."""
    if any(other["LaunchTemplateName"] == name for other in aws.table("ec2.templates").values()):
        raise AwsError(
            "InvalidLaunchTemplateName.AlreadyExistsException", f"Launch template name already in use: {name}"
        )
    identifier = aws.new_id("lt")
    template = {
        "LaunchTemplateId": identifier, "LaunchTemplateName": name, "CreateTime": aws.now(), "CreatedBy": creator,
        "DefaultVersionNumber": 1, "LatestVersionNumber": 0, "versions": {},
    }  # fmt: skip
    aws.table("ec2.templates")[identifier] = template
    set_tags(aws, identifier, tags)
    add_version(aws, template, data, creator, description)
    return template


def add_version(aws: Aws, template: Json, data: Json, creator: str, description: str = "") -> Json:
    """A further version of a template."""
    number = template["LatestVersionNumber"] = template["LatestVersionNumber"] + 1
    version: Json = {
        "LaunchTemplateId": template["LaunchTemplateId"], "LaunchTemplateName": template["LaunchTemplateName"],
        "VersionNumber": number, "CreateTime": aws.now(), "CreatedBy": creator, "LaunchTemplateData": data,
    }  # fmt: skip
    if description:
        version["VersionDescription"] = description
    template["versions"][str(number)] = version
    return version


@answers("ec2", "CreateLaunchTemplate")
def create_launch_template(aws: Aws, values: Json) -> Json:
    template = make_template(
        aws,
        values["LaunchTemplateName"],
        values["LaunchTemplateData"],
        specified_tags(values, "launch-template"),
        creator=values[CALLER],
        description=values.get("VersionDescription", ""),
    )
    return {"LaunchTemplate": with_tags(aws, template["LaunchTemplateId"], template)}


@answers("ec2", "CreateLaunchTemplateVersion")
def create_launch_template_version(aws: Aws, values: Json) -> Json:
    template, data = find_template(aws, values), values["LaunchTemplateData"]
    if "SourceVersion" in values:
        data = {**version_of(template, values["SourceVersion"])["LaunchTemplateData"], **data}
    version = add_version(aws, template, data, values[CALLER], values.get("VersionDescription", ""))
    return {"LaunchTemplateVersion": _shown(template, version)}


def _shown(template: Json, version: Json) -> Json:
    return {**version, "DefaultVersion": version["VersionNumber"] == template["DefaultVersionNumber"]}


@answers("ec2", "DescribeLaunchTemplates")
def describe_launch_templates(aws: Aws, values: Json) -> Json:
    if "LaunchTemplateNames" in values:
        found = [find_template(aws, {"LaunchTemplateName": name}) for name in values["LaunchTemplateNames"]]
        return {"LaunchTemplates": [with_tags(aws, template["LaunchTemplateId"], template) for template in found]}
    missing = "InvalidLaunchTemplateId.NotFound"
    return describe(
        aws,
        values,
        "ec2.templates",
        operation="DescribeLaunchTemplates",
        key="LaunchTemplates",
        ids="LaunchTemplateIds",
        missing=missing,
    )


@answers("ec2", "DescribeLaunchTemplateVersions")
def describe_launch_template_versions(aws: Aws, values: Json) -> Json:
    template = find_template(aws, values)
    if "Versions" in values:
        versions = [version_of(template, wanted) for wanted in values["Versions"]]
    else:
        versions = sorted(template["versions"].values(), key=lambda version: -version["VersionNumber"])
    key = "LaunchTemplateVersions"
    shown = [_shown(template, version) for version in versions]
    return {key: select("DescribeLaunchTemplateVersions", key, shown, values.get("Filters", []))}


@answers("ec2", "ModifyLaunchTemplate")
def modify_launch_template(aws: Aws, values: Json) -> Json:
    template = find_template(aws, values)
    if "DefaultVersion" in values:
        template["DefaultVersionNumber"] = version_of(template, values["DefaultVersion"])["VersionNumber"]
    return {"LaunchTemplate": with_tags(aws, template["LaunchTemplateId"], template)}


@answers("ec2", "DeleteLaunchTemplate")
def delete_launch_template(aws: Aws, values: Json) -> Json:
    template = find_template(aws, values)
    del aws.table("ec2.templates")[template["LaunchTemplateId"]]
    return {"LaunchTemplate": with_tags(aws, template["LaunchTemplateId"], template)}


@answers("ec2", "DeleteLaunchTemplateVersions")
def delete_launch_template_versions(aws: Aws, values: Json) -> Json:
    template = find_template(aws, values)
    deleted, kept = [], []
    for number in values["Versions"]:
        name = {"LaunchTemplateId": template["LaunchTemplateId"], "LaunchTemplateName": template["LaunchTemplateName"]}
        entry: Json = {**name, "VersionNumber": int(number)}
        if int(number) == template["DefaultVersionNumber"] or str(number) not in template["versions"]:
            message = "the default version cannot be deleted, an unknown one does not exist"
            kept.append({**entry, "ResponseError": {"Code": "launchTemplateVersionDoesNotExist", "Message": message}})
        else:
            del template["versions"][str(number)]
            deleted.append(entry)
    return {
        "SuccessfullyDeletedLaunchTemplateVersions": deleted,
        "UnsuccessfullyDeletedLaunchTemplateVersions": kept,
    }
