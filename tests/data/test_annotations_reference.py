"""The annotation reference matches the models and the taxonomy."""

import re

from cac.data.validation.annotator_agreement import Opinion
from cac.schema.annotations import Anomaly, Clip, Distractor, FrameBox, parse_clip
from scripts.annotations_reference import MEANING, PAGE, reference


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run: python -m scripts.annotations_reference"


def test_every_field_is_explained_and_no_other() -> None:
    models = (Clip, Anomaly, Distractor, FrameBox, Opinion)
    assert MEANING.keys() == {f"{model.__name__}.{name}" for model in models for name in model.model_fields}


def test_its_example_is_a_valid_clip() -> None:
    found = re.search(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    assert parse_clip(found[1], "example").anomalies
