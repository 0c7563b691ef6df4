"""Every answer of the eviction API is told apart, and costs no more requests than it should."""

import pytest

from operations.refresh.answers import FIRST_DELAY, REASONS, Answer, classify
from operations.refresh.throttle import Throttle

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
        throttle.well(0)
    taken = sum(throttle.take(t / 1000) for t in range(3000))
    assert taken <= 11 * 3 + 11


def used(rate: float, before: float, asked: float = 1000) -> Throttle:
    """One of which all is made use of until then, or what is asked for."""
    throttle = Throttle(rate=rate)
    for n in range(round(10 * asked)):
        throttle.take(before - 10 + n / asked)
    return throttle


def test_what_is_asked_of_late_is_known():
    assert used(40, 0).going(0) == pytest.approx(40, rel=0.1)
    assert used(40, 0, asked=20).going(0) == pytest.approx(20, rel=0.1)
    assert used(40, 0).going(10) < 1
    assert Throttle().going(0) == 0


def test_a_server_that_is_slow_is_asked_less_every_two_seconds_but_still_asked():
    throttle = used(40, 0)
    throttle.rate = throttle.going(0)
    full = throttle.rate
    for now in (0, 1, 2):
        throttle.lagging(now, 1)
    assert throttle.rate == pytest.approx(full * 0.8 * 0.8)
    throttle.lagging(4, 10)
    assert throttle.rate == pytest.approx(full * 0.8 * 0.8 / 2)
    for now in range(6, 60, 2):
        throttle.lagging(now, 10)
    assert throttle.rate == throttle.lowest_lagging
    assert throttle.take(60)


def test_a_rate_that_was_cut_to_less_than_that_by_a_complaint_is_not_raised_by_a_lag():
    throttle = Throttle(rate=4)
    throttle.lagging(0, 1)
    assert throttle.rate == 4


def answered(throttle: Throttle, begin: int, end: int) -> float:
    """Ten answers a second between these seconds; the rate then."""
    for tenth in range(10 * begin, 10 * end):
        throttle.well(tenth / 10)
    return throttle.rate


def test_it_is_less_than_what_was_asked_when_it_became_too_much_and_not_than_what_nobody_made_use_of():
    throttle = used(400, 0, asked=20)
    throttle.lagging(0, 1)
    assert throttle.rate == pytest.approx(0.8 * 20, rel=0.1)


def test_after_a_lag_the_rate_comes_back_quickly_more_slowly_and_after_a_while_boldly():
    throttle = used(40, 0)
    for now in (0, 1, 2, 3, 4):
        throttle.lagging(now, 10)
    cut = throttle.rate
    assert cut == pytest.approx(40 / 8, rel=0.1)
    assert answered(throttle, 4, 7) == cut
    near = answered(throttle, 7, 17)
    assert near == pytest.approx(40, rel=0.15)
    assert near < answered(throttle, 17, 27) < 1.6 * near
    assert answered(throttle, 40, 50) > 1.6 * near
