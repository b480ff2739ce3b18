"""A delivery full of faults: each keeps its own clip out, and no other."""

import json

import pytest
from helpers.delivery_cases import change, change_lines, files, make_clip, make_dataset

from cac.data.ingest.screening import ScreeningRules, screen_delivery, write_accepted
from cac.data.validation.validate import DOCS_NAME
from cac.data.versions.groups import SplitRatios
from cac.schema.annotations import read_clips, write_clips

RATIOS = SplitRatios(0.2, 0.2)


@pytest.fixture(scope="module")
def validation(project_params):
    return project_params.validation


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return read_clips(make_dataset(tmp_path_factory.mktemp("dataset") / "data", "old", "other"))


@pytest.fixture
def delivery(tmp_path):
    """Good clips, some of them there already, and one clip for each way to be wrong."""
    folder = tmp_path / "delivery"
    wrong = ("sum", "gone", "cut", "away", "fps", "box", "line", "leaf", "id", "relabelled")
    clips = [make_clip(folder, name, name, is_clean=False) for name in (*wrong, "good", "twin-a")]
    clips += [make_clip(folder, "twin-b", "twin-a", is_clean=True), make_clip(folder, "old-bad", "old", is_clean=False)]
    write_clips(folder, clips)
    make_dataset(folder.parent / "card", "x")
    (folder / "dataset.json").write_bytes((folder.parent / "card" / "dataset.json").read_bytes())
    change(folder, "twin-b", split="test")  # splits are assigned again, so this is not a leak
    change(folder, "sum", sha256="0" * 64)
    (folder / "clips" / "gone.mp4").unlink()
    (folder / "clips" / "cut.mp4").write_bytes((folder / "clips" / "cut.mp4").read_bytes()[:300])
    change(folder, "away", path="clips/../../away.mp4")
    change(folder, "fps", fps=25.0)
    box = next(clip for clip in clips if clip.clip_id == "box").anomalies[0]
    change(folder, "box", anomalies=(box.model_copy(update={"boxes": box.boxes[:1]}),))
    change(folder, "id", clip_id="other-bad")
    change_lines(folder, "line", fps="fast")
    change_lines(folder, "leaf", anomalies=[{"family": "ghosts"}])
    old = make_clip(folder, "other-clean", "other", is_clean=False)
    change_lines(folder, "relabelled", path=old.path, sha256=old.sha256)
    return folder


def test_each_fault_keeps_its_own_clip_out(delivery, dataset, validation, tmp_path):
    out = tmp_path / "out"
    screening = screen_delivery(delivery, dataset, ScreeningRules(validation, RATIOS), out)
    reasons = {one.clip_id: " | ".join(one.reasons) for one in screening.rejected}
    said = {
        "sum": "sha256", "gone": "clips/gone.mp4: No such file", "cut": "decodable", "away": "path", "fps": "fps",
        "box": "boxes_complete", "line": "manifest_line", "leaf": "manifest_line",
        "other-bad": "the same id, other content as other-bad (dataset)",
        "relabelled": "the same content, annotated differently as other-clean (dataset)",
    }  # fmt: skip
    assert set(reasons) == set(said)
    assert not [name for name, words in said.items() if words not in reasons[name]], reasons
    assert [clip.clip_id for clip in screening.accepted] == ["good", "twin-a", "twin-b", "old-bad"]
    assert screening.new == 3
    splits = {clip.clip_id: clip.split for clip in screening.accepted}
    assert splits["twin-a"] == splits["twin-b"]
    assert splits["old-bad"] == "train"
    assert (out / DOCS_NAME / "index.html").is_file()

    write_accepted(screening, delivery, tmp_path / "accepted")
    write_accepted(screening, delivery, tmp_path / "accepted")
    assert read_clips(tmp_path / "accepted") == screening.accepted
    assert (tmp_path / "accepted" / "clips" / "good.mp4").is_file()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("annotations.jsonl", b"\xff\xfe\n{}\n", "no line of its manifest is a clip; line 1: "),
        ("annotations.jsonl", b"", "annotations.jsonl is empty"),
        ("annotations.jsonl", None, "no manifest"),
        ("dataset.json", b"[]", "dataset.json is not a JSON object"),
        ("dataset.json", json.dumps({"schema_version": "99"}).encode(), "schema_version is '99'"),
        ("dataset.json", None, "dataset.json cannot be read"),
    ],
)
def test_a_delivery_that_cannot_be_read_is_kept_out_as_a_whole(tmp_path, validation, name, content, said):
    folder = make_dataset(tmp_path / "delivery", "one")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    screening = screen_delivery(folder, [], ScreeningRules(validation, RATIOS), tmp_path / "out")
    assert said in str(screening.unreadable)
    assert str(tmp_path) not in str(screening.unreadable)
    assert (screening.accepted, screening.rejected) == ([], [])
    assert files(folder)
