"""The conformance tests of network-policy-api as a table: every probe, the objects of that moment, and what must be.

`python -m tests.oracles.conformance` prints how many of them our decisions agree with under each engine, and each that
they do not, with the reason.

The tests are Go functions; `network_policy_api` reads them, and here they are carried out, on plain mappings instead
of a cluster. A word that is not known here is an error, never left out.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import reading
from netpol import Flow, UndecidableError, World, decide, from_objects
from netpol.model.world import CiliumOptions
from tests.oracles.go_program import GoProgram

MODULE = "sigs.k8s.io/network-policy-api"
ENGINES = ("calico", "cilium")
"""Those that enforce ClusterNetworkPolicy of policy.networking.k8s.io."""
_HOST_PORTS = tuple(range(34345, 34355))
"""Ports of pods on the host's network: where the suite puts them unless told otherwise."""
_NODES = ("one", "two")
Object = dict[str, Any]


class NetworkPolicyApi(GoProgram):
    """Answers a directory with `tests` and `constants`, or `error`."""

    source = Path(__file__).parent / "network_policy_api"


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One assertion: `objects` are those in the cluster when it is made."""

    test: str
    part: str
    source: str
    destination: str
    protocol: str
    port: int
    allowed: bool
    objects: tuple[Object, ...] = field(repr=False)

    def __str__(self) -> str:
        verb = "is allowed" if self.allowed else "is denied"
        return f"{self.test} / {self.part}: {self.source} -> {self.destination} {self.protocol} {self.port} {verb}"

    def world(self, engine: str) -> World:
        options = CiliumOptions(cluster_policies=True)
        return from_objects(self.objects, whole=True, cilium=options).enforced_by(engine)

    def decided(self, engine: str) -> bool | None:
        """Our verdict; None where there is none."""
        try:
            flow = Flow.of(self.source, self.destination, self.protocol, self.port)
            return decide(self.world(engine), flow).allowed
        except UndecidableError:
            return None


def module() -> Path:
    """Where the pinned module is, got with the Go command. Raises RuntimeError."""
    done = subprocess.run(
        ["go", "mod", "download", "-json", MODULE],
        cwd=NetworkPolicyApi.source,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{MODULE} is not to be had:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return Path(json.loads(done.stdout)["Dir"])


def probes() -> list[Probe]:
    """Every assertion of every test, in order. Raises RuntimeError for what is not known here."""
    root = module()
    with NetworkPolicyApi() as program:
        answer = program.ask(str(root))
    if "error" in answer:
        raise RuntimeError(answer["error"])
    out: list[Probe] = []
    for test in answer["tests"]:
        files = ["base/manifests.yaml", *test["manifests"]]
        cluster = Cluster(o for name in files for o in _objects(root / "conformance" / name))
        run = Run(test["name"], cluster, answer["constants"], out)
        run.block(test["body"])
    return out


def _objects(path: Path) -> Iterator[Object]:
    text = re.sub(
        r"\{\{ index \.HostNetworkPorts (\d+) \}\}",
        lambda found: str(_HOST_PORTS[int(found[1])]),
        path.read_text(encoding="utf-8"),
    )
    if "{{" in text:
        raise RuntimeError(f"{path}: a template that is not known here")
    yield from (document.value for document in reading.documents(text))


class Cluster:
    """Objects by kind, namespace and name; a StatefulSet becomes its pods."""

    def __init__(self, objects: Iterator[Object]) -> None:
        self.kept: dict[tuple[str, str, str], Object] = {}
        for index, name in enumerate(_NODES):
            addresses = [{"type": "InternalIP", "address": f"10.1.0.{index + 1}"}]
            meta = {"name": name, "labels": {"kubernetes.io/os": "linux"}}
            self.put({"apiVersion": "v1", "kind": "Node", "metadata": meta, "status": {"addresses": addresses}})
        sets = 0
        for one in objects:
            if one["kind"] == "StatefulSet":
                sets += 1
                for pod in _pods(one, sets):
                    self.put(pod)
            else:
                self.put(one)

    def put(self, one: Object) -> None:
        meta = one["metadata"]
        if one["kind"] == "Namespace":
            meta["labels"] = {**meta["labels"], "kubernetes.io/metadata.name": meta["name"]}
        # What an earlier probe saw stays what it was.
        self.kept[one["kind"], meta.get("namespace", ""), meta["name"]] = copy.deepcopy(one)

    def get(self, kind: str, namespace: str, name: str) -> Object:
        return copy.deepcopy(self.kept[kind, namespace, name])

    def at(self, address: str) -> str:
        """The one pod with this address of its own, or the host that has it."""
        for (kind, namespace, name), one in self.kept.items():
            if kind == "Pod" and one["status"]["podIP"] == address and not one["spec"].get("hostNetwork"):
                return f"{namespace}/{name}"
        host = next(n for (kind, _, n), one in self.kept.items() if kind == "Node" and address in str(one["status"]))
        return f"node:{host}"


def _pods(one: Object, number: int) -> Iterator[Object]:
    template, meta = one["spec"]["template"], one["metadata"]
    for index in range(one["spec"]["replicas"]):
        host = f"10.1.0.{index + 1}"
        address = host if template["spec"].get("hostNetwork") else f"10.244.{index}.{number}"
        name = f"{meta['name']}-{index}"
        labels = {**template["metadata"]["labels"], "statefulset.kubernetes.io/pod-name": name}
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": meta["namespace"], "labels": labels},
            "spec": {**copy.deepcopy(template["spec"]), "nodeName": _NODES[index]},
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
        }


_QUIET = object()
"""Clients, deadlines, contexts, errors that are none: nothing that a verdict depends on."""


class Run:
    """One test, carried out statement by statement."""

    def __init__(self, test: str, cluster: Cluster, constants: dict[str, str], out: list[Probe]) -> None:
        self.test, self.cluster, self.constants, self.out = test, cluster, constants, out
        self.part = ""
        self.names: dict[str, Any] = {"true": True, "false": False, **dict.fromkeys(("t", "s"), _QUIET)}
        self.later: list[list[list[Any]]] = []

    # --- statements
    def block(self, body: list[list[Any]]) -> None:
        for what, *rest in body:
            getattr(self, f"_{what}")(*rest)

    def _do(self, expression: list[Any]) -> None:
        self.value(expression)

    def _defer(self, call: list[Any]) -> None:
        if call != ["call", ["name", "cancel"], []]:
            raise RuntimeError(f"{self.test}: {call} is not known here")

    def _declare(self, *names: str) -> None:
        self.names.update(dict.fromkeys(names))

    def _if(self, condition: list[Any], then: list[list[Any]], otherwise: list[list[Any]]) -> None:
        self.block(then if self.value(condition) else otherwise)

    def _set(self, targets: list[list[Any]], values: list[list[Any]]) -> None:
        found = [self.value(v) for v in values]
        # Of a call with two results.
        found = found if len(found) == len(targets) else [_QUIET] * len(targets)
        for target, value in zip(targets, found, strict=True):
            what, *rest = target
            if what == "name":
                self.names[rest[0]] = value
            elif what == "field":
                self._place(rest[0])[_json(rest[1])] = value
            elif what == "item":
                self._place(rest[0])[self.value(rest[1])] = value
            else:
                raise RuntimeError(f"{self.test}: {target} is not known here")

    def _place(self, expression: list[Any]) -> Any:
        """What is written to, itself and no copy."""
        what, *rest = expression
        if what == "field":
            return self._place(rest[0])[_json(rest[1])]
        return self._place(rest[0])[self.value(rest[1])] if what == "item" else self.value(expression)

    # --- expressions
    def value(self, expression: list[Any]) -> Any:
        what, *rest = expression
        return getattr(self, f"_of_{what}")(*rest)

    def _of_literal(self, value: Any) -> Any:
        return value

    def _of_name(self, name: str) -> Any:
        return self.names[name] if name in self.names else self.constants[name]

    def _of_plus(self, first: list[Any], second: list[Any]) -> Any:
        return self.value(first) + self.value(second)

    def _of_field(self, owner: list[Any], name: str) -> Any:
        if owner == ["name", "api"]:
            return self.constants[f"api.{name}"]
        if owner == ["name", "s"]:
            return _HOST_PORTS if name == "HostNetworkPorts" else _QUIET
        of = self.value(owner)
        return _QUIET if of is _QUIET else of[_json(name)]

    def _of_item(self, owner: list[Any], index: list[Any]) -> Any:
        # A struct of a slice is copied when it is taken.
        return copy.deepcopy(self.value(owner)[self.value(index)])

    def _of_made(self, kind: list[Any], elements: list[list[Any]]) -> Any:
        if kind[0] == "list of":
            return [self.value(e) for e in elements]
        if kind[0] == "map":
            return {self.value(key): self.value(value) for _, key, value in elements}
        if kind[0] == "field" and kind[2] == "NetworkPolicy":
            return {"kind": kind[2]}
        return {_json(key[1]): self.value(value) for _, key, value in elements}

    def _of_call(self, function: list[Any], arguments: list[list[Any]]) -> Any:
        if function[0] == "name":
            built_in: dict[str, Callable[..., Any]] = {"int32": self.value, "append": self._append}
            return built_in[function[1]](*arguments)
        _, owner, name = function
        if name == "Run":
            return self._run(*arguments)
        if name == "Cleanup":
            return self.later.append(arguments[0][1])
        if name == "DeepCopy":
            return copy.deepcopy(self.value(owner))
        if name == "SetLabels":
            self.value(owner)["metadata"]["labels"] = self.value(arguments[0])
            return None
        known: dict[str, Callable[..., Any]] = {
            "api.CIDR": lambda text: text,
            "net.IsIPv4String": lambda text: ":" not in text,
            "context.WithTimeout": lambda *_: _QUIET,
            "context.Background": lambda: _QUIET,
            "require.NoErrorf": lambda *_: None,
            "s.Client.Get": self._fill,
            "s.Client.Delete": lambda _, one: self.cluster.kept.pop(_key(one)),
            "kubernetes.GetPod": lambda _t, _c, *name: self.cluster.get("Pod", *name[:2]),
            "kubernetes.GetNamespace": lambda _t, _c, name, _: self.cluster.get("Namespace", "", name),
            "kubernetes.GetClusterNetworkPolicy": lambda _t, _c, name, _: self.cluster.get(
                "ClusterNetworkPolicy", "", name
            ),
            "kubernetes.PatchNamespace": lambda _t, _c, _old, new, _: self.cluster.put(new),
            "kubernetes.PatchClusterNetworkPolicy": lambda _t, _c, _old, new, _: self.cluster.put(new),
            "kubernetes.SetPodLabel": lambda *some: self._label(some[2], some[3], some[4], some[5]),
            "kubernetes.RemovePodLabel": lambda *some: self._label(some[2], some[3], some[4], None),
            "kubernetes.PokeServer": self._poke,
        }
        return known[_dotted(function)](*(self.value(a) for a in arguments))

    # --- what the tests call
    def _run(self, name: list[Any], function: list[Any]) -> None:
        within = Run(self.test, self.cluster, self.constants, self.out)
        within.names, within.part = {**self.names}, self.value(name)
        within.block(function[1])
        while within.later:
            within.block(within.later.pop())

    def _append(self, first: list[Any], rest: list[Any]) -> list[Any]:
        # The only form in use: append(new, old...)
        return [*self.value(first), *self.value(rest)]

    def _fill(self, _: Any, key: Object, one: Object) -> Any:
        one.update(self.cluster.get(one["kind"], key.get("namespace", ""), key["name"]))
        return _QUIET

    def _label(self, namespace: str, name: str, key: str, value: str | None) -> None:
        pod = self.cluster.get("Pod", namespace, name)
        pod["metadata"]["labels"].pop(key, None)
        if value is not None:
            pod["metadata"]["labels"][key] = value
        self.cluster.put(pod)

    def _poke(self, *arguments: Any) -> None:
        namespace, name, protocol, address, port, _, allowed = arguments[3:]
        self.out.append(
            Probe(
                test=self.test,
                part=self.part,
                source=f"{namespace}/{name}",
                destination=self.cluster.at(address),
                protocol=protocol.upper(),
                port=port,
                allowed=allowed,
                objects=tuple(self.cluster.kept.values()),
            )
        )


def _json(name: str) -> str:
    return name[0].lower() + name[1:]


def _key(one: Object) -> tuple[str, str, str]:
    return one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]


def _dotted(expression: list[Any]) -> str:
    return f"{_dotted(expression[1])}.{expression[2]}" if expression[0] == "field" else str(expression[1])


# --- what we make of them
@dataclass
class Result:
    probes: int = 0
    allowed: int = 0
    agreed: Counter[str] = field(default_factory=Counter)
    others: dict[str, list[tuple[Probe, bool | None]]] = field(default_factory=dict)
    """By engine: the probes that our decision does not agree with, and what it is."""


def run() -> Result:
    result = Result(others={engine: [] for engine in ENGINES})
    for probe in probes():
        result.probes += 1
        result.allowed += probe.allowed
        for engine in ENGINES:
            ours = probe.decided(engine)
            if ours is probe.allowed:
                result.agreed[engine] += 1
            else:
                result.others[engine].append((probe, ours))
    return result


def main() -> None:
    result = run()
    for engine, others in result.others.items():
        for probe, ours in others:
            print(f"{engine}: {probe}; here {'undecidable' if ours is None else 'allowed' if ours else 'denied'}")
    print(json.dumps({"probes": result.probes, "allowed": result.allowed, "agreed": dict(result.agreed)}))


if __name__ == "__main__":
    main()
