"""The label map: a YAML file that turns another tool's labels into leaves of the taxonomy.

```yaml
labels:
  Extra leg: extra_limb            # the tool's label: a leaf, or `ignore`
  Person.fused=true: melted_body   # a label with an attribute; goes before the label alone
  Car: ignore
default: melted_body               # for annotations of formats without labels (masks)
known_parts: ["an image's `tags`"]  # parts of the source that say nothing about whether a clip is clean
videos:                            # facts of a video that the source lacks; every key is optional
  a.mp4: {generator: Wan2.1, pair_id: scene-7}
```

A label that is the name of a leaf needs no line. Nothing is guessed: labels without a line are an error, which names
all of them. Only what somebody chose or typed of a whole clip is refused with its clip instead.
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cac.data.exchange.interchange import ImportedAnnotation
from cac.data.exchange.parse import read_bytes
from cac.errors import CacError, printable
from cac.schema.taxonomy import LEAVES

IGNORE = "ignore"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class VideoFacts(_Strict):
    """The map's facts of one video."""

    generator: str | None = None
    pair_id: str | None = Field(default=None, min_length=1)


class LabelMap(_Strict):
    """The tool's labels → leaves or `ignore`, and facts of single videos."""

    labels: dict[str, str] = Field(default_factory=dict)
    default: str | None = None
    known_parts: list[str] = Field(default_factory=list)
    videos: dict[str, VideoFacts] = Field(default_factory=dict)

    @field_validator("labels")
    @classmethod
    def _leaves_exist(cls, labels: dict[str, str]) -> dict[str, str]:
        unknown = sorted({leaf for leaf in labels.values() if leaf != IGNORE and leaf not in LEAVES})
        if unknown:
            raise ValueError(f"no such leaf: {', '.join(unknown)}; leaves are {', '.join(LEAVES)}, and `{IGNORE}`")
        return labels

    @field_validator("default")
    @classmethod
    def _default_exists(cls, leaf: str | None) -> str | None:
        return None if leaf is None else cls._leaves_exist({"default": leaf})["default"]

    def leaf_of(self, annotation: ImportedAnnotation) -> str | None:
        """Return the leaf of an annotation, `ignore`, or None if the map does not know its label.

        A line with an attribute takes precedence over the label alone; of several that match, the first in the file.
        """
        if annotation.label is None:
            return self.default
        with_attribute = {f"{annotation.label}.{name}={value}" for name, value in annotation.attributes.items()}
        for label, leaf in self.labels.items():
            if label in with_attribute:
                return leaf
        return self.labels.get(annotation.label, annotation.label if annotation.label in LEAVES else None)

    def unknown_parts(self, parts: Iterable[str]) -> list[str]:
        """Return a reason for each part of a source that neither the reader nor the map knows."""
        return [f"{part} is not known: what does it say?" for part in parts if part not in self.known_parts]


def load_label_map(path: Path) -> LabelMap:
    """Read a label map.

    Raises:
        CacError: the file is missing or not YAML, or has an unknown key, a wrong type or an unknown leaf.
    """
    import yaml

    content = read_bytes(path)
    try:
        values = yaml.safe_load(content)
        return LabelMap.model_validate({} if values is None else values)
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise CacError(f"{path} is no valid YAML: {printable(str(error))}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise CacError(f"{path}: {problems}. A line is `'Their label': our_leaf`, with the quotes.") from error


def require_all_mapped(
    label_map: LabelMap, annotations: Iterable[ImportedAnnotation], path: Path | None, option: str = "--labels"
) -> None:
    """Check that the map knows the label of every annotation.

    Args:
        label_map: the map.
        annotations: of the source.
        path: the map's file, if there is one.
        option: the option of the command line that names the file.

    Raises:
        CacError: some are unknown; the message names them all with their counts and shows the lines to add.
    """
    unknown = Counter(one.label for one in annotations if label_map.leaf_of(one) is None and not one.is_remark)
    if not unknown:
        return
    place = path or f"a file of your own and name it with {option}"
    if None in unknown:
        raise CacError(f"{unknown[None]} annotations have no label of their own. Add `default: LEAF` to {place}.")
    counted = [(label, number) for label, number in unknown.most_common() if label is not None]
    found = ", ".join(f"{printable(label)!r} ({number})" for label, number in counted)
    lines = "\n".join(f"  {json.dumps(label, ensure_ascii=False)}: {IGNORE}  # or a leaf" for label, _ in counted)
    raise CacError(
        f"{len(unknown)} labels are not in the label map: {found}. Add them to {place}:\nlabels:\n{lines}\n"
        f"Leaves: {', '.join(LEAVES)}."
    )
