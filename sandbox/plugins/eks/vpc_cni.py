"""`eks:index:VpcCniAddon`: the vpc-cni add-on, with its options turned into the add-on's configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as k8s

_ENVIRONMENT: tuple[tuple[str, str, str | None], ...] = (
    # option, environment variable of aws-node, default
    ("nodePortSupport", "AWS_VPC_CNI_NODE_PORT_SUPPORT", None),
    ("customNetworkConfig", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", None),
    ("warmEniTarget", "WARM_ENI_TARGET", "1"),
    ("warmIpTarget", "WARM_IP_TARGET", None),
    ("warmPrefixTarget", "WARM_PREFIX_TARGET", None),
    ("enablePrefixDelegation", "ENABLE_PREFIX_DELEGATION", None),
    ("logLevel", "AWS_VPC_K8S_CNI_LOGLEVEL", "DEBUG"),
    ("logFile", "AWS_VPC_K8S_CNI_LOG_FILE", "/host/var/log/aws-routed-eni/ipamd.log"),
    ("vethPrefix", "AWS_VPC_K8S_CNI_VETHPREFIX", "eni"),
    ("eniMtu", "AWS_VPC_ENI_MTU", "9001"),
    ("eniConfigLabelDef", "ENI_CONFIG_LABEL_DEF", None),
    ("pluginLogLevel", "AWS_VPC_K8S_PLUGIN_LOG_LEVEL", "DEBUG"),
    ("pluginLogFile", "AWS_VPC_K8S_PLUGIN_LOG_FILE", "/var/log/aws-routed-eni/plugin.log"),
    ("enablePodEni", "ENABLE_POD_ENI", "false"),
    ("cniConfigureRpfilter", "AWS_VPC_K8S_CNI_CONFIGURE_RPFILTER", None),
    ("cniCustomNetworkCfg", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "false"),
    ("externalSnat", "AWS_VPC_K8S_CNI_EXTERNALSNAT", "false"),
)
_OTHERS = {"addonVersion", "cniExternalSnat", "configurationValues", "disableTcpEarlyDemux", "enableNetworkPolicy"}
_OTHERS |= {
    "resolveConflictsOnCreate",
    "resolveConflictsOnUpdate",
    "securityContextPrivileged",
    "serviceAccountRoleArn",
}


class VpcCniAddon(pulumi.ComponentResource):
    """The add-on, kept in the cluster when it leaves the program (`preserve`)."""

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any],
        *,
        cluster: aws.eks.Cluster,
        tags: Any,
        opts: pulumi.ResourceOptions,
    ) -> None:
        known = {option for option, _, _ in _ENVIRONMENT} | _OTHERS
        if unknown := sorted(set(options) - known):
            raise ValueError(f"vpcCniOptions of {name!r}: unknown options {', '.join(unknown)}")
        props = {**options, "clusterName": cluster.name, "clusterVersion": cluster.version, "tags": tags}
        super().__init__("eks:index:VpcCniAddon", name, props, opts)
        version = options.get("addonVersion") or aws.eks.get_addon_version_output(
            addon_name="vpc-cni",
            kubernetes_version=cluster.version,
            most_recent=True,
            opts=pulumi.InvokeOutputOptions(parent=self),
        ).apply(lambda found: found.version)
        self.addon = aws.eks.Addon(
            name,
            cluster_name=cluster.name,
            addon_name="vpc-cni",
            addon_version=version,
            resolve_conflicts_on_create=options.get("resolveConflictsOnCreate") or "OVERWRITE",
            resolve_conflicts_on_update=options.get("resolveConflictsOnUpdate") or "OVERWRITE",
            preserve=True,
            configuration_values=pulumi.Output.from_input(dict(options)).apply(configuration),
            service_account_role_arn=options.get("serviceAccountRoleArn"),
            tags=tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        if options.get("securityContextPrivileged"):
            self._privileged(name)
        self.register_outputs({"addon": self.addon})

    def _privileged(self, name: str) -> None:
        """What the add-on's configuration cannot say is patched."""
        k8s.apps.v1.DaemonSetPatch(
            name,
            metadata={
                "name": "aws-node",
                "namespace": "kube-system",
                "annotations": {"pulumi.com/patchForce": "true"},
            },
            spec={
                "template": {
                    "spec": {"containers": [{"name": "aws-node", "securityContext": {"privileged": True}}]},
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.addon], retain_on_delete=True),
        )


def configuration(options: Mapping[str, Any]) -> str:
    """The add-on's `configurationValues` as sorted JSON; what the user's own values say wins."""
    if options.get("cniExternalSnat") and options.get("externalSnat"):
        raise ValueError("vpcCniOptions: give `cniExternalSnat` or `externalSnat`, not both")
    given = {**options, "externalSnat": options.get("externalSnat") or options.get("cniExternalSnat")}
    environment: dict[str, str] = {}
    for option, variable, default in _ENVIRONMENT:
        value = _text(given[option]) if given.get(option) else default
        if value is not None:
            environment[variable] = value
    initial = {"DISABLE_TCP_EARLY_DEMUX": _text(options.get("disableTcpEarlyDemux") or False)}
    values = dict(options.get("configurationValues") or {})
    if options.get("enableNetworkPolicy") is not None:
        values.setdefault("enableNetworkPolicy", _text(options["enableNetworkPolicy"]))
    values["env"] = environment | dict(values.get("env") or {})
    init = dict(values.get("init") or {})
    values["init"] = {**init, "env": initial | dict(init.get("env") or {})}
    return stringified(values)


def stringified(values: Any) -> str:
    """JSON that stays the same for the same values."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
