"""`schema`: JSON schema of the settings for editors, and the key list of a Cilium chart."""

import argparse
import json
from pathlib import Path
from typing import Any

from migration.names import PROJECT
from migration.rules.chart import keys as chart_keys
from migration.settings import Settings
from operations.commands.reference import reference
from operations.exits import UsageError
from operations.say import say

KEYS_FILE = Path(chart_keys.__file__).with_suffix(".json")


def fill(command: Any) -> None:
    command.set_defaults(run=_settings)
    kinds = command.add_subparsers(dest="what", metavar="WHAT")
    settings = kinds.add_parser("settings", help="print the JSON schema of the settings")
    settings.set_defaults(run=_settings)
    page = kinds.add_parser("reference", help="print the reference of the settings, as Markdown")
    page.set_defaults(run=_reference)
    chart = kinds.add_parser("chart", help="write which keys the Cilium chart takes")
    chart.add_argument("--chart", required=True, type=Path, metavar="DIR", help="the unpacked chart")
    chart.add_argument("--out", type=Path, default=KEYS_FILE, metavar="FILE", help="left out: the committed file")
    chart.set_defaults(run=_chart)


def settings_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of `Pulumi.<stack>.yaml`, as far as this project's keys go."""
    model = Settings.model_json_schema(by_alias=True)
    definitions = model.pop("$defs", {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Stack configuration of {PROJECT}",
        "type": "object",
        "properties": {
            "config": {
                "type": "object",
                "properties": {f"{PROJECT}:{key}": value for key, value in model["properties"].items()},
                "required": [f"{PROJECT}:{key}" for key in model["required"]],
            }
        },
        "$defs": definitions,
    }


def chart_tree(directory: Path) -> dict[str, Any]:
    """Keys and types of a chart, from its schema and templates.

    Raises:
        UsageError: the directory holds no chart with a schema.
    """
    schema = directory / "values.schema.json"
    if not schema.exists():
        raise UsageError(f"{schema} does not exist: give the directory of an unpacked chart")
    # What a template only asks for in order to refuse it does nothing otherwise.
    refusing = {"validate.yaml", "NOTES.txt", "warnings.txt"}
    templates = sorted(p for p in (directory / "templates").rglob("*") if p.suffix in {".yaml", ".tpl"})
    templates = [p for p in templates if p.name not in refusing]
    return chart_keys.derive(json.loads(schema.read_text()), (path.read_text() for path in templates))


def _settings(_: argparse.Namespace) -> int:
    print(json.dumps(settings_schema(), indent=2))
    return 0


def _reference(_: argparse.Namespace) -> int:
    print(reference(), end="")
    return 0


def _chart(args: argparse.Namespace) -> int:
    args.out.write_text(json.dumps(chart_tree(args.chart), indent=1, sort_keys=True) + "\n")
    say(f"wrote {args.out}")
    return 0
