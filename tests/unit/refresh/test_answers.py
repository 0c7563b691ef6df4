"""Every answer of the eviction API is told apart, and costs no more requests than it should."""

import pytest

from operations.refresh.model.answers import FIRST_DELAY, REASONS, Answer, classify
from operations.refresh.pacing.throttle import Throttle

CAUSE = {"details": {"causes": [{"reason": "DisruptionBudget", "message": "The disruption budget a needs 2"}]}}


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (201, {}, Answer.EVICTED),
        (200, {}, Answer.EVICTED),
        (404, {"message": 'pods "a" not found'}, Answer.GONE),
        (409, {"message": "the UID in the precondition does not match"}, Answer.OTHER_POD),
        (429, CAUSE, Answer.BUDGET),
        (429, {"message": "Cannot evict pod as it would violate the pod's disruption budget."}, Answer.BUDGET),
        (429, {"message": "Too many requests, please try again later."}, Answer.BUSY),
        (500, {"message": "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."}, Answer.TWO_BUDGETS),
        (500, {"message": 'admission webhook "drain.strimzi.io" denied the request: no'}, Answer.WEBHOOK),
        (403, {"message": 'admission webhook "a" denied the request: no'}, Answer.WEBHOOK),
        (400, {"message": 'admission webhook "a" denied the request: no'}, Answer.WEBHOOK),
        (422, {"message": "pods \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"}, Answer.WEBHOOK),
        (500, {"message": 'Internal error occurred: failed calling webhook "a": connection refused'}, Answer.WEBHOOK),
        (500, {"message": "etcdserver: leader changed"}, Answer.SERVER),
        (503, {}, Answer.SERVER),
        (504, {"message": "timed out"}, Answer.LOST),
        (0, {"message": "connection reset"}, Answer.LOST),
        (403, {"details": {"causes": [{"reason": "NamespaceTerminating"}]}}, Answer.NAMESPACE_ENDS),
        (403, {"message": "DisruptedPods map too big - too many evictions not confirmed by PDB controller"}, Answer.TOO_MANY),
        (403, {"message": 'pods "a" is forbidden: User "x" cannot create resource "pods/eviction"'}, Answer.FORBIDDEN),
        (401, {}, Answer.FORBIDDEN),
    ],
)  # fmt: skip
def test_each_answer_is_recognised(status, body, answer):
    assert classify(status, body).answer is answer


def test_the_wait_that_the_server_asks_for_is_kept():
    assert classify(429, {"details": {"retryAfterSeconds": 10}}).retry_after == 10
    assert classify(429, {}, retry_after=7).retry_after == 7


def test_no_refused_pod_is_asked_for_more_often_than_every_two_seconds():
    refusals = set(Answer) - {Answer.EVICTED, Answer.GONE}
    assert set(FIRST_DELAY) == refusals
    assert all(first >= 2 for first, _ in FIRST_DELAY.values())


def test_every_refusal_has_words_for_people():
    assert set(REASONS) == set(FIRST_DELAY)


def test_the_rate_is_halved_once_for_each_burst_of_complaints():
    throttle = Throttle(rate=40)
    for _ in range(10):
        throttle.complained(100.0)
    assert throttle.rate == 20
    throttle.complained(102.0)
    assert throttle.rate == 10


def test_nothing_is_sent_while_the_server_asked_to_wait():
    throttle = Throttle(rate=40)
    assert throttle.take(0)
    throttle.complained(0, retry_after=5)
    assert not throttle.take(4.9)
    assert throttle.next_at(1.0) >= 5
    assert throttle.take(6)


def test_the_rate_never_exceeds_what_was_configured():
    throttle = Throttle(rate=10, highest=11)
    for _ in range(100):
        throttle.well()
    taken = sum(throttle.take(t / 1000) for t in range(3000))
    assert taken <= 11 * 3 + 11
