"""Write docs/reference/annotations.md from the models, so that it says what the code does.

    python scripts/annotations_reference.py

Names, types and bounds come from the models and leaves from the taxonomy; what a field means is told here, and a field
of which nothing is told is an error. `tests/data/test_annotations_reference.py` fails when the page is stale.
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
    "Clip.clip_id": "a name of its own in the dataset",
    "Clip.path": "the video, from the dataset folder; it may not leave it",
    "Clip.sha256": "of the file",
    "Clip.fps": "frames a second, constant; frame i is shown at i / fps seconds",
    "Clip.frame_count": "frames in the file, counted by decoding",
    "Clip.width": "pixels",
    "Clip.height": "pixels",
    "Clip.source": "where clip and annotation come from: a dataset, a tool, a team",
    "Clip.generator": "what made the video; `unknown` if nobody knows",
    "Clip.split": "what it is used for; clips of one pair share it",
    "Clip.pair_id": "the same for a clip and its clean twin; a clip without a twin has one of its own",
    "Clip.anomalies": "what is wrong; empty for a clean clip",
    "Clip.distractors": "what happens in it that is easily taken for an anomaly and is none; may be left out",
    "Distractor.name": "any name for it",
    "Distractor.window": "start and end in seconds",
    "Anomaly.family": "one of the families below",
    "Anomaly.leaf": "one of the leaves below, of this family",
    "Anomaly.window": "start and end in seconds; the frame at the end is not in it",
    "Anomaly.boxes": "one for every frame in the window",
    "Anomaly.saliency": "how visible it is; 1 is obvious",
    "FrameBox.frame": "which frame, from 0",
    "FrameBox.box": "x1, y1, x2, y2 as shares of width and height, from the top left corner",
    "Opinion.clip_id": "of a clip in the manifest",
    "Opinion.annotator": "a name or a number, always the same for one person",
    "Opinion.anomalies": "what she found; empty if nothing",
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

A dataset is a folder with `clips/*.mp4`, `{MANIFEST_NAME}` (a clip a line, as JSON), `{CARD_NAME}` and, if several
annotators saw the same clips, `{OPINIONS_NAME}`. Schema version {SCHEMA_VERSION}, taxonomy version {TAXONOMY_VERSION}.
Every key but `distractors` must be there and no other may be; numbers are finite. How to annotate:
[a guide](../how-to/annotate.md).

## A clip: a line of `{MANIFEST_NAME}`

{_fields(Clip)}

The splits are {_list(get_args(Split))}; the last is optional.

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

In the file it is one line.

## An opinion: a line of `{OPINIONS_NAME}`

{_fields(Opinion)}

The manifest holds what is trained on. Opinions are what it was made of, and only `cac data validate` reads them. An
anomaly is written as above; its boxes may be left empty.

## Families and leaves

{_leaves()}

In a frame: whether a single frame is enough to see it. Injected: whether `cac data inject` can make it.

## Checks

`cac data validate` asks all of this. A failure of a blocking check stops the pipeline, a warning is only reported.
Numbers are those of `params.yaml`.

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
        ("| family | leaf | what it is | in a frame | injected |", "| --- | --- | --- | --- | --- |", *rows)
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _checks() -> str:
    params = load_params(ROOT / "params.yaml").validation
    checks = list_checks(params, Scope(opinions=True, measures=("…",)))
    rows = (f"| `{check.name}` | {check.suite} | {check.expected.replace('|', '/')} |" for check in checks)
    return "\n".join(("| check | suite | what is expected |", "| --- | --- | --- |", *rows))


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
