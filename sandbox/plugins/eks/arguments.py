"""The arguments of `eks:index:Cluster`: which are understood, which are refused and why."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from typing import Any


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


UNDERSTOOD = _words(
    "accessEntries authenticationMode bootstrapSelfManagedAddons clusterSecurityGroup clusterSecurityGroupTags "
    "clusterTags corednsAddonOptions createOidcProvider deletionProtection enableConfigMapMutable "
    "enabledClusterLogTypes encryptionConfigKeyArn endpointPrivateAccess endpointPublicAccess instanceRole "
    "instanceRoles ipFamily kubeProxyAddonOptions kubernetesServiceIpAddressRange name nodeSecurityGroupTags "
    "privateSubnetIds providerCredentialOpts publicAccessCidrs publicSubnetIds roleMappings serviceRole "
    "skipDefaultNodeGroup skipDefaultSecurityGroups subnetIds tags upgradePolicy useDefaultVpcCni userMappings "
    "version vpcCniOptions vpcId"
)
DEFAULT_NODES = _words(
    "desiredCapacity gpu instanceProfileName instanceType maxSize minSize nodeAmiId nodeAssociatePublicIpAddress "
    "nodeGroupOptions nodePublicKey nodeRootVolumeEncrypted nodeRootVolumeSize nodeSubnetIds nodeUserData proxy"
)
"""Arguments that only shape the default node group, or how the provider reaches a cluster: accepted, without effect."""
REFUSED = _words("autoMode createInstanceRole creationRoleProvider fargate storageClasses")
AUTHENTICATION_MODES = ("CONFIG_MAP", "API_AND_CONFIG_MAP", "API")


_CLI_VERSION = re.compile(r"aws-cli/(\d+)\.(\d+)")


class ArgumentError(Exception):
    """Arguments that cannot stand; the text names the argument, the reason and the way out."""


def checked(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that are set. ArgumentError when they contradict each other or ask for what is not here."""
    args = {key: value for key, value in given.items() if value is not None}
    unknown = sorted(set(args) - UNDERSTOOD - DEFAULT_NODES - REFUSED)
    if unknown:
        raise ArgumentError(f"eks.Cluster {name!r}: unknown arguments {', '.join(unknown)}")
    refused = sorted(key for key in REFUSED & set(args) if args[key] not in (False, {}))
    if refused:
        raise ArgumentError(
            f"eks.Cluster {name!r}: {', '.join(refused)}: not supported by this stand-in; leave it out, or use the "
            "real eks provider"
        )
    if not args.get("skipDefaultNodeGroup"):
        raise ArgumentError(
            f"eks.Cluster {name!r}: the default node group is not supported by this stand-in; "
            "set skipDefaultNodeGroup to true and declare node groups of your own"
        )
    mode = args.get("authenticationMode")
    if mode is not None and mode not in AUTHENTICATION_MODES:
        raise ArgumentError(
            f"eks.Cluster {name!r}: authenticationMode {mode!r} is none of {', '.join(AUTHENTICATION_MODES)}"
        )
    if args.get("accessEntries") and not with_access_entries(mode):
        raise ArgumentError(
            f"eks.Cluster {name!r}: accessEntries need authenticationMode 'API' or 'API_AND_CONFIG_MAP', not {mode!r}"
        )
    mappings = [key for key in ("roleMappings", "userMappings", "instanceRoles") if args.get(key)]
    if mappings and not with_config_map(mode):
        raise ArgumentError(
            f"eks.Cluster {name!r}: {', '.join(mappings)} need the aws-auth ConfigMap: authenticationMode "
            f"'CONFIG_MAP' or 'API_AND_CONFIG_MAP', not {mode!r}"
        )
    if "subnetIds" in args and ("publicSubnetIds" in args or "privateSubnetIds" in args):
        raise ArgumentError(
            f"eks.Cluster {name!r}: subnetIds, and the use of publicSubnetIds and/or privateSubnetIds are mutually "
            "exclusive. Choose a single approach."
        )
    if "instanceRole" in args and "instanceRoles" in args:
        raise ArgumentError(f"eks.Cluster {name!r}: instanceRole and instanceRoles are mutually exclusive.")
    return args


def with_access_entries(mode: str | None) -> bool:
    """Whether this authentication mode knows access entries."""
    return mode in ("API", "API_AND_CONFIG_MAP")


def with_config_map(mode: str | None) -> bool:
    """Whether this authentication mode reads the aws-auth ConfigMap; it is the default."""
    return mode in (None, "CONFIG_MAP", "API_AND_CONFIG_MAP")


def need_aws_cli() -> None:
    """Kubeconfigs get their tokens from the AWS CLI: upstream runs `aws --version` first, and so does this.

    ArgumentError when there is none on PATH, or one below 1.24 or 2.7.
    """
    try:
        done = subprocess.run(["aws", "--version"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ArgumentError(f"Could not find the AWS CLI for EKS: `aws --version`: {error}") from error
    found = _CLI_VERSION.search(done.stdout + done.stderr)
    if done.returncode or not found:
        raise ArgumentError(f"Could not find the AWS CLI for EKS: `aws --version` said {done.stdout + done.stderr!r}")
    version = (int(found[1]), int(found[2]))
    if version < (1, 24) or (2, 0) <= version < (2, 7):
        raise ArgumentError(f"At least v1.24 or v2.7 of the AWS CLI is required; this one is {found[1]}.{found[2]}")
