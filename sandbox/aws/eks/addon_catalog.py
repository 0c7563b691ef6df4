"""Add-ons of EKS: versions, and the schema of the configuration that each takes.

The schemas are written after what DescribeAddonConfiguration answers: closed objects, values of
environment variables are strings; vpc-cni knows `affinity`, kube-proxy does not.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ADDONS", "SCHEMAS", "default_version"]

Json = dict[str, Any]

ADDONS: dict[str, dict[str, list[str]]] = {
    "vpc-cni": {
        version: ["v1.23.1-eksbuild.1", "v1.22.2-eksbuild.1", "v1.21.1-eksbuild.3"]
        for version in ("1.33", "1.34", "1.35")
    },
    "kube-proxy": {
        "1.33": ["v1.33.8-eksbuild.4", "v1.33.3-eksbuild.4"],
        "1.34": ["v1.34.4-eksbuild.4", "v1.34.0-eksbuild.2"],
        "1.35": ["v1.35.4-eksbuild.2", "v1.35.0-eksbuild.2"],
    },
    "coredns": {
        version: ["v1.13.2-eksbuild.4", "v1.13.1-eksbuild.1", "v1.12.4-eksbuild.1"]
        for version in ("1.33", "1.34", "1.35")
    },
}
"""Versions by add-on and Kubernetes version, newest first; the default is the last but one, or the last of two."""

_DEFAULTS = {"vpc-cni": 1, "kube-proxy": 1, "coredns": 1}


def default_version(addon: str, kubernetes: str) -> str:
    """The version that EKS takes when none is asked for: not the newest."""
    return ADDONS[addon][kubernetes][_DEFAULTS[addon]]


def _closed(properties: Json, **more: Any) -> Json:
    return {"type": "object", "additionalProperties": False, "properties": properties, **more}


_TEXT = {"type": "string"}
_SWITCH = {"type": "string", "format": "boolean", "enum": ["true", "false"]}
_RESOURCES = _closed(
    {
        part: {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
        for part in ("limits", "requests")
    }
)
_TOLERATIONS = {"type": "array", "items": {"type": "object"}}
_ENV = (
    "ADDITIONAL_ENI_TAGS", "ANNOTATE_POD_IP", "AWS_EC2_ENDPOINT", "AWS_EXTERNAL_SERVICE_CIDRS",
    "AWS_MANAGE_ENIS_NON_SCHEDULABLE", "AWS_VPC_CNI_NODE_PORT_SUPPORT", "AWS_VPC_ENI_MTU",
    "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS", "AWS_VPC_K8S_CNI_EXTERNALSNAT",
    "AWS_VPC_K8S_CNI_LOGLEVEL", "AWS_VPC_K8S_CNI_LOG_FILE", "AWS_VPC_K8S_CNI_RANDOMIZESNAT",
    "AWS_VPC_K8S_CNI_VETHPREFIX", "AWS_VPC_K8S_PLUGIN_LOG_FILE", "AWS_VPC_K8S_PLUGIN_LOG_LEVEL",
    "CLUSTER_ENDPOINT", "DISABLE_INTROSPECTION", "DISABLE_LEAKED_ENI_CLEANUP", "DISABLE_METRICS",
    "DISABLE_NETWORK_RESOURCE_PROVISIONING", "DISABLE_POD_V6", "ENABLE_BANDWIDTH_PLUGIN",
    "ENABLE_IMDS_ONLY_MODE", "ENABLE_POD_ENI", "ENABLE_PREFIX_DELEGATION", "ENABLE_SUBNET_DISCOVERY",
    "ENI_CONFIG_ANNOTATION_DEF", "ENI_CONFIG_LABEL_DEF", "INTROSPECTION_BIND_ADDRESS", "MAX_ENI",
    "MINIMUM_IP_TARGET", "NETWORK_POLICY_ENFORCING_MODE", "POD_SECURITY_GROUP_ENFORCING_MODE",
    "WARM_ENI_TARGET", "WARM_IP_TARGET", "WARM_PREFIX_TARGET",
)  # fmt: skip

SCHEMAS: dict[str, Json] = {
    "vpc-cni": _closed(
        {
            "affinity": {"type": ["object", "null"]},
            "enableNetworkPolicy": _SWITCH,
            "enableWindowsIpam": _SWITCH,
            "eniConfig": _closed(
                {
                    "create": {"type": "boolean"},
                    "region": _TEXT,
                    "subnets": {
                        "type": "object",
                        "additionalProperties": _closed(
                            {"id": _TEXT, "securityGroups": {"type": "array", "items": _TEXT}}
                        ),
                    },
                },
                required=["create", "region", "subnets"],
            ),
            "env": _closed(dict.fromkeys(_ENV, _TEXT)),
            "init": _closed(
                {"env": _closed({"DISABLE_TCP_EARLY_DEMUX": _TEXT, "ENABLE_V6_EGRESS": _TEXT}), "resources": _RESOURCES}
            ),
            "livenessProbeTimeoutSeconds": {"type": "integer"},
            "readinessProbeTimeoutSeconds": {"type": "integer"},
            "nodeAgent": _closed(
                {
                    "enableCloudWatchLogs": _SWITCH,
                    "enablePolicyEventLogs": _SWITCH,
                    "healthProbeBindAddr": _TEXT,
                    "metricsBindAddr": _TEXT,
                    "conntrackCacheCleanupPeriod": _TEXT,
                    "networkPolicyAgentLogFileLocation": _TEXT,
                    "resources": _RESOURCES,
                }
            ),
            "podAnnotations": {"type": "object", "additionalProperties": _TEXT},
            "podLabels": {"type": "object", "additionalProperties": _TEXT},
            "resources": _RESOURCES,
            "tolerations": _TOLERATIONS,
        },
    ),
    "kube-proxy": _closed(
        {
            "ipvs": _closed({"scheduler": _TEXT}),
            "mode": {"type": "string", "enum": ["iptables", "ipvs", "nftables"]},
            "podAnnotations": {"type": "object", "additionalProperties": _TEXT},
            "podLabels": {"type": "object", "additionalProperties": _TEXT},
            "resources": _RESOURCES,
        },
    ),
    "coredns": _closed(
        {
            "affinity": {"type": ["object", "null"]},
            "autoScaling": _closed(
                {"enabled": {"type": "boolean"}, "minReplicas": {"type": "integer"}, "maxReplicas": {"type": "integer"}}
            ),
            "computeType": _TEXT,
            "corefile": _TEXT,
            "nodeSelector": {"type": ["object", "null"]},
            "podAnnotations": {"type": "object"},
            "podDisruptionBudget": {"type": "object"},
            "podLabels": {"type": "object"},
            "replicaCount": {"type": "integer", "minimum": 1},
            "resources": _RESOURCES,
            "tolerations": _TOLERATIONS,
            "topologySpreadConstraints": {"type": "array"},
        },
    ),
}
"""JSON schema of `configurationValues` by add-on."""
for _name, _schema in SCHEMAS.items():
    _schema["$schema"] = "http://json-schema.org/draft-07/schema#"
    _schema["title"] = _name
