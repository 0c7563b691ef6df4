"""Policy continuity: the verdict of every flow stays what it was, proved before anything moves."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from kube.transport import Obj
from migration import manifests
from migration.before import calico_version, enforcer
from migration.cilium_values import cilium_values
from migration.guarding import freeze
from migration.journeys import CheckId, Piece, Stage
from migration.manifests import Manifest
from migration.names import ACCEPTED, BRIDGE, SYSTEM_NAMESPACE
from migration.rules.versions import minor
from netpol.compare import graded
from netpol.compare.prove import Counterexample, Equality, Proof
from netpol.model.accepted import Accepted
from netpol.model.errors import PolicyError, UndecidableError
from netpol.model.world import CiliumOptions
from operations.access.context import Context
from operations.checks import AGAIN, check
from operations.checks.cilium import API
from operations.cluster import calico, objects
from operations.cluster.traffic import host_addresses, live_objects, live_version
from operations.continuity import recognised, worlds
from operations.continuity.accepted import accepted_today, said_expired
from operations.continuity.options import of_cluster
from operations.evidence import Answer, Finding, UnknownError
from operations.guarding.freeze import recorded

SHOWN: Final = 3
"""Counterexamples of one pair of worlds; the command that the text names prints more."""
LOOK: Final = (
    "Look at the bridge: `kubectl -n kube-system get deployment,lease,pods -l app.kubernetes.io/name=" + BRIDGE
)
_MORE: Final = "`python -m operations policy prove --live` shows more"


@check(CheckId.CONTINUITY)
def continuity(context: Context) -> Answer:
    """Every flow keeps the verdict that it had before the journey: proved for every mixture of nodes to come."""
    stage = _stage(context)
    if context.retires(Piece.CALICO) and not calico.running(context.kube):
        return Answer("Calico is gone: it was compared before it began to go")
    return _compared(context, stage, lambda: _given(context))


def deployed(context: Context) -> Answer:
    """The same of what the cluster holds once a deploy has written its files, without a look at these.

    The bridge may have come with this very deploy, so every pod of a legacy node counts as known; whether it is, is
    asked by `bridge-in-step`.
    """
    stage = _stage(context)
    return _compared(context, stage, lambda: _given(context, live=True))


def _compared(
    context: Context, stage: Stage, gathered: Callable[[], tuple[worlds.Given, tuple[Accepted, ...]]]
) -> Answer:
    told: list[str] = []
    findings: list[Finding] = []
    unknown: list[Finding] = []
    try:
        given, expired = gathered()
        world, theirs = worlds.whole(given)
        for pair in worlds.pairs(world, given, context.journey, stage, recognised=context.settings.bridge.enabled):
            proof = graded.prove(pair.before, pair.after, most=SHOWN)
            told.append(f"{pair.moment}: {_reach(proof)}")
            findings += [_finding(context, pair.moment, example) for example in proof.differences]
            told += [f"accepted {pair.moment}: {one}" for one in proof.accepted]
            if proof.verdict is Equality.UNDECIDED:
                reason = proof.assumptions[0] if proof.assumptions else "no reason is known"
                unknown.append(Finding("the proof", f"is undecided {pair.moment}: {reason}", _MORE))
    except PolicyError as error:
        raise UnknownError(str(error), "Correct the policy", about="policies") from None
    except UndecidableError as error:
        raise UnknownError(str(error), _MORE, about="the proof") from None
    told += map(said_expired, expired)
    if theirs:
        told.append(f"not compared: {worlds.said_of(theirs)}")
    return Answer("; ".join(told), tuple(findings), tuple(unknown))


@check(CheckId.BRIDGE_IN_STEP)
def bridge_in_step(context: Context) -> Answer:
    """The bridge runs, and Cilium knows every pod of the legacy nodes by that pod's own identity."""
    if not context.settings.bridge.enabled:
        return Answer("the settings leave the bridge out: continuity is proved without it")
    pods = recognised.to_be_known(context.kube.pods(), context.kube.nodes())
    findings = [*_down(context.kube.deployment(SYSTEM_NAMESPACE, BRIDGE))]
    findings += [Finding(f"pod {one.pod}", one.why, f"{LOOK}`") for one in _strangers(context, pods)]
    return Answer(f"{objects.count(len(pods), 'pod')} on legacy nodes", tuple(findings))


def _down(live: Obj | None) -> Iterator[Finding]:
    about = f"deployment {SYSTEM_NAMESPACE}/{BRIDGE}"
    if live is None:
        yield Finding(about, "does not exist: pods that start on legacy nodes now get no identity", AGAIN)
        return
    wanted, there = objects.available(live)
    if not there:
        yield Finding(about, f"{there} of {wanted} replicas available", f"{LOOK}`")


# -- what the proof is about ------------------------------------------------------------------------


def _stage(context: Context) -> Stage:
    if context.stage is None:
        raise UnknownError("nobody said which stage is entered", "Name it with --stage")
    return context.stage


def _given(context: Context, *, live: bool = False) -> tuple[worlds.Given, tuple[Accepted, ...]]:
    """What the cluster and the files say, and which accepted differences are past their last day.

    Args:
        live: whether the cluster alone is looked at, and pods count as known.

    Raises:
        UnknownError, PolicyError, UndecidableError: something cannot be read or decided.
    """
    found = live_objects(context.kube)
    # Where there is none yet, this deploy brings it, also to a stack of a version without one.
    runs = not live and context.kube.deployment(SYSTEM_NAMESPACE, BRIDGE) is not None
    pods = recognised.to_be_known(context.kube.pods(), context.kube.nodes()) if runs else ()
    counts, expired = _accepted(context)
    given = worlds.Given(
        objects=found,
        files=() if live else _files(context),
        enforcer=enforcer(context.facts),
        calico_version=_calico_version(context),
        cilium=_options(context),
        host_addresses=host_addresses(found),
        pod_blocks=tuple(context.settings.network.vpc_cidrs),
        accepted=counts,
        strangers=frozenset(one.pod for one in _strangers(context, pods)),
    )
    return given, expired


def _accepted(context: Context) -> tuple[tuple[Accepted, ...], tuple[Accepted, ...]]:
    """Differences that somebody accepts: those that count today, and those that do not any more."""
    path = context.directory / ACCEPTED
    if not path.is_file():
        return (), ()
    try:
        return accepted_today(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UnknownError(
            f"{path} cannot be read: {error}", "Correct the file", about="accepted differences"
        ) from None


def _files(context: Context) -> list[str]:
    """The policy files of both engines that the deploy writes.

    Of a cluster of somebody else's, that is only what changed since the deploy before: what else is said of Calico, the
    cluster says.

    Raises:
        UnknownError: one cannot be used, or the stack's state cannot be read.
    """
    directory = context.directory / context.settings.policies
    found: dict[str, None] = {}
    for engine in manifests.KINDS:
        try:
            files = manifests.load(directory, engine)
        except manifests.InvalidManifest as error:
            raise UnknownError(str(error), "Correct the file", about="policy files") from None
        if engine == "calico" and context.adopted:
            files = _to_be_written(context, files)
        found |= dict.fromkeys(m.source.rpartition(":")[0] for m in files)
    return list(found)


def _to_be_written(context: Context, files: tuple[Manifest, ...]) -> tuple[Manifest, ...]:
    kept = recorded(context) if files else None
    if kept is None:
        return ()
    digests = freeze.file_digests(files)
    return tuple(m for m in files if kept.files.get(freeze.file_key(m)) != digests[freeze.file_key(m)])


def _calico_version(context: Context) -> tuple[int, int]:
    if calico.running(context.kube):
        found = live_version(context.kube)
        if found is not None:
            return found
    return calico_version(context.settings, context.facts)


def _options(context: Context) -> CiliumOptions:
    """What the agents' configuration changes about policy: as it is live, else as the values declare it.

    Raises:
        UnknownError: nobody knows what it comes to.
    """
    values = cilium_values(context.settings, context.facts)
    try:
        return of_cluster(context.kube, minor(context.settings.cilium.version), values)
    except UndecidableError as error:
        raise UnknownError(str(error), about="Cilium's configuration") from None


def _strangers(context: Context, pods: Sequence[Obj]) -> list[recognised.Stranger]:
    if not pods:
        return []
    kube, options = context.kube, _options(context)
    namespaces: Mapping[str, Mapping[str, str]] = {
        objects.name(n): objects.labels(n) for n in kube.items("/api/v1/namespaces")
    }
    endpoints, identities = kube.custom(API, "ciliumendpoints"), kube.custom(API, "ciliumidentities")
    return list(recognised.strangers(pods, namespaces, endpoints, identities, options))


# -- words ------------------------------------------------------------------------------------------


def _reach(proof: Proof) -> str:
    return str(proof).partition("\n")[0]


def _finding(context: Context, moment: str, example: Counterexample) -> Finding:
    now, then = ("allowed", "denied") if example.before.allowed else ("denied", "allowed")
    flow = f"{example.source} -> {example.destination}, {example.packet}"
    if enforcer(context.facts) is None:
        return Finding(
            flow,
            f"is {now} today because nothing enforces policy in this cluster, and would be {then} {moment}"
            f" ({example.after.because()}): Cilium begins to enforce the NetworkPolicies that are there",
            "Before Cilium comes, delete the policy, let it allow this flow, or accept the difference in "
            f"{ACCEPTED} (flow, reason, who, until when)",
        )
    return Finding(
        flow,
        f"is {now} today ({example.before.because()}) and would be {then} {moment} ({example.after.because()})",
        f"`python -m operations policy translate --live --out {context.settings.policies}/cilium` writes what is "
        "missing, or says why it cannot: review it, commit, deploy",
    )
