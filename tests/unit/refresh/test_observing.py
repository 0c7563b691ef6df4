"""Questions do not write: whoever looks at a refresh, when and however often, changes nothing of what it does."""

from __future__ import annotations

import pickle

import pytest

from tests.programs.refresh_actions import Observed, Recorded

SEEDS = (18, 19, 36, 105)
"""Some that went otherwise when progress was shown, as long as showing it moved the next wake-up."""


class Fingerprinted(Observed):
    """Keeps whether anything that the engine knows was another after it was asked."""

    def ask(self) -> None:
        self.engine.leaving, self.engine.world.unknown_instances()  # both are kept until a node changes
        before = self._known()
        super().ask()
        assert self._known() == before

    def _known(self) -> bytes:
        return pickle.dumps(self.engine)


@pytest.mark.parametrize("seed", SEEDS)
def test_observing_at_random_moments_never_changes_what_a_refresh_does(seed: int):
    observed = Observed(seed)
    assert observed.play() == Recorded(seed).play()
    assert observed.asked_at > 10


@pytest.mark.parametrize("seed", [18, 105])
def test_no_question_changes_anything_that_the_engine_knows(seed: int):
    Fingerprinted(seed).play()
