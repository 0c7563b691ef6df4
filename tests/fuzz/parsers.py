"""Every parser of the program: what it is given, how it is called, and the errors that it declares."""

from __future__ import annotations

import contextlib
import io
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import netpol
import reading
from bridge import refuses
from bridge.labels import LabelFilter
from bridge.options import Cilium, InvalidOptions, Options
from bridge.patterns import Unreadable as UnreadablePattern
from bridge.patterns import compiled
from kube.transport import KubeError, answer
from migration import journeys, manifests
from migration.desired import desired
from migration.facts import Facts, InvalidFacts
from migration.guarding.freeze import Record
from migration.guarding.mark import DamagedMark, Mark
from migration.manifests import InvalidManifest
from migration.rules import addon_values, deployers, versions
from migration.rules.deployers import InvalidDeployer
from migration.settings import InvalidSettings, Settings
from migration.user_data import node_user_data
from netpol.model.errors import PolicyError, WorldError
from netpol.model.packets import Flow
from netpol.read.accepted import accepted
from netpol.read.selector_text import SelectorError, parse_calico
from operations import cli
from operations.access import own_state
from operations.access.context import Context
from operations.checks.enforcement import agent_answer, counted
from operations.exits import UsageError
from operations.guarding import guard
from operations.guarding.freeze import of_state
from operations.policy import given as policy_given
from operations.policy import sets
from operations.recover import locks, sidecars, stack_state
from operations.refresh.cluster.lease import Memory
from operations.refresh.model.request import InvalidRequest, NodeBudget
from prover import options as prover_options
from prover.said import Said, Verdict
from reading import Unreadable
from tests.fuzz.inputs import as_json, contents, damaged, texts
from tests.oracles import random_calico, random_cilium
from tests.unit.migration.examples import TERM, adopted, facts, raw
from tests.unit.netpol.read.test_parse import EVERY_KIND
from tests.unit.prover.cluster import options as prover_told

MOST_SECONDS = 5.0
"""For one input: none of them is larger than a few hundred kilobytes."""
MOST_CHARACTERS = 20_000
"""Of one error: fifty problems, each of a few lines."""


@dataclass(frozen=True)
class Parser:
    given: st.SearchStrategy[Any]
    read: Callable[[Any], object]
    declared: tuple[type[Exception], ...] = ()
    """The errors themselves: one that is derived from them, such as a ValueError's UnicodeError, is not declared."""


# -- what is good, to begin with ------------------------------------------------------------------

FULL = raw(
    cluster={"name": "staging", "admins": ["arn:aws:iam::111122223333:role/ops"], "tags": {"a": "b"}, "logTypes": ["api"]},
    network={
        "vpcId": "vpc-0",
        "subnetIds": ["subnet-0a", "subnet-0b"],
        "podSubnetIds": ["subnet-1a"],
        "securityGroupIds": ["sg-1"],
        "vpcCidrs": ["10.0.0.0/16"],
        "serviceCidr": "172.20.0.0/16",
        "peerCidrs": ["10.9.0.0/16"],
    },
    legacy={
        "groups": [{"name": "general", "size": 3, "labels": {"team": "a"}, "subnetIds": ["subnet-0a"]}],
        "vpcCni": {"version": "v1.21.1-eksbuild.1", "configuration": {"env": {"A": "1"}, "affinity": TERM}},
        "calico": {"version": "v3.32.1"},
    },
    cilium={
        "version": "1.20.2",
        "values": {"hubble": {"enabled": True}, "tolerations": [{"operator": "Exists"}], "operator": {"extraEnv": []}},
        "groups": [{"name": "workers", "size": 3, "maxSize": 6, "maxPods": 30}],
        "canary": {"instanceType": "m5.large"},
    },
    refresh={"budget": "10%", "strategy": "surge", "deadlineMinutes": 45},
    soakMinutes=15,
    policies="policies/network",
    deployers=["arn:aws:iam::111122223333:role/ops", "user:me", "group:us"],
)  # fmt: skip
ADOPTED = raw(cluster={"name": "prod", "adopt": True}, legacy=None)
FACTS = facts(
    subnets=[{"id": "subnet-0a", "zone": "a", "cidr": "10.0.0.0/24", "free": 9, "public": False}],
    decisions=[{"item": "x", "verdict": "handled"}],
    excludeSnatCidrs=["10.9.0.0/16"],
).model_dump(mode="json", by_alias=True)
KEPT = {
    "name": "x",
    "labels": {"a": "b"},
    "annotations": {"c": "d"},
    "ownerReferences": [{"apiVersion": "v1"}],
    "uid": "u",
}
MARK = Mark(
    id="a", stack="dev", deployers=("user:me",), guarded=("x",), open={"reason": "r", "until": "2027-01-31T18:00Z"}
).dump()
ANNOTATED = Mark.load(MARK).annotations()
LOCK = {"pid": 4, "username": "me", "hostname": "here", "timestamp": "2027-01-31T18:00:00Z"}
OWN = {"id": "a", "attempt": 1, "taken": True, "reached": True, "place": "p", "guarded": ["x"], "deploys": False}
MEMORY = {"towards": "cilium", "total": 3, "sizes": {"a": [1, 2, 3]}, "rebalancing": ["a"], "unhealthy": ["b"]}
RECORD = {"objects": {"a": "1"}, "files": {"a": "2"}, "proof": "equal"}
AGENT = [
    {
        "status": {
            "external-identifiers": {"k8s-pod-name": "p", "k8s-namespace": "n"},
            "policy": {"realized": {"policy-revision": 2, "policy-enabled": "both"}, "spec": {"policy-revision": 2}},
        }
    }
]


def _resource(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "urn": f"urn:pulumi:dev::eks-cilium::{kind}::{name}", "inputs": {}, "outputs": {}, **more}


STATE = {
    "version": 3,
    "deployment": {
        "resources": [
            _resource("pulumi:pulumi:Stack", "dev", outputs={"stage": "canary"}),
            _resource("pulumi:index:Stash", "marker", inputs={"input": {"id": "a", "attempt": 2, "place": "p", "guarded": ["x"]}}),
            _resource("command:local:Command", "settle", inputs={"triggers": [2]}),
            _resource("command:local:Command", "mark"),
            _resource("command:local:Command", "calico-kept", custom=True, outputs={"stdout": as_json(RECORD)}),
        ],
        "pending_operations": [{"type": "creating", "resource": _resource("aws:eks/cluster:Cluster", "c")}],
    },
}  # fmt: skip


def _objects() -> list[dict[str, Any]]:
    """Policies of every kind, and a cluster around them."""
    rng = random.Random(3)  # noqa: S311 - no secret
    found = [document.value for document in reading.documents(EVERY_KIND)]
    found += random_calico.PolicyMaker(rng, random_calico.SAYABLE).objects(6)
    cases = random_cilium.cases(3)
    found += [one for _ in range(4) for one in next(cases).objects]
    meta = {"name": "a", "namespace": "red", "labels": {"app": "a"}}
    return [
        *found,
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "red", "labels": {"team": "red"}}},
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.1.0.1"}]}},
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": meta,
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}]}]},
            "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "phase": "Running"},
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": meta,
            "spec": {"type": "NodePort", "clusterIP": "172.20.0.9", "clusterIPs": ["172.20.0.9"], "selector": {"app": "a"}, "ports": [{"name": "http", "port": 80, "targetPort": "http", "nodePort": 30080}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "a-1", "namespace": "red", "labels": {"kubernetes.io/service-name": "a"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 80}],
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": "a", "namespace": "red"}}],
        },
    ]  # fmt: skip


# -- readers --------------------------------------------------------------------------------------


def _settings(values: Any) -> None:
    if not isinstance(values, dict):
        return
    _declared(Settings.load(values), None)


def _from_pulumi(values: Any) -> None:
    if isinstance(values, dict):
        texts = {k: v if isinstance(v, str) else as_json(v) for k, v in values.items() if isinstance(k, str)}
        Settings.from_pulumi(texts)


def _declared(loaded: Settings, known: Facts | None) -> None:
    """What is accepted can be declared at every stage."""
    if loaded.cluster.adopt and known is None:
        return
    for stage in journeys.JOURNEYS[loaded.journey].stages:
        for group in desired(loaded, known, stage.id).groups:
            node_user_data(group)


@contextlib.contextmanager
def _file(name: str, content: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        yield path


def _facts(content: bytes) -> None:
    with _file("facts.dev.yaml", content) as path:
        found = Facts.load(path)
    if not found.refused:  # such facts go no further
        _declared(adopted(), found)


def _stack_file(content: bytes) -> None:
    with _file("Pulumi.dev.yaml", content) as path:
        Context.load("dev", path.parent)


def _manifests(content: bytes) -> None:
    with _file("calico/a.yaml", content) as path:
        manifests.load(path.parents[1], "calico")


def _kept_metadata(text: str) -> None:
    annotated = {"name": "x", "annotations": {reading.METADATA: text}}
    reading.metadata_of(
        reading.STORED_API, annotated | {"annotations": {reading.METADATA: reading.without_labels(text)}}
    )
    reading.metadata_of(reading.STORED_API, annotated)


def _policies(content: bytes) -> None:
    with _file("a.yaml", content) as path:
        netpol.load([path])


def _directory(content: bytes) -> None:
    with _file("tree/a.yaml", content) as path:
        (path.parent / "kustomization.yaml").write_bytes(content)
        (path.parent / "b.json").write_bytes(content)
        netpol.load([path.parent])


def _world(value: Any) -> None:
    netpol.from_objects([value] if isinstance(value, dict) else value if isinstance(value, list) else [])


def _answer(content: bytes) -> None:
    answer(200, "OK", content, "1").value()
    assert answer(503, "", content).text


def _locks(content: bytes) -> None:
    with _file(".pulumi/locks/organization/eks-cilium/dev/a.json", content) as path:
        locks.read(f"file://{path.parents[5]}", "eks-cilium", "dev")


def _sidecars(content: bytes) -> None:
    with _file(".pulumi/stacks/eks-cilium/dev.json.attrs", content) as path:
        sidecars.damaged(f"file://{path.parents[3]}", "eks-cilium", "dev")


def _state(value: Any) -> None:
    found = stack_state.loaded(as_json(value))
    stack_state.resources(found)
    pending = stack_state.pending(found)
    if pending:
        stack_state.settled(found, {pending[0].urn: "id"}, [])


def _command(arguments: list[str]) -> None:
    code: object = 0
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.parser().parse_args(arguments)
        except SystemExit as stop:
            code = stop.code
    assert code in (0, 64)


def _policy_options(text: str) -> None:
    for read in (policy_given.version, policy_given.network, policy_given.node_rule):
        with contextlib.suppress(UsageError):
            read(text)


def _flow(text: str) -> None:
    for given_ in ((text, "10.0.0.1"), ("10.0.0.1", text), ("a/b", "10.0.0.1", text)):
        with contextlib.suppress(UnsaidError):
            try:
                Flow.of(*given_)
            except ValueError as error:
                if " is not " not in str(error):
                    raise
                raise UnsaidError from None


class UnsaidError(Exception):
    """A flow that nobody can mean."""


def _arguments() -> st.SearchStrategy[list[str]]:
    words = [
        "check", "refresh", "run", "plan", "mark", "take", "guard", "open", "policy", "explain", "prove", "recover", "survey", "label", "journey",
        "--stack", "--wait", "--own", "--deadline", "--metrics", "--budget", "--attempt", "--id", "--place", "--until", "--port", "--icmp-type",
        "--most", "--limit", "--to", "--from", "--legacy", "--adopt", "--next", "--gate", "--leaving", "--check", "--", "-h", "replace", "legacy",
    ]  # fmt: skip
    return st.lists(st.sampled_from(words) | texts().filter(lambda text: len(text) < 200), max_size=7)


def _yaml(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    return strategy.map(lambda value: as_json(value).encode(errors="surrogatepass"))


OBJECTS = _objects()
NOW = datetime(2027, 1, 1, tzinfo=UTC)
ACCEPTED = {
    "reason": "no pod asks the agent",
    "who": "jane",
    "until": "2027-06-30",
    "from": {"namespace": "shop", "podSelector": {"matchLabels": {"app": "web"}}},
    "to": {"nets": ["10.0.0.0/8"]},
    "protocol": "TCP",
    "ports": [80, "8000:8100"],
    "change": "opens",
}


RANGES = {
    "createDate": "2026-11-01-00-00-00",
    "prefixes": [{"ip_prefix": "52.94.0.0/22", "region": "eu-west-1", "service": "AMAZON"}],
    "ipv6_prefixes": [{"ipv6_prefix": "2a05:d000::/40", "region": "eu-west-1", "service": "AMAZON"}],
}


def _config() -> st.SearchStrategy[dict[str, str]]:
    """Data of a ConfigMap: texts under some of the names that the bridge looks at."""
    known = ("cluster-id", "max-connected-clusters", "labels", "cluster-name", "routing-mode", "policy-cidr-match-mode")
    return st.dictionaries(st.sampled_from(known), texts(), max_size=4)


PARSERS: dict[str, Parser] = {
    "yaml": Parser(texts(), reading.documents, (Unreadable,)),
    "strict yaml": Parser(texts(), lambda text: reading.value(text, strictly=True), (Unreadable,)),
    "json": Parser(texts() | damaged(FULL, STATE).map(as_json), reading.json_value, (Unreadable,)),
    "metadata that Calico stores": Parser(
        texts() | damaged(KEPT).map(as_json), _kept_metadata, (ValueError,)
    ),
    "settings": Parser(damaged(FULL, ADOPTED, raw(journey="greenfield", stage="launch")), _settings, (InvalidSettings,)),
    "settings from Pulumi": Parser(damaged(FULL) | st.fixed_dictionaries({"stage": texts(), "cluster": texts()}), _from_pulumi, (InvalidSettings,)),
    "stack file": Parser(
        contents() | _yaml(damaged({"config": {f"eks-cilium:{k}": v for k, v in FULL.items()} | {"aws:region": "eu-west-1"}})),
        _stack_file, (UsageError, InvalidSettings, InvalidFacts),
    ),
    "facts": Parser(contents() | _yaml(damaged(FACTS)), _facts, (InvalidFacts,)),
    "manifests": Parser(contents() | _yaml(damaged(*[one for one in OBJECTS if "calico" in one["apiVersion"]])), _manifests, (InvalidManifest,)),
    "accepted differences": Parser(
        texts() | _yaml(damaged({"accepted": [ACCEPTED]})).map(lambda c: c.decode(errors="replace")),
        accepted,
        (PolicyError,),
    ),
    "policy files": Parser(contents() | _yaml(damaged(*OBJECTS)), _policies, (PolicyError, WorldError)),
    "policy directories": Parser(contents() | _yaml(damaged(*OBJECTS, {"patches": [{"path": "b.json"}], "patchesStrategicMerge": ["a.yaml"]})), _directory, (PolicyError, WorldError)),
    "policy objects": Parser(damaged(*OBJECTS, OBJECTS[-6:]), _world, (PolicyError, WorldError)),
    "selectors": Parser(texts(), parse_calico, (SelectorError,)),
    "add-on values": Parser(texts() | damaged({"env": {"A": "1"}, "affinity": {}}).map(as_json), addon_values.parse, (ValueError,)),
    "mark": Parser(damaged(MARK).filter(lambda value: isinstance(value, dict)), Mark.load, (DamagedMark,)),
    "annotations of a mark": Parser(
        damaged(ANNOTATED).filter(lambda value: isinstance(value, dict)), Mark.of, (DamagedMark,)
    ),
    "mark of a version before": Parser(
        damaged(MARK).filter(lambda value: isinstance(value, dict)), Mark.of_earlier, (DamagedMark,)
    ),
    "record of the freeze": Parser(texts() | damaged(RECORD).map(as_json), Record.load, (ValueError, Unreadable)),
    "deployers": Parser(texts(), deployers.canonical, (InvalidDeployer,)),
    "versions": Parser(texts(), versions.minor, (ValueError,)),
    "memory of a refresh": Parser(texts() | damaged(MEMORY).map(as_json), Memory.read),
    "node budget": Parser(texts(), NodeBudget.parse, (InvalidRequest,)),
    "answer of an API server": Parser(contents(), _answer, (KubeError,)),
    "answer of an agent": Parser(texts() | damaged(AGENT).map(as_json), agent_answer, (ValueError, Unreadable)),
    "metrics of an agent": Parser(texts(), counted, (ValueError,)),
    "lock files": Parser(contents() | _yaml(damaged(LOCK)), _locks),
    "files beside a state": Parser(contents(), _sidecars),
    "exported state": Parser(damaged(STATE), _state, (stack_state.DamagedState,)),
    "own state": Parser(damaged(STATE).filter(lambda value: isinstance(value, dict)), own_state.own_of, (ValueError,)),
    "frozen in a state": Parser(damaged(STATE).filter(lambda value: isinstance(value, dict)), of_state, (ValueError, Unreadable)),
    "--own": Parser(texts() | damaged(OWN).map(as_json), own_state.told, (ValueError, Unreadable)),
    "--until": Parser(texts(), lambda text: guard.until(text, NOW), (UsageError,)),
    "command line": Parser(_arguments(), _command),
    "options of policy": Parser(texts(), _policy_options),
    "flows": Parser(texts(), _flow),
    "ranges of AWS": Parser(texts() | damaged(RANGES).map(as_json), lambda text: sets.prefixes(text, "f"), (UsageError, Unreadable)),
    "options of the prover": Parser(texts() | damaged(json.loads(prover_told(accepted=(ACCEPTED,)).dump())).map(as_json), prover_options.Options.load, (prover_options.InvalidOptions,)),
    "what the prover publishes": Parser(damaged(dict(Said(verdict=Verdict.EQUAL).data())), lambda data: Said.of(data if isinstance(data, dict) else {})),
    "options of the bridge": Parser(texts() | damaged(json.loads(Options().dump())).map(as_json), Options.load, (InvalidOptions,)),
    "prefixes of labels": Parser(texts(), LabelFilter, (UnreadablePattern,)),
    "expressions of labels": Parser(texts(), lambda text: compiled(text).match("app.kubernetes.io/name"), (UnreadablePattern,)),
    "cilium-config": Parser(_config(), Cilium.of, (ValueError, UnreadablePattern)),
    "refusals of cilium-config": Parser(_config(), refuses.reasons),
}  # fmt: skip


def fuzz(name: str, *, seconds: float, first: int = 0) -> int:
    """Give a parser bad input for so long; how many inputs it was.

    Raises:
        AssertionError: an error that is not declared, one without words, or an input that took too long.
    """
    parser, seen, number = PARSERS[name], 0, first
    end = time.monotonic() + seconds

    def tried(value: Any) -> None:
        nonlocal seen
        if time.monotonic() > end and seen:
            return
        seen += 1
        began = time.process_time()
        try:
            parser.read(value)
        except parser.declared as error:
            if type(error) not in parser.declared:
                raise
            text = str(error)
            assert text.strip(), f"{name}: an error without words"
            assert len(text) <= MOST_CHARACTERS, f"{name}: an error of {len(text)} characters: {text[:300]}"
        assert time.process_time() - began < MOST_SECONDS, f"{name}: took {time.process_time() - began:.1f} s"

    while time.monotonic() < end:
        run = given(parser.given)(tried)
        run = settings(
            max_examples=100, deadline=None, database=None, derandomize=False,
            phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck), print_blob=False,
        )(run)  # fmt: skip
        seed(number)(run)()
        number += 1
    return seen
