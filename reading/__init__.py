"""Text in, plain values out: the one reading of every file that is deployed, compared or proved.

Whoever proves a policy and whoever deploys it must mean the same value by the same letters, and so must `kubectl`.
What needs PyYAML is read when it is asked for: in the cluster, where objects come as JSON, there is none.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from reading.files import MOST_BYTES, text_of
from reading.json_text import json_value
from reading.stored import METADATA, STORED_API, metadata_of, without_labels
from reading.unreadable import Unreadable, brief
from reading.values import Document, List, Map

if TYPE_CHECKING:
    from reading.writing import dump, dump_all
    from reading.yaml_text import documents, value

__all__ = [
    "METADATA",
    "MOST_BYTES",
    "STORED_API",
    "Document",
    "List",
    "Map",
    "Unreadable",
    "brief",
    "documents",
    "dump",
    "dump_all",
    "json_value",
    "metadata_of",
    "text_of",
    "value",
    "without_labels",
]

_YAML: Final = {
    "documents": "reading.yaml_text",
    "value": "reading.yaml_text",
    "dump": "reading.writing",
    "dump_all": "reading.writing",
}


def __getattr__(name: str) -> object:
    if name not in _YAML:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_YAML[name]), name)
    return found
