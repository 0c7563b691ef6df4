"""IAM: roles, policies, attachments, instance profiles and OpenID Connect providers (global: no region)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from sandbox.plugins.aws.account import tag_changes, tag_list, text
from sandbox.plugins.aws.resource import AwsResource
from sandbox.plugins.aws.schema import Schema
from sandbox.plugins.operation import Operation, State
from sandbox.plugins.values import Properties

_GONE = ["NoSuchEntity"]
_NAMED = "name!? namePrefix!?^"


class _Iam(AwsResource):
    """What IAM's types share: no region, tags by a call of their own."""

    kind = ""
    """The word in TagRole, TagPolicy, ...; the key is the id."""
    key = ""

    def iam(self, operation: str, /, **arguments: Any) -> Any:
        """One call."""
        return self.account.call("iam", operation, None, **arguments)

    def retag(self, op: Operation, state: State, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        """Sets and removes tags."""
        wanted, gone = tag_changes(old, new)
        if gone:
            self.iam(f"untag_{self.kind}", TagKeys=gone, **{self.key: state.id})
        if wanted:
            self.iam(f"tag_{self.kind}", Tags=tag_list(wanted), **{self.key: state.id})


class Role(_Iam):
    """A role. Its id is its name."""

    label, kind, key = "IAM Role", "role", "RoleName"
    schema = Schema(
        "aws:iam/role:Role",
        f"assumeRolePolicy*$ description forceDetachPolicies^ inlinePolicies?~ inlinePolicies.policy$ "
        f"managedPolicyArns?~ maxSessionDuration {_NAMED} path! permissionsBoundary",
        "arn createDate uniqueId",
        defaults={"forceDetachPolicies": False, "maxSessionDuration": 3600, "path": "/"},
        auto_name="name",
        regional=False,
    )

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """CreateRole and its own policies."""
        name = self.name_for(inputs)
        self.iam(
            "create_role",
            RoleName=name,
            Path=inputs["path"],
            AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
            Description=inputs.get("description"),
            MaxSessionDuration=inputs["maxSessionDuration"],
            PermissionsBoundary=inputs.get("permissionsBoundary"),
            Tags=tag_list(tags) or None,
        )
        self._policies(name, {}, inputs)
        return name

    def look(self, id: str, region: str | None) -> Properties | None:
        """GetRole and what is attached."""
        answer = self.account.find(_GONE, lambda: self.iam("get_role", RoleName=id))
        if answer is None:
            return None
        role = answer["Role"]
        inline = [
            {
                "name": name,
                "policy": _document(self.iam("get_role_policy", RoleName=id, PolicyName=name)["PolicyDocument"]),
            }
            for name in self.account.all("iam", "list_role_policies", "PolicyNames", RoleName=id)
        ]
        attached = self.account.all("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=id)
        return {
            "name": role["RoleName"],
            "arn": role["Arn"],
            "path": role["Path"],
            "uniqueId": role["RoleId"],
            "createDate": text(role["CreateDate"]),
            "assumeRolePolicy": _document(role["AssumeRolePolicyDocument"]),
            "description": role.get("Description") or "",
            "maxSessionDuration": role.get("MaxSessionDuration", 3600),
            "permissionsBoundary": (role.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn") or "",
            "managedPolicyArns": sorted(item["PolicyArn"] for item in attached),
            "inlinePolicies": inline,
            "tags": role.get("Tags"),
        }

    def change(self, op: Operation, state: State, news: Properties, changed: set[str]) -> None:
        """One call for each thing that changed."""
        name = state.id
        if "assumeRolePolicy" in changed:
            self.iam("update_assume_role_policy", RoleName=name, PolicyDocument=news["assumeRolePolicy"])
        if changed & {"description", "maxSessionDuration"}:
            given = {"Description": news.get("description", ""), "MaxSessionDuration": news["maxSessionDuration"]}
            self.iam("update_role", RoleName=name, **given)
        if "permissionsBoundary" in changed:
            boundary = news.get("permissionsBoundary")
            if boundary:
                self.iam("put_role_permissions_boundary", RoleName=name, PermissionsBoundary=boundary)
            else:
                self.iam("delete_role_permissions_boundary", RoleName=name)
        self._policies(name, state.outputs, {key: news.get(key) for key in changed})

    def remove(self, op: Operation, state: State) -> None:
        """DeleteRole; attached policies are only taken off when they are the role's own or it was told to."""
        name, old = state.id, state.outputs
        found = self.account.find(_GONE, lambda: self.look(name, None))
        if found is None:
            return
        profiles = self.account.all("iam", "list_instance_profiles_for_role", "InstanceProfiles", RoleName=name)
        for profile in profiles:
            self.iam(
                "remove_role_from_instance_profile", RoleName=name, InstanceProfileName=profile["InstanceProfileName"]
            )
        force = old.get("forceDetachPolicies")
        if force or state.inputs.get("managedPolicyArns"):
            for arn in found["managedPolicyArns"]:
                self.iam("detach_role_policy", RoleName=name, PolicyArn=arn)
        if force or state.inputs.get("inlinePolicies"):
            for policy in found["inlinePolicies"]:
                self.iam("delete_role_policy", RoleName=name, PolicyName=policy["name"])
        self.account.find(_GONE, lambda: self.iam("delete_role", RoleName=name))

    def _policies(self, role: str, old: Properties, new: Properties) -> None:
        if new.get("managedPolicyArns") is not None:
            before, after = set(old.get("managedPolicyArns") or ()), set(new["managedPolicyArns"])
            for arn in sorted(before - after):
                self.iam("detach_role_policy", RoleName=role, PolicyArn=arn)
            for arn in sorted(after - before):
                self.iam("attach_role_policy", RoleName=role, PolicyArn=arn)
        if new.get("inlinePolicies") is not None:
            wanted = {item["name"]: item["policy"] for item in new["inlinePolicies"]}
            for item in old.get("inlinePolicies") or ():
                if item["name"] not in wanted:
                    self.iam("delete_role_policy", RoleName=role, PolicyName=item["name"])
            for name, policy in wanted.items():
                self.iam("put_role_policy", RoleName=role, PolicyName=name, PolicyDocument=policy)


class RolePolicy(_Iam):
    """An inline policy of a role. Its id is `role:name`."""

    label = "IAM Role Policy"
    schema = Schema(
        "aws:iam/rolePolicy:RolePolicy", f"policy*$ role*! {_NAMED}", auto_name="name", tagged=False, regional=False
    )

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """PutRolePolicy."""
        name = self.name_for(inputs)
        self.iam("put_role_policy", RoleName=inputs["role"], PolicyName=name, PolicyDocument=inputs["policy"])
        return f"{inputs['role']}:{name}"

    def look(self, id: str, region: str | None) -> Properties | None:
        """GetRolePolicy."""
        role, _, name = id.partition(":")
        found = self.account.find(_GONE, lambda: self.iam("get_role_policy", RoleName=role, PolicyName=name))
        return found and {"role": role, "name": name, "policy": _document(found["PolicyDocument"])}

    def change(self, op: Operation, state: State, news: Properties, changed: set[str]) -> None:
        """PutRolePolicy replaces the document."""
        role, _, name = state.id.partition(":")
        self.iam("put_role_policy", RoleName=role, PolicyName=name, PolicyDocument=news["policy"])

    def remove(self, op: Operation, state: State) -> None:
        """DeleteRolePolicy."""
        role, _, name = state.id.partition(":")
        self.account.find(_GONE, lambda: self.iam("delete_role_policy", RoleName=role, PolicyName=name))


class Policy(_Iam):
    """A managed policy. Its id is its ARN."""

    label, kind, key = "IAM Policy", "policy", "PolicyArn"
    schema = Schema(
        "aws:iam/policy:Policy",
        f"policy*$ description! {_NAMED} path! delayAfterPolicyCreationInMs^",
        "arn attachmentCount policyId",
        defaults={"path": "/"},
        auto_name="name",
        regional=False,
    )

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """CreatePolicy."""
        answer = self.iam(
            "create_policy",
            PolicyName=self.name_for(inputs),
            Path=inputs["path"],
            PolicyDocument=inputs["policy"],
            Description=inputs.get("description"),
            Tags=tag_list(tags) or None,
        )
        return str(answer["Policy"]["Arn"])

    def look(self, id: str, region: str | None) -> Properties | None:
        """GetPolicy and its default version."""
        answer = self.account.find(_GONE, lambda: self.iam("get_policy", PolicyArn=id))
        if answer is None:
            return None
        policy = answer["Policy"]
        version = self.iam("get_policy_version", PolicyArn=id, VersionId=policy["DefaultVersionId"])["PolicyVersion"]
        return {
            "arn": policy["Arn"],
            "name": policy["PolicyName"],
            "path": policy["Path"],
            "policyId": policy["PolicyId"],
            "attachmentCount": policy.get("AttachmentCount", 0),
            "description": policy.get("Description") or "",
            "policy": _document(version["Document"]),
            "tags": policy.get("Tags"),
        }

    def change(self, op: Operation, state: State, news: Properties, changed: set[str]) -> None:
        """A new default version; the oldest one goes when there are five."""
        if "policy" not in changed:
            return
        versions = self.iam("list_policy_versions", PolicyArn=state.id)["Versions"]
        spare = [version for version in versions if not version["IsDefaultVersion"]]
        if len(versions) >= 5:
            oldest = min(spare, key=lambda version: version["CreateDate"])["VersionId"]
            self.iam("delete_policy_version", PolicyArn=state.id, VersionId=oldest)
        self.iam("create_policy_version", PolicyArn=state.id, PolicyDocument=news["policy"], SetAsDefault=True)

    def remove(self, op: Operation, state: State) -> None:
        """DeletePolicy after its other versions."""
        versions = self.account.find(_GONE, lambda: self.iam("list_policy_versions", PolicyArn=state.id))
        for version in (versions or {}).get("Versions", ()):
            if not version["IsDefaultVersion"]:
                self.iam("delete_policy_version", PolicyArn=state.id, VersionId=version["VersionId"])
        self.account.find(_GONE, lambda: self.iam("delete_policy", PolicyArn=state.id))


class RolePolicyAttachment(_Iam):
    """A managed policy on a role. Its id is `role/policy`."""

    label = "IAM Role Policy Attachment"
    schema = Schema(
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment", "policyArn*! role*!", tagged=False, regional=False
    )

    def called(self, inputs: Properties) -> str:
        """Its id."""
        return f"{inputs['role']}/{inputs['policyArn']}"

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """AttachRolePolicy."""
        self.iam("attach_role_policy", RoleName=inputs["role"], PolicyArn=inputs["policyArn"])
        return self.called(inputs)

    def look(self, id: str, region: str | None) -> Properties | None:
        """ListAttachedRolePolicies."""
        role, _, arn = id.partition("/")
        attached = self.account.find(
            _GONE, lambda: self.account.all("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=role)
        )
        return {"role": role, "policyArn": arn} if arn in [a["PolicyArn"] for a in attached or ()] else None

    def remove(self, op: Operation, state: State) -> None:
        """DetachRolePolicy."""
        role, _, arn = state.id.partition("/")
        self.account.find(_GONE, lambda: self.iam("detach_role_policy", RoleName=role, PolicyArn=arn))


class OpenIdConnectProvider(_Iam):
    """Trust in a cluster's tokens. Its id is its ARN."""

    label, kind, key = "IAM OIDC Provider", "open_id_connect_provider", "OpenIDConnectProviderArn"
    schema = Schema(
        "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
        "clientIdLists*~ url*! thumbprintLists?",
        "arn",
        regional=False,
    )

    def called(self, inputs: Properties) -> str:
        """Its URL."""
        return str(inputs["url"])

    def comparable(self, news: Properties) -> Properties:
        """AWS keeps the URL without its scheme."""
        return {**news, "url": str(news["url"]).removeprefix("https://")}

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """CreateOpenIDConnectProvider."""
        answer = self.iam(
            "create_open_id_connect_provider",
            Url=inputs["url"],
            ClientIDList=inputs["clientIdLists"],
            ThumbprintList=inputs.get("thumbprintLists") or None,
            Tags=tag_list(tags) or None,
        )
        return str(answer["OpenIDConnectProviderArn"])

    def look(self, id: str, region: str | None) -> Properties | None:
        """GetOpenIDConnectProvider."""
        found = self.account.find(_GONE, lambda: self.iam("get_open_id_connect_provider", OpenIDConnectProviderArn=id))
        return found and {
            "arn": id,
            "url": found["Url"],
            "clientIdLists": found.get("ClientIDList") or [],
            "thumbprintLists": found.get("ThumbprintList") or [],
            "tags": found.get("Tags"),
        }

    def change(self, op: Operation, state: State, news: Properties, changed: set[str]) -> None:
        """Thumbprints at once, client ids one by one."""
        arn = {"OpenIDConnectProviderArn": state.id}
        if "thumbprintLists" in changed:
            self.iam("update_open_id_connect_provider_thumbprint", ThumbprintList=news["thumbprintLists"], **arn)
        before, after = set(state.outputs["clientIdLists"]), set(news["clientIdLists"])
        for client in sorted(after - before):
            self.iam("add_client_id_to_open_id_connect_provider", ClientID=client, **arn)
        for client in sorted(before - after):
            self.iam("remove_client_id_from_open_id_connect_provider", ClientID=client, **arn)

    def remove(self, op: Operation, state: State) -> None:
        """DeleteOpenIDConnectProvider."""
        arn = {"OpenIDConnectProviderArn": state.id}
        self.account.find(_GONE, lambda: self.iam("delete_open_id_connect_provider", **arn))


class InstanceProfile(_Iam):
    """The role of instances. Its id is its name."""

    label, kind, key = "IAM Instance Profile", "instance_profile", "InstanceProfileName"
    schema = Schema(
        "aws:iam/instanceProfile:InstanceProfile",
        f"{_NAMED} path! role",
        "arn createDate uniqueId",
        defaults={"path": "/"},
        auto_name="name",
        regional=False,
    )

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """CreateInstanceProfile, then its role."""
        name = self.name_for(inputs)
        given = {"InstanceProfileName": name, "Path": inputs["path"], "Tags": tag_list(tags) or None}
        self.iam("create_instance_profile", **given)
        if inputs.get("role"):
            self.iam("add_role_to_instance_profile", InstanceProfileName=name, RoleName=inputs["role"])
        return name

    def look(self, id: str, region: str | None) -> Properties | None:
        """GetInstanceProfile."""
        answer = self.account.find(_GONE, lambda: self.iam("get_instance_profile", InstanceProfileName=id))
        if answer is None:
            return None
        found = answer["InstanceProfile"]
        return {
            "name": found["InstanceProfileName"],
            "arn": found["Arn"],
            "path": found["Path"],
            "uniqueId": found["InstanceProfileId"],
            "createDate": text(found["CreateDate"]),
            "role": next((role["RoleName"] for role in found.get("Roles") or ()), None),
            "tags": found.get("Tags"),
        }

    def change(self, op: Operation, state: State, news: Properties, changed: set[str]) -> None:
        """Its role."""
        if "role" in changed:
            self._swap(state, news.get("role"))

    def remove(self, op: Operation, state: State) -> None:
        """DeleteInstanceProfile, without its role first."""
        if self.look(state.id, None) is not None:
            self._swap(state, None)
            self.account.find(_GONE, lambda: self.iam("delete_instance_profile", InstanceProfileName=state.id))

    def _swap(self, state: State, role: str | None) -> None:
        names = {"InstanceProfileName": state.id}
        old = state.outputs.get("role")
        if old:
            remove = "remove_role_from_instance_profile"
            self.account.find(_GONE, lambda: self.iam(remove, RoleName=old, **names))
        if role:
            self.iam("add_role_to_instance_profile", RoleName=role, **names)


def _document(found: Any) -> str:
    """A policy document as compact JSON text (botocore gives it parsed or percent-encoded)."""
    value = json.loads(unquote(found)) if isinstance(found, str) else found
    return json.dumps(value, separators=(",", ":"))
