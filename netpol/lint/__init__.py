"""Policies that are valid and not what somebody meant."""
