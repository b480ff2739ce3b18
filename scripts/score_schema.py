"""Writes the JSON Schema of an output: python -m scripts.score_schema. A test fails while it is out of date."""

import json
from pathlib import Path

from cac.schema.score_row import ScoreRow

OUT = Path(__file__).parents[1] / "docs/reference/score.schema.json"


def schema_text() -> str:
    """Return the schema as JSON, always with the same bytes."""
    return json.dumps(ScoreRow.model_json_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    OUT.write_text(schema_text(), encoding="utf-8")
