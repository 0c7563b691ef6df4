"""Text in, plain values out: the one reading of every file that is deployed, compared or proved.

Whoever proves a policy and whoever deploys it must mean the same value by the same letters, and so must `kubectl`.
"""

from reading.dump import dump, dump_all
from reading.files import MOST_BYTES, text_of
from reading.json_text import json_value
from reading.stored import METADATA, STORED_API, metadata_of, without_labels
from reading.unreadable import Unreadable, brief
from reading.yaml_text import Document, List, Map, documents, value

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
