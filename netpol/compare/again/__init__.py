"""Proving again after a change, by looking only at what the change touches."""
