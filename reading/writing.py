"""Values as YAML that everybody reads back as the same values."""

from collections.abc import Iterable
from typing import Any

import yaml

from reading.scalars import is_text


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # PyYAML quotes what it would not read as text itself, which leaves `8e1` and `y` bare.
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if is_text(value) else "'")


_Dumper.add_representer(str, _text)
_Dumper.add_multi_representer(str, _text)
_Dumper.add_multi_representer(dict, yaml.SafeDumper.represent_dict)
_Dumper.add_multi_representer(list, yaml.SafeDumper.represent_list)


def dump(value: Any, *, width: int = 110) -> str:
    """One document, keys in their order."""
    text = str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=width))
    return text.removesuffix("...\n") if text.endswith("\n...\n") else text


def dump_all(values: Iterable[Any], *, width: int = 110) -> str:
    """Documents, `---` on a line of its own between them."""
    return "---\n".join(dump(value, width=width) for value in values)
