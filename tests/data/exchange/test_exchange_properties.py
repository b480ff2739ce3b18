"""Whatever an export holds besides what a reader knows: its clip is never taken for clean unless the export says so.

Each format has an export that calls a.mp4 clean. Something is added to it, at random: a part with a name and a value
that nobody has seen before, or one that the reader knows with a content that says something is wrong.
"""

import json
import tempfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cac.data.exchange.import_ import ImportRequest, import_dataset
from cac.errors import CacError
from cac.schema.annotations import read_clips
from cac.schema.taxonomy import LEAVES

few = settings(max_examples=30, deadline=None)
names = st.from_regex(r"x_[a-z]{1,8}", fullmatch=True)  # of parts that no format has
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)
scalars = st.booleans() | st.integers(-5, 30) | st.floats(-1, 30) | texts | st.sampled_from(["extra_limb", "a.mp4"])
values = st.recursive(scalars, lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(names, inner))
filled = values.filter(lambda value: isinstance(value, list | dict) and bool(value))
leaves = st.sampled_from(list(LEAVES))


def clean_clips(form: str, source: Path, videos: Path, folder: Path) -> set[str]:
    """The ids of the clean clips that an import makes; none if it is refused."""
    try:
        import_dataset(ImportRequest(form, source, videos, None, folder / "out", 0.15, 0.2))
    except CacError:
        return set()
    return {clip.clip_id for clip in read_clips(folder / "out") if clip.is_clean}


def in_file(content: object, folder: Path, name: str = "source.json") -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


RESULTS = ["videorectangle", "timelinelabels", "labels", "choices", "taxonomy", "textarea", "rating", "brush"]
SHAPES = ["box", "polygon", "tag", "skeleton", "points", "mask", "ellipse", "cuboid"]

# Label Studio: further results of any kind, drafts, and answers that differ.


@st.composite
def label_studio(draw: st.DrawFn, spoiled: bool) -> list[dict[str, Any]]:
    task: dict[str, Any] = {"id": 1, "data": {"video": "a.mp4"}, "annotations": [{"id": 1, "result": []}]}
    if spoiled:
        kinds = names | st.sampled_from(RESULTS)
        value = st.dictionaries(names | st.sampled_from(["start", "ranges", "sequence", "labels", "text"]), values)
        result = {"id": draw(texts), "type": draw(kinds), "from_name": draw(texts), "value": draw(value)}
        where = draw(st.sampled_from(["result", "draft", "second"]))
        if where == "result":
            task["annotations"][0]["result"].append(result)
        elif where == "draft":
            task["drafts"] = [{"result": [result]}]
        else:
            task["annotations"].append({"id": 2, "result": [result]})
    return [task]


# COCO: unknown tables and keys, and annotations of any content.


@st.composite
def coco(draw: st.DrawFn, spoiled: bool) -> dict[str, Any]:
    image = {"id": 1, "video_id": 1, "frame_id": 0, "width": 64, "height": 48}
    content: dict[str, Any] = {
        "videos": [{"id": 1, "name": "a.mp4"}],
        "images": [image],
        "categories": [{"id": number, "name": leaf} for number, leaf in enumerate(LEAVES)],
        "annotations": [],
    }
    where = draw(st.sampled_from(["part", "image", "video", "annotation"])) if spoiled else None
    if where == "part":
        content[draw(names)] = draw(filled)
    elif where in ("image", "video"):
        row = content[f"{where}s"][0]
        row[draw(names)] = draw(values.filter(lambda value: value not in ("", [], {})))
    elif where == "annotation":
        ids = st.sampled_from([1, "1", 1.0])
        row = {"image_id": draw(ids), "category_id": draw(values), draw(names): draw(values)}
        content["annotations"].append(row | draw(st.dictionaries(st.sampled_from(["bbox", "segmentation"]), values)))
    return content


# CVAT: unknown elements anywhere below the root, and tags and shapes of any content.


@st.composite
def cvat(draw: st.DrawFn, spoiled: bool) -> str:
    root, image, track = "", "", ""
    if spoiled:
        tag = draw(names | st.sampled_from(SHAPES))
        given = draw(st.dictionaries(st.sampled_from(["label", "frame", "points", "xtl", "cx"]), texts))
        element = f"<{tag} {' '.join(f'{name}={quoteattr(value)}' for name, value in given.items())}/>"
        where = draw(st.sampled_from(["root", "image", "track"]))
        root, image, track = (element if place == where else "" for place in ("root", "image", "track"))
        track = f'<track label="extra_limb">{track}</track>' if where == "track" else ""
    meta = "<meta><task><size>24</size></task><source>a.mp4</source></meta>"
    frame = f'<image id="0" name="frame_0" width="64" height="48">{image}</image>'
    return f"<annotations><version>1.1</version>{meta}{frame}{track}{root}</annotations>"


# Skyra: text that says more or less than `Real`.


@st.composite
def skyra(draw: st.DrawFn, spoiled: bool) -> list[dict[str, Any]]:
    if not spoiled:
        said = draw(texts).replace("<", "")
        return [{"video": "a.mp4", "text": f"<think>{said}</think><answer>Real</answer>"}]
    tag = draw(names)
    text = draw(
        st.sampled_from(
            [
                f"<{tag}>hand</{tag}><answer>Real</answer>",
                "<type>hand</type> at the left<answer>Real</answer>",
                "<answer>Fake</answer>",
                "<answer>Real</answer><answer>Fake</answer>",
                draw(texts.filter(str.strip)),
                "<type>extra_limb</type> in <t>[0, 9]</t> at <bbox>[1]</bbox>",
            ]
        )
    )
    return [{"video": "a.mp4", "text": text}]


@st.composite
def labelu(draw: st.DrawFn, spoiled: bool) -> list[dict[str, Any]]:
    """LabelU calls no clip clean by itself."""
    tools = [{"toolName": draw(names), "result": [draw(values)]} for _ in range(draw(st.integers(0, 2)))]
    result = draw(st.sampled_from([json.dumps({"annotations": tools}), "{}", "", None, draw(texts)]))
    return [{"fileName": "a.mp4", "result": result}]


@st.composite
def darwin(draw: st.DrawFn, spoiled: bool) -> dict[str, Any]:
    content: dict[str, Any] = {"item": {"name": "a.mp4", "slots": [{"width": 64, "height": 48}]}, "annotations": []}
    if spoiled and draw(st.booleans()):
        content[draw(names)] = draw(filled)
    elif spoiled:
        shape = {draw(names | st.sampled_from(["bounding_box", "tag", "polygon"])): draw(values)}
        one = {"name": draw(leaves), "frames": {draw(texts): shape}, "ranges": draw(values), draw(names): draw(values)}
        content["annotations"].append(draw(st.sampled_from([one, {"name": draw(texts)}, draw(values)])))
    return content


@st.composite
def windows(draw: st.DrawFn, spoiled: bool) -> list[dict[str, Any]]:
    row: dict[str, Any] = {"video": "a.mp4", "label": "clean"}
    if spoiled:
        row[draw(names | st.sampled_from(["start", "end"]))] = draw(values)
        if draw(st.booleans()):
            row["label"] = draw(values)
    return [row]


FORMATS = {
    "label-studio": label_studio,
    "coco": coco,
    "cvat": cvat,
    "skyra": skyra,
    "labelu": labelu,
    "darwin": darwin,
    "windows": windows,
}


@pytest.mark.parametrize("form", list(FORMATS))
def test_no_clip_is_clean_that_the_source_does_not_call_so(form: str, videos: Path) -> None:
    name = "source.xml" if form == "cvat" else "source.json"

    @few
    @given(FORMATS[form](spoiled=True))
    def never_clean(content: object) -> None:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            assert not clean_clips(form, in_file(content, folder, name), videos, folder)

    never_clean()


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "labelu"])
def test_what_the_source_calls_clean_is(form: str, videos: Path) -> None:
    name = "source.xml" if form == "cvat" else "source.json"

    @settings(max_examples=3, deadline=None)
    @given(FORMATS[form](spoiled=False))
    def clean(content: object) -> None:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            assert clean_clips(form, in_file(content, folder, name), videos, folder) == {"a"}

    clean()


@few
@given(stray=names, content=st.binary(max_size=20), inside=st.booleans())
def test_masks_with_files_that_are_none_make_no_clean_clip(
    videos: Path, stray: str, content: bytes, inside: bool
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "masks" / "a").mkdir(parents=True)
        Image.new("L", (64, 48)).save(folder / "masks" / "a" / "0.png")
        assert clean_clips("masks", folder / "masks", videos, folder) == {"a"}
        (folder / "masks" / ("a" if inside else "") / f"{stray}.json").write_bytes(content)
        assert not clean_clips("masks", folder / "masks", videos, folder)
