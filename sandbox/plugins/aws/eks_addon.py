"""`aws:eks/addon:Addon`, access entries with their policies, and Pod Identity associations."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from sandbox.plugins.aws.account import chosen, text
from sandbox.plugins.aws.eks_cluster import EksTagged, issues
from sandbox.plugins.aws.resource import AwsResource
from sandbox.plugins.aws.schema import Schema
from sandbox.plugins.operation import CheckFailed, Operation, ProviderError, State
from sandbox.plugins.values import Properties, has_unknown

DEGRADED_GRACE = 20.0
"""Seconds that an add-on may stay DEGRADED before a wait for it gives up (the real provider: its whole timeout)."""
_ARN = re.compile(r"arn:aws[\w-]*:[a-z0-9-]+:[a-z0-9-]*:(\d{12}|aws)?:.+")
_GONE = ["ResourceNotFoundException"]


class Addon(EksTagged):
    """An EKS add-on. Its id is `cluster:addon`."""

    label = "EKS Add-On"
    schema = Schema(
        "aws:eks/addon:Addon",
        "addonName*! clusterName*! addonVersion? configurationValues? namespaceConfig! podIdentityAssociations~ "
        "preserve^ resolveConflictsOnCreate^ resolveConflictsOnUpdate^ serviceAccountRoleArn",
        "arn createdAt modifiedAt",
    )

    def called(self, inputs: Properties) -> str:
        """Its id."""
        return f"{inputs['clusterName']}:{inputs['addonName']}"

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """CreateAddon."""
        self.account.call(
            "eks",
            "create_addon",
            inputs.get("region"),
            resolveConflicts=inputs.get("resolveConflictsOnCreate"),
            tags=dict(tags) or None,
            **chosen(inputs, "addonName", "clusterName", "addonVersion", "configurationValues", "namespaceConfig"),
            **chosen(inputs, "podIdentityAssociations", "serviceAccountRoleArn"),
        )
        return self.called(inputs)

    def settle(self, op: Operation, id: str, inputs: Properties) -> None:
        """Waits for ACTIVE; an add-on that stays DEGRADED fails with its health issues."""
        last: dict[str, Any] = {}
        degraded_since: float | None = None

        def done() -> bool:
            nonlocal degraded_since
            last.update(self._describe(id, inputs.get("region")))
            if last["status"] != "DEGRADED":
                degraded_since = None
                return bool(last["status"] != "CREATING")
            degraded_since = degraded_since or time.monotonic()
            return time.monotonic() - degraded_since > (op.timeout or DEGRADED_GRACE)

        try:
            self.wait(op, "state to become 'ACTIVE'", done)
        except ProviderError as error:
            raise ProviderError(f"{error} (last state: '{last.get('status')}', {_health(last)})") from error
        if last["status"] == "DEGRADED":
            raise ProviderError(
                f"timeout while waiting for state to become 'ACTIVE' (last state: 'DEGRADED', {_health(last)})"
            )
        if last["status"] != "ACTIVE":
            raise ProviderError(f"unexpected state '{last['status']}', wanted target 'ACTIVE'. {_health(last)}")

    def look(self, id: str, region: str | None) -> Properties | None:
        """DescribeAddon."""
        found = self.account.find(_GONE, lambda: self._describe(id, region))
        if found is None:
            return None
        return {
            **chosen(found, "addonName", "addonVersion", "clusterName", "serviceAccountRoleArn", "tags"),
            **chosen(found, "namespaceConfig"),
            "configurationValues": found.get("configurationValues") or "",
            "arn": found["addonArn"],
            "createdAt": text(found.get("createdAt")),
            "modifiedAt": text(found.get("modifiedAt")),
            "podIdentityAssociations": self._associations(found, region) or None,
        }

    def change(self, op: Operation, state: State, news: Properties, changed: set[str]) -> None:
        """UpdateAddon where EKS has a part in it (`preserve` and the conflict settings are only the provider's)."""
        if not changed & {"addonVersion", "configurationValues", "podIdentityAssociations", "serviceAccountRoleArn"}:
            return
        cluster, _, addon = state.id.partition(":")
        region, resolve = state.outputs.get("region"), news.get("resolveConflictsOnUpdate")
        role = news.get("serviceAccountRoleArn")
        given = chosen({key: news.get(key) for key in changed}, "addonVersion", "configurationValues")
        if "podIdentityAssociations" in changed:
            given["podIdentityAssociations"] = news.get("podIdentityAssociations") or []
        if role or "serviceAccountRoleArn" in changed:
            given["serviceAccountRoleArn"] = role or ""
        names = {"clusterName": cluster, "addonName": addon}
        answer = self.account.call("eks", "update_addon", region, **names, resolveConflicts=resolve, **given)
        try:
            self.wait_update(op, region, cluster, answer["update"], addonName=addon)
        except ProviderError as error:
            hint = "" if resolve == "OVERWRITE" else '. Consider setting resolve_conflicts_on_update to "OVERWRITE"'
            raise ProviderError(f"{error}{hint}") from error

    def remove(self, op: Operation, state: State) -> None:
        """DeleteAddon; with `preserve` its objects stay in the cluster."""
        cluster, _, addon = state.id.partition(":")
        region, preserve = state.outputs.get("region"), state.outputs.get("preserve") or False
        names = {"clusterName": cluster, "addonName": addon}
        self.account.find(_GONE, lambda: self.account.call("eks", "delete_addon", region, preserve=preserve, **names))

        def gone() -> bool:
            found = self.account.find(_GONE, lambda: self._describe(state.id, region))
            if found is not None and found["status"] == "DELETE_FAILED":
                raise ProviderError(f"waiting for {self.label} ({state.id}) delete: {_health(found)}")
            return found is None

        self.wait(op, "deletion", gone)

    def _describe(self, id: str, region: str | None) -> Any:
        cluster, colon, addon = id.partition(":")
        if not colon:
            raise ProviderError(f"unexpected format of ID ({id}), expected cluster-name:addon-name")
        return self.account.call("eks", "describe_addon", region, clusterName=cluster, addonName=addon)["addon"]

    def _associations(self, addon: Any, region: str | None) -> list[Properties]:
        found = []
        for arn in addon.get("podIdentityAssociations") or ():
            key = {"clusterName": addon["clusterName"], "associationId": arn.rpartition("/")[2]}
            one = self.account.call("eks", "describe_pod_identity_association", region, **key)["association"]
            found.append(chosen(one, "roleArn", "serviceAccount"))
        return found


class AccessEntry(EksTagged):
    """Who may use the cluster. Its id is `cluster:principal`."""

    label = "EKS Access Entry"
    schema = Schema(
        "aws:eks/accessEntry:AccessEntry",
        "clusterName*! principalArn*! kubernetesGroups~? type! userName?",
        "accessEntryArn createdAt modifiedAt",
        defaults={"type": "STANDARD"},
    )

    def called(self, inputs: Properties) -> str:
        """Its id."""
        return f"{inputs['clusterName']}:{inputs['principalArn']}"

    def check(self, op: Operation, olds: Properties, news: Properties) -> Properties:
        """Refuses a principal that is no ARN."""
        inputs = super().check(op, olds, news)
        principal = inputs["principalArn"]
        if not has_unknown(principal) and not _ARN.match(str(principal)):
            raise CheckFailed({"principalArn": f'"principal_arn" ({principal}) is an invalid ARN: arn: invalid prefix'})
        return inputs

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """CreateAccessEntry."""
        given = chosen(inputs, "clusterName", "principalArn", "kubernetesGroups", "type")
        self.account.call(
            "eks",
            "create_access_entry",
            inputs.get("region"),
            username=inputs.get("userName"),
            tags=dict(tags) or None,
            **given,
        )
        return self.called(inputs)

    def look(self, id: str, region: str | None) -> Properties | None:
        """DescribeAccessEntry."""
        cluster, _, principal = id.partition(":")
        names = {"clusterName": cluster, "principalArn": principal}
        answer = self.account.find(_GONE, lambda: self.account.call("eks", "describe_access_entry", region, **names))
        if answer is None:
            return None
        found = answer["accessEntry"]
        return {
            **chosen(found, "clusterName", "principalArn", "kubernetesGroups", "type", "accessEntryArn", "tags"),
            "userName": found.get("username"),
            "createdAt": text(found.get("createdAt")),
            "modifiedAt": text(found.get("modifiedAt")),
        }

    def change(self, op: Operation, state: State, news: Properties, changed: set[str]) -> None:
        """UpdateAccessEntry."""
        cluster, _, principal = state.id.partition(":")
        self.account.call(
            "eks",
            "update_access_entry",
            state.outputs.get("region"),
            clusterName=cluster,
            principalArn=principal,
            kubernetesGroups=news.get("kubernetesGroups") or [],
            username=news.get("userName"),
        )

    def remove(self, op: Operation, state: State) -> None:
        """DeleteAccessEntry."""
        cluster, _, principal = state.id.partition(":")
        names, region = {"clusterName": cluster, "principalArn": principal}, state.outputs.get("region")
        self.account.find(_GONE, lambda: self.account.call("eks", "delete_access_entry", region, **names))


class AccessPolicyAssociation(AwsResource):
    """What an access entry may do. Its id is `cluster#principal#policy`; every change replaces it."""

    label = "EKS Access Policy Association"
    schema = Schema(
        "aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
        "accessScope*! accessScope.namespaces~ clusterName*! policyArn*! principalArn*!",
        "associatedAt modifiedAt",
        tagged=False,
    )

    def called(self, inputs: Properties) -> str:
        """Its id."""
        return f"{inputs['clusterName']}#{inputs['principalArn']}#{inputs['policyArn']}"

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """AssociateAccessPolicy."""
        given = chosen(inputs, "clusterName", "principalArn", "policyArn", "accessScope")
        self.account.call("eks", "associate_access_policy", inputs.get("region"), **given)
        return self.called(inputs)

    def look(self, id: str, region: str | None) -> Properties | None:
        """ListAssociatedAccessPolicies."""
        cluster, principal, policy = _three(id)
        names = {"clusterName": cluster, "principalArn": principal}
        answer = self.account.find(
            _GONE, lambda: self.account.call("eks", "list_associated_access_policies", region, **names)
        )
        for found in (answer or {}).get("associatedAccessPolicies", ()):
            if found["policyArn"] == policy:
                return {
                    **names,
                    **chosen(found, "policyArn", "accessScope"),
                    "associatedAt": text(found.get("associatedAt")),
                    "modifiedAt": text(found.get("modifiedAt")),
                }
        return None

    def remove(self, op: Operation, state: State) -> None:
        """DisassociateAccessPolicy."""
        cluster, principal, policy = _three(state.id)
        names = {"clusterName": cluster, "principalArn": principal, "policyArn": policy}
        region = state.outputs.get("region")
        self.account.find(_GONE, lambda: self.account.call("eks", "disassociate_access_policy", region, **names))


class PodIdentityAssociation(EksTagged):
    """A role for a service account. Its id is `cluster,association` (the real provider: the association's alone)."""

    label = "EKS Pod Identity Association"
    schema = Schema(
        "aws:eks/podIdentityAssociation:PodIdentityAssociation",
        "clusterName*! namespace*! roleArn* serviceAccount*! disableSessionTags? targetRoleArn?",
        "associationArn associationId externalId",
    )

    def called(self, inputs: Properties) -> str:
        """The service account."""
        return f"{inputs['namespace']}/{inputs['serviceAccount']}"

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """CreatePodIdentityAssociation."""
        given = chosen(inputs, "clusterName", "namespace", "roleArn", "serviceAccount", "disableSessionTags")
        given |= chosen(inputs, "targetRoleArn")
        region = inputs.get("region")
        answer = self.account.call("eks", "create_pod_identity_association", region, tags=dict(tags) or None, **given)
        return f"{inputs['clusterName']},{answer['association']['associationId']}"

    def look(self, id: str, region: str | None) -> Properties | None:
        """DescribePodIdentityAssociation."""
        cluster, _, association = id.partition(",")
        key = {"clusterName": cluster, "associationId": association}
        answer = self.account.find(
            _GONE, lambda: self.account.call("eks", "describe_pod_identity_association", region, **key)
        )
        if answer is None:
            return None
        found = answer["association"]
        return chosen(found, *self.schema.properties, *self.schema.computed)

    def change(self, op: Operation, state: State, news: Properties, changed: set[str]) -> None:
        """UpdatePodIdentityAssociation."""
        cluster, _, association = state.id.partition(",")
        given = chosen(news, "roleArn", "disableSessionTags", "targetRoleArn")
        names = {"clusterName": cluster, "associationId": association}
        self.account.call("eks", "update_pod_identity_association", state.outputs.get("region"), **names, **given)

    def remove(self, op: Operation, state: State) -> None:
        """DeletePodIdentityAssociation."""
        cluster, _, association = state.id.partition(",")
        key, region = {"clusterName": cluster, "associationId": association}, state.outputs.get("region")
        self.account.find(_GONE, lambda: self.account.call("eks", "delete_pod_identity_association", region, **key))


def _health(addon: Mapping[str, Any]) -> str:
    return f"last error: {issues((addon.get('health') or {}).get('issues'))}"


def _three(id: str) -> tuple[str, str, str]:
    parts = id.split("#")
    if len(parts) != 3:
        raise ProviderError(f"unexpected format for ID ({id}), expected cluster-name#principal-arn#policy-arn")
    return parts[0], parts[1], parts[2]
