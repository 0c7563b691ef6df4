"""Calico as AWS's chart 0.3.10 leaves it in a cluster, and what people have changed of it since: one case per seed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

from migration.rules.conversion import Found

Obj = dict[str, Any]
Change = Callable[[random.Random, "Case"], None]


def _env(**texts: str) -> list[Obj]:
    return [{"name": name, "value": value} for name, value in texts.items()]


def node() -> Obj:
    """The DaemonSet as the chart writes it, without what its preparation takes off: Helm's annotations, the affinity."""
    env = _env(
        DATASTORE_TYPE="kubernetes",
        FELIX_INTERFACEPREFIX="eni",
        FELIX_LOGSEVERITYSCREEN="Info",
        CALICO_NETWORKING_BACKEND="none",
        CLUSTER_TYPE="k8s,ecs",
        CALICO_DISABLE_FILE_LOGGING="true",
        FELIX_TYPHAK8SSERVICENAME="calico-typha",
        FELIX_DEFAULTENDPOINTTOHOSTACTION="ACCEPT",
        FELIX_IPTABLESMANGLEALLOWACTION="Return",
        FELIX_IPV6SUPPORT="false",
        WAIT_FOR_DATASTORE="true",
        FELIX_LOGSEVERITYSYS="none",
        FELIX_PROMETHEUSMETRICSENABLED="true",
        FELIX_ROUTESOURCE="WorkloadIPs",
        NO_DEFAULT_POOLS="true",
        IP="",
        FELIX_HEALTHENABLED="true",
    )
    env.append({"name": "NODENAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}})
    paths = {"lib-modules": "/lib/modules", "var-run-calico": "/var/run/calico", "var-lib-calico": "/var/lib/calico"}
    volumes = [{"name": n, "hostPath": {"path": p}} for n, p in paths.items()]
    volumes.append({"name": "xtables-lock", "hostPath": {"path": "/run/xtables.lock", "type": "FileOrCreate"}})
    resources = {"requests": {"memory": "32Mi", "cpu": "20m"}, "limits": {"memory": "64Mi", "cpu": "100m"}}
    return _workload(
        "DaemonSet",
        "calico-node",
        {
            "nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "hostNetwork": True,
            "containers": [{"name": "calico-node", "image": "quay.io/calico/node:v3.19.1", "env": env, "resources": resources}],
            "volumes": volumes,
        },
    )  # fmt: skip


def typha() -> Obj:
    env = _env(FELIX_INTERFACEPREFIX="eni", TYPHA_PROMETHEUSMETRICSENABLED="true", TYPHA_PROMETHEUSMETRICSPORT="9093")
    made = _workload(
        "Deployment",
        "calico-typha",
        {
            "nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "containers": [{"name": "calico-typha", "image": "quay.io/calico/typha:v3.19.1", "env": env}],
        },
    )
    made["spec"]["template"]["metadata"]["annotations"] = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}
    return made


def controllers() -> Obj:
    """No part of the chart; some have added it."""
    env = _env(ENABLED_CONTROLLERS="node", DATASTORE_TYPE="kubernetes")
    pod = {"containers": [{"name": "calico-kube-controllers", "image": "quay.io/calico/kube-controllers", "env": env}]}
    return _workload("Deployment", "calico-kube-controllers", pod)


def _workload(kind: str, name: str, pod: Obj) -> Obj:
    labels = {"app.kubernetes.io/name": name}
    template = {"metadata": {"labels": dict(labels)}, "spec": pod}
    meta = {"name": name, "namespace": "kube-system", "labels": dict(labels), "annotations": {}}
    spec: Obj = {"selector": {"matchLabels": dict(labels)}, "template": template}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": spec}


class Case:
    """What is in the cluster."""

    def __init__(self) -> None:
        self.node, self.typha = node(), typha()
        self.controllers: Obj | None = None
        self.has_typha, self.canal, self.has_felix = True, False, True
        self.felix: Obj = {"logSeverityScreen": "Info"}
        self.config_maps: dict[str, dict[str, str]] = {"calico-config": {"veth": "eni", "backend": "none"}}
        self.pools: list[Obj] = []

    def found(self) -> Found:
        return Found(
            node=self.node,
            typha=self.typha if self.has_typha else None,
            controllers=self.controllers,
            canal=self.canal,
            config_maps=self.config_maps,
            felix={"metadata": {"name": "default"}, "spec": self.felix} if self.has_felix else None,
            pools=self.pools,
        )

    def objects(self) -> list[Obj]:
        """The same as the operator finds it."""
        found = [
            self.node,
            *([self.typha] if self.has_typha else []),
            *([self.controllers] if self.controllers else []),
        ]
        if self.canal:
            found.append(_workload("DaemonSet", "canal-node", {"containers": []}))
        for name, data in self.config_maps.items():
            meta = {"name": name, "namespace": "kube-system"}
            found.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
        own = "crd.projectcalico.org/v1"
        if self.has_felix:
            felix = {"apiVersion": own, "kind": "FelixConfiguration", "metadata": {"name": "default"}}
            found.append({**felix, "spec": self.felix})
        found += [{"apiVersion": own, "kind": "IPPool", **pool} for pool in self.pools]
        return copy.deepcopy(found)


# -- what people change -----------------------------------------------------------------------------


def _container(case: Case) -> Obj:
    found: Obj = case.node["spec"]["template"]["spec"]["containers"][0]
    return found


def _set(case: Case, name: str, value: Obj | str | None) -> None:
    env = [e for e in _container(case)["env"] if e["name"] != name]
    if value is not None:
        env.append({"name": name, **({"value": value} if isinstance(value, str) else value)})
    _container(case)["env"] = env


VALUES: dict[str, tuple[str | None, ...]] = {
    "DATASTORE_TYPE": (None, "kubernetes", "Kubernetes", "etcdv3"),
    "FELIX_INTERFACEPREFIX": ("eni", "vpc", "eni,vlan", "azv", "gke", "cali", "", None),
    "CALICO_NETWORKING_BACKEND": ("none", "None", "bird", "vxlan", "", None),
    "FELIX_DEFAULTENDPOINTTOHOSTACTION": ("Accept", "RETURN", "Drop", None),
    "FELIX_IPTABLESMANGLEALLOWACTION": ("return", "Accept", None),
    "FELIX_IPTABLESFILTERALLOWACTION": ("Return", "Accept", "nonsense"),
    "NO_DEFAULT_POOLS": ("True", "false", None),
    "IP": ("", "autodetect", "none", None),
    "IP6": ("none",),
    "FELIX_PROMETHEUSMETRICSENABLED": ("true", "TRUE", "false", None),
    "FELIX_PROMETHEUSMETRICSPORT": ("9091", "0", "65536", "nine", "+9", " 9"),
    "FELIX_VXLANMTU": ("1450", "nine", "99999999999"),
    "FELIX_WIREGUARDMTU": ("1450", "1420"),
    "FELIX_IPINIPMTU": ("1450", "+1450"),
    "FELIX_BPFENABLED": ("true", "TRUE", "false", "1"),
    "FELIX_NFTABLESMODE": ("Enabled", "enabled", "Disabled", "auto"),
    "FELIX_IPTABLESBACKEND": ("Auto", "NFT", "legacy"),
    "FELIX_IPTABLESREFRESHINTERVAL": ("60", "60s", "1m30s", "1h2", "x"),
    "FELIX_ROUTEREFRESHINTERVAL": ("90s", "1.5m", "90", ".5s", "-1s", "0", "", "5 s"),
    "FELIX_IPV6SUPPORT": ("true", "False", "tRUE", "yes", ""),
    "FELIX_LOGSEVERITYSCREEN": ("Debug", ""),
    "FELIX_LOGPREFIX": ("calico-packet: ", ""),
    "FELIX_FAILSAFEINBOUNDHOSTPORTS": ("none", "tcp:22,udp:68", "tcp:22,", "22", "tcp:70000", "a:1"),
    "FELIX_KUBENODEPORTRANGES": ("30000:32767", "30000", "x,30000:2", "70000", "a b"),
    "FELIX_NATPORTRANGE": ("1:65535", "5:1", "99999", "named"),
    "FELIX_ROUTETABLERANGE": ("65-99", "65", "a-b", "1-2-3"),
    "FELIX_IPTABLESMARKMASK": ("4278190080", "-1", "0xff", "4294967296"),
    "FELIX_MAXIPSETSIZE": ("1048576", "1_000", "+5", "99999999999999999999"),
    "FELIX_INTERFACEEXCLUDE": ("kube-ipvs0", ""),
    "FELIX_EXTERNALNODESCIDRLIST": ("10.0.0.0/8,192.168.0.0/16",),
    "FELIX_HEALTHTIMEOUTOVERRIDES": ("a=1s",),
    "FELIX_NOSUCHFIELD": ("1",),
    "FELIX_BPFCONNECTTIMELOADBALANCING": ("TCP",),
    "FELIX_TYPHAADDR": ("10.0.0.1:5473",),
    "FELIX_USAGEREPORTINGENABLED": ("false",),
    "FELIX_CHAININSERTMODE": ("Append",),
    "CALICO_IPV4POOL_CIDR": ("192.168.0.0/16",),
    "CALICO_IPV4POOL_IPIP": ("Never",),
    "CALICO_ROUTER_ID": ("hash",),
    "SOME_VAR": ("some value",),
    "HTTP_PROXY": ("",),
    "NODENAME": ("me", None),
}


def _a_value(rng: random.Random, case: Case) -> None:
    name = rng.choice(sorted(VALUES))
    _set(case, name, rng.choice(VALUES[name]))


def _elsewhere(rng: random.Random, case: Case) -> None:
    """A value that comes from another object."""
    name = rng.choice(
        [
            "FELIX_INTERFACEPREFIX",
            "CALICO_NETWORKING_BACKEND",
            "FELIX_LOGPREFIX",
            "FELIX_HEALTHENABLED",
            "DATASTORE_TYPE",
        ]
    )
    reference = {"name": rng.choice(["calico-config", "lost"]), "key": rng.choice(["veth", "backend", "no"])}
    source = rng.choice(["configMapKeyRef", "secretKeyRef", "fieldRef"])
    body = {"fieldPath": "spec.nodeName"} if source == "fieldRef" else reference
    _set(case, name, {"valueFrom": {source: body}})


def _a_node_name(rng: random.Random, case: Case) -> None:
    _set(case, "NODENAME", {"valueFrom": {"fieldRef": {"fieldPath": rng.choice(["spec.nodeName", "status.hostIP"])}}})


def _twice(rng: random.Random, case: Case) -> None:
    env = _container(case)["env"]
    one = copy.deepcopy(rng.choice([e for e in env if "value" in e]))
    one["value"] = rng.choice(["none", "eni", "true", "Return", ""])
    env.insert(rng.randint(0, len(env)), one)


ANNOTATIONS = (
    ("meta.helm.sh/release-name", "aws-calico"),
    ("deprecated.daemonset.template.generation", "3"),
    ("kubectl.kubernetes.io/restartedAt", "2026-11-01"),
    ("xkubectl.kubernetes.io/a", "b"),
    ("deployment.kubernetes.io/revision", "2"),
    ("scheduler.alpha.kubernetes.io/critical-pod", ""),
    ("cluster-autoscaler.kubernetes.io/daemonset-pod", "true"),
    ("cluster-autoscaler.kubernetes.io/safe-to-evict", "true"),
    ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
    ("prometheus.io/scrape", "true"),
)


def _parts(rng: random.Random, case: Case) -> Obj:
    return rng.choice([p for p in (case.node, case.typha, case.controllers) if p is not None])


def _an_annotation(rng: random.Random, case: Case) -> None:
    part = _parts(rng, case)
    where = rng.choice([part["metadata"], part["spec"]["template"]["metadata"]])
    key, value = rng.choice(ANNOTATIONS)
    where.setdefault("annotations", {})[key] = value


def _a_label(rng: random.Random, case: Case) -> None:
    key = rng.choice(["addonmanager.kubernetes.io/mode", "team", "helm.sh/chart"])
    _parts(rng, case)["metadata"]["labels"][key] = "x"


def _an_affinity(rng: random.Random, case: Case) -> None:
    term = {"matchExpressions": [{"key": "eks.amazonaws.com/compute-type", "operator": "NotIn", "values": ["fargate"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": term}]}
    pods: Obj = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    _parts(rng, case)["spec"]["template"]["spec"]["affinity"] = rng.choice(
        [{}, {"nodeAffinity": required}, {"nodeAffinity": preferred}, pods, {"nodeAffinity": {}}, None]
    )


def _a_selector(rng: random.Random, case: Case) -> None:
    chosen = [{}, {"kubernetes.io/os": "linux"}, {"kubernetes.io/os": "windows"}, {"pool": "infra"}, None]
    _parts(rng, case)["spec"]["template"]["spec"]["nodeSelector"] = rng.choice(chosen)


def _a_volume(rng: random.Random, case: Case) -> None:
    volumes = case.node["spec"]["template"]["spec"]["volumes"]
    one = rng.choice(volumes)
    match rng.randrange(5):
        case 0:
            volumes.remove(one)
        case 1:
            one["hostPath"] = {"path": "/var/lib/elsewhere"}
        case 2:
            one.pop("hostPath")
            one["emptyDir"] = {}
        case 3:
            volumes.append({"name": "flexvol-driver-host", "hostPath": {"path": "/usr/libexec"}})
        case _:
            volumes.append({"name": "tmp", "emptyDir": {}})


def _a_container(rng: random.Random, case: Case) -> None:
    pod = case.node["spec"]["template"]["spec"]
    name = rng.choice(["flexvol-driver", "install-cni", "upgrade-ipam", "sidecar", "calico-node"])
    names = ["KUBERNETES_NODE_NAME", "SLEEP", "CALICO_NETWORKING_BACKEND", "CNI_CONF_NAME", "OTHER"]
    env = [{"name": n, "value": rng.choice(["x", "10-calico.conflist"])} for n in rng.sample(names, rng.randint(0, 2))]
    if name == "calico-node":
        _container(case)["name"] = "node"
    else:
        pod.setdefault(rng.choice(["containers", "initContainers"]), []).append(
            {"name": name, "image": "i", "env": env}
        )
        if name == "flexvol-driver" and rng.random() < 0.6:
            pod["volumes"].append({"name": "flexvol-driver-host", "hostPath": {"path": "/usr/libexec"}})


def _typha(rng: random.Random, case: Case) -> None:
    one = case.typha["spec"]["template"]["spec"]["containers"][0]
    match rng.randrange(4):
        case 0:
            case.has_typha = False
        case 1:
            one["name"] = "typha"
        case 2:
            port = rng.choice(["9093", "0", "70000", "x", "-1"])
            enabled = rng.choice(["true", "True", "false"])
            one["env"] = _env(TYPHA_PROMETHEUSMETRICSENABLED=enabled, TYPHA_PROMETHEUSMETRICSPORT=port, EXTRA="1")
        case _:
            reference = {"secretKeyRef": {"name": "s", "key": "k"}}
            one["env"].append({"name": "TYPHA_EXTRA", "valueFrom": reference})


def _controllers(rng: random.Random, case: Case) -> None:
    case.controllers = controllers()
    one = case.controllers["spec"]["template"]["spec"]["containers"][0]
    match rng.randrange(4):
        case 0:
            one["name"] = "controllers"
        case 1:
            choices = ["node", "Node", "node,loadbalancer", "policy,namespace", ""]
            one["env"] = _env(ENABLED_CONTROLLERS=rng.choice(choices))
        case 2:
            one["env"] = _env(AUTO_HOST_ENDPOINTS=rng.choice(["disabled", "Disabled", "enabled"]))
        case _:
            pass


def _felix(rng: random.Random, case: Case) -> None:
    match rng.randrange(5):
        case 0:
            case.has_felix = False
        case 1:
            case.felix["bpfEnabled"] = rng.choice([True, False])
        case 2:
            case.felix["nftablesMode"] = rng.choice(["Enabled", "Disabled", "Auto"])
        case 3:
            case.felix.update(bpfEnabled=True)
            case.config_maps["kubernetes-services-endpoint"] = {"KUBERNETES_SERVICE_HOST": "h"}
        case _:
            case.felix["iptablesBackend"] = "NFT"


def _pool(rng: random.Random, case: Case) -> None:
    for name in rng.sample(["default-ipv4-ippool", "a", "default-ipv6-ippool"], rng.randint(1, 2)):
        spec: Obj = {"cidr": rng.choice(["192.168.0.0/16", "10.4.0.0/16", "fd00::/48", "nonsense", "10.0.0.1"])}
        if rng.random() < 0.5:
            spec["ipipMode"] = rng.choice(["Never", "Always", "CrossSubnet"])
        if rng.random() < 0.5:
            spec["vxlanMode"] = rng.choice(["Never", "Always", "CrossSubnet"])
        if rng.random() < 0.2:
            spec["disabled"] = True
        if rng.random() < 0.3:
            spec["assignmentMode"] = rng.choice(["Automatic", "Manual", "Sometimes"])
        case.pools.append({"metadata": {"name": name}, "spec": spec})


def _canal(rng: random.Random, case: Case) -> None:
    case.canal = rng.random() < 0.5


def _strategy(rng: random.Random, case: Case) -> None:
    case.node["spec"]["updateStrategy"] = rng.choice(
        [{"type": "OnDelete"}, {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}]
    )
    _container(case)["resources"] = rng.choice([{}, {"limits": {"cpu": "1"}}])


CHANGES: tuple[Change, ...] = (
    *(_a_value,) * 10,
    *(_elsewhere, _a_node_name, _twice, _an_annotation, _an_annotation, _a_label, _an_affinity, _a_selector),
    *(_a_volume, _a_container, _typha, _controllers, _felix, _pool, _canal, _strategy),
)


def case(seed: int) -> Case:
    """The chart's Calico, ready to go over, with nothing to three things changed."""
    rng = random.Random(seed)  # noqa: S311 - cases, not secrets
    made = Case()
    for _ in range(rng.choice([0, 1, 1, 1, 2, 2, 3])):
        rng.choice(CHANGES)(rng, made)
    made.pools = list({p["metadata"]["name"]: p for p in made.pools}.values())
    return made


def as_the_chart_leaves_it() -> Case:
    """With Helm's annotations and the chart's affinity: what the preparation has to take off."""
    made = Case()
    for part in (made.node, made.typha):
        part["metadata"]["annotations"] |= {
            "meta.helm.sh/release-name": "aws-calico",
            "meta.helm.sh/release-namespace": "kube-system",
        }
    term = {"matchExpressions": [{"key": "eks.amazonaws.com/compute-type", "operator": "NotIn", "values": ["fargate"]}]}
    made.node["spec"]["template"]["spec"]["affinity"] = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    }
    return made


def text(seed: int) -> str:
    """A case as the operator is given it, on one line."""
    return json.dumps(case(seed).objects(), sort_keys=True, separators=(",", ":"))
