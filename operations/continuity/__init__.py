"""Whether every flow keeps its verdict while the cluster moves: the worlds that gates compare, and who is recognised.

`worlds` makes of a cluster's objects the pairs to compare, `recognised` says which pods of legacy nodes Cilium knows.
Both are pure; `operations.checks.continuity` reads the cluster for them.
"""
