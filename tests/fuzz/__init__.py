"""Every parser under bad input: `tests/unit/test_parsers.py` for seconds, `tests/faults/test_parsers.py` for a minute."""
