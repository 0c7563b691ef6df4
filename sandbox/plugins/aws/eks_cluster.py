"""`aws:eks/cluster:Cluster`."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Any

from sandbox.plugins.aws.account import AwsError, chosen, tag_changes, text
from sandbox.plugins.aws.resource import AwsResource
from sandbox.plugins.aws.schema import Schema
from sandbox.plugins.operation import CheckFailed, Operation, ProviderError, State
from sandbox.plugins.values import Properties, has_unknown

_ENDPOINT = ("endpointPrivateAccess", "endpointPublicAccess", "publicAccessCidrs")
_PLACEMENT = ("subnetIds", "securityGroupIds")


class EksTagged(AwsResource):
    """EKS resources are tagged by ARN."""

    def retag(self, op: Operation, state: State, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        """Sets and removes tags."""
        arn = next(state.outputs[key] for key in ("arn", "accessEntryArn", "associationArn") if key in state.outputs)
        region = state.outputs.get("region")
        wanted, gone = tag_changes(old, new)
        if gone:
            self.account.call("eks", "untag_resource", region, resourceArn=arn, tagKeys=gone)
        if wanted:
            self.account.call("eks", "tag_resource", region, resourceArn=arn, tags=wanted)

    def wait_update(
        self, op: Operation, region: str | None, cluster: str, update: Mapping[str, Any], **of: str
    ) -> None:
        """Waits for an update to be Successful; ProviderError with its errors when it is not."""
        found: dict[str, Any] = {}

        def done() -> bool:
            arguments = {"name": cluster, "updateId": update["id"], **of}
            found.update(self.account.call("eks", "describe_update", region, **arguments)["update"])
            return bool(found["status"] != "InProgress")

        self.wait(op, f"update ({update['id']})", done)
        if found["status"] != "Successful":
            raise ProviderError(
                f"waiting for update ({update['id']}): unexpected state '{found['status']}', wanted target "
                f"'Successful'. last error: {issues(found.get('errors'))}"
            )


class Cluster(EksTagged):
    """A control plane. Its id is its name."""

    label = "EKS Cluster"
    schema = Schema(
        "aws:eks/cluster:Cluster",
        "name! roleArn*! vpcConfig* vpcConfig.subnetIds~ vpcConfig.securityGroupIds~ vpcConfig.publicAccessCidrs~? "
        "vpcConfig.clusterSecurityGroupId? vpcConfig.vpcId? accessConfig? accessConfig.authenticationMode? "
        "accessConfig.bootstrapClusterCreatorAdminPermissions!? bootstrapSelfManagedAddons!^ computeConfig "
        "deletionProtection? enabledClusterLogTypes~ encryptionConfig forceUpdateVersion^ kubernetesNetworkConfig? "
        "kubernetesNetworkConfig.ipFamily!? kubernetesNetworkConfig.serviceIpv4Cidr!? "
        "kubernetesNetworkConfig.serviceIpv6Cidr? kubernetesNetworkConfig.elasticLoadBalancing? "
        "remoteNetworkConfig storageConfig upgradePolicy? upgradePolicy.supportType? version? zonalShiftConfig",
        "arn certificateAuthority clusterId createdAt endpoint identities platformVersion status",
        defaults={"bootstrapSelfManagedAddons": True},
        auto_name="name",
    )

    def check(self, op: Operation, olds: Properties, news: Properties) -> Properties:
        """Fills in the defaults of the endpoint's access too."""
        inputs = super().check(op, olds, news)
        network = inputs.get("kubernetesNetworkConfig")
        block = network.get("serviceIpv4Cidr") if isinstance(network, dict) else None
        if block and not has_unknown(block) and not _serves(block):
            reason = f"expected a block of /12 to /24 within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16, got {block}"
            raise CheckFailed({"kubernetesNetworkConfig.serviceIpv4Cidr": reason})
        if isinstance(inputs["vpcConfig"], dict):
            access = {"endpointPrivateAccess": False, "endpointPublicAccess": True}
            inputs["vpcConfig"] = access | {k: v for k, v in inputs["vpcConfig"].items() if v is not None}
        return inputs

    def make(self, op: Operation, inputs: Properties, tags: Mapping[str, str]) -> str:
        """CreateCluster."""
        vpc = chosen(inputs["vpcConfig"], *_ENDPOINT, *_PLACEMENT)
        logging = inputs.get("enabledClusterLogTypes")
        encryption = inputs.get("encryptionConfig")
        self.account.call(
            "eks",
            "create_cluster",
            inputs.get("region"),
            name=inputs["name"],
            roleArn=inputs["roleArn"],
            resourcesVpcConfig=vpc,
            bootstrapSelfManagedAddons=inputs["bootstrapSelfManagedAddons"],
            logging={"clusterLogging": [{"types": logging, "enabled": True}]} if logging else None,
            encryptionConfig=[encryption] if encryption else None,
            tags=dict(tags) or None,
            **chosen(inputs, "accessConfig", "computeConfig", "kubernetesNetworkConfig", "remoteNetworkConfig"),
            **chosen(inputs, "storageConfig", "upgradePolicy", "version", "zonalShiftConfig", "deletionProtection"),
        )
        return str(inputs["name"])

    def settle(self, op: Operation, id: str, inputs: Properties) -> None:
        """Waits for ACTIVE."""
        last = ""

        def done() -> bool:
            nonlocal last
            last = self._describe(id, inputs.get("region"))["status"]
            return last not in ("CREATING", "PENDING")

        self.wait(op, "state to become 'ACTIVE'", done)
        if last != "ACTIVE":
            raise ProviderError(f"unexpected state '{last}', wanted target 'ACTIVE'")

    def look(self, id: str, region: str | None) -> Properties | None:
        """DescribeCluster."""
        found = self.account.find(["ResourceNotFoundException"], lambda: self._describe(id, region))
        if found is None:
            return None
        vpc = dict(found.get("resourcesVpcConfig") or {})
        enabled = [
            kind
            for entry in (found.get("logging") or {}).get("clusterLogging", ())
            if entry.get("enabled")
            for kind in entry["types"]
        ]
        issuer = ((found.get("identity") or {}).get("oidc") or {}).get("issuer")
        encryption = found.get("encryptionConfig") or []
        return {
            **chosen(found, "name", "roleArn", "arn", "endpoint", "platformVersion", "status", "version", "tags"),
            **chosen(found, "computeConfig", "kubernetesNetworkConfig", "storageConfig", "upgradePolicy"),
            **chosen(found, "remoteNetworkConfig", "zonalShiftConfig", "deletionProtection"),
            "accessConfig": {"bootstrapClusterCreatorAdminPermissions": True} | dict(found.get("accessConfig") or {}),
            "bootstrapSelfManagedAddons": True,  # AWS does not tell; only an import needs it
            "certificateAuthority": {"data": (found.get("certificateAuthority") or {}).get("data")},
            "clusterId": found.get("id"),
            "createdAt": text(found.get("createdAt")),
            "enabledClusterLogTypes": enabled or None,
            "encryptionConfig": encryption[0] if encryption else None,
            "identities": [{"oidcs": [{"issuer": issuer}]}] if issuer else [],
            "vpcConfig": vpc,
        }

    def change(self, op: Operation, state: State, news: Properties, changed: set[str]) -> None:
        """One update for each thing that EKS wants to update by itself, each waited for."""
        region, old = state.outputs.get("region"), state.outputs
        if "version" in changed:
            arguments = {"version": news["version"], "force": news.get("forceUpdateVersion")}
            self._apply(op, state.id, region, "update_cluster_version", **arguments)
        if "accessConfig" in changed:
            mode = chosen(news["accessConfig"], "authenticationMode")
            self._apply(op, state.id, region, accessConfig=mode)
        if "enabledClusterLogTypes" in changed:
            before, after = set(old.get("enabledClusterLogTypes") or ()), set(news.get("enabledClusterLogTypes") or ())
            setup = [
                {"types": sorted(types), "enabled": enabled}
                for types, enabled in ((after, True), (before - after, False))
                if types
            ]
            self._apply(op, state.id, region, logging={"clusterLogging": setup})
        if "encryptionConfig" in changed:
            config = [news["encryptionConfig"]]
            self._apply(
                op, state.id, region, "associate_encryption_config", clusterName=state.id, encryptionConfig=config
            )
        if "vpcConfig" in changed:
            for names in (_ENDPOINT, _PLACEMENT):
                wanted = chosen(news["vpcConfig"], *names)
                if any(_sorted(wanted[key]) != _sorted(old["vpcConfig"].get(key)) for key in wanted):
                    self._apply(op, state.id, region, resourcesVpcConfig=wanted)
        for key in ("computeConfig", "deletionProtection", "storageConfig", "upgradePolicy", "zonalShiftConfig"):
            if key in changed:
                self._apply(op, state.id, region, **{key: news.get(key)})

    def remove(self, op: Operation, state: State) -> None:
        """DeleteCluster, again while another change is in progress, and waits until it is gone."""
        region = state.outputs.get("region")

        def started() -> bool:
            try:
                self.account.call("eks", "delete_cluster", region, name=state.id)
            except AwsError as error:
                if error.code == "ResourceInUseException" and "in progress" in str(error):
                    return False
                if error.code != "ResourceNotFoundException":
                    raise
            return True

        self.wait(op, "the change in progress", started)
        self.wait(op, "deletion", lambda: self.look(state.id, region) is None)

    def _describe(self, name: str, region: str | None) -> Any:
        return self.account.call("eks", "describe_cluster", region, name=name)["cluster"]

    def _apply(
        self, op: Operation, name: str, region: str | None, operation: str = "update_cluster_config", /, **what: Any
    ) -> None:
        arguments = what if "clusterName" in what else {"name": name, **what}
        self.wait_update(op, region, name, self.account.call("eks", operation, region, **arguments)["update"])


def issues(found: Any) -> str:
    """Health issues and errors of EKS in one line: `CODE: message: [ids]`."""
    lines = []
    for issue in found or ():
        code, message = issue.get("code") or issue.get("errorCode"), issue.get("message") or issue.get("errorMessage")
        ids = ", ".join(issue.get("resourceIds") or ())
        lines.append(f"{ids + ': ' if ids else ''}{code}: {message}")
    return "; ".join(lines) or "none reported"


def _serves(block: str) -> bool:
    """Whether the provider takes a block for Services."""
    try:
        network = IPv4Network(block)
    except ValueError:
        return False
    private = map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
    return 12 <= network.prefixlen <= 24 and any(network.subnet_of(one) for one in private)


def _sorted(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value
