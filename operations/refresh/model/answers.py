"""The answers of the eviction API, told apart, and what each one asks for.

Source: kubernetes v1.35 pkg/registry/core/pod/storage/eviction.go, and "API-initiated eviction" in its documentation:
a 429 with the cause DisruptionBudget comes from a budget, any other 429 from an overloaded server.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Answer(StrEnum):
    """What became of one eviction."""

    EVICTED = "evicted"
    GONE = "gone"
    OTHER_POD = "other-pod"
    """The name now belongs to another pod: its uid is not the one asked for."""
    BUDGET = "budget"
    """A PodDisruptionBudget allows none at the moment."""
    TWO_BUDGETS = "two-budgets"
    """More than one PodDisruptionBudget selects the pod: the API never evicts it."""
    TOO_MANY = "too-many"
    """The budget already remembers 2000 pods on their way out."""
    NAMESPACE_ENDS = "namespace-ends"
    """The namespace is being deleted, and the pod with it."""
    WEBHOOK = "webhook"
    """An admission webhook or policy said no, or cannot be asked; some then move the pod themselves."""
    FORBIDDEN = "forbidden"
    BUSY = "busy"
    """The API server asks for fewer requests."""
    SERVER = "server"
    LOST = "lost"
    """No answer; it may have been carried out."""


@dataclass(frozen=True)
class Reply:
    """An answer with its words."""

    answer: Answer
    text: str = ""
    retry_after: float = 0.0
    """Seconds that the server asks to wait."""


FIRST_DELAY: Final[Mapping[Answer, tuple[float, float]]] = {
    Answer.OTHER_POD: (2, 10),
    Answer.BUDGET: (2, 2),
    Answer.TWO_BUDGETS: (30, 60),
    Answer.TOO_MANY: (10, 30),
    Answer.NAMESPACE_ENDS: (5, 15),
    Answer.WEBHOOK: (5, 30),
    Answer.FORBIDDEN: (60, 60),
    Answer.BUSY: (2, 30),
    Answer.SERVER: (2, 30),
    Answer.LOST: (2, 30),
}
"""Answer -> seconds before the pod is tried again: at first, and at most (doubling in between)."""

REASONS: Final[Mapping[Answer, str]] = {
    Answer.BUDGET: "its PodDisruptionBudget allows no disruption now",
    Answer.TWO_BUDGETS: "more than one PodDisruptionBudget selects it, so the API never evicts it: leave one",
    Answer.TOO_MANY: "its PodDisruptionBudget has too many pods on their way out",
    Answer.NAMESPACE_ENDS: "its namespace is being deleted",
    Answer.WEBHOOK: "an admission webhook or policy refuses",
    Answer.FORBIDDEN: "this identity may not create pods/eviction: apply the RBAC file of the refresh",
    Answer.BUSY: "the API server is overloaded",
    Answer.SERVER: "the API server failed",
    Answer.LOST: "the API server did not answer",
    Answer.OTHER_POD: "another pod has its name now",
}


def classify(status: int, body: Mapping[str, Any], retry_after: float = 0.0) -> Reply:
    """What an HTTP answer to POST pods/NAME/eviction means.

    Args:
        status: HTTP status; 0 when there was no answer.
        body: the Status object, or anything else that came.
        retry_after: the header, seconds; 0 without one.
    """
    text = str(body.get("message") or "")
    details = body.get("details") or {}
    causes = {str(cause.get("reason")) for cause in details.get("causes") or []}
    wait = retry_after or float(details.get("retryAfterSeconds") or 0)
    if 200 <= status < 300:
        answer = Answer.EVICTED
    elif status not in (0, 429) and any(words in text for words in _ADMISSION):
        answer = Answer.WEBHOOK
    elif status == 429:
        told = "DisruptionBudget" in causes or "disruption budget" in text
        answer = Answer.BUDGET if told else Answer.BUSY
    elif status == 403:
        answer = _forbidden(causes, text)
    elif status == 500 and "more than one PodDisruptionBudget" in text:
        answer = Answer.TWO_BUDGETS
    else:
        answer = _PLAIN.get(status, Answer.SERVER)
    return Reply(answer, text, wait)


_ADMISSION: Final = ("admission webhook", "failed calling webhook", "ValidatingAdmissionPolicy")
"""Words of the API server where it was not the API server that refused (kubernetes v1.35 apiserver/pkg/admission)."""
_PLAIN: Final[Mapping[int, Answer]] = {
    0: Answer.LOST,
    400: Answer.FORBIDDEN,
    401: Answer.FORBIDDEN,
    404: Answer.GONE,
    409: Answer.OTHER_POD,
    422: Answer.FORBIDDEN,
    504: Answer.LOST,
}


def _forbidden(causes: set[str], text: str) -> Answer:
    if "NamespaceTerminating" in causes:
        return Answer.NAMESPACE_ENDS
    return Answer.TOO_MANY if "DisruptedPods" in text else Answer.FORBIDDEN
