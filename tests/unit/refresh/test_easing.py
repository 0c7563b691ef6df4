"""How many evictions a second are asked for when the disruption controller is late."""

from __future__ import annotations

import pytest

from operations.refresh.pacing.easing import CALM, CAREFUL, LATE, Easing


class Controller:
    """It counts so many a second, one after the other; asked for are as many as may be, up to `asked` a second."""

    def __init__(self, a_second: float, asked: float) -> None:
        self.a_second, self.asked = a_second, asked
        self.easing = Easing()
        self.now, self.counted, self.worst = 1000.0, 0.0, 0.0
        self._made: list[float] = []
        self._wish = 0.0

    @property
    def behind(self) -> float:
        """Age of the oldest eviction that is not counted."""
        first = int(self.counted)
        return self.now - self._made[first] if first < len(self._made) else 0.0

    def run(self, seconds: float, step: float = 0.05) -> float:
        """Evictions a second until then."""
        before, end = len(self._made), self.now + seconds
        while self.now < end:
            self.now += step
            self.counted = min(len(self._made), self.counted + step * self.a_second)
            self.easing.look(self.behind, int(self.counted), self.now)
            self._wish = min(self.asked, self._wish + step * self.asked)
            while self._wish >= 1 and self.easing.take(self.now):
                self._wish -= 1
                self._made.append(self.now)
            self.worst = max(self.worst, self.behind)
        return (len(self._made) - before) / seconds


def test_nothing_is_held_back_while_all_is_counted():
    assert Controller(1000, asked=300).run(20) == pytest.approx(300, rel=0.05)


@pytest.mark.parametrize("asked", [25, 100, 400])
def test_as_many_as_it_can_count_whatever_is_asked_for(asked: float):
    controller = Controller(20, asked=asked)
    controller.run(60)
    controller.worst = 0.0
    assert 16 <= controller.run(240) <= 20.5
    assert controller.worst < 4 * LATE


def test_a_queue_that_is_long_becomes_shorter_and_evictions_go_on_meanwhile():
    controller = Controller(20, asked=100)
    controller.run(2)
    assert controller.behind > LATE
    made = controller.run(2)
    controller.run(30)
    assert controller.behind < 2 * LATE
    assert made >= controller.easing.lowest


def test_a_moment_in_which_something_else_kept_it_busy_is_soon_forgotten():
    controller = Controller(40, asked=20)
    controller.run(30)
    controller.a_second = 0
    controller.run(4)
    controller.a_second = 40
    controller.run(2 * CALM)
    assert controller.run(30) == pytest.approx(20, rel=0.2)


def test_it_comes_back_quickly_to_what_was_enough_more_slowly_beyond_and_boldly_after_a_while():
    easing = Easing()
    easing.look(0, 0, 0.0)
    for tenth in range(1, 101):
        easing.look(5 * LATE if tenth > 50 else 0, 2 * tenth, tenth / 10)
        assert (easing.take(tenth / 10) and easing.take(tenth / 10)) or tenth > 50  # twenty a second
    cut, looks = easing.rate, iter(range(1, 1000))

    def after(seconds: float) -> float:
        while (tenth := next(looks)) < 10 * seconds:
            easing.look(0, 200, 10 + tenth / 10)
        return easing.rate

    assert cut == pytest.approx(10, rel=0.15)
    assert after(CALM - 0.2) == cut
    near = after(CALM + 5)
    assert near == pytest.approx(20, rel=0.15)
    assert near < after(CALM + 15) < 1.6 * near
    assert after(CAREFUL + 20) > 10 * near


def test_some_are_always_asked_for():
    easing = Easing()
    for second in range(60):
        easing.look(10 * LATE, 0, float(second))
    assert easing.rate == easing.lowest
    assert easing.take(60.0)
