"""`guard`: see, open and close the guard; deploys wait with it until it is in force.

Open, it lets deployers delete what nodes need: to throw a cluster away, or to repair by hand what no stage does. The
API server's policies have no clock, so nothing closes the guard when its time is over: every gate fails from then on.
"""

import argparse
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from kube.transport import MERGE, KubeError, Obj
from migration.guarding import guard
from migration.guarding.mark import Own, kept_log
from migration.names import FIELD_MANAGER, GUARD_DIGEST, GUARD_LOG, GUARD_POLICY
from migration.rules.deployers import PARAM_KIND, InvalidDeployer, is_deployer, principal
from operations.access.connection import connect
from operations.access.context import Context
from operations.arguments import acts, whole
from operations.evidence import EXIT_CODES, Verdict
from operations.exits import UsageError
from operations.guarding import admission, mark
from reading import brief
from reading.failure import Failure

ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
POLICY: Final = f"{ADMISSION}/validatingadmissionpolicies/{GUARD_POLICY}"
BINDING: Final = f"{ADMISSION}/validatingadmissionpolicybindings/{GUARD_POLICY}"
ABOUT: Final = f"validatingadmissionpolicy {GUARD_POLICY}"
LONGEST: Final = timedelta(hours=24)
"""A guard that is open for longer is no guard."""
LONGEST_REASON: Final = 500
"""Characters: each is kept twice, in the mark and in its log."""
STEADY_SECONDS: Final = 3.0


class GuardRefused(Failure):
    """What was asked may not be done. The text says why, and what to do."""


def fill(command: Any) -> None:
    texts = {
        "status": "what is guarded, and whether it is",
        "open": "let deployers delete what nodes need, for a while",
        "close": "guard it again",
        "wait": "a deploy: wait until every API server guards",
        "gone": "a destroy: wait until no API server guards any more",
    }
    act = acts(command, texts, renamed=True)
    act["open"].add_argument("--reason", required=True, help="why; kept in the cluster and shown by every gate")
    act["open"].add_argument("--until", required=True, help="90m, 2h, or a time like 2027-01-31T18:00Z; a day at most")
    act["wait"].add_argument("--attempt", type=whole(0, 10**12 - 1), required=True)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0: done, or for `status`: it guards; 1: refused, or it does not; 2: it cannot be told."""
    context = Context.load(args.stack, cluster=args.cluster)
    return _ACTS[args.act](context, args)


# -- what is there ----------------------------------------------------------------------------------


def live(context: Context) -> tuple[Obj | None, Obj | None]:
    """The policy and its binding, as the API server has them."""
    return context.kube.get(POLICY), context.kube.get(BINDING)


def digest_of(policy: Obj, binding: Obj) -> str:
    return guard.digest(policy.get("spec") or {}, binding.get("spec") or {})


def declared() -> str:
    return guard.digest(guard.policy(), guard.binding())


def overdue(held: Mapping[str, str], now: datetime) -> bool:
    """Whether a guard has been open for longer than it was said; what cannot be read has."""
    try:
        return datetime.fromisoformat(held["until"]) <= now
    except (KeyError, ValueError, TypeError):
        return True


def opening(held: Mapping[str, str]) -> str:
    """An opening, in words."""
    return (
        f"open until {held.get('until') or 'nobody knows when'}, by {held.get('by') or 'nobody knows whom'}: "
        f"{held.get('reason') or 'no reason given'}"
    )


# -- opening and closing ----------------------------------------------------------------------------


def until(text: str, now: datetime) -> datetime:
    """When an opening ends.

    Args:
        text: minutes or hours from now (`90m`, `2h`), or a time with its zone.

    Raises:
        UsageError: it is neither, over already, or more than a day away.
    """
    span = re.fullmatch(r"([0-9]{1,4})(m|h)", text)
    if span:
        end = now + timedelta(**{{"m": "minutes", "h": "hours"}[span[2]]: int(span[1])})
    else:
        try:
            end = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            raise UsageError(f"--until {brief(text)} is not a time: write 90m, 2h, or 2027-01-31T18:00Z") from None
        if end.tzinfo is None:
            raise UsageError(f"--until {brief(text)} does not say in which zone: write {text[:40]}Z for UTC")
    if not now < end <= now + LONGEST:
        when = "is over already" if end <= now else "is more than 24 hours away"
        raise UsageError(f"--until {brief(text)} {when}: the guard may be open for a day at most. Say a time within it")
    return end.astimezone(UTC).replace(microsecond=0)


def _open(context: Context, args: argparse.Namespace) -> int:
    reason = " ".join(args.reason.split())
    if not reason:
        raise UsageError("--reason is empty: say why, it is what others see")
    if len(reason) > LONGEST_REASON:
        raise UsageError(f"--reason has {len(reason)} characters, and every gate shows it: say it in {LONGEST_REASON}")
    now = context.kube.now()
    end = until(args.until, now)
    held = {"reason": reason, "until": end.isoformat(), "since": now.isoformat()}
    _write(context, held, f"{now:%Y-%m-%dT%H:%M:%SZ} {{by}} opened it until {end:%Y-%m-%dT%H:%MZ}: {reason}")
    print(f"the guard is open until {end:%Y-%m-%d %H:%M} UTC. Nothing closes it by itself: `guard close` does")
    return EXIT_CODES[Verdict.PASSED]


def _close(context: Context, args: argparse.Namespace) -> int:
    now = context.kube.now()
    _write(context, None, f"{now:%Y-%m-%dT%H:%M:%SZ} {{by}} closed it")
    print("the guard is closed")
    return EXIT_CODES[Verdict.PASSED]


def _write(context: Context, held: Mapping[str, str] | None, line: str) -> None:
    found = mark.find(context.kube.again())
    known = mark.known(found, context.stack)
    if known is None:
        raise GuardRefused(f"{found.about} does not exist, so there is nothing to open or close. See docs/recovery.md")
    against = found.disagreement(known, Own(id=known.id, attempt=known.attempt), context.stack)
    if against is not None:
        raise GuardRefused(f"{found.about} {against.problem}. {against.fix}")
    who = mark.who(context.kube)
    try:
        by = principal(who)
    except InvalidDeployer as error:
        raise GuardRefused(str(error)) from None
    if not is_deployer(who, known.deployers):
        raise GuardRefused(f"{by} is none of the deployers ({', '.join(known.deployers)}), who alone open and close it")
    if held is None and known.open is None and not found.outdated(known):
        return
    log = found.annotations.get(GUARD_LOG, "").splitlines()
    changed = replace(known, open={**held, "by": by} if held else None)
    try:
        mark.write(context.kube, found, changed, notes={GUARD_LOG: kept_log([*log, line.format(by=by)])})
    except KubeError as error:
        if error.status == 409:
            raise GuardRefused(f"{found.about} was changed by somebody else at the same moment. Run again") from None
        raise
    policy, binding = live(context.again())
    if policy is not None and binding is not None:
        spec = policy.get("spec") or {}
        expected = guard.in_force(open_=held is not None, version=guard.revision_of(spec))
        _await(context, probe(expected, earlier=spec.get("paramKind") != PARAM_KIND))


def _status(context: Context, args: argparse.Namespace) -> int:
    policy, binding = live(context)
    found = mark.find(context.kube)
    known = mark.known(found, context.stack)
    in_place = policy is not None and binding is not None and digest_of(policy, binding) == declared()
    shown = {
        "inPlace": in_place,
        "guarded": known.guarded if known else [],
        "open": known.open if known else None,
        "log": found.annotations.get(GUARD_LOG, "").splitlines(),
    }
    print(json.dumps(shown, indent=1))
    guards = in_place and known is not None and known.open is None
    return EXIT_CODES[Verdict.PASSED if guards else Verdict.FAILED]


# -- waiting ----------------------------------------------------------------------------------------


def probe(expected: str, *, earlier: bool = False) -> admission.Probe:
    """What asks whether the guard is in force: a write that it never lets through. Nothing is written either way.

    Args:
        earlier: ask a guard of a version that kept the mark in a ConfigMap.
    """
    question = "is the guard in force?"
    annotated = {"metadata": {"annotations": {guard.PROBE: question}}}
    return admission.Probe(
        about="a forbidden write to the mark",
        method="PATCH",
        path=mark.EARLIER if earlier else mark.PATH,
        body={"data": {guard.EARLIER_PROBE: question}} if earlier else annotated,
        content_type=MERGE,
        manager=FIELD_MANAGER,
        refusal=expected,
    )


def _await(context: Context, *probes: admission.Probe) -> None:
    admission.wait(lambda: connect(context.aws, context.cluster_name), probes, steady=STEADY_SECONDS)


def _wait(context: Context, args: argparse.Namespace) -> int:
    policy, binding = live(context)
    if policy is None or binding is None:
        lost = ABOUT if policy is None else f"its binding, validatingadmissionpolicybinding {GUARD_POLICY},"
        raise GuardRefused(f"{lost} is gone. Find out who deleted it, then `pulumi up --refresh` puts it back")
    if digest_of(policy, binding) != declared():
        raise GuardRefused(f"{ABOUT} is not as declared: somebody changed it. `pulumi up --refresh` puts it back")
    there = mark.find(context.kube)
    found = mark.known(there, context.stack)
    if found is None or there.role is None:
        raise GuardRefused(
            f"{mark.ABOUT} does not exist, so the guard refuses every change. If an earlier version of this program "
            "kept the mark in a ConfigMap, deploy without --target and --exclude: that makes it. If there is no mark "
            f"at all, {mark.take_over(context.stack)}"
        )
    _await(context, probe(guard.in_force(open_=found.open is not None, attempt=args.attempt)))
    body = {"metadata": {"annotations": {GUARD_DIGEST: declared()}}}
    context.kube.merge(mark.PATH, body, manager=FIELD_MANAGER)
    print(json.dumps({"guarded": found.guarded}, separators=(",", ":")))
    return EXIT_CODES[Verdict.PASSED]


def _gone(context: Context, args: argparse.Namespace) -> int:
    if context.aws.cluster(context.cluster_name) is None:
        return EXIT_CODES[Verdict.PASSED]
    found = mark.find(context.kube)
    asked = [probe("", earlier=earlier) for obj, earlier in ((found.role, False), (found.earlier, True)) if obj]
    if asked:
        _await(context, *asked)
    return EXIT_CODES[Verdict.PASSED]


_ACTS: Final[dict[str, Callable[[Context, argparse.Namespace], int]]] = {
    "status": _status,
    "open": _open,
    "close": _close,
    "wait": _wait,
    "gone": _gone,
}
