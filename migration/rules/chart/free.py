"""Chart values that a stack may choose freely.

Whatever they say, nodes stay wired, policies enforced, and agents where they belong; a test on the rendered chart tries
them. Source: the templates of the chart, Cilium 1.20.
"""

from typing import Final

from migration.rules.chart.fits import words

FREE: Final = words(
    """
    MTU annotateK8sNode annotations apiRateLimit authentication bandwidthManager bgpControlPlane bpfClockProbe certgen
    cgroup ciliumEndpointSlice clusterHealthPort configDriftDetection connectivityProbeFrequencyRatio
    conntrackGCInterval conntrackGCMaxInterval crdWaitTimeout dashboards debug defaultLBServiceIPAM devices
    disableEnvoyVersionCheck dnsProxy egressGateway enableIPv4BIGTCP enableIPv6BIGTCP enableIPv6Masquerade
    enableInternalTrafficPolicy enableLBIPAM enableNoServiceEndpointsRoutable enableXTSocketFallback
    endpointHealthChecking endpointLockdownOnMapOverflow endpointPolicyUpdateTimeoutDuration envoyConfig extraVolumes
    forceDeviceDetection fragmentTracking gatewayAPI global healthCheckICMPFailureThreshold healthChecking healthPort
    hostFirewall hubble identityChangeGracePeriod imagePullSecrets ingressController initResources
    installNoConntrackIptablesRules iptablesLockTimeout iptablesRandomFully ipv6NativeRoutingCIDR
    k8sClientExponentialBackoff k8sClientRateLimit k8sClusterNetworkPolicy keepDeprecatedLabels keepDeprecatedProbes
    l2NeighDiscovery l2announcements l2podAnnouncements l7Proxy livenessProbe localRedirectPolicies localRedirectPolicy
    logOptions logSystemLoad maglev minReadySeconds monitor nat nat46x64Gateway nativeRoutingCIDRFromClusterPool
    nodeIPAM nodeLabels nodeSelectorLabels nodeinit nonIdempotentAnnotations pmtuDiscovery podAnnotations
    podSecurityContext policyDenyResponse pprof preferIpv6 preflight prometheus readinessProbe resourceQuotas resources
    sctp secretsNamespaceAnnotations secretsNamespaceLabels securityContext serviceNoBackendResponse socketLB
    standaloneDnsProxy startupProbe synchronizeK8sNodes sysctlfix terminationGracePeriodSeconds tls tolerations
    tunnelPort tunnelProtocol tunnelSourcePortRange underlayProtocol vtep waitForKubeProxy wellKnownIdentities

    alibabacloud.nodeSpec azure.clientID azure.clientSecret azure.nodeSpec azure.resourceGroup azure.subscriptionID
    azure.tenantID azure.usePrimaryAddress azure.userAssignedIdentityID etcd.endpoints etcd.ssl

    bpf.authMapMax bpf.autoMount bpf.ctAccounting bpf.ctAnyMax bpf.ctTcpMax bpf.datapathMode
    bpf.disableExternalIPMitigation bpf.distributedLRU bpf.enableTCX bpf.events bpf.hostLegacyRouting
    bpf.lbAlgorithmAnnotation bpf.lbExternalClusterIP bpf.lbMapMax bpf.lbSourceRangeAllTypes
    bpf.mapDynamicSizeRatio bpf.monitorAggregation bpf.monitorFlags bpf.monitorInterval bpf.monitorTraceIPOption
    bpf.natMax bpf.neighMax bpf.nodeMapMax bpf.policyMapMax bpf.policyMapPressureMetricsThreshold
    bpf.policyStatsMapMax bpf.preallocateMaps bpf.tproxy

    clustermesh.annotations clustermesh.apiserver clustermesh.cacheTTL clustermesh.config
    clustermesh.defaultGlobalNamespace clustermesh.disableKubernetesHostAliases
    clustermesh.enableEndpointSliceSynchronization clustermesh.maxConnectedClusters clustermesh.mcsapi
    clustermesh.useAPIServer

    cni.confFileMountPath cni.configMapKey cni.enableRouteMTUForCNIChaining cni.exclusive cni.iptablesRemoveAWSRules
    cni.logFile cni.resources

    daemon.allowedConfigOverrides daemon.blockedConfigOverrides datapathPlugins.stateDir

    encryption.enabled encryption.ipsec encryption.nodeEncryption encryption.strictMode.egress.allowRemoteNodeIdentities
    encryption.strictMode.egress.cidr encryption.wireguard encryption.ztunnel

    eni.awsReleaseExcessIPs eni.ec2APIEndpoint eni.eniTags eni.gcInterval eni.gcTags eni.instanceTagsFilter
    eni.nodeSpec.excludeInterfaceTags

    envoy.annotations envoy.baseID envoy.clusterMaxConnections envoy.clusterMaxPendingRequests envoy.clusterMaxRequests
    envoy.connectTimeoutSeconds envoy.debug envoy.dnsPolicy envoy.enabled envoy.extraVolumes envoy.healthPort
    envoy.httpRetryCount envoy.httpUpstreamLingerTimeout envoy.idleTimeoutDurationSeconds envoy.image
    envoy.initialFetchTimeoutSeconds envoy.livenessProbe envoy.log envoy.maxConcurrentRetries
    envoy.maxConnectionDurationSeconds envoy.maxGlobalDownstreamConnections envoy.maxRequestsPerConnection
    envoy.minReadySeconds envoy.nodeLocality envoy.podAnnotations envoy.podSecurityContext
    envoy.policyRestoreTimeoutDuration envoy.prometheus envoy.readinessProbe envoy.resources envoy.securityContext
    envoy.startupProbe envoy.streamIdleTimeoutDurationSeconds envoy.terminationGracePeriodSeconds envoy.tolerations
    envoy.updateStrategy.rollingUpdate envoy.xdsMode envoy.xffNumTrustedHopsL7PolicyEgress
    envoy.xffNumTrustedHopsL7PolicyIngress

    image.digest image.pullPolicy image.repository image.useDigest
    ipam.ciliumNodeUpdateRate ipam.multiPoolPreAllocation ipam.nodeSpec ipam.operator

    loadBalancer.acceleration loadBalancer.algorithm loadBalancer.dsrDispatch loadBalancer.l7
    loadBalancer.reflectorWaitTime loadBalancer.serviceTopology
    nodePort.addresses nodePort.autoProtectPortRange nodePort.bindProtection nodePort.directRoutingDevice
    nodePort.enableDynamicSourceLookup nodePort.enableHealthCheckLoadBalancerIP

    operator.dashboards operator.endpointGCInterval operator.extraVolumes operator.hostUsers
    operator.identityGCInterval operator.identityHeartbeatTimeout operator.image.alibabacloudDigest
    operator.image.awsDigest operator.image.azureDigest operator.image.genericDigest
    operator.image.pullPolicy operator.image.repository operator.image.useDigest operator.nodeGCInterval
    operator.podAnnotations operator.podDisruptionBudget operator.podSecurityContext operator.pprof
    operator.prometheus operator.resources operator.securityContext operator.setNodeNetworkStatus
    operator.tolerations operator.topologySpreadConstraints operator.unmanagedPodWatcher.intervalSeconds
    operator.unmanagedPodWatcher.selector operator.updateStrategy

    serviceAccounts.cilium.annotations serviceAccounts.clustermeshApiserver serviceAccounts.clustermeshcertgen
    serviceAccounts.corednsMCSAPI serviceAccounts.envoy.annotations serviceAccounts.hubblecertgen
    serviceAccounts.nodeinit serviceAccounts.preflight serviceAccounts.relay serviceAccounts.ui
    serviceAccounts.ztunnel
    updateStrategy.rollingUpdate
    """
)
"""Paths, each with all that is below it, but for what is owned there."""
