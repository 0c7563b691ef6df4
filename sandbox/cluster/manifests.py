"""The objects of EKS's add-ons vpc-cni, kube-proxy and coredns, with a configuration merged in.

Written after what EKS puts into a cluster: names, labels, containers, affinity and the defaults that people
depend on. The containers do nothing here: KWOK plays them.
"""

from __future__ import annotations

import copy
from typing import Any

__all__ = ["DNS_ADDRESS", "apply_path", "manifests"]

Json = dict[str, Any]
DNS_ADDRESS = "172.20.0.10"
_REGISTRY = "602401143452.dkr.ecr.{region}.amazonaws.com"

_TERM = [
    {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
    {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64", "arm64"]},
    {"key": "eks.amazonaws.com/compute-type", "operator": "NotIn", "values": ["fargate", "hybrid", "auto"]},
]
_CNI_ENV = {
    "ADDITIONAL_ENI_TAGS": "{}", "ANNOTATE_POD_IP": "false", "AWS_VPC_CNI_NODE_PORT_SUPPORT": "true",
    "AWS_VPC_ENI_MTU": "9001", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": "false",
    "AWS_VPC_K8S_CNI_EXTERNALSNAT": "false", "AWS_VPC_K8S_CNI_LOGLEVEL": "DEBUG",
    "AWS_VPC_K8S_CNI_LOG_FILE": "/host/var/log/aws-routed-eni/ipamd.log",
    "AWS_VPC_K8S_CNI_RANDOMIZESNAT": "prng", "AWS_VPC_K8S_CNI_VETHPREFIX": "eni",
    "DISABLE_INTROSPECTION": "false", "DISABLE_METRICS": "false", "DISABLE_NETWORK_RESOURCE_PROVISIONING": "false",
    "ENABLE_IMDS_ONLY_MODE": "false", "ENABLE_IPv4": "true", "ENABLE_IPv6": "false", "ENABLE_POD_ENI": "false",
    "ENABLE_PREFIX_DELEGATION": "false", "ENABLE_SUBNET_DISCOVERY": "true", "NETWORK_POLICY_ENFORCING_MODE": "standard",
    "VPC_CNI_VERSION": "{version}", "WARM_ENI_TARGET": "1", "WARM_PREFIX_TARGET": "1",
}  # fmt: skip


def apply_path(item: Json) -> str:
    """The URL path of an object."""
    group, plural = item["apiVersion"], item["kind"].lower() + "s"
    root = f"/api/{group}" if "/" not in group else f"/apis/{group}"
    namespace = item["metadata"].get("namespace")
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{scope}/{plural}/{item['metadata']['name']}"


def manifests(
    addon: str, *, version: str, configuration: Json, region: str, cluster: str, role: str | None = None
) -> list[Json]:
    """The objects of an add-on in the order in which they are made; the workload is the last."""
    registry = _REGISTRY.format(region=region)
    tag = version.split("-eksbuild", maxsplit=1)[0]
    made = {"vpc-cni": _vpc_cni, "kube-proxy": _kube_proxy, "coredns": _coredns}[addon](
        registry, version, tag, configuration, cluster
    )
    template = made[-1]["spec"]["template"]["metadata"]
    if configuration.get("podAnnotations"):
        template["annotations"] = {**template.get("annotations", {}), **configuration["podAnnotations"]}
    template["labels"] |= configuration.get("podLabels") or {}
    if role is not None:
        for item in made:
            if item["kind"] == "ServiceAccount":
                item["metadata"]["annotations"] = {"eks.amazonaws.com/role-arn": role}
    return made


def _item(
    api: str, kind: str, name: str, labels: Json | None = None, namespace: str | None = "kube-system", **rest: Any
) -> Json:
    metadata: Json = (
        {"name": name} | ({"namespace": namespace} if namespace else {}) | ({"labels": labels} if labels else {})
    )
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


_POD_LABELS = ("app.kubernetes.io/instance", "app.kubernetes.io/name", "k8s-app")
_RBAC = "rbac.authorization.k8s.io/v1"


def _binding(name: str, role: str, account: str, labels: Json) -> Json:
    return _item(
        _RBAC, "ClusterRoleBinding", name, labels, None,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        subjects=[{"kind": "ServiceAccount", "name": account, "namespace": "kube-system"}],
    )  # fmt: skip


def _affinity(configuration: Json, *more: Json) -> Json:
    given: Json | None = configuration.get("affinity")
    if given is not None:
        return given
    required = {"nodeSelectorTerms": [{"matchExpressions": copy.deepcopy(_TERM)}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}, **(more[0] if more else {})}


def _env(values: Json) -> list[Json]:
    return [{"name": name, "value": value} for name, value in sorted(values.items())]


_NODE_NAME = {"name": "MY_NODE_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}


def _host_paths(**paths: str) -> list[Json]:
    return [{"name": name.replace("_", "-"), "hostPath": {"path": path, "type": ""}} for name, path in paths.items()]


# -- vpc-cni ----------------------------------------------------------------------------------------


def _vpc_cni(registry: str, version: str, tag: str, configuration: Json, cluster: str) -> list[Json]:
    labels = {
        "app.kubernetes.io/instance": "aws-vpc-cni", "app.kubernetes.io/managed-by": "Helm",
        "app.kubernetes.io/name": "aws-node", "app.kubernetes.io/version": tag, "k8s-app": "aws-node",
    }  # fmt: skip
    policy = str(configuration.get("enableNetworkPolicy", "false"))
    env = {key: value.format(version=tag) if key == "VPC_CNI_VERSION" else value for key, value in _CNI_ENV.items()}
    env |= {"CLUSTER_NAME": cluster, **(configuration.get("env") or {})}
    agent = configuration.get("nodeAgent") or {}
    resources = configuration.get("resources") or {"requests": {"cpu": "25m"}}
    probe = {"exec": {"command": ["/app/grpc-health-probe", "-addr=:50051", "-connect-timeout=5s", "-rpc-timeout=5s"]}}
    patience = [configuration.get(f"{kind}ProbeTimeoutSeconds", 10) for kind in ("liveness", "readiness")]
    init_env = {
        "DISABLE_TCP_EARLY_DEMUX": "false",
        "ENABLE_IPv6": "false",
        **((configuration.get("init") or {}).get("env") or {}),
    }
    template = {
        "metadata": {"labels": {key: value for key, value in labels.items() if key in _POD_LABELS}},
        "spec": {
            "affinity": _affinity(configuration),
            "hostNetwork": True, "priorityClassName": "system-node-critical", "serviceAccountName": "aws-node",
            "terminationGracePeriodSeconds": 10,
            "tolerations": configuration.get("tolerations") or [{"operator": "Exists"}],
            "initContainers": [
                {
                    "name": "aws-vpc-cni-init",
                    "image": f"{registry}/amazon-k8s-cni-init:{version}", "env": _env(init_env),
                    "securityContext": {"privileged": True}, "resources": {"requests": {"cpu": "25m"}},
                    "volumeMounts": [{"name": "cni-bin-dir", "mountPath": "/host/opt/cni/bin"}],
                }
            ],
            "containers": [
                {
                    "name": "aws-node",
                    "image": f"{registry}/amazon-k8s-cni:{version}", "env": [*_env(env), _NODE_NAME],
                    "ports": [{"name": "metrics", "containerPort": 61678, "protocol": "TCP"}], "resources": resources,
                    "livenessProbe": {**probe, "initialDelaySeconds": 60, "timeoutSeconds": patience[0]},
                    "readinessProbe": {**probe, "initialDelaySeconds": 1, "timeoutSeconds": patience[1]},
                    "securityContext": {"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}},
                    "volumeMounts": [
                        {"name": "cni-bin-dir", "mountPath": "/host/opt/cni/bin"},
                        {"name": "cni-net-dir", "mountPath": "/host/etc/cni/net.d"},
                        {"name": "run-dir", "mountPath": "/var/run/aws-node"},
                    ],
                },
                {
                    "name": "aws-eks-nodeagent",
                    "image": f"{registry}/amazon/aws-network-policy-agent:v1.3.1-eksbuild.1",
                    "args": [
                        "--enable-ipv6=false", f"--enable-network-policy={policy}",
                        f"--enable-cloudwatch-logs={agent.get('enableCloudWatchLogs', 'false')}",
                        f"--enable-policy-event-logs={agent.get('enablePolicyEventLogs', 'false')}",
                        f"--metrics-bind-addr={agent.get('metricsBindAddr', ':8162')}",
                        f"--health-probe-bind-addr={agent.get('healthProbeBindAddr', ':8163')}",
                    ],
                    "env": [_NODE_NAME], "resources": agent.get("resources") or {"requests": {"cpu": "25m"}},
                    "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}, "privileged": True},
                },
            ],
            "volumes": _host_paths(
                cni_bin_dir="/opt/cni/bin", cni_net_dir="/etc/cni/net.d", run_dir="/var/run/aws-node"
            ),
        },
    }  # fmt: skip
    rules = [
        {"apiGroups": ["crd.k8s.amazonaws.com"], "resources": ["eniconfigs"], "verbs": ["list", "watch", "get"]},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch", "get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch", "get"]
            + (["patch"] if env["ANNOTATE_POD_IP"] == "true" else [])},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch", "get"]},
        {"apiGroups": ["networking.k8s.aws"], "resources": ["policyendpoints"], "verbs": ["get", "list", "watch"]},
    ]  # fmt: skip
    data = {
        "enable-network-policy-controller": policy,
        "enable-windows-ipam": str(configuration.get("enableWindowsIpam", "false")),
    }
    return [
        _item("v1", "ServiceAccount", "aws-node", labels),
        _item("v1", "ConfigMap", "amazon-vpc-cni", labels, data=data),
        _item(_RBAC, "ClusterRole", "aws-node", labels, None, rules=rules),
        _binding("aws-node", "aws-node", "aws-node", labels),
        _item(
            "apps/v1", "DaemonSet", "aws-node", labels,
            spec={
                "selector": {"matchLabels": {"k8s-app": "aws-node"}},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
                "template": template,
            },
        ),
    ]  # fmt: skip


# -- kube-proxy -------------------------------------------------------------------------------------


def _kube_proxy(registry: str, version: str, _tag: str, configuration: Json, _cluster: str) -> list[Json]:
    labels = {"eks.amazonaws.com/component": "kube-proxy", "k8s-app": "kube-proxy"}
    mode, build = configuration.get("mode", "iptables"), version.replace("-eksbuild", "-minimal-eksbuild")
    config = (
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nbindAddress: 0.0.0.0\n"
        f'healthzBindAddress: 0.0.0.0:10256\nmetricsBindAddress: 0.0.0.0:10249\nmode: "{mode}"\n'
        "conntrack:\n  maxPerCore: 32768\n  min: 131072\n"
    )
    template = {
        "metadata": {"labels": {"k8s-app": "kube-proxy"}},
        "spec": {
            "affinity": _affinity({}), "hostNetwork": True, "priorityClassName": "system-node-critical",
            "serviceAccountName": "kube-proxy", "tolerations": [{"operator": "Exists"}],
            "containers": [
                {
                    "name": "kube-proxy", "image": f"{registry}/eks/kube-proxy:{build}",
                    "command": [
                        "kube-proxy", "--v=2", "--config=/var/lib/kube-proxy-config/config",
                        "--hostname-override=$(NODE_NAME)",
                    ],
                    "env": [{**_NODE_NAME, "name": "NODE_NAME"}],
                    "resources": configuration.get("resources") or {"requests": {"cpu": "100m"}},
                    "securityContext": {"privileged": True},
                    "volumeMounts": [{"name": "config", "mountPath": "/var/lib/kube-proxy-config/"}],
                }
            ],
            "volumes": [{"name": "config", "configMap": {"name": "kube-proxy-config"}}],
        },
    }  # fmt: skip
    return [
        _item("v1", "ServiceAccount", "kube-proxy", labels),
        _item("v1", "ConfigMap", "kube-proxy-config", labels, data={"config": config}),
        _binding("eks:kube-proxy", "system:node-proxier", "kube-proxy", labels),
        _item(
            "apps/v1", "DaemonSet", "kube-proxy", labels,
            spec={
                "selector": {"matchLabels": {"k8s-app": "kube-proxy"}},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
                "template": template,
            },
        ),
    ]  # fmt: skip


# -- coredns ----------------------------------------------------------------------------------------

_COREFILE = """.:53 {
    errors
    health {
        lameduck 5s
      }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
      pods insecure
      fallthrough in-addr.arpa ip6.arpa
    }
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
}
"""


def _coredns(registry: str, version: str, _tag: str, configuration: Json, _cluster: str) -> list[Json]:
    labels = {"eks.amazonaws.com/component": "coredns", "k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
        {"name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": 9153},
    ]
    spread = {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 100,
                    "podAffinityTerm": {
                        "labelSelector": {
                            "matchExpressions": [{"key": "k8s-app", "operator": "In", "values": ["kube-dns"]}]
                        },
                        "topologyKey": "kubernetes.io/hostname",
                    },
                }
            ]
        }
    }
    spec: Json = {
        "affinity": _affinity(configuration, spread), "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "serviceAccountName": "coredns",
        "tolerations": configuration.get("tolerations") or [
            {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
        ],
        "topologySpreadConstraints": configuration.get("topologySpreadConstraints") or [
            {
                "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }
        ],
        "containers": [
            {
                "name": "coredns", "image": f"{registry}/eks/coredns:{version}",
                "args": ["-conf", "/etc/coredns/Corefile"],
                "ports": [
                    {"name": p["name"], "containerPort": p["targetPort"], "protocol": p["protocol"]} for p in ports
                ],
                "resources": configuration.get("resources")
                or {"limits": {"memory": "170Mi"}, "requests": {"cpu": "100m", "memory": "70Mi"}},
                "volumeMounts": [{"name": "config-volume", "mountPath": "/etc/coredns", "readOnly": True}],
            }
        ],
        "volumes": [{"name": "config-volume", "configMap": {"name": "coredns"}}],
    }  # fmt: skip
    if configuration.get("nodeSelector"):
        spec["nodeSelector"] = configuration["nodeSelector"]
    rules = [
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    selector = {"eks.amazonaws.com/component": "coredns", "k8s-app": "kube-dns"}
    return [
        _item("v1", "ServiceAccount", "coredns", labels),
        _item("v1", "ConfigMap", "coredns", labels, data={"Corefile": configuration.get("corefile") or _COREFILE}),
        _item(_RBAC, "ClusterRole", "system:coredns", labels, None, rules=rules),
        _binding("system:coredns", "system:coredns", "coredns", labels),
        _item(
            "v1", "Service", "kube-dns", {**labels, "kubernetes.io/cluster-service": "true"},
            spec={"selector": {"k8s-app": "kube-dns"}, "clusterIP": DNS_ADDRESS, "ports": ports},
        ),
        _item(
            "policy/v1", "PodDisruptionBudget", "coredns", labels,
            spec={"maxUnavailable": 1, "selector": {"matchLabels": selector}},
        ),
        _item(
            "apps/v1", "Deployment", "coredns", labels,
            spec={
                "replicas": configuration.get("replicaCount", 2),
                "selector": {"matchLabels": selector},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
                "template": {"metadata": {"labels": dict(selector)}, "spec": spec},
            },
        ),
    ]  # fmt: skip
