"""`aws:eks/nodeGroup:NodeGroup`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.plugins.aws.account import chosen
from sandbox.plugins.aws.eks_cluster import EksTagged, issues
from sandbox.plugins.aws.schema import Schema
from sandbox.plugins.operation import CheckFailed, Operation, ProviderError, State
from sandbox.plugins.values import Properties, has_unknown

LONGEST_NAME = 63


class NodeGroup(EksTagged):
    """A managed node group. Its id is `cluster:name`."""

    label = "EKS Node Group"
    schema = Schema(
        "aws:eks/nodeGroup:NodeGroup",
        "clusterName*! nodeRoleArn*! scalingConfig* subnetIds*!~ amiType!? capacityType!? diskSize!? "
        "forceUpdateVersion^ instanceTypes!? labels launchTemplate launchTemplate.id!? launchTemplate.name!? "
        "nodeGroupName!? nodeGroupNamePrefix!?^ nodeRepairConfig? releaseVersion? remoteAccess! "
        "remoteAccess.sourceSecurityGroupIds~ taints~ updateConfig? version?",
        "arn resources status",
        auto_name="nodeGroupName",
    )

    def called(self, inputs: Properties) -> str:
        """Its id, as far as it is known."""
        return f"{inputs['clusterName']}:{inputs.get('nodeGroupName') or inputs.get('nodeGroupNamePrefix')}"

    def check(self, op: Operation, olds: Properties, news: Properties) -> Properties:
        """Refuses a name that is too long, and a group that could never have a node."""
        inputs = super().check(op, olds, news)
        name, sizes = inputs.get("nodeGroupName"), inputs["scalingConfig"]
        if isinstance(name, str) and not has_unknown(name) and len(name) > LONGEST_NAME:
            raise CheckFailed({"nodeGroupName": f"expected length to be in the range (0 - {LONGEST_NAME}), got {name}"})
        largest = sizes.get("maxSize") if isinstance(sizes, dict) else None
        if isinstance(largest, int | float) and largest < 1:
            raise CheckFailed({"scalingConfig.maxSize": f"expected max_size to be at least (1), got {largest:g}"})
        return inputs

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """CreateNodegroup."""
        name = self.name_for(inputs)
        self.account.call(
            "eks",
            "create_nodegroup",
            inputs.get("region"),
            clusterName=inputs["clusterName"],
            nodegroupName=name,
            nodeRole=inputs["nodeRoleArn"],
            subnets=inputs["subnetIds"],
            scalingConfig=inputs["scalingConfig"],
            launchTemplate=_template(inputs.get("launchTemplate")),
            tags=dict(tags) or None,
            **chosen(inputs, "amiType", "capacityType", "diskSize", "instanceTypes", "labels", "nodeRepairConfig"),
            **chosen(inputs, "releaseVersion", "remoteAccess", "taints", "updateConfig", "version"),
        )
        return f"{inputs['clusterName']}:{name}"

    def settle(self, op: Operation, id: str, inputs: Properties) -> None:
        """Waits for ACTIVE: EKS says so when the nodes are Ready."""
        last: dict[str, Any] = {}

        def done() -> bool:
            last.update(self._describe(id, inputs.get("region")))
            return bool(last["status"] != "CREATING")

        self.wait(op, "state to become 'ACTIVE'", done)
        if last["status"] != "ACTIVE":
            found = issues((last.get("health") or {}).get("issues"))
            raise ProviderError(f"unexpected state '{last['status']}', wanted target 'ACTIVE'. last error: {found}")

    def look(self, id: str, region: str | None) -> Properties | None:
        """DescribeNodegroup."""
        found = self.account.find(["ResourceNotFoundException"], lambda: self._describe(id, region))
        if found is None:
            return None
        resources = found.get("resources") or {}
        group = {
            "autoscalingGroups": [{"name": item["name"]} for item in resources.get("autoScalingGroups") or ()],
            "remoteAccessSecurityGroupId": resources.get("remoteAccessSecurityGroup") or "",
        }
        return {
            **chosen(found, "clusterName", "amiType", "capacityType", "diskSize", "instanceTypes", "labels"),
            **chosen(found, "launchTemplate", "nodeRepairConfig", "releaseVersion", "remoteAccess", "scalingConfig"),
            **chosen(found, "status", "tags", "taints", "updateConfig", "version"),
            "arn": found["nodegroupArn"],
            "nodeGroupName": found["nodegroupName"],
            "nodeRoleArn": found["nodeRole"],
            "resources": [group],
            "subnetIds": found["subnets"],
        }

    def change(self, op: Operation, state: State, news: Properties, changed: set[str]) -> None:
        """First what replaces nodes (version, launch template), then labels, taints and sizes."""
        cluster, _, group = state.id.partition(":")
        region, old = state.outputs.get("region"), state.outputs
        names = {"clusterName": cluster, "nodegroupName": group}
        if changed & {"launchTemplate", "releaseVersion", "version"}:
            update = self.account.call(
                "eks",
                "update_nodegroup_version",
                region,
                **names,
                force=news.get("forceUpdateVersion"),
                launchTemplate=_template(news.get("launchTemplate")),
                **chosen({key: news.get(key) for key in changed}, "releaseVersion", "version"),
            )["update"]
            self.wait_update(op, region, cluster, update, nodegroupName=group)
        if changed & {"labels", "taints", "scalingConfig", "updateConfig", "nodeRepairConfig"}:
            update = self.account.call(
                "eks",
                "update_nodegroup_config",
                region,
                **names,
                labels=_label_change(old.get("labels") or {}, news.get("labels") or {}) or None,
                taints=_taint_change(old.get("taints") or [], news.get("taints") or []) or None,
                **chosen({key: news.get(key) for key in changed}, "scalingConfig", "updateConfig", "nodeRepairConfig"),
            )["update"]
            self.wait_update(op, region, cluster, update, nodegroupName=group)

    def remove(self, op: Operation, state: State) -> None:
        """DeleteNodegroup; waits until it is gone, its nodes included."""
        cluster, _, group = state.id.partition(":")
        region = state.outputs.get("region")
        self.account.find(
            ["ResourceNotFoundException"],
            lambda: self.account.call("eks", "delete_nodegroup", region, clusterName=cluster, nodegroupName=group),
        )

        def gone() -> bool:
            found = self.account.find(["ResourceNotFoundException"], lambda: self._describe(state.id, region))
            if found is not None and found["status"] == "DELETE_FAILED":
                raise ProviderError(
                    f"waiting for {self.label} ({state.id}) delete: unexpected state 'DELETE_FAILED'. last error: "
                    f"{issues((found.get('health') or {}).get('issues'))}"
                )
            return found is None

        self.wait(op, "deletion", gone)

    def _describe(self, id: str, region: str | None) -> Any:
        cluster, colon, group = id.partition(":")
        if not colon:
            raise ProviderError(f"unexpected format of ID ({id}), expected cluster-name:node-group-name")
        names = {"clusterName": cluster, "nodegroupName": group}
        return self.account.call("eks", "describe_nodegroup", region, **names)["nodegroup"]


def _template(template: Any) -> Any:
    """EKS wants the launch template's id or its name, not both; its version as text."""
    if not template:
        return None
    one = chosen(template, "id") or chosen(template, "name")
    return {**one, "version": str(template["version"])}


def _label_change(old: Properties, new: Properties) -> Properties:
    wanted = {key: value for key, value in new.items() if old.get(key) != value}
    gone = [key for key in old if key not in new]
    return ({"addOrUpdateLabels": wanted} if wanted else {}) | ({"removeLabels": gone} if gone else {})


def _taint_change(old: list[Properties], new: list[Properties]) -> Properties:
    def key(taint: Properties) -> tuple[Any, Any]:
        return taint.get("key"), taint.get("effect")

    kept = {key(taint) for taint in new}
    wanted = [taint for taint in new if taint not in old]
    gone = [taint for taint in old if key(taint) not in kept]
    return ({"addOrUpdateTaints": wanted} if wanted else {}) | ({"removeTaints": gone} if gone else {})
