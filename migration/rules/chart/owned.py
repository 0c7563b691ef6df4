"""Chart values that the journey rests on: what each may be, why, and what to do instead.

Sources, unless a row says otherwise: the templates of the chart, Cilium 1.20.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from migration.names import AGENT_NOT_READY_TAINT, CILIUM, CILIUM_OPERATOR, SYSTEM_NAMESPACE
from migration.rules.chart.fits import (
    Fits,
    as_set,
    bound,
    default_mode,
    either_kind,
    foreign_labels,
    harmless_arguments,
    harmless_config,
    harmless_environment,
    harmless_mounts,
    linux,
    more_excluded,
    never,
    no_role,
    not_strict,
    one_of,
    own_image,
    own_release,
    recent,
)

HEALTH_PORT: Final = 10256
"""kube-proxy's health port: load balancers with externalTrafficPolicy Local keep asking there."""
LEAVE_OUT: Final = "Leave it out"


@dataclass(frozen=True)
class Owned:
    """A chart value that the journey rests on."""

    fits: Fits
    """Whether a value still does what the journey counts on."""
    reason: str
    instead: str = LEAVE_OUT
    """What to do instead, with the setting where there is one."""


_BACK_DOOR: Final = "it sets what agents or operators do past the chart's values, which nothing here could check"
_VALUE_INSTEAD: Final = "Use the chart's own value under cilium.values where there is one"


def _rows(fits: Fits, paths: str, reason: str, instead: str = LEAVE_OUT) -> dict[str, Owned]:
    return {path: Owned(fits, reason, instead) for path in paths.split()}


_TABLE: Final = (
    # Enforcement.
    _rows(default_mode, "policyEnforcementMode", "in any other mode policies are not enforced as they were proved"),
    _rows(one_of(False), "policyAuditMode", "in audit mode policies are reported and not enforced"),
    _rows(one_of(True), "k8sNetworkPolicy.enabled", "NetworkPolicies would not be enforced on Cilium nodes"),
    _rows(
        one_of(True), "enableNonDefaultDenyPolicies", "policies that say enableDefaultDeny: false would deny by default"
    ),
    _rows(
        one_of(None),
        "policyCIDRMatchMode",
        "CIDR rules would match nodes or pods, which the translation of the policies counts on not to happen",
    ),
    _rows(one_of(True), "clustermesh.policyDefaultLocalCluster", "policies would also admit pods of other clusters"),
    _rows(one_of(False), "dnsPolicyUnloadOnShutdown", "DNS rules would not be enforced while an agent restarts"),
    _rows(
        one_of(None, True),
        "daemon.enableSourceIPVerification",
        "pods could send with the address of another pod, and be taken for it by policies",
    ),
    _rows(never, "labels", "policies that select a label that is left out of identities would miss their pods"),
    _rows(
        one_of(True),
        "enableIdentityMark envoy.useOriginalSourceAddress",
        "policies would see the proxy instead of the pod",
    ),
    _rows(one_of("crd"), "identityAllocationMode", "the gates read identities and endpoints as objects of the cluster"),
    _rows(one_of(False), "disableEndpointCRD", "the gates read identities and endpoints as objects of the cluster"),
    _rows(
        one_of("agent"),
        "identityManagementMode",
        "the operator would make identities for pods that Cilium does not wire",
    ),
    _rows(one_of(False), "datapathPlugins.enabled", "datapath plugins may pass over policies"),
    _rows(never, "disableIptablesFeederRules", "rules of the host that agents count on would be missing"),
    _rows(
        not_strict,
        "encryption.strictMode.egress.enabled encryption.strictMode.ingress.enabled",
        "pods of legacy nodes do not encrypt, and what they send or get would be dropped",
    ),
    _rows(one_of(None, "ipsec", "wireguard"), "encryption.type", "ztunnel would run on legacy nodes too"),
    _rows(one_of(None), "bpf.vlanBypass", "what comes with these VLAN tags would pass by policies"),
    # Wiring.
    _rows(one_of("eni"), "ipam.mode", "pods get addresses of the VPC, in ENI mode"),
    _rows(one_of("native"), "routingMode", "pods get addresses of the VPC, in ENI mode"),
    _rows(
        one_of(True), "eni.enabled endpointRoutes.enabled ipv4.enabled", "pods get addresses of the VPC, in ENI mode"
    ),
    _rows(
        one_of(False),
        "aksbyocni.enabled alibabacloud.enabled autoDirectNodeRoutes azure.enabled "
        "directRoutingSkipUnreachable enableMasqueradeRouteSource gke.enabled "
        "ipam.installUplinkRoutesForDelegatedIPAM ipv6.enabled k8s.requireIPv4PodCIDR k8s.requireIPv6PodCIDR",
        "pods get addresses of the VPC, in ENI mode",
    ),
    _rows(one_of(False), "etcd.enabled", "identities are kept in the cluster's own API server"),
    _rows(
        one_of(True),
        "cni.install",
        "only Cilium wires pods on Cilium nodes, with the configuration that its agent writes",
    ),
    _rows(
        one_of(False),
        "cni.customConf cni.uninstall",
        "only Cilium wires pods on Cilium nodes, with the configuration that its agent writes",
    ),
    _rows(
        one_of(None, "none"),
        "cni.chainingMode",
        "only Cilium wires pods on Cilium nodes, with the configuration that its agent writes",
    ),
    _rows(
        one_of(None),
        "cni.chainingTarget cni.configMap cni.readCniConf",
        "only Cilium wires pods on Cilium nodes, with the configuration that its agent writes",
    ),
    _rows(
        one_of(None, False),
        "cni.externalRouting",
        "only Cilium wires pods on Cilium nodes, with the configuration that its agent writes",
    ),
    _rows(one_of("/etc/cni/net.d"), "cni.confPath", "the container runtime of EKS nodes looks there"),
    _rows(one_of("/opt/cni/bin"), "cni.binPath", "the container runtime of EKS nodes looks there"),
    _rows(one_of("/host/etc/cni/net.d"), "cni.hostConfDirMountPath", "the container runtime of EKS nodes looks there"),
    _rows(one_of("/sys/fs/bpf"), "bpf.root", "agents keep what they enforce there, across restarts"),
    _rows(one_of("/var/run/cilium"), "daemon.runPath", "agents keep their state there, across restarts"),
    _rows(
        one_of(False),
        "cleanBpfState cleanState",
        "every restart of an agent would drop connections and enforce nothing meanwhile",
    ),
    _rows(
        one_of(None, 0),
        "eni.nodeSpec.firstInterfaceIndex",
        "maxPods of the nodes is computed from all addresses of their interfaces",
    ),
    _rows(
        one_of(False),
        "eni.nodeSpec.usePrimaryAddress",
        "maxPods of the nodes is computed from all addresses of their interfaces",
    ),
    _rows(one_of(None, True), "eni.nodeSpec.deleteOnTermination", "interfaces of removed nodes would be left over"),
    _rows(
        as_set(lambda it: it.prefix_delegation),
        "eni.awsEnablePrefixDelegation",
        "the kind of addresses is a setting, for rights and maxPods depend on it",
        "Set cilium.prefixDelegation",
    ),
    _rows(
        one_of(False),
        "eni.nodeSpec.disablePrefixDelegation",
        "the kind of addresses is a setting, for rights and maxPods depend on it",
        "Set cilium.prefixDelegation",
    ),
    _rows(
        one_of(None),
        "eni.nodeSpec.subnetIDs eni.nodeSpec.subnetTags eni.subnetIDsFilter eni.subnetTagsFilter",
        "the subnets of pods are a setting, for gates count their addresses",
        "Set network.podSubnetIds",
    ),
    _rows(
        one_of(None),
        "eni.nodeSpec.securityGroups eni.nodeSpec.securityGroupTags",
        "the security groups of pods are a setting, for they must be those of legacy nodes",
        "Set network.securityGroupIds",
    ),
    _rows(never, "eni.iamRole", "the operator's role is made by this stack, with exactly the rights it needs"),
    _rows(
        never,
        "bpf.masquerade enableIPv4Masquerade egressMasqueradeInterfaces ipMasqAgent.enabled",
        "the source address of what leaves the VPC is a setting: allow-lists of others depend on it",
        "Set cilium.egressSource",
    ),
    _rows(
        never,
        "ipv4NativeRoutingCIDR",
        "the source address of what leaves the VPC is a setting: allow-lists of others depend on it",
        "Set network.vpcCidrs and cilium.egressSource",
    ),
    _rows(
        more_excluded,
        "ipMasqAgent.config",
        "may add IPv4 blocks to nonMasqueradeCIDRs, and nothing else",
        "For the whole internet set cilium.egressSource: pod",
    ),
    # Services.
    _rows(one_of(True), "kubeProxyReplacement", "no kube-proxy runs on Cilium nodes"),
    _rows(one_of(None), "k8s.serviceProxyName", "services without that label would be served by nobody"),
    _rows(
        one_of(f"0.0.0.0:{HEALTH_PORT}"),
        "kubeProxyReplacementHealthzBindAddr",
        "load balancers ask nodes for their health there, as they asked kube-proxy",
    ),
    _rows(
        one_of(True),
        "nodePort.enableHealthCheck",
        "load balancers ask nodes for their health there, as they asked kube-proxy",
    ),
    _rows(one_of("30000,32767"), "nodePort.range", "the API server of EKS gives node ports of 30000 to 32767"),
    _rows(
        one_of("snat"),
        "loadBalancer.mode",
        "EC2 drops answers from another address than the one that was asked, and policies would see other sources",
    ),
    _rows(one_of(False), "bpf.lbModeAnnotation", "services could ask for another mode of load balancing than snat"),
    _rows(never, "hostServices", "the chart does not read it", "Set cilium.values.socketLB"),
    # Who talks to which API server, as which cluster.
    _rows(never, "k8sServiceHost k8sServicePort", "agents reach the API server by the endpoint of the EKS cluster"),
    _rows(
        one_of(None),
        "k8sServiceHostRef.name k8sServiceHostRef.key k8sServiceLookupConfigMapName k8sServiceLookupNamespace "
        "k8s.apiServerURLs kubeConfigPath",
        "agents reach the API server by the endpoint of the EKS cluster",
    ),
    _rows(
        as_set(lambda it: it.cluster_name),
        "cluster.name",
        "it is part of every identity",
        "Set cilium.clusterName",
    ),
    _rows(as_set(lambda it: it.cluster_id), "cluster.id", "it is part of every identity", "Set cilium.clusterId"),
    # Agents and operator: there, where they belong, and as released.
    _rows(
        one_of(True),
        "agent operator.enabled rbac.create",
        "nothing would wire pods on Cilium nodes, nor enforce their policies",
    ),
    _rows(
        one_of(False),
        "preflight.enabled sleepAfterInit",
        "nothing would wire pods on Cilium nodes, nor enforce their policies",
    ),
    _rows(
        one_of(False),
        "nodeinit.enabled standaloneDnsProxy.enabled",
        "it would also run on legacy nodes, and change what the VPC CNI set up there",
    ),
    _rows(bound, "affinity envoy.affinity", "agents run on every Cilium node and on no other"),
    _rows(linux, "nodeSelector envoy.nodeSelector", "agents run on every Cilium node and on no other"),
    _rows(
        one_of("anti-affinity"),
        "scheduling.mode",
        "agents run on every Cilium node and on no other: without this mode the chart leaves their affinity out",
    ),
    _rows(
        one_of(None, "system-cluster-critical", "system-node-critical"),
        "priorityClassName envoy.priorityClassName operator.priorityClassName",
        "agents must not be the ones that make room for other pods",
    ),
    _rows(one_of(True), "enableCriticalPriorityClass", "agents must not be the ones that make room for other pods"),
    _rows(
        either_kind,
        "operator.affinity operator.nodeSelector",
        "legacy nodes go and Cilium nodes come: the operator must be able to run on either",
    ),
    _rows(
        as_set(lambda it: it.operator_replicas),
        "operator.replicas",
        "a gate counts them",
        "Set cilium.operatorReplicas",
    ),
    _rows(
        one_of(True),
        "rollOutCiliumPods envoy.rollOutPods operator.rollOutPods",
        "what is declared here would not reach the pods that run",
    ),
    _rows(
        one_of("RollingUpdate"),
        "updateStrategy.type envoy.updateStrategy.type",
        "what is declared here would not reach the pods that run",
    ),
    _rows(one_of(True), "operator.hostNetwork", "it has to work before pods have a network and a name server"),
    _rows(
        one_of(None, "Default"),
        "dnsPolicy operator.dnsPolicy",
        "it has to work before pods have a network and a name server",
    ),
    _rows(
        one_of(False),
        "operator.unmanagedPodWatcher.restart",
        "restarting pods is the refresh's business, which honours disruption budgets",
    ),
    _rows(
        one_of(AGENT_NOT_READY_TAINT),
        "agentNotReadyTaintKey",
        "new nodes carry that taint until their agent is ready, and lose it then",
    ),
    _rows(
        one_of(True),
        "operator.removeNodeTaints",
        "new nodes carry that taint until their agent is ready, and lose it then",
    ),
    _rows(
        one_of(None, True),
        "operator.setNodeTaints",
        "new nodes carry that taint until their agent is ready, and lose it then",
    ),
    _rows(one_of(False), "operator.skipCRDCreation", "nobody else makes Cilium's kinds"),
    _rows(
        one_of(CILIUM),
        "name serviceAccounts.cilium.name",
        "gates, guards and the operator's role know Cilium's objects by these names",
    ),
    _rows(
        one_of("cilium-envoy"),
        "serviceAccounts.envoy.name",
        "gates, guards and the operator's role know Cilium's objects by these names",
    ),
    _rows(
        one_of(CILIUM_OPERATOR),
        "serviceAccounts.operator.name",
        "gates, guards and the operator's role know Cilium's objects by these names",
    ),
    _rows(
        one_of(None, SYSTEM_NAMESPACE),
        "namespaceOverride",
        "gates, guards and the operator's role know Cilium's objects by these names",
    ),
    _rows(
        foreign_labels,
        "commonLabels envoy.podLabels operator.podLabels podLabels",
        "gates, guards and the operator's role know Cilium's objects by these names",
    ),
    _rows(
        one_of(True),
        "serviceAccounts.cilium.automount serviceAccounts.cilium.create serviceAccounts.envoy.automount "
        "serviceAccounts.envoy.create serviceAccounts.operator.automount serviceAccounts.operator.create",
        "agents and operator need their service accounts",
    ),
    _rows(no_role, "operator.annotations serviceAccounts.operator.annotations", "the role is made by this stack"),
    _rows(
        own_release,
        "image.tag operator.image.tag",
        "the release is a setting, for gates and tables depend on it",
        "Set cilium.version",
    ),
    _rows(
        own_image,
        "image.override operator.image.override",
        "the release is a setting, for gates and tables depend on it",
        "Set cilium.version",
    ),
    _rows(
        one_of(None),
        "operator.image.suffix",
        "the release is a setting, for gates and tables depend on it",
        "Set cilium.version",
    ),
    _rows(
        recent,
        "upgradeCompatibility",
        "older defaults would come back, such as Envoy without a DaemonSet of its own",
        "Name 1.18 or later, or leave it out",
    ),
    # Ways round all of the above.
    _rows(harmless_config, "extraConfig", _BACK_DOOR, _VALUE_INSTEAD),
    _rows(harmless_arguments, "extraArgs operator.extraArgs", _BACK_DOOR, _VALUE_INSTEAD),
    _rows(one_of(None), "daemon.configSources envoy.extraArgs envoy.bootstrapConfigMap tmpVolume", _BACK_DOOR),
    _rows(harmless_environment, "extraEnv envoy.extraEnv operator.extraEnv", _BACK_DOOR, _VALUE_INSTEAD),
    _rows(
        harmless_mounts,
        "extraVolumeMounts extraHostPathMounts envoy.extraVolumeMounts envoy.extraHostPathMounts "
        "operator.extraVolumeMounts operator.extraHostPathMounts",
        _BACK_DOOR,
        "Mount it elsewhere",
    ),
    _rows(
        one_of(None),
        "envoy.extraContainers envoy.initContainers extraContainers extraInitContainers",
        _BACK_DOOR,
        "Run it in a DaemonSet of its own",
    ),
)


OWNED: Final[Mapping[str, Owned]] = {path: rule for rows in _TABLE for path, rule in rows.items()}
