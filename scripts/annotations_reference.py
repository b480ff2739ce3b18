"""Generate docs/reference/annotations.md from the models, so that the page always matches the code.

    python -m scripts.annotations_reference

Names, types and bounds come from the models, and leaves from the taxonomy. `MEANING` explains each field; a field
without an explanation is an error. `tests/data/test_annotations_reference.py` fails when the page is stale.
"""

import json
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from cac.data.injection.catalogue import INJECTABLE
from cac.data.validation.annotator_agreement import OPINIONS_NAME, Opinion
from cac.data.validation.checks import Scope, list_checks
from cac.params import load_params
from cac.schema.annotations import CARD_NAME, MANIFEST_NAME, SCHEMA_VERSION, Anomaly, Clip, Distractor, FrameBox, Split
from cac.schema.taxonomy import LEAVES, TAXONOMY_VERSION, Family

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/reference/annotations.md"

MEANING = {
    "Clip.clip_id": "a name that is unique in the dataset",
    "Clip.path": "the video, relative to the dataset folder and inside it",
    "Clip.sha256": "SHA-256 of the file",
    "Clip.fps": "frames per second, constant; frame i is shown at i / fps seconds",
    "Clip.frame_count": "frames in the file, counted by decoding",
    "Clip.width": "width of the frames in pixels",
    "Clip.height": "height of the frames in pixels",
    "Clip.source": "origin of clip and annotation: a dataset, a tool, a team",
    "Clip.generator": "the model that made the video, or `unknown`",
    "Clip.split": "what the clip is used for; clips of one pair share it",
    "Clip.pair_id": "shared by a clip and its clean twin; unique for a clip without a twin",
    "Clip.anomalies": "the defects; empty for a clean clip",
    "Clip.distractors": "harmless changes that resemble an anomaly; optional",
    "Distractor.name": "any name",
    "Distractor.window": "start and end in seconds",
    "Anomaly.family": "one of the families below",
    "Anomaly.leaf": "one of the leaves of this family, below",
    "Anomaly.window": "start and end in seconds; the frame at the end is not included. `null` if nobody knows",
    "Anomaly.boxes": "one for every frame in the window; empty if nobody knows where",
    "Anomaly.saliency": "how visible the defect is; 1 is obvious",
    "FrameBox.frame": "the frame, counted from 0",
    "FrameBox.box": "x1, y1, x2, y2 relative to width and height, from the top left corner",
    "Opinion.clip_id": "the id of a clip in the manifest",
    "Opinion.annotator": "a name or number, always the same for one person",
    "Opinion.anomalies": "what the annotator found; empty if nothing",
}
_BOUNDS = {"exclusiveMinimum": "> {}", "minimum": ">= {}", "maximum": "<= {}", "pattern": "`{}`"}
_EXAMPLE = Clip(
    clip_id="walk-17-fake",
    path="clips/walk-17-fake.mp4",
    sha256="8e3842af3bbdabd35241f71a0f733ecad14c4238de79113e75b7dadeb81df4a3",
    fps=8.0,
    frame_count=16,
    width=640,
    height=360,
    source="our-annotators",
    generator="Wan2.1",
    split="train",
    pair_id="walk-17",
    anomalies=(
        Anomaly(
            family=Family.TEMPORAL,
            leaf="vanishing",
            window=(0.5, 0.75),
            boxes=(FrameBox(frame=4, box=(0.4, 0.2, 0.6, 0.9)), FrameBox(frame=5, box=(0.42, 0.2, 0.62, 0.9))),
            saliency=0.8,
        ),
    ),
    distractors=(Distractor(name="lamp switched on", window=(1.0, 1.5)),),
)


def reference() -> str:
    """Return the page."""
    return f"""# Annotations

<!-- Made by scripts/annotations_reference.py from the models; do not edit. -->

A dataset is a folder with `clips/*.mp4`, the manifest `{MANIFEST_NAME}` (one clip per line, as JSON), the card
`{CARD_NAME}` and, if several annotators saw the same clips, `{OPINIONS_NAME}`. Schema version {SCHEMA_VERSION},
taxonomy version {TAXONOMY_VERSION}. Every key except `distractors` is required, other keys are refused, and numbers
are finite. For what to mark see [annotate](../how-to/annotate.md).

## A clip: a line of `{MANIFEST_NAME}`

{_fields(Clip)}

The splits are {_list(get_args(Split))}. A dataset need not have the last two.

### An anomaly

{_fields(Anomaly)}

### A distractor

{_fields(Distractor)}

### A box in a frame

{_fields(FrameBox)}

### An example

```json
{json.dumps(_EXAMPLE.model_dump(mode="json"), indent=1)}
```

In the file this is one line.

## An opinion: a line of `{OPINIONS_NAME}`

{_fields(Opinion)}

Training uses the manifest. Opinions are the annotations of single annotators from which the manifest was made; only
`cac data validate` reads them. An anomaly has the keys above, and needs a window.

## Families and leaves

{_leaves()}

"In a frame": a single frame is enough to see it. "Injected": `cac data inject` can make it.

## Checks

`cac data validate` runs these checks. A failed blocking check stops the pipeline; a warning is only reported. The
numbers are those of `params.yaml`.

{_checks()}
"""


def _fields(model: type[BaseModel]) -> str:
    schema = model.model_json_schema()
    shapes = {name: _shape(one, schema.get("$defs", {})) for name, one in schema["properties"].items()}
    rows = (f"| `{name}` | {shape} | {MEANING[f'{model.__name__}.{name}']} |" for name, shape in shapes.items())
    return "\n".join(("| key | value | meaning |", "| --- | --- | --- |", *rows))


def _shape(one: dict[str, Any], known: dict[str, Any]) -> str:
    """Return a JSON schema's type and bounds in words."""
    if "$ref" in one:
        return _shape(known[one["$ref"].rsplit("/", 1)[1]], known)
    if "anyOf" in one:
        kinds = (_shape(kind, known) for kind in one["anyOf"] if kind.get("type") != "null")
        return " or ".join([*kinds, "null"])
    if "enum" in one:
        return "text: " + _list(one["enum"])
    if one["type"] == "array" and "prefixItems" in one:
        return f"list of {len(one['prefixItems'])} numbers"
    if one["type"] == "array":
        items = one["items"]
        return f"list of {items['$ref'].rsplit('/', 1)[1] if '$ref' in items else _shape(items, known)}"
    if one["type"] == "object":
        return "object"
    name = {"string": "text", "integer": "whole number", "number": "number"}[one["type"]]
    bounds = [words.format(one[key]) for key, words in _BOUNDS.items() if key in one]
    return ", ".join([name, *bounds, *(["not empty"] if one.get("minLength") else [])])


def _list(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _leaves() -> str:
    rows = (
        f"| `{leaf.family.value}` | `{leaf.name}` | {leaf.definition} | {_yes(leaf.visible_in_frame)} | "
        f"{_yes(leaf.name in INJECTABLE)} |"
        for leaf in sorted(LEAVES.values(), key=lambda leaf: list(Family).index(leaf.family))
    )
    return "\n".join(
        ("| family | leaf | definition | in a frame | injected |", "| --- | --- | --- | --- | --- |", *rows)
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _checks() -> str:
    params = load_params(ROOT / "params.yaml").validation
    checks = list_checks(params, Scope(opinions=True, measures=("…",)))
    rows = (f"| `{check.name}` | {check.suite} | {check.expected.replace('|', '/')} |" for check in checks)
    return "\n".join(("| check | suite | expected |", "| --- | --- | --- |", *rows))


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
