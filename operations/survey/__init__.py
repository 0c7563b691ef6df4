"""Survey: what an adopted cluster is like before it is touched, written down once for review.

`gather` reads; `describe` and `decisions` are pure.
"""
