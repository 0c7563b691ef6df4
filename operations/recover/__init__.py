"""Recovery after a deploy was killed: its lock, its pending operations one by one, its Helm releases.

`state` and `decide` are pure; `lookup` reads AWS and Kubernetes; `cli` shows the plan, and carries it out with `--yes`.
"""
