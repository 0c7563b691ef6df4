"""`mark`: read and write the mark that says which stack moves this cluster, and how far.

`take`, `enter`, `reach` and `give-up` are called by deploys, behind the gate and in this order; `show` is for people.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from migration.deployers import GROUP, InvalidDeployer, canonical, is_deployer, principal, principals
from migration.mark import DamagedMark, Mark, Own, disagreement
from migration.names import FIELD_MANAGER, MARK, SYSTEM_NAMESPACE
from migration.workloads import RECORDED, DamagedRecord, dump, load, merged
from operations.arguments import whole
from operations.cluster import Cluster, KubeError, Obj
from operations.connection import WrongClusterError
from operations.context import Context
from operations.evidence import EXIT_CODES, Verdict
from operations.standings import seen

PATH: Final = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps"
REVIEWS: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
ABOUT: Final = f"configmap {SYSTEM_NAMESPACE}/{MARK}"
ATTEMPTS: Final = 5


class MarkRefused(Exception):
    """The mark is not this stack's to write. The text says whose it is, and what to do."""


def add_parser(commands: Any) -> None:
    command = commands.add_parser("mark", help="show which stack moves this cluster; deploys write it")
    acts = command.add_subparsers(dest="act", required=True, metavar="ACT")
    for name, text in (
        ("show", "print the mark"),
        ("take", "make it, or see that it is this stack's"),
        ("enter", "a deploy has passed its gate and begins"),
        ("reach", "a deploy has finished"),
        ("give-up", "the stack is destroyed: take it away"),
    ):
        act = acts.add_parser(name, help=text)
        act.add_argument("--stack", help="left out: PULUMI_STACK, or the only stack here")
        act.add_argument("--cluster", metavar="NAME", help="takes another stack that names it, after a rename")
        if name != "show":
            act.add_argument("--id", required=True, help="of the stack, from its state")
        if name in {"enter", "reach"}:
            act.add_argument("--place", required=True)
            act.add_argument("--attempt", required=True, type=whole(0, 10**12 - 1))
            act.add_argument("--guarded", default="", help="pieces that nobody may delete, separated by commas")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0: done; 1: the mark is somebody else's, or is not there to be shown; 2: it cannot be told."""
    context = Context.load(args.stack, cluster=args.cluster)
    try:
        mark = _ACTS[args.act](context, args)
    except MarkRefused as error:
        print(str(error), file=sys.stderr)
        return EXIT_CODES[Verdict.FAILED]
    except DamagedMark as error:
        print(f"{ABOUT}: {error}. Restore it, or {_take_over(context)}", file=sys.stderr)
        return EXIT_CODES[Verdict.FAILED]
    print(json.dumps({"mark": _shown(mark) if mark else None}, separators=(",", ":")))
    return EXIT_CODES[Verdict.PASSED] if mark or args.act != "show" else EXIT_CODES[Verdict.FAILED]


def _shown(mark: Mark) -> dict[str, str]:
    """Without the record of all workloads: a deploy keeps this text in its state."""
    return {**mark.dump(), "workloads": "recorded" if mark.workloads else ""}


def read(kube: Cluster) -> Mark | None:
    """The mark of a cluster; None when it has none.

    Raises:
        DamagedMark: it is not what this program writes.
        KubeError: it cannot be read.
    """
    found = kube.get(f"{PATH}/{MARK}")
    return Mark.load(found.get("data") or {}) if found else None


# -- what deploys do --------------------------------------------------------------------------------


def take(context: Context, identity: str) -> Mark:
    """Make the mark; one that is there must be this stack's.

    Raises:
        MarkRefused: it is another one's.
    """
    mark = Mark(id=identity, stack=context.stack, deployers=deployers(context, ()))
    metadata = {"name": MARK, "namespace": SYSTEM_NAMESPACE}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": mark.dump()}
    try:
        context.kube.request("POST", f"{PATH}?fieldManager={FIELD_MANAGER}", body=body, content_type="application/json")
    except KubeError as error:
        if error.status != 409:
            raise
        return edit(context, identity, lambda found: found)
    return mark


def edit(context: Context, identity: str | None, change: Callable[[Mark], Mark]) -> Mark:
    """Change the mark on the version of it that was read; `identity` None changes whoever's it is.

    Raises:
        MarkRefused: it is another one's, gone, or damaged.
    """
    for _ in range(ATTEMPTS):
        found = context.kube.again().get(f"{PATH}/{MARK}")
        try:
            mark = Mark.load(found.get("data") or {}) if found else None
        except DamagedMark as error:
            raise MarkRefused(f"{ABOUT}: {error}. Restore it, or {_take_over(context)}") from None
        own = Own(id=identity if identity is not None else mark.id if mark else None, attempt=sys.maxsize, taken=True)
        against = disagreement(mark, own, context.stack)
        if against is not None or mark is None or found is None:
            problem = f"{against.problem}. {against.fix}" if against else "is gone"
            raise MarkRefused(f"{ABOUT} {problem}")
        changed = change(mark)
        if changed == mark:
            return mark
        body = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "data": changed.dump()}
        try:
            context.kube.merge(f"{PATH}/{MARK}", body, manager=FIELD_MANAGER)
        except KubeError as error:
            if error.status == 409:
                continue
            raise
        return changed
    raise KubeError(409, f"{ABOUT} changed {ATTEMPTS} times while it was being written. Run again")


def give_up(context: Context, identity: str) -> None:
    """Take this stack's mark away. One that is another's by now stays, and so does a cluster that is gone."""
    try:
        found = context.kube.get(f"{PATH}/{MARK}")
    except WrongClusterError:
        if context.aws.cluster(context.cluster_name) is None:
            return
        raise
    if found is None or (found.get("data") or {}).get("id") != identity:
        return
    only = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": found["metadata"]["uid"]}}
    try:
        context.kube.request("DELETE", f"{PATH}/{MARK}", body=only, content_type="application/json")
    except KubeError as error:
        if error.status != 404:
            raise


def deployers(context: Context, recorded: tuple[str, ...]) -> tuple[str, ...]:
    """Who may change what is frozen or guarded, in canonical form: as the settings say, else as recorded, else whoever
    asks. Whoever asks must be one of them: the rest of the deploy is made with the same credentials.

    Raises:
        MarkRefused: it is not, or cannot be named.
    """
    me = who(context.kube)
    try:
        chosen = tuple(map(canonical, context.settings.deployers)) or recorded or (principal(me),)
    except InvalidDeployer as error:
        raise MarkRefused(f"{error}. Or name who deploys in eks-cilium:deployers") from None
    if not is_deployer(me, chosen):
        known = ", ".join(sorted(p for p in principals(me) if not p.startswith(GROUP))) or "nobody"
        raise MarkRefused(
            f"the API server knows this caller as {known}, which is none of the deployers ({', '.join(chosen)}). "
            "Deploy as one of them, or let one of them add this one to eks-cilium:deployers"
        )
    return chosen


def who(kube: Cluster) -> Obj:
    """`userInfo` of the caller, as the API server sees it (SelfSubjectReview, served since Kubernetes 1.28)."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = kube.request("POST", REVIEWS, body=body, content_type="application/json")
    found: Obj = answer["status"]["userInfo"]
    return found


def _take_over(context: Context) -> str:
    return f"`python -m operations recover --stack {context.stack} --take-over`"


def _guarded(args: argparse.Namespace) -> tuple[str, ...]:
    return tuple(piece for piece in args.guarded.split(",") if piece)


def _enter(context: Context, args: argparse.Namespace) -> Mark:
    now = seen(context.kube) if args.place in RECORDED else {}

    def record(found: Mark) -> str:
        if found.reached != RECORDED.get(args.place) or found.entering == args.place:
            return found.workloads  # a deploy that is tried again may have moved something already
        if args.place == "canary" or not found.workloads:
            return dump(now)
        try:
            return dump(merged(load(found.workloads), now))
        except DamagedRecord:
            return dump(now)

    def change(found: Mark) -> Mark:
        return replace(
            found,
            stack=context.stack,
            entering=args.place,
            workloads=record(found),
            attempt=args.attempt,
            guarded=_guarded(args),
            deployers=deployers(context, found.deployers),
        )

    return edit(context, args.id, change)


def _reach(context: Context, args: argparse.Namespace) -> Mark:
    def change(found: Mark) -> Mark:
        if (found.entering or found.reached, found.attempt) != (args.place, args.attempt):
            raise MarkRefused(
                f"{ABOUT} says attempt {found.attempt} at {found.entering or found.reached}: this deploy, attempt "
                f"{args.attempt} at {args.place}, has not entered. Deploy without --target and --exclude"
            )
        return replace(found, reached=args.place, entering="", guarded=_guarded(args))

    return edit(context, args.id, change)


def _give_up(context: Context, args: argparse.Namespace) -> None:
    give_up(context, args.id)


_ACTS: Final[dict[str, Callable[[Context, argparse.Namespace], Mark | None]]] = {
    "show": lambda context, _: read(context.kube),
    "take": lambda context, args: take(context, args.id),
    "enter": _enter,
    "reach": _reach,
    "give-up": _give_up,
}
