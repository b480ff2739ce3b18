"""Exporting and importing again gives the same annotations, whatever they are; and the exports' own promises."""

import json
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from helpers.exchange_cases import FILES, Importer
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cac.data.exchange.export import export_dataset
from cac.data.exchange.import_ import ImportRequest, import_dataset
from cac.data.validation.facts_table import gather_facts
from cac.errors import CacError
from cac.schema.annotations import Anomaly, Clip, FrameBox, read_clips, write_clips
from cac.schema.geometry import Box
from cac.schema.taxonomy import LEAVES, family_of

FORMATS = ("cvat", "label-studio", "coco")
FRAMES = 24
NO_PLACE = (0.0, 0.0, 0.0, 0.0)  # how Skyra writes that an artefact is everywhere or nowhere
few = settings(max_examples=25, deadline=None)

millionths = st.integers(0, 1_000_000)
saliencies = st.integers(1, 1000).map(lambda value: value / 1000)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """A box as an import leaves it: inside the frame, with an area, and six decimals."""
    (x1, x2), (y1, y2) = (sorted(draw(st.lists(millionths, min_size=2, max_size=2, unique=True))) for _ in range(2))
    return (x1 / 1e6, y1 / 1e6, x2 / 1e6, y2 / 1e6)


@st.composite
def anomalies(draw: st.DrawFn, windowless: bool = True) -> Anomaly:
    """One run of frames, some without boxes or even a window; boxes stay, so that exports have something to skip."""
    first = draw(st.integers(0, FRAMES - 1))
    last = draw(st.integers(first, FRAMES - 1))
    pool = draw(st.lists(boxes(), min_size=1, max_size=3))
    chosen = [draw(st.sampled_from(pool)) for _ in range(first, last + 1)]
    leaf = draw(st.sampled_from(list(LEAVES)))
    found = tuple(FrameBox(frame=first + index, box=box) for index, box in enumerate(chosen))
    window = (first / 8, (last + 1) / 8)
    known = draw(st.sampled_from(["boxes", "window", "nothing"] if windowless else ["boxes", "window"]))
    return Anomaly(
        family=family_of(leaf),
        leaf=leaf,
        window=None if known == "nothing" else window,
        boxes=found if known == "boxes" else (),
        saliency=draw(saliencies),
    )


def in_order(found: list[Anomaly]) -> tuple[Anomaly, ...]:
    return tuple(
        sorted(found, key=lambda one: (one.window or (), one.leaf, one.saliency, [box.box for box in one.boxes[:1]]))
    )


@pytest.fixture(scope="module")
def plain(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Two clips without anomalies, whose files are in the shared folder."""
    folder = tmp_path_factory.mktemp("plain")
    source = folder / "skyra.json"
    records = [
        {"video": name, "text": "<answer>Real</answer>", "generator": "Wan2.1", "pair_id": "p1"}
        for name in ("a.mp4", "b.mp4")
    ]
    source.write_text(json.dumps(records))
    import_dataset(ImportRequest("skyra", source, videos, None, folder / "out", 0.15, 0.2))
    return read_clips(folder / "out")


@pytest.mark.parametrize("name", FORMATS)
def test_annotations_survive_export_and_import(name: str, plain: list[Clip], videos: Path) -> None:
    @few
    @given(st.lists(anomalies(), max_size=4, unique_by=repr))
    def survive(found: list[Anomaly]) -> None:
        clips = [plain[0].model_copy(update={"anomalies": in_order(found)}), plain[1]]
        with tempfile.TemporaryDirectory() as temporary:
            again = there_and_back(name, clips, videos, Path(temporary))
        assert [clip.anomalies for clip in again] == [clip.anomalies for clip in clips]
        # CVAT's XML has no place for the others.
        if name != "cvat":
            assert again == [clip.model_copy(update={"source": name}) for clip in clips]

    survive()


def there_and_back(name: str, clips: list[Clip], videos: Path, folder: Path) -> list[Clip]:
    write_clips(folder, clips)
    export_dataset(name, folder, folder / "exported")
    import_dataset(ImportRequest(name, folder / "exported", videos, None, folder / "again", 0.15, 0.2))
    return read_clips(folder / "again")


@st.composite
def evidence(draw: st.DrawFn) -> Anomaly:
    """What Skyra can say: one box for the whole window."""
    one = draw(anomalies(windowless=False))
    still = tuple(FrameBox(frame=each.frame, box=one.boxes[0].box) for each in one.boxes)
    return one.model_copy(update={"boxes": still, "saliency": 1.0})


def write_skyra(folder: Path, found: list[Anomaly]) -> None:
    said = []
    for one in found:
        box = list(one.boxes[0].box if one.boxes else NO_PLACE)
        said.append(f"<type>{one.leaf}</type> in <t>[{one.window[0]}, {one.window[1]}]</t> at <bbox>{box}</bbox>")
    record = {"video": "a.mp4", "text": "; ".join(said) or "<answer>Real</answer>"}
    (folder / "skyra.json").write_text(json.dumps([record]))


@few
@given(found=st.lists(evidence(), max_size=4, unique_by=repr), name=st.sampled_from(FORMATS))
def test_what_skyra_says_survives_import_export_import(videos: Path, found: list[Anomaly], name: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_skyra(folder, found)
        first, second = twice("skyra", folder / "skyra.json", name, videos, folder)
    assert sorted(first, key=repr) == sorted(found, key=repr)
    assert second == first


Masks = list[tuple[int, int, int, int] | None]  # of each frame: left, top, right, bottom in pixels
MASK_SIZE = (64, 48)


@st.composite
def masks(draw: st.DrawFn) -> Masks:
    """A mask a frame; some of them empty."""
    spans = [st.lists(st.integers(0, side), min_size=2, max_size=2, unique=True).map(sorted) for side in MASK_SIZE]
    areas = st.tuples(*spans).map(lambda found: (found[0][0], found[1][0], found[0][1], found[1][1]))
    return draw(st.lists(st.none() | areas, min_size=FRAMES, max_size=FRAMES))


def write_masks(folder: Path, areas: Masks, leaf: str) -> None:
    (folder / "a").mkdir(parents=True)
    for frame, area in enumerate(areas):
        image = Image.new("L", MASK_SIZE)
        if area:
            image.paste(255, area)
        image.save(folder / "a" / f"{frame:05d}.png")
    (folder / "labels.json").write_text(json.dumps({"a": leaf}))


def boxes_of(areas: Masks) -> dict[int, Box]:
    width, height = MASK_SIZE
    sides = {frame: area for frame, area in enumerate(areas) if area}
    return {
        frame: (round(x1 / width, 6), round(y1 / height, 6), round(x2 / width, 6), round(y2 / height, 6))
        for frame, (x1, y1, x2, y2) in sides.items()
    }


@few
@given(areas=masks(), leaf=st.sampled_from(list(LEAVES)), name=st.sampled_from(FORMATS))
def test_what_masks_show_survives_import_export_import(videos: Path, areas: Masks, leaf: str, name: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_masks(folder / "masks", areas, leaf)
        first, second = twice("masks", folder / "masks", name, videos, folder)
    assert {each.frame: each.box for one in first for each in one.boxes} == boxes_of(areas)
    assert {one.leaf for one in first} <= {leaf}
    assert all(after.boxes[0].frame > before.boxes[-1].frame + 1 for before, after in pairwise(first))
    assert second == first


def twice(
    form: str, source: Path, name: str, videos: Path, folder: Path
) -> tuple[tuple[Anomaly, ...], tuple[Anomaly, ...]]:
    """Import the one clip of a source, and again by way of an export; return its anomalies after each import."""
    import_dataset(ImportRequest(form, source, videos, None, folder / "first", 0.15, 0.2))
    export_dataset(name, folder / "first", folder / "exported")
    import_dataset(ImportRequest(name, folder / "exported", folder / "first/clips", None, folder / "second", 0.15, 0.2))
    (first,), (second,) = read_clips(folder / "first"), read_clips(folder / "second")
    return first.anomalies, second.anomalies


@pytest.mark.parametrize(
    ("name", "file"),
    [("cvat", "cvat_keyframes.xml"), ("label-studio", "label_studio.json"), ("coco", "coco_video.json")],
)
def test_what_a_tool_wrote_survives_import_export_import(take: Importer, tmp_path: Path, name: str, file: str) -> None:
    first = take(name, FILES / file)
    export_dataset(name, first.folder, tmp_path / "exported")
    second = take(name, tmp_path / "exported", videos=first.folder / "clips", out=tmp_path / "again")

    assert any(clip.anomalies for clip in first.clips.values())
    assert second.clips.keys() == first.clips.keys()
    for clip_id, clip in first.clips.items():
        assert second.clips[clip_id].anomalies == clip.anomalies
        assert second.clips[clip_id].sha256 == clip.sha256


WINDOW = {"id": "s", "start": 0.5, "end": 1.5, "label": "Flicker"}
DARWIN_TRACK = {
    "name": "Extra leg",
    "frames": {"4": {"bounding_box": {"x": 3, "y": 12, "w": 16, "h": 12}, "keyframe": True}},
    "ranges": [[4, 10]],
}
FURTHER: dict[str, object] = {
    "labelu": [
        {"fileName": "a.mp4", "result": {"annotations": [{"toolName": "videoSegmentTool", "result": [WINDOW]}]}}
    ],
    "darwin": {"item": {"name": "a.mp4", "slots": [{"width": 64, "height": 48}]}, "annotations": [DARWIN_TRACK]},
    "windows": [{"video": "a.mp4", "start": 0.5, "end": 1.5, "label": "Flicker"}],
}


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("form", list(FURTHER))
def test_what_is_only_read_is_valid_and_survives_in_every_format_that_is_written(
    take: Importer, tmp_path: Path, form: str, target: str
) -> None:
    source = tmp_path / "source.json"
    source.write_text(json.dumps(FURTHER[form]))
    first = take(form, source)
    export_dataset(target, first.folder, tmp_path / "exported")
    second = take(target, tmp_path / "exported", videos=first.folder / "clips", out=tmp_path / "again")

    assert [fact.problems.keys() - {"pair"} for fact in gather_facts(first.folder)] == [set()]
    assert len(first.clips["a"].anomalies) == 1
    assert second.clips["a"].anomalies == first.clips["a"].anomalies


def test_exports_leave_out_frames_that_interpolation_gives_back(plain: list[Clip], tmp_path: Path) -> None:
    held = tuple(FrameBox(frame=frame, box=(0.25, 0.25, 0.5, 0.5)) for frame in range(2, 12))
    anomaly = Anomaly(family=family_of("vanishing"), leaf="vanishing", window=(0.25, 1.5), boxes=held, saliency=1.0)
    write_clips(tmp_path, [plain[0].model_copy(update={"anomalies": (anomaly,)})])
    export_dataset("label-studio", tmp_path, tmp_path / "tasks.json")
    (task,) = json.loads((tmp_path / "tasks.json").read_text())
    keys = task["annotations"][0]["result"][0]["value"]["sequence"]

    assert [(key["frame"], key["enabled"], key["x"]) for key in keys] == [(3, True, 25), (12, False, 25)]


def test_a_folder_that_is_not_empty_is_not_written_into(plain: list[Clip], tmp_path: Path) -> None:
    write_clips(tmp_path, plain)
    for name in FORMATS:
        with pytest.raises(CacError, match=r"(is no empty|is a) folder\. Name"):
            export_dataset(name, tmp_path, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["annotations.jsonl"]
