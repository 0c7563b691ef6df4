"""Whether the Tigera operator takes over a Calico that it did not install: its conversion, as a pure decision.

The operator reads the DaemonSet kube-system/calico-node and what belongs to it, once, and makes an Installation of it,
or says that it cannot. While it cannot, nothing changes and the old Calico enforces. This says beforehand what it will
say, all of it at once; a test holds it against the operator's own code.
Source: tigera/operator v1.42.4, pkg/controller/migration/convert, for a calico-node that leaves wiring to another CNI.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from migration.rules import felix_fields
from migration.rules.conversion_objects import Obj, container_of, entry_of, first_pool, pod_of, spec_of, unexpected
from migration.rules.felix_fields import whole

NODE, TYPHA, CONTROLLERS = "calico-node", "calico-typha", "calico-kube-controllers"
INSTALL_CNI, FLEXVOL = "install-cni", "flexvol-driver"
_ABOUT: Final = {NODE: f"daemonset {NODE}", TYPHA: f"deployment {TYPHA}", CONTROLLERS: f"deployment {CONTROLLERS}"}
_SCALED_AS_DAEMON: Final = ("cluster-autoscaler.kubernetes.io/daemonset-pod", "true")
_MAY_MOVE: Final = ("cluster-autoscaler.kubernetes.io/safe-to-evict", "true")
_OS: Final = frozenset({"kubernetes.io/os", "beta.kubernetes.io/os"})
_PATHS: Final = {
    "lib-modules": "/lib/modules",
    "var-run-calico": "/var/run/calico",
    "var-lib-calico": "/var/lib/calico",
    "xtables-lock": "/run/xtables.lock",
}
_MTUS: Final = tuple(
    f"FELIX_{name}" for name in ("IPINIPMTU", "VXLANMTU", "VXLANMTUV6", "WIREGUARDMTU", "WIREGUARDMTUV6")
)
_ANY_VALUE: Final = frozenset(
    {
        *("WAIT_FOR_DATASTORE", "CLUSTER_TYPE", "CALICO_DISABLE_FILE_LOGGING", "FELIX_LOGSEVERITYSCREEN"),
        *("FELIX_HEALTHENABLED", "FELIX_USAGEREPORTINGENABLED", "FELIX_TYPHAK8SSERVICENAME", "FELIX_LOGSEVERITYSYS"),
        *(
            f"CALICO_IPV{family}POOL_{part}"
            for family in (4, 6)
            for part in ("CIDR", "BLOCK_SIZE", "IPIP", "VXLAN", "NAT_OUTGOING", "NODE_SELECTOR", "DISABLE_BGP_EXPORT")
        ),
    }
)
"""Of calico-node: looked past, whatever they say."""
_ELSEWHERE: Final = {
    "upgrade-ipam": frozenset({"KUBERNETES_NODE_NAME", "CALICO_NETWORKING_BACKEND"}),
    INSTALL_CNI: frozenset({"SLEEP", "KUBERNETES_NODE_NAME", "CNI_CONF_NAME", "CNI_NETWORK_CONFIG"}),
}
_PREFIXES: Final = {"eni": "AmazonVPC", "azv": "AzureVNET", "gke": "GKE"}
_MODES: Final = frozenset({"", "Never", "Always", "CrossSubnet"})


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the operator looks at, all of it from kube-system but what is Calico's own. Objects as the API answers."""

    node: Obj
    typha: Obj | None = None
    controllers: Obj | None = None
    canal: bool = False
    """Whether there is a DaemonSet canal-node."""
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Name → data."""
    felix: Obj | None = None
    """FelixConfiguration `default`."""
    pools: Sequence[Obj] = ()
    """IPPools."""


@dataclass(frozen=True)
class Refusal:
    """One thing for which the operator refuses."""

    object: str
    problem: str
    fix: str


def refusals(found: Found) -> tuple[Refusal, ...]:
    """Everything for which the operator would refuse; none means that it takes over."""
    return tuple(_Conversion(found).all())


class _Conversion:
    def __init__(self, found: Found) -> None:
        self.found = found
        self.node = pod_of(found.node)
        self.seen: set[str] = set(_ANY_VALUE)
        """Variables of calico-node that something was asked about."""

    def all(self) -> Iterator[Refusal]:
        if self.found.canal:
            yield Refusal("daemonset canal-node", "is Canal", "Take Canal off first")
        if container_of(self.node, NODE) is None:
            yield Refusal(_ABOUT[NODE], f"has no container {NODE}", "Give the container its name back")
            return
        yield from self._managed()
        yield from self._plain_values()
        yield from self._plugin()
        yield from self._volumes()
        yield from self._cni_container()
        yield from self._controllers()
        yield from self._annotations()
        yield from self._placement()
        yield from self._metrics()
        yield from self._mtus()
        yield from self._pools()
        yield from self._dataplane()
        yield from self._felix_variables()
        yield from self._other_variables()

    # -- variables ------------------------------------------------------------------------------------

    def _value(self, variable: str) -> str | None:
        """Of calico-node; from then on it counts as looked at.

        Raises:
            _UnreadableError: it comes from where the operator does not read.
        """
        self.seen.add(variable)
        return self._of(self.node, NODE, variable)

    def _of(self, pod: Obj, container: str, variable: str) -> str | None:
        entry = entry_of(container_of(pod, container) or {}, variable)
        if entry is None:
            return None
        source = entry.get("valueFrom")
        if not source:
            return str(entry.get("value") or "")
        reference = source.get("configMapKeyRef")
        if reference is None:
            raise _UnreadableError(f"{variable} comes from neither a text nor a ConfigMap")
        data = self.found.config_maps.get(str(reference.get("name")))
        if data is None:
            raise _UnreadableError(f"{variable} comes from ConfigMap {reference.get('name')}, which is not there")
        return str(data.get(str(reference.get("key")), ""))

    def _must(self, variable: str, expected: str, *, there: bool = False, about: str = NODE) -> Iterator[Refusal]:
        """A variable that has to be `expected`, in any case of letters, or else unset unless it has to be `there`."""
        pod = self.node if about == NODE else pod_of(self.found.controllers or {})
        self.seen |= {variable} if about == NODE else set()
        try:
            value = self._of(pod, about, variable)
        except _UnreadableError as error:
            yield _unreadable(about, error)
            return
        if (value is None and there) or (value is not None and value.lower() != expected):
            told = "not set" if value is None else f"{value!r}"
            yield Refusal(
                _ABOUT[about],
                f"{variable} is {told}",
                f"Set it to {expected!r}" if there else f"Set it to {expected!r}, or take it out",
            )

    def _plain_values(self) -> Iterator[Refusal]:
        yield from self._must("FELIX_DEFAULTENDPOINTTOHOSTACTION", "accept")
        yield from self._exactly_kubernetes()
        self.seen.add("NODENAME")
        yield from _from_field(self.node, NODE, "NODENAME")

    def _exactly_kubernetes(self) -> Iterator[Refusal]:
        try:
            value = self._value("DATASTORE_TYPE")
        except _UnreadableError as error:
            yield _unreadable(NODE, error)
            return
        if value not in (None, "kubernetes"):
            yield Refusal(_ABOUT[NODE], f"DATASTORE_TYPE is {value!r}", "Only Calico in the Kubernetes API goes over")

    def _plugin(self) -> Iterator[Refusal]:
        try:
            prefix = self._value("FELIX_INTERFACEPREFIX")
        except _UnreadableError as error:
            yield _unreadable(NODE, error)
            return
        if prefix not in _PREFIXES:
            told = "not set" if prefix is None else repr(prefix)
            yield Refusal(
                _ABOUT[NODE],
                f"FELIX_INTERFACEPREFIX is {told}: Calico would wire pods itself",
                "Set it to eni, the prefix of the VPC CNI's interfaces",
            )
            return
        yield from self._must("CALICO_NETWORKING_BACKEND", "none", there=True)
        if prefix != "azv":
            yield from self._must("FELIX_IPTABLESMANGLEALLOWACTION", "return", there=True)
        if prefix == "gke":
            yield from self._must("FELIX_IPTABLESFILTERALLOWACTION", "return", there=True)
        yield from self._must("IP", "")
        yield from self._must("NO_DEFAULT_POOLS", "true")

    def _metrics(self) -> Iterator[Refusal]:
        self.seen.add("FELIX_PROMETHEUSMETRICSPORT")
        yield from self._port(self.node, NODE, "FELIX_PROMETHEUSMETRICS")
        self.seen.add("FELIX_PROMETHEUSMETRICSENABLED")
        if self.found.typha is not None:
            typha = pod_of(self.found.typha)
            if container_of(typha, TYPHA) is None:
                yield Refusal(_ABOUT[TYPHA], f"has no container {TYPHA}", "Give the container its name back")
            else:
                yield from self._port(typha, TYPHA, "TYPHA_PROMETHEUSMETRICS")

    def _port(self, pod: Obj, container: str, variable: str) -> Iterator[Refusal]:
        try:
            enabled = self._of(pod, container, f"{variable}ENABLED")
            port = self._of(pod, container, f"{variable}PORT") if (enabled or "").lower() == "true" else None
        except _UnreadableError as error:
            yield _unreadable(container, error)
            return
        if port is not None and not 0 < (whole(port, 32) or 0) <= 65535:
            yield Refusal(_ABOUT[container], f"{variable}PORT is {port!r}", "Write a port, or take it out")

    def _mtus(self) -> Iterator[Refusal]:
        told: dict[str, int] = {}
        for variable in _MTUS:
            try:
                value = self._value(variable)
            except _UnreadableError as error:
                yield _unreadable(NODE, error)
                continue
            number = whole(value, 32) if value is not None else None
            if value is not None and number is None:
                yield Refusal(_ABOUT[NODE], f"{variable} is {value!r}", "Write a number, or take it out")
            elif number is not None:
                told[variable] = number
        if len(set(told.values())) > 1:
            yield Refusal(_ABOUT[NODE], f"{', '.join(told)} differ", "Set them to one value, or take them out")

    def _felix_variables(self) -> Iterator[Refusal]:
        names = dict.fromkeys(str(e["name"]) for e in (container_of(self.node, NODE) or {}).get("env") or [])
        for variable in (n for n in names if n.startswith("FELIX_") and n not in self.seen):
            try:
                text = self._value(variable) or ""
            except _UnreadableError as error:
                yield _unreadable(NODE, error)
                continue
            if variable == "FELIX_IPTABLESBACKEND" and text.lower() == "auto":
                continue
            if variable == "FELIX_IPTABLESREFRESHINTERVAL" and not text.endswith("s"):
                text += "s"
            why = felix_fields.carried(variable, text)
            if why:
                yield Refusal(
                    _ABOUT[NODE],
                    f"{variable} does not go over into a FelixConfiguration: {why}",
                    "Take it out, and set it in FelixConfiguration `default` yourself if it is needed",
                )

    def _other_variables(self) -> Iterator[Refusal]:
        for one in [*(self.node.get("containers") or []), *(self.node.get("initContainers") or [])]:
            container = str(one["name"])
            known = self.seen if container == NODE else _ELSEWHERE.get(container, frozenset())
            for variable in dict.fromkeys(str(e["name"]) for e in one.get("env") or []):
                if variable not in known:
                    yield Refusal(_ABOUT[NODE], f"has {variable} in container {container}", "Take it out")

    # -- objects --------------------------------------------------------------------------------------

    def _parts(self) -> Iterator[tuple[str, Obj]]:
        yield NODE, self.found.node
        if self.found.controllers is not None:
            yield CONTROLLERS, self.found.controllers
        if self.found.typha is not None:
            yield TYPHA, self.found.typha

    def _managed(self) -> Iterator[Refusal]:
        for name, part in self._parts():
            if "addonmanager.kubernetes.io/mode" in (part["metadata"].get("labels") or {}):
                yield Refusal(_ABOUT[name], "belongs to the addon manager", "Take it out of the addon manager's hands")

    def _annotations(self) -> Iterator[Refusal]:
        allowed = {NODE: _SCALED_AS_DAEMON, TYPHA: _MAY_MOVE}
        for name, part in self._parts():
            template = part["spec"]["template"].get("metadata") or {}
            extra = [*unexpected(part["metadata"]), *unexpected(template, allowed.get(name))]
            if extra:
                yield Refusal(
                    _ABOUT[name],
                    f"has the annotation{'s' if len(extra) > 1 else ''} {', '.join(sorted(set(extra)))}",
                    "Take them off: the operator keeps no annotation",
                )

    def _placement(self) -> Iterator[Refusal]:
        if self.node.get("affinity") is not None:
            yield Refusal(_ABOUT[NODE], "has an affinity", "Take it off: the operator sets its own, Fargate left out")
        for name, part in self._parts():
            pod = pod_of(part)
            extra = {k: v for k, v in (pod.get("nodeSelector") or {}).items() if not (k in _OS and v == "linux")}
            if name != CONTROLLERS and extra:
                yield Refusal(
                    _ABOUT[name], f"has a nodeSelector besides the OS: {', '.join(sorted(extra))}", "Take it off"
                )
            if name == CONTROLLERS and pod.get("affinity") is not None:
                yield Refusal(_ABOUT[name], "has an affinity", "Take it off")
            if name == TYPHA:
                nodes = (pod.get("affinity") or {}).get("nodeAffinity") or {}
                if nodes.get("requiredDuringSchedulingIgnoredDuringExecution") is not None:
                    yield Refusal(
                        _ABOUT[name], "has a required node affinity", "Take it off, or make it a preferred one"
                    )

    def _volumes(self) -> Iterator[Refusal]:
        volumes = {str(v["name"]): v for v in reversed(self.node.get("volumes") or [])}
        for name, path in _PATHS.items():
            if ((volumes.get(name) or {}).get("hostPath") or {}).get("path") != path:
                yield Refusal(_ABOUT[NODE], f"has no volume {name} with host path {path}", "Put it back")
        driver, volume = container_of(self.node, FLEXVOL), volumes.get("flexvol-driver-host")
        if (volume is None) != (driver is None) or (volume is not None and volume.get("hostPath") is None):
            yield Refusal(
                _ABOUT[NODE],
                f"container {FLEXVOL} and a volume flexvol-driver-host with a host path are not both there",
                "Take both out, or put both in",
            )

    def _cni_container(self) -> Iterator[Refusal]:
        if container_of(self.node, INSTALL_CNI) is None:
            return
        yield from _from_field(self.node, INSTALL_CNI, "KUBERNETES_NODE_NAME")
        for variable, expected in (("CNI_CONF_NAME", "10-calico.conflist"), ("CNI_NETWORK_CONFIG", None)):
            try:
                value = self._of(self.node, INSTALL_CNI, variable)
            except _UnreadableError as error:
                yield _unreadable(NODE, error)
                continue
            if value is not None and value.lower() != expected:
                yield Refusal(_ABOUT[NODE], f"{variable} says that Calico wires pods itself", f"Take {INSTALL_CNI} out")

    def _controllers(self) -> Iterator[Refusal]:
        part = self.found.controllers
        if part is None:
            return
        if container_of(pod_of(part), CONTROLLERS) is None:
            yield Refusal(_ABOUT[CONTROLLERS], f"has no container {CONTROLLERS}", "Give the container its name back")
            return
        try:
            enabled = self._of(pod_of(part), CONTROLLERS, "ENABLED_CONTROLLERS")
        except _UnreadableError as error:
            yield _unreadable(CONTROLLERS, error)
        else:
            if enabled is not None and enabled.lower() not in ("node", "node,loadbalancer"):
                yield Refusal(
                    _ABOUT[CONTROLLERS], f"ENABLED_CONTROLLERS is {enabled!r}", "Set it to node, or take it out"
                )
        yield from self._must("AUTO_HOST_ENDPOINTS", "disabled", about=CONTROLLERS)

    # -- what is Calico's own -------------------------------------------------------------------------

    def _dataplane(self) -> Iterator[Refusal]:
        about = "felixconfiguration default"
        if self.found.felix is None:
            yield Refusal(about, "is not there, or cannot be read", "Let calico-node start once: it makes one")
            return
        spec = self.found.felix.get("spec") or {}
        try:
            bpf, tables = self._value("FELIX_BPFENABLED"), (self._value("FELIX_NFTABLESMODE") or "").lower()
        except _UnreadableError as error:
            yield _unreadable(NODE, error)
            return
        by_bpf = bool(spec.get("bpfEnabled")) or (bpf or "").lower() == "true"
        by_tables = tables == "enabled" or (spec.get("nftablesMode") == "Enabled" and tables != "disabled")
        if by_bpf and "kubernetes-services-endpoint" not in self.found.config_maps:
            yield Refusal(
                about, "enables eBPF, and there is no ConfigMap kubernetes-services-endpoint", "Turn eBPF off"
            )
        if by_bpf and by_tables:
            yield Refusal(about, "enables both eBPF and nftables", "Turn one of them off")

    def _pools(self) -> Iterator[Refusal]:
        pools = [
            p for p in sorted(self.found.pools, key=lambda p: p["metadata"]["name"]) if not spec_of(p).get("disabled")
        ]
        for family in (4, 6):
            chosen, broken = first_pool(pools, family)
            about = f"ippool {(broken or chosen or {'metadata': {'name': ''}})['metadata']['name']}"
            if broken is not None:
                yield Refusal(about, f"its cidr {spec_of(broken).get('cidr')!r} is none", "Correct it")
                return
            if chosen is not None:
                spec = spec_of(chosen)
                tunnels = {str(spec.get("ipipMode") or "Never"), str(spec.get("vxlanMode") or "Never")} - {"Never"}
                both = "Never" not in (spec.get("ipipMode") or "Never", spec.get("vxlanMode") or "Never")
                if both or not tunnels <= _MODES or spec.get("assignmentMode") not in (None, "Automatic", "Manual"):
                    yield Refusal(about, "has modes that no pool of an Installation has", "Correct or delete it")


class _UnreadableError(Exception):
    pass


def _unreadable(about: str, error: _UnreadableError) -> Refusal:
    return Refusal(_ABOUT[about], str(error), "Write the value into the container itself")


def _from_field(pod: Obj, container: str, variable: str) -> Iterator[Refusal]:
    entry = entry_of(container_of(pod, container) or {}, variable)
    if entry is not None and ((entry.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath") != "spec.nodeName":
        yield Refusal(
            _ABOUT[NODE], f"{variable} of {container} is not the node's name", "Let it refer to spec.nodeName"
        )
