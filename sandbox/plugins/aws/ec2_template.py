"""`aws:ec2/launchTemplate:LaunchTemplate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.plugins.aws.account import camel, chosen, pascal, tag_changes, tag_list
from sandbox.plugins.aws.resource import AwsResource
from sandbox.plugins.aws.schema import Schema
from sandbox.plugins.operation import Operation, State
from sandbox.plugins.values import Properties

_DATA = (
    "blockDeviceMappings capacityReservationSpecification cpuOptions creditSpecification disableApiStop "
    "disableApiTermination ebsOptimized enclaveOptions hibernationOptions iamInstanceProfile imageId "
    "instanceInitiatedShutdownBehavior instanceMarketOptions instanceRequirements instanceType kernelId keyName "
    "licenseSpecifications maintenanceOptions metadataOptions monitoring networkInterfaces "
    "networkPerformanceOptions placement privateDnsNameOptions ramDiskId tagSpecifications userData"
)
_NESTED = (
    "blockDeviceMappings.ebs.iops? blockDeviceMappings.ebs.throughput? blockDeviceMappings.ebs.volumeSize? "
    "blockDeviceMappings.ebs.volumeType? metadataOptions.httpEndpoint? metadataOptions.httpTokens? "
    "metadataOptions.httpPutResponseHopLimit? metadataOptions.instanceMetadataTags? "
    "networkInterfaces.securityGroups~ vpcSecurityGroupIds~ securityGroupNames~"
)
_TEXT_BOOLEANS = {
    "associatePublicIpAddress",
    "associateCarrierIpAddress",
    "deleteOnTermination",
    "ebsOptimized",
    "encrypted",
}
_MISSING = ["InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.VersionNotFound"]


class Ec2Tagged(AwsResource):
    """EC2 resources are tagged by id."""

    def retag(self, op: Operation, state: State, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        """Sets and removes tags."""
        region = state.outputs.get("region")
        wanted, gone = tag_changes(old, new)
        if gone:
            keys = [{"Key": key} for key in gone]
            self.account.call("ec2", "delete_tags", region, Resources=[state.id], Tags=keys)
        if wanted:
            self.account.call("ec2", "create_tags", region, Resources=[state.id], Tags=tag_list(wanted))


class LaunchTemplate(Ec2Tagged):
    """A launch template. Its id is `lt-…`; a change of its data makes a new version."""

    label = "EC2 Launch Template"
    schema = Schema(
        "aws:ec2/launchTemplate:LaunchTemplate",
        f"{_DATA} {_NESTED} defaultVersion? description name!? namePrefix!?^ updateDefaultVersion^",
        "arn latestVersion",
        auto_name="name",
    )

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """CreateLaunchTemplate."""
        specification = [{"ResourceType": "launch-template", "Tags": tag_list(tags)}] if tags else None
        answer = self.account.call(
            "ec2",
            "create_launch_template",
            inputs.get("region"),
            LaunchTemplateName=self.name_for(inputs),
            LaunchTemplateData=_data(inputs),
            VersionDescription=inputs.get("description"),
            TagSpecifications=specification,
        )
        return str(answer["LaunchTemplate"]["LaunchTemplateId"])

    def look(self, id: str, region: str | None) -> Properties | None:
        """DescribeLaunchTemplates, and the data of the latest version."""
        answer = self.account.find(
            _MISSING, lambda: self.account.call("ec2", "describe_launch_templates", region, LaunchTemplateIds=[id])
        )
        if not answer or not answer["LaunchTemplates"]:
            return None
        template = answer["LaunchTemplates"][0]
        latest = str(template["LatestVersionNumber"])
        versions = self.account.call(
            "ec2", "describe_launch_template_versions", region, LaunchTemplateId=id, Versions=[latest]
        )
        version = versions["LaunchTemplateVersions"][0]
        where = region or self.account.region
        return {
            **_inputs(version.get("LaunchTemplateData") or {}),
            "arn": f"arn:aws:ec2:{where}:{self.account.id}:launch-template/{id}",
            "name": template["LaunchTemplateName"],
            "description": version.get("VersionDescription") or "",
            "defaultVersion": template["DefaultVersionNumber"],
            "latestVersion": template["LatestVersionNumber"],
            "tags": template.get("Tags"),
        }

    def change(self, op: Operation, state: State, news: Properties, changed: set[str]) -> None:
        """A new version when the data differ; then the default version as asked."""
        region, default = state.outputs.get("region"), None
        if self._makes_version(changed):
            answer = self.account.call(
                "ec2",
                "create_launch_template_version",
                region,
                LaunchTemplateId=state.id,
                LaunchTemplateData=_data(news),
                VersionDescription=news.get("description"),
            )
            if news.get("updateDefaultVersion"):
                default = answer["LaunchTemplateVersion"]["VersionNumber"]
        elif "updateDefaultVersion" in changed and news.get("updateDefaultVersion"):
            default = state.outputs["latestVersion"]
        if "defaultVersion" in changed:
            default = news["defaultVersion"]
        if default is not None:
            self.account.call(
                "ec2", "modify_launch_template", region, LaunchTemplateId=state.id, DefaultVersion=str(default)
            )

    def volatile_after(self, changed: set[str], news: Properties) -> set[str]:
        """A new version has a number that only AWS knows; the real provider also says so for a change of tags alone."""
        if not self._makes_version(changed):
            return set()
        return {"latestVersion", "defaultVersion"} if news.get("updateDefaultVersion") else {"latestVersion"}

    def remove(self, op: Operation, state: State) -> None:
        """DeleteLaunchTemplate."""
        region = state.outputs.get("region")
        self.account.find(
            _MISSING, lambda: self.account.call("ec2", "delete_launch_template", region, LaunchTemplateId=state.id)
        )

    @staticmethod
    def _makes_version(changed: set[str]) -> bool:
        return bool(changed - {"defaultVersion", "updateDefaultVersion"})


def _data(inputs: Properties) -> Properties:
    """LaunchTemplateData of the inputs."""
    data = pascal(_booleans(chosen(inputs, *_DATA.split()), typed=True))
    for interface in data.get("NetworkInterfaces", ()):
        if "SecurityGroups" in interface:
            interface["Groups"] = interface.pop("SecurityGroups")
    for specification in data.get("TagSpecifications", ()):
        tags = next(
            s["tags"] for s in inputs["tagSpecifications"] if s["resourceType"] == specification["ResourceType"]
        )
        specification["Tags"] = tag_list(tags)
    if inputs.get("vpcSecurityGroupIds"):
        data["SecurityGroupIds"] = inputs["vpcSecurityGroupIds"]
    if inputs.get("securityGroupNames"):
        data["SecurityGroups"] = inputs["securityGroupNames"]
    return dict(data)


def _inputs(data: Properties) -> Properties:
    """The inputs of LaunchTemplateData."""
    found = _booleans(camel(data), typed=False)
    if "securityGroups" in found:
        found["securityGroupNames"] = found.pop("securityGroups")
    if "securityGroupIds" in found:
        found["vpcSecurityGroupIds"] = found.pop("securityGroupIds")
    for interface in found.get("networkInterfaces", ()):
        if "groups" in interface:
            interface["securityGroups"] = interface.pop("groups")
    for specification in found.get("tagSpecifications", ()):
        specification["tags"] = {tag["key"]: tag["value"] for tag in specification.get("tags", ())}
    return dict(found)


def _booleans(value: Any, *, typed: bool) -> Any:
    """The provider has some booleans as text, EC2 has them typed."""
    if isinstance(value, list):
        return [_booleans(item, typed=typed) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: (str(item).lower() == "true" if typed else str(item).lower())
        if key in _TEXT_BOOLEANS and isinstance(item, bool | str) and item != ""
        else _booleans(item, typed=typed)
        for key, item in value.items()
        if item is not None and not (key in _TEXT_BOOLEANS and item == "")
    }
