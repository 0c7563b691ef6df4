"""Whether Calico may be handed over, as we say it and as the Tigera operator's own code says it."""

import pytest

from migration.rules.conversion import refusals
from tests.oracles import random_handover
from tests.oracles.conversion_oracle import CHECKOUT, ConversionOracle, checkout

FIRST, COUNT = 10_000, 1_000
"""Seeds of the cases."""

pytestmark = pytest.mark.skipif(checkout() is None, reason=f"{CHECKOUT} names no checkout of tigera/operator")


def test_a_thousand_calicos_are_judged_as_the_operator_judges_them():
    source = checkout()
    assert source is not None
    differing, taken = [], 0
    with ConversionOracle(source) as oracle:
        for seed in range(FIRST, FIRST + COUNT):
            case = random_handover.case(seed)
            theirs, why = oracle.takes_over(case.objects())
            ours = refusals(case.found())
            taken += theirs
            if theirs == bool(ours):
                differing.append((seed, why, ours))
    assert differing == []
    assert COUNT // 4 < taken < 3 * COUNT // 4


def test_the_operator_refuses_the_chart_as_it_is():
    source = checkout()
    assert source is not None
    with ConversionOracle(source) as oracle:
        theirs, why = oracle.takes_over(random_handover.as_the_chart_leaves_it().objects())
    assert not theirs
    assert "unexpected annotation" in why
