"""Node refresh: empty the nodes of one kind onto nodes of the other, and remove them, without breaking a budget.

Floors, each of which builds on those below it alone: `run` (decisions carried out), `plan` (what a run would do),
`engine` (decides: values in, actions out) beside `cluster` (Kubernetes and AWS), `pacing` (how much at once) beside
`blockers` (what keeps a node from being emptied), `model` (values).

All state is read back from the APIs and a few small annotations, so that a refresh may be killed anywhere.
"""
