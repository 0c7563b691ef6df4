"""One managed EKS add-on: of the section `legacy`, or `coredns`."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from migration.rules import affinity
from migration.settings.model import Model


class Addon(Model):
    """A managed EKS add-on of an owned cluster."""

    version: str | None = None
    """Left out: the default of the cluster's Kubernetes version when the add-on is made, kept afterwards."""
    configuration: Mapping[str, Any] = Field(default_factory=dict)
    """`configurationValues` of the add-on; checked against its own schema by a gate."""

    @field_validator("configuration")
    @classmethod
    def _has_an_affinity(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        if reason := affinity.problem(value.get("affinity") or {}):
            raise ValueError(f"its affinity {reason}")
        return value
