"""The reference of the settings for people, written from the model: `docs/settings.md`."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from migration.names import PROJECT
from migration.settings import Settings

_HEAD = f"""# Settings

Everything a stack says about its cluster, under `config:` in `Pulumi.STACK.yaml`, with the prefix `{PROJECT}:`.
Unknown keys, wrong types and values that do not go together are refused before anything is done, all at once.

Editors complete and check the keys with [settings.schema.json](settings.schema.json): put
`# yaml-language-server: $schema=docs/settings.schema.json` at the top of the file.

This page is written from the model (`python -m operations schema reference`).
"""


def reference() -> str:
    """The page, as Markdown: a table for the top and one for each structure in it, in the order of use."""
    schema = Settings.model_json_schema(by_alias=True)
    definitions: Mapping[str, Any] = schema["$defs"]
    parts = [_HEAD, "\n".join(_table(schema))]
    for name in _in_order_of_use(schema, definitions):
        definition = definitions[name]
        parts.append(f"## {name}\n\n{definition.get('description', '').strip()}\n\n" + "\n".join(_table(definition)))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table(definition: Mapping[str, Any]) -> Iterator[str]:
    yield "| key | type | left out | |"
    yield "|---|---|---|---|"
    required = definition.get("required", ())
    for key, value in definition["properties"].items():
        default = "**required**" if key in required else _default(value)
        text = " ".join(str(value.get("description", "")).split()).replace("|", "\\|")
        yield f"| `{key}` | {_type(value)} | {default} | {text} |"


def _default(value: Mapping[str, Any]) -> str:
    default = value.get("default")
    if default is None or default in ([], {}, ""):
        return "-"
    return f"`{json.dumps(default)}`" if not isinstance(default, dict) else "see there"


def _type(value: Mapping[str, Any]) -> str:
    if "$ref" in value:
        name = _name(value["$ref"])
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value:
        return " or ".join(_type(option) for option in value["anyOf"] if option.get("type") != "null")
    if "enum" in value:
        return ", ".join(f"`{option}`" for option in value["enum"])
    kind = value.get("type", "any")
    if kind == "array":
        return f"list of {_type(value.get('items', {}))}"
    text = {"object": "mapping", "string": "text", "integer": "number", "boolean": "true or false"}.get(kind, kind)
    bounds = [f"{word} {value[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in value]
    return " ".join([text, *bounds])


def _name(reference: str) -> str:
    return reference.rsplit("/", 1)[1]


def _in_order_of_use(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    queue: list[Any] = [schema["properties"]]
    while queue:
        value = queue.pop(0)
        if isinstance(value, Mapping):
            reference = value.get("$ref")
            if isinstance(reference, str) and _name(reference) not in found:
                found.append(_name(reference))
                queue.append(definitions[_name(reference)]["properties"])
            queue += list(value.values())
        elif isinstance(value, list):
            queue += value
    return found
