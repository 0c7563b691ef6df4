"""What is written from the model is written from today's model."""

import json
from pathlib import Path

from operations.commands.reference import reference
from operations.commands.schema import settings_schema

DOCS = Path(__file__).parents[3] / "docs"


def test_the_settings_page_is_fresh():
    assert (DOCS / "settings.md").read_text() == reference(), (
        "run: python -m operations schema reference > docs/settings.md"
    )


def test_the_schema_for_editors_is_fresh():
    written = json.loads((DOCS / "settings.schema.json").read_text())
    assert written == settings_schema(), "run: python -m operations schema settings > docs/settings.schema.json"


def test_every_key_of_the_model_is_on_the_page():
    page = reference()
    keys = {key for part in settings_schema()["$defs"].values() for key in part["properties"]}
    assert [key for key in keys if f"| `{key}` |" not in page] == []
