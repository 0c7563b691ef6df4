"""Is this stack the one that moves the cluster?"""

from collections.abc import Iterable, Iterator

from kube.transport import Obj
from migration.guarding.mark import DamagedMark, Mark, Own
from migration.journeys import CheckId
from migration.names import AWS_NODE, CILIUM, CNI_LABEL, KUBE_PROXY, LEGACY_CNI, SYSTEM_NAMESPACE
from migration.rules import affinity
from operations.access.context import Context
from operations.checks import check
from operations.cluster import objects
from operations.evidence import Answer, Finding
from operations.guarding import mark


@check(CheckId.MARK_AGREES)
def mark_agrees(context: Context) -> Answer:
    """The cluster is moved by this stack, with the newest state of it, and by no other."""
    own = context.own()
    live = mark.find(context.kube)
    try:
        found = live.mark()
    except DamagedMark as error:
        fix = f"Restore it, or {mark.take_over(context.stack)}"
        return Answer("damaged", (Finding(live.about, str(error), fix),))
    against = live.disagreement(found, own, context.stack)
    if against is not None:
        return Answer("not this stack's", (Finding(live.about, against.problem, against.fix),))
    if found is not None:
        outsider = tuple(no_deployer(context, found)) if own.deploys else ()
        return Answer(f"written by stack {found.stack}, attempt {found.attempt}", outsider)
    if own.reached or not context.adopted:
        return Answer("no mark yet: this deploy writes it")
    return Answer("no mark", tuple(traces(context, own)))


def no_deployer(context: Context, found: Mark) -> Iterator[Finding]:
    """Whoever deploys must be one of the deployers: the API server refuses everybody else half-way."""
    try:
        mark.deployers(context, found.deployers)
    except mark.MarkRefused as error:
        yield Finding("deployers", str(error), "")


def traces(context: Context, own: Own) -> Iterator[Finding]:
    """What a stack that begins finds in a cluster that some other one had begun to move."""
    fix = (
        "Deploy with the stack that moved it; if its state is lost, restore the state. If that stack was destroyed "
        "before it was back at baseline: docs/recovery.md, A lost state"
    )
    kube = context.kube
    yield from labelled(kube.nodes(), fix)
    for name in (AWS_NODE, KUBE_PROXY):
        live = kube.daemonset(SYSTEM_NAMESPACE, name)
        if live and affinity.is_pinned(live["spec"]["template"]["spec"].get("affinity"), CNI_LABEL, LEGACY_CNI):
            yield Finding(f"daemonset {SYSTEM_NAMESPACE}/{name}", "is bound to labelled nodes already", fix)
    for daemonset in kube.daemonsets():
        if objects.name(daemonset) == CILIUM:
            yield Finding(f"daemonset {objects.key(daemonset)}", "is there already: Cilium is installed", fix)


def labelled(nodes: Iterable[Obj], fix: str) -> Iterator[Finding]:
    names = [objects.name(node) for node in nodes if CNI_LABEL in objects.labels(node)]
    if names:
        yield Finding(f"nodes {objects.some(names)}", f"carry the label {CNI_LABEL} already", fix)
