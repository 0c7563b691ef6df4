"""Survey: what an adopted cluster is like before it is touched, written down once for review.

`gather` reads; `describe` and `decisions` are pure.
"""

from operations.survey.cli import add_parser, run

__all__ = ["add_parser", "run"]
