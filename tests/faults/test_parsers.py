"""Every parser under bad input, a minute in all: no error but the declared ones, and none takes long."""

import random

import pytest

from tests.fuzz.parsers import PARSERS, fuzz

SECONDS = 60.0


@pytest.mark.parametrize("name", PARSERS)
def test_no_input_ends_in_an_error_that_is_not_declared(name):
    first = random.randrange(2**32)  # noqa: S311 - no secret
    print("seed", first)
    assert fuzz(name, seconds=SECONDS / len(PARSERS), first=first) > 20
