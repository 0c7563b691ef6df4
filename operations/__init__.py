"""The live cluster: survey, checks, refresh, recovery, and the command line `python -m operations`."""
