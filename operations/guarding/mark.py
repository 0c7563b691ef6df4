"""The mark that says which stack moves this cluster, and how far: its objects in the cluster, read and written.

The command `mark` is in `operations/commands/mark.py`; what the mark says, as a value, in `migration/guarding/mark.py`.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from kube.cluster import Cluster
from kube.transport import APPLY, KubeError, Obj
from migration.guarding.mark import MOST_BYTES, DamagedMark, Disagreement, Mark, Own, disagreement, kept_log
from migration.guarding.workloads import seal
from migration.names import FIELD_MANAGER, GUARD_DIGEST, GUARD_LOG, MARK, SYSTEM_NAMESPACE, WORKLOADS
from migration.rules.deployers import GROUP, InvalidDeployer, canonical, is_deployer, principal, principals
from operations.access.connection import WrongClusterError
from operations.access.context import Context
from operations.cluster import objects
from reading.failure import Failure

ROLES: Final = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{SYSTEM_NAMESPACE}/roles"
CONFIGMAPS: Final = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps"
PATH: Final = f"{ROLES}/{MARK}"
RECORD: Final = f"{CONFIGMAPS}/{WORKLOADS}"
"""Where the record of workloads is."""
EARLIER: Final = f"{CONFIGMAPS}/{MARK}"
"""Where versions before kept the mark, the record in it."""
REVIEWS: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
ABOUT: Final = f"role {SYSTEM_NAMESPACE}/{MARK}"
ATTEMPTS: Final = 5


class MarkRefused(Failure):
    """The mark is not this stack's to write. The text says whose it is, and what to do."""


# -- what is there ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Live:
    """The objects of the mark, as they were read."""

    role: Obj | None
    earlier: Obj | None
    """The ConfigMap of a version before. It is the mark while there is no Role; beside one it is there for policies
    of that version only, and the first deploy of this one that finishes deletes it."""

    @property
    def about(self) -> str:
        """The object that is the mark."""
        return ABOUT if self.role is not None or self.earlier is None else f"configmap {SYSTEM_NAMESPACE}/{MARK}"

    @property
    def annotations(self) -> Mapping[str, str]:
        """Of the object that is the mark."""
        found = self.role if self.role is not None else self.earlier
        return objects.annotations(found) if found is not None else {}

    def mark(self) -> Mark | None:
        """What they say; None when there is none.

        Raises:
            DamagedMark: it is not what this program writes.
        """
        if self.role is not None:
            return Mark.of(objects.annotations(self.role))
        return Mark.of_earlier(self.earlier.get("data") or {}) if self.earlier is not None else None

    def outdated(self, mark: Mark) -> bool:
        """Whether there is a ConfigMap of a version before that has another owner, or another opening."""
        if self.earlier is None:
            return False
        try:
            found = Mark.of_earlier(self.earlier.get("data") or {})
        except DamagedMark:
            return True
        return (found.id, found.open) != (mark.id, mark.open)

    def disagreement(self, mark: Mark | None, own: Own, stack: str) -> Disagreement | None:
        """What keeps a stack from moving the cluster, see `migration.guarding.mark.disagreement`."""
        against = disagreement(mark, own, stack)
        if against is None and mark is not None and self.role is not None and self.earlier is not None:
            other = _id(self.earlier)
            if other != mark.id:
                return Disagreement(
                    f"says id {mark.id}, but the ConfigMap beside it, where earlier versions kept the mark, says "
                    f"{f'id {other}' if other else 'no id'}. Another stack also moves this cluster, with an earlier "
                    "version of this program",
                    "Find out which stack wrote the ConfigMap. If none uses it any more, delete it. If this stack is "
                    f"to go on, {take_over(stack)}",
                )
        return against


def find(kube: Cluster) -> Live:
    """The objects of a cluster's mark.

    Raises:
        KubeError: they cannot be read.
    """
    return Live(kube.get(PATH), kube.get(EARLIER))


def read(kube: Cluster) -> Mark | None:
    """The mark of a cluster, in whichever form; None when it has none.

    Raises:
        DamagedMark: it is not what this program writes.
        KubeError: it cannot be read.
    """
    return find(kube).mark()


def known(live: Live, stack: str) -> Mark | None:
    """The mark; of one that is damaged the text says what to do.

    Raises:
        MarkRefused: it is damaged.
    """
    try:
        return live.mark()
    except DamagedMark as error:
        raise MarkRefused(f"{live.about}: {error}. Restore it, or {take_over(stack)}") from None


def record(kube: Cluster, digest: str) -> str:
    """The record of workloads that the mark knows by this digest; empty when there is none."""
    return next((text for text in records(kube) if seal(text) == digest), "")


def records(kube: Cluster) -> list[str]:
    """Every record of workloads that there is, whether or not the mark knows it."""
    kept = [(found.get("data") or {}).get("workloads") for found in (kube.get(RECORD), kube.get(EARLIER)) if found]
    return [text for text in kept if text]


def _id(earlier: Obj) -> str:
    return str((earlier.get("data") or {}).get("id") or "")


# -- writing ----------------------------------------------------------------------------------------


def write(kube: Cluster, live: Live, mark: Mark, *, notes: Mapping[str, str] | None = None) -> None:
    """Write the mark on the versions of its objects that were read.

    A ConfigMap of a version before is written first, when it would have another owner or another opening: whoever still
    goes by it knows no later than everybody else. It is not made a Role here, see `edit`.

    Args:
        notes: annotations besides.

    Raises:
        MarkRefused: it is larger than an object's annotations may be.
    """
    sent = {**_annotations(mark), **(notes or {})}
    if live.earlier is not None and live.outdated(mark):
        metadata = {"resourceVersion": live.earlier["metadata"]["resourceVersion"], "annotations": dict(notes or {})}
        data = {key: value for key, value in mark.dump().items() if key != "workloads"}
        kube.merge(EARLIER, {"metadata": metadata, "data": data}, manager=FIELD_MANAGER)
    if live.role is not None and not sent.items() <= objects.annotations(live.role).items():
        metadata = {"resourceVersion": live.role["metadata"]["resourceVersion"], "annotations": sent}
        kube.merge(PATH, {"metadata": metadata, "rules": []}, manager=FIELD_MANAGER)


def put(kube: Cluster, live: Live, mark: Mark) -> None:
    """Write the mark on what was read, and make a Role of one that an earlier version kept in a ConfigMap."""
    write(kube, live, mark)
    if live.role is None:
        _make(kube, mark, live.earlier)


def _make(kube: Cluster, mark: Mark, earlier: Obj | None) -> None:
    """The Role; of what an earlier version kept, its notes and the record go along.

    The Role comes last, as it is the mark from then on.
    """
    annotations = _annotations(mark)
    if earlier is not None:
        notes = objects.annotations(earlier)
        annotations |= {GUARD_DIGEST: notes[GUARD_DIGEST]} if GUARD_DIGEST in notes else {}
        annotations |= {GUARD_LOG: kept_log(notes[GUARD_LOG].splitlines())} if GUARD_LOG in notes else {}
        keep(kube, (earlier.get("data") or {}).get("workloads") or "")
    metadata = {"name": MARK, "namespace": SYSTEM_NAMESPACE, "annotations": annotations}
    body = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": []}
    kube.request("POST", f"{ROLES}?fieldManager={FIELD_MANAGER}", body=body, content_type="application/json")


def keep(kube: Cluster, text: str) -> None:
    """Keep a record of workloads beside the mark, which has to know it by its digest before it counts.

    One that is there already is not written again: a guard that finds no mark refuses every update of it.
    """
    found = kube.again().get(RECORD)
    if not text or (found and (found.get("data") or {}).get("workloads") == text):
        return
    metadata = {"name": WORKLOADS, "namespace": SYSTEM_NAMESPACE}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"workloads": text}}
    kube.request("PATCH", f"{RECORD}?fieldManager={FIELD_MANAGER}&force=true", body=body, content_type=APPLY)


def _annotations(mark: Mark) -> dict[str, str]:
    found = mark.annotations()
    size = sum(len(key.encode()) + len(value.encode()) for key, value in found.items())
    if size > MOST_BYTES:
        largest = max(found, key=lambda key: len(found[key].encode()))
        raise MarkRefused(
            f"{ABOUT} would have {size} bytes, and may have {MOST_BYTES}: most of them are in {largest}. Of deployers, "
            "name a role or a group that they share"
        )
    return found


# -- what deploys do --------------------------------------------------------------------------------


def take(context: Context, identity: str) -> Mark:
    """Make the mark; one that is there must be this stack's.

    Raises:
        MarkRefused: it is another one's.
    """
    mark = Mark(id=identity, stack=context.stack, deployers=deployers(context, ()))
    live = find(context.kube.again())
    if live.role is None and live.earlier is None:
        try:
            _make(context.kube, mark, None)
        except KubeError as error:
            if error.status != 409:
                raise
        else:
            return mark
    return edit(context, identity, lambda found: found)


def edit(context: Context, identity: str | None, change: Callable[[Mark], Mark]) -> Mark:
    """Change the mark on the version of it that was read; `identity` None changes whoever's it is.

    A mark that a version before kept in a ConfigMap becomes a Role. The ConfigMap stays: policies of that version go by
    it until the deploy has put its own in their place.

    Raises:
        MarkRefused: it is another one's, gone, or damaged.
    """
    for _ in range(ATTEMPTS):
        live = find(context.kube.again())
        mark = known(live, context.stack)
        if identity is None:
            against = None
        else:
            against = live.disagreement(mark, Own(id=identity, attempt=sys.maxsize, taken=True), context.stack)
        if against is not None or mark is None:
            problem = f"{against.problem}. {against.fix}" if against else "is gone"
            raise MarkRefused(f"{live.about} {problem}")
        changed = change(mark)
        try:
            put(context.kube, live, changed)
        except KubeError as error:
            if error.status == 409:
                continue
            raise
        return changed
    raise KubeError(409, f"{ABOUT} changed {ATTEMPTS} times while it was being written. Run again")


def give_up(context: Context, identity: str) -> None:
    """Take this stack's mark away. One that is another's by now stays, and so does a cluster that is gone."""
    kube = context.kube
    try:
        live = find(kube)
    except WrongClusterError:
        if context.aws.cluster(context.cluster_name) is None:
            return
        raise
    ours = live.role is not None and objects.annotations(live.role).get(Mark.ID) == identity
    earlier = live.earlier is not None and _id(live.earlier) == identity
    if not ours and (live.role is not None or not earlier):
        return
    # By the mark itself a destroy that is tried again knows that the rest is its own to delete: it goes last.
    _delete(kube, RECORD, kube.get(RECORD))
    if earlier:
        _delete(kube, EARLIER, live.earlier)
    _delete(kube, PATH, live.role)


def _delete(kube: Cluster, path: str, found: Obj | None) -> None:
    if found is None:
        return
    only = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": found["metadata"]["uid"]}}
    try:
        kube.request("DELETE", path, body=only, content_type="application/json")
    except KubeError as error:
        if error.status != 404:
            raise


def let_go(kube: Cluster, mark: Mark) -> None:
    """Delete the ConfigMap in which a version before kept this mark: every policy goes by the Role now."""
    earlier = kube.get(EARLIER)
    if earlier is None or _id(earlier) != mark.id:
        return
    text = (earlier.get("data") or {}).get("workloads") or ""
    if text and seal(text) == mark.workloads:
        keep(kube, text)
    _delete(kube, EARLIER, earlier)


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


def take_over(stack: str) -> str:
    """The command that makes a stack the one that moves the cluster, for people."""
    return f"`python -m operations recover --stack {stack} --take-over`"
