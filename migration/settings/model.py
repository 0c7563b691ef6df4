"""What all settings have in common: how keys are written, and the values that more than one section takes."""

import re
from ipaddress import IPv4Network
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """Keys are camelCase in YAML; unknown keys are errors; values cannot change after loading."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


_BLOCK = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}")


def _written(value: object) -> object:
    """A block as people write it: a number, bytes or a netmask would be one to the library too."""
    if isinstance(value, IPv4Network):
        return value
    if not isinstance(value, str) or not _BLOCK.fullmatch(value):
        raise ValueError("expected a block such as 10.0.0.0/16")
    return IPv4Network(value)  # its own words for what is wrong with one


Block = Annotated[IPv4Network, BeforeValidator(_written)]
"""An IPv4 block, written ADDRESS/LENGTH."""


_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")


def _pinned(value: str) -> str:
    if not _DIGEST.fullmatch(value):
        raise ValueError("expected an image with its digest, NAME@sha256: and 64 hexadecimal digits")
    return value


Image = Annotated[str, AfterValidator(_pinned)]
"""An image with its digest."""


class Chart(Model):
    """Where a Helm chart comes from."""

    name: str
    """Name in the repository, or a path to a chart directory or archive."""
    repository: str | None = None
    """Chart repository. Leave out when `name` is a path."""
