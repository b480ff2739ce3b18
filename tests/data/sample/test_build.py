"""Building a small dataset for real: the same bytes each time, splits that hold, and nothing lost when it fails."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

import cac.data.sample.build as build
from cac.data.sample.build import build_dataset
from cac.data.sample.defects import DEFECTS
from cac.data.sample.render import SHIFTED_SOLIDS
from cac.errors import CacError
from cac.params import Params, load_params
from cac.schema.annotations import CARD_NAME, MANIFEST_NAME, read_clips
from cac.schema.taxonomy import Family
from cac.video.decode import decode, probe
from cac.video.sampling import spread_indices

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[3]
PINNED = {
    "scene0000-anomalous": "dfa4ad5cc36a4205",
    "scene0000-clean": "f43d6262f17451c5",
    "scene0001-anomalous": "919e906d210faeff",
    "scene0001-clean": "558e9125ce202a95",
}


def make_params(pairs: int) -> Params:
    params = load_params(REPOSITORY / "params.yaml")
    small = {
        "pairs": pairs, "shifted_pairs": 0, "hard_train_pairs": 0, "hard_test_pairs": 0,
        "size": 64, "min_frames": 16, "max_frames": 18, "val_ratio": 0.15, "test_ratio": 0.2,
    }  # fmt: skip
    return params.model_copy(update={"procedural_data": params.procedural_data.model_copy(update=small)})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of twelve pairs; tests leave it as it is."""
    out = tmp_path_factory.mktemp("built") / "data"
    build_dataset(out, make_params(12))
    return out


def test_the_same_settings_give_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    build_dataset(tmp_path / "elsewhere", make_params(12))

    assert contents(tmp_path / "elsewhere") == contents(dataset)


def test_the_first_clips_of_the_projects_dataset_are_those_of_data_dvc(tmp_path: Path) -> None:
    """Changed rendering would go unnoticed until a fresh clone's rebuild does not match `data.dvc`.

    After an intended change: `cac data build && dvc add data`, then copy the new hashes from the manifest.
    """
    params = load_params(REPOSITORY / "params.yaml")
    few = params.procedural_data.model_copy(
        update={"pairs": 2, "shifted_pairs": 0, "hard_train_pairs": 0, "hard_test_pairs": 0}
    )
    build_dataset(tmp_path / "data", params.model_copy(update={"procedural_data": few}))

    assert {clip.clip_id: clip.sha256[:16] for clip in read_clips(tmp_path / "data")} == PINNED


def test_annotations_agree_with_the_files(dataset: Path) -> None:
    clips = read_clips(dataset)

    assert len(clips) == 24
    assert {path.name for path in (dataset / "clips").iterdir()} == {Path(clip.path).name for clip in clips}
    for clip in clips:
        info = probe(dataset / clip.path)
        assert (info.fps, info.frame_count, info.width, info.height) == (clip.fps, clip.frame_count, 64, 64)
        assert hashlib.sha256((dataset / clip.path).read_bytes()).hexdigest() == clip.sha256


def test_each_scene_has_a_clean_and_an_anomalous_clip_in_one_split(dataset: Path) -> None:
    clips = read_clips(dataset)

    for pair_id in {clip.pair_id for clip in clips}:
        pair = [clip for clip in clips if clip.pair_id == pair_id]
        assert sorted(clip.is_clean for clip in pair) == [False, True]
        assert len({(clip.split, clip.frame_count) for clip in pair}) == 1


@pytest.mark.parametrize("scene", [f"scene{index:04d}" for index in range(12)])
def test_a_clean_twin_differs_where_the_boxes_say_and_hardly_elsewhere(dataset: Path, scene: str) -> None:
    anomalous, clean = (clip for clip in read_clips(dataset) if clip.pair_id == scene)
    before, after = (decode(dataset / clip.path).frames.astype(int) for clip in (clean, anomalous))
    difference = abs(before - after)
    boxes = {b.frame: [round(value * 64) for value in b.box] for b in anomalous.anomalies[0].boxes}
    inside = [difference[t, y1:y2, x1:x2].mean() for t, (x1, y1, x2, y2) in boxes.items()]
    outside = [difference[t].mean() for t in range(clean.frame_count) if t not in boxes]

    # Not zero: encoding spreads a little of an anomaly to the frames around it.
    assert max(outside) < 2.5
    assert min(inside) > 2 * max(outside)
    assert sum(inside) / len(inside) > 3 * max(outside)


def test_families_are_even(dataset: Path) -> None:
    families = [clip.anomalies[0].family for clip in read_clips(dataset) if not clip.is_clean]

    assert [families.count(family) for family in Family] == [3, 3, 3, 3]


def test_a_larger_dataset_keeps_the_clips_and_splits_of_a_smaller(dataset: Path, tmp_path: Path) -> None:
    build_dataset(tmp_path / "data", make_params(4))
    smaller = {clip.clip_id: clip for clip in read_clips(tmp_path / "data")}
    larger = {clip.clip_id: clip for clip in read_clips(dataset)}

    assert len(smaller) == 8
    assert smaller.items() <= larger.items()
    assert {clip.split for clip in larger.values()} == {"train", "val", "test"}


def test_splits_have_about_the_shares_of_the_settings() -> None:
    settings = load_params(REPOSITORY / "params.yaml").procedural_data
    splits = [build._split_of(index, settings) for index in range(600)]

    assert splits.count("test") / 600 == pytest.approx(settings.test_ratio, abs=0.05)
    assert splits.count("val") / 600 == pytest.approx(settings.val_ratio, abs=0.05)


def test_another_seed_gives_another_dataset(dataset: Path, tmp_path: Path) -> None:
    params = make_params(1)
    seed = params.compute.model_copy(update={"seed": 8})
    build_dataset(tmp_path / "data", params.model_copy(update={"compute": seed}))

    assert read_clips(tmp_path / "data")[0].sha256 not in {clip.sha256 for clip in read_clips(dataset)}


def test_a_new_dataset_takes_the_place_of_an_old_one_only_on_request(tmp_path: Path) -> None:
    out = tmp_path / "data"
    build_dataset(out, make_params(2))
    with pytest.raises(CacError, match="replace it with --overwrite"):
        build_dataset(out, make_params(1))
    assert len(list((out / "clips").iterdir())) == 4
    build_dataset(out, make_params(1), overwrite=True)

    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert sorted(path.name for path in out.iterdir()) == [MANIFEST_NAME, "clips", CARD_NAME]
    assert len(list((out / "clips").iterdir())) == 2


def test_an_empty_folder_is_built_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path / "data")
    build_dataset(Path(), make_params(1))

    assert len(read_clips(tmp_path / "data")) == 2


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def interrupted_midway(work: Callable[[int], object], numbers: Iterable[int]) -> Iterator[object]:
    yield work(next(iter(numbers)))
    raise KeyboardInterrupt


@pytest.mark.parametrize(("failing", "ending"), [("parallel_map", interrupted_midway), ("write_clips", interrupted)])
def test_an_interrupted_build_leaves_the_old_dataset_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, ending: Callable
) -> None:
    out = tmp_path / "data"
    build_dataset(out, make_params(1))
    before = contents(tmp_path)
    monkeypatch.setattr(build, failing, ending)
    with pytest.raises(KeyboardInterrupt):
        build_dataset(out, make_params(3), overwrite=True)

    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_interruption_while_datasets_change_places_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "data"
    build_dataset(out, make_params(1))
    before = contents(tmp_path)
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_dataset(out, make_params(2), overwrite=True)

    assert contents(tmp_path) == before


def test_leftovers_of_a_killed_build_are_no_obstacle(tmp_path: Path) -> None:
    for name in (".data.partial", ".data.old"):
        (tmp_path / name / "clips").mkdir(parents=True)
        (tmp_path / name / "clips" / "stray.mp4").write_bytes(b"half")
    build_dataset(tmp_path / "data", make_params(1))

    assert len(contents(tmp_path)) == 4


def test_a_folder_that_is_no_dataset_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")

    with pytest.raises(CacError, match=rf"thesis exists and is not a dataset .*{CARD_NAME}.*--out"):
        build_dataset(tmp_path / "thesis", make_params(1))
    assert contents(tmp_path) == {"thesis/chapter.txt": b"precious"}


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")

    with pytest.raises(CacError, match=r"file is a file.*--out"):
        build_dataset(tmp_path / "file", make_params(1))
    with pytest.raises(CacError, match=r"cannot write to .*file.*--out"):
        build_dataset(tmp_path / "file" / "data", make_params(1))
    assert contents(tmp_path) == {"file": b"precious"}


@pytest.mark.parametrize("number", range(11))
def test_in_shifted_scenes_too_twins_differ_where_the_boxes_say(number: int) -> None:
    pair = build.make_pair(build.FIRST_SHIFTED + number, make_params(1).procedural_data, 7)
    differs = (pair.clean.render() != pair.anomalous.render()).any(axis=3)
    shown = {box.frame for box in pair.anomaly.boxes}

    assert {int(frame) for frame in differs.any(axis=(1, 2)).nonzero()[0]} <= shown
    assert differs.any()
    if pair.anomaly.leaf == "wall_penetration":
        middle = pair.anomaly.boxes[len(pair.anomaly.boxes) // 2]
        wall = pair.anomalous.wall_at(middle.frame)
        assert wall is not None
        assert middle.box[0] * 64 < wall.x2, "the body is in the wall where the camera shows it"
        assert middle.box[2] * 64 > wall.x1


def test_shifted_scenes_are_a_split_of_their_own_and_look_unlike_the_others(tmp_path: Path) -> None:
    params = make_params(1)
    settings = params.procedural_data.model_copy(update={"shifted_pairs": 8})
    build_dataset(tmp_path / "data", params.model_copy(update={"procedural_data": settings}))
    shifted = read_clips(tmp_path / "data", "test_shifted")

    assert len(shifted) == 16
    scenes = [build.make_pair(build.FIRST_SHIFTED + i, settings, params.compute.seed).clean for i in range(8)]
    assert all(scene.camera is not None and len(set(scene.camera)) > 1 for scene in scenes)
    assert {actor[0].kind for scene in scenes for actor in scene.actors} & set(SHIFTED_SOLIDS)
    assert not {actor[0].kind for actor in build.make_pair(0, settings, 7).clean.actors} & set(SHIFTED_SOLIDS)


def hard_pairs(name: str) -> list[build.Pair]:
    """The hard scenes of a kind among 96 of them: every leaf twice at least."""
    settings = load_params(REPOSITORY / "params.yaml").procedural_data
    numbers = range(build.FIRST_HARD_TEST, build.FIRST_HARD_TEST + 4 * build.HARD_CYCLE)
    return [build.make_pair(i, settings, 7) for i in numbers if build.part_of(i, settings).name == name]


def test_most_coarse_scans_show_nothing_of_a_brief_anomaly() -> None:
    pairs = hard_pairs("brief")
    scanned = [set(spread_indices(pair.clean.frame_count, 8)) for pair in pairs]
    missed = [not seen & {box.frame for box in pair.anomaly.boxes} for seen, pair in zip(scanned, pairs, strict=True)]
    assert {len(pair.anomaly.boxes) for pair in pairs} == {1, 2}
    assert {pair.clean.frame_count for pair in pairs} <= set(range(48, 73))
    assert sum(missed) / len(missed) > 0.7
    assert {pair.anomaly.leaf for pair in pairs} == set(DEFECTS)


def test_a_small_anomaly_is_a_few_pixels_in_a_coarse_frame() -> None:
    pairs = hard_pairs("small")
    longest = [64 * max(b.box[2] - b.box[0], b.box[3] - b.box[1]) for pair in pairs for b in pair.anomaly.boxes]
    assert float(np.median(longest)) < 10, "half of what it is in the standard scenes"
    assert all(4 <= len(pair.anomaly.boxes) <= 12 for pair in pairs)
    assert not {pair.anomaly.leaf for pair in pairs} & {"garbled_text", "mirrored_text"}, "signs have one size"


def test_hard_scenes_are_in_train_and_in_a_test_split_of_their_own(tmp_path: Path) -> None:
    params = make_params(1)
    settings = params.procedural_data.model_copy(update={"hard_train_pairs": 2, "hard_test_pairs": 1})
    build_dataset(tmp_path / "data", params.model_copy(update={"procedural_data": settings}))
    hard = [clip for clip in read_clips(tmp_path / "data") if not clip.pair_id.startswith("scene")]
    assert sorted(clip.split for clip in hard) == ["test_hard"] * 2 + ["train"] * 4
    assert all(48 <= clip.frame_count <= 72 for clip in hard)
