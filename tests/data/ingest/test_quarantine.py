"""Quarantine in a real bucket: what was refused, why, and nothing from before."""

import json

import pytest
from helpers.delivery_cases import make_dataset

from cac.data.ingest.deliveries import deliver, fetch_delivery, list_deliveries
from cac.data.ingest.quarantine import list_quarantine, quarantine
from cac.data.ingest.screening import RejectedLine, Screening
from cac.io.s3 import Bucket
from cac.schema.annotations import MANIFEST_NAME, read_clips

PLACE = "landing/_quarantine/monday/"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("delivery") / "data", "one", "two")


@pytest.fixture
def bucket(s3, dataset):
    bucket = Bucket("s3://team/landing")
    deliver(dataset, bucket, "monday")
    return bucket


def held(s3) -> dict[str, bytes]:
    return {key.removeprefix(PLACE): value for key, value in s3.files().items() if key.startswith(PLACE)}


def put(bucket, screening: Screening, folder) -> None:
    [delivery] = list_deliveries(bucket).deliveries
    fetch_delivery(bucket, delivery, folder)
    quarantine(bucket, delivery, screening, folder)


def test_a_refused_clip_lies_there_with_its_reason_and_its_line(bucket, s3, dataset, tmp_path):
    clips = read_clips(dataset)
    refused = RejectedLine(1, "one-bad", "clips/one-bad.mp4", ("fps: expected 8, found 9", "box: none"))
    put(bucket, Screening(accepted=clips[1:], new=3, rejected=[refused]), tmp_path / "here")
    there = held(s3)
    assert set(there) == {
        "clips/one-bad.mp4", "clips/one-bad.mp4.reason.json", "annotations.jsonl", "dataset.json"
    }  # fmt: skip
    assert there["clips/one-bad.mp4"] == (dataset / "clips" / "one-bad.mp4").read_bytes()
    assert there["annotations.jsonl"] == (dataset / MANIFEST_NAME).read_bytes().splitlines(keepends=True)[0]
    assert json.loads(there["clips/one-bad.mp4.reason.json"])["reasons"] == list(refused.reasons)
    assert list_quarantine(bucket, "monday") == [{
        "delivery": "monday", "clip": "one-bad", "file": "clips/one-bad.mp4",
        "reasons": "fps: expected 8, found 9; box: none",
        "where": "s3://team/landing/_quarantine/monday/clips/one-bad.mp4.reason.json",
    }]  # fmt: skip


def test_what_has_no_file_of_its_own_has_a_reason_all_the_same(bucket, s3, dataset, tmp_path):
    clips = read_clips(dataset)
    refused = [
        RejectedLine(1, "one-bad", "clips/gone.mp4", ("file: gone",)),
        RejectedLine(2, None, None, ("manifest_line: no JSON",)),
        RejectedLine(3, "again", "clips/two-bad.mp4", ("of a file that another line has, too",)),
        RejectedLine(4, "evil", "../../etc/passwd", ("path: evil",)),
    ]
    put(bucket, Screening(accepted=[clips[2]], new=1, rejected=refused), tmp_path / "here")
    reasons = {key for key in held(s3) if key.endswith("reason.json")}
    lines = {f"line-{number:06}.reason.json" for number in (1, 2, 3, 4)}
    nameless = {f"clips/{name}.mp4.reason.json" for name in ("one-bad", "one-clean", "two-clean")}
    assert reasons == lines | nameless
    assert "clips/two-bad.mp4" not in held(s3)


def test_a_hostile_key_is_kept_under_a_name_of_ours(bucket, s3, tmp_path):
    bucket.write("monday/clips/..\\..\\evil.mp4", b"evil")
    put(bucket, Screening(accepted=read_clips(fetched(bucket, tmp_path)), new=4), tmp_path / "here")
    [name] = [key for key in held(s3) if not key.endswith(".json")]
    assert name.startswith("keys/")
    assert "evil" not in name
    assert held(s3)[name] == b"evil"
    [row] = list_quarantine(bucket, "monday")
    assert row["file"] == "clips/..\\..\\evil.mp4"


def fetched(bucket, tmp_path):
    fetch_delivery(bucket, list_deliveries(bucket).deliveries[0], tmp_path / "there")
    return tmp_path / "there"


def test_an_unreadable_delivery_lies_there_whole(bucket, s3, dataset, tmp_path):
    put(bucket, Screening(unreadable="no clip in it"), tmp_path / "here")
    assert set(held(s3)) == {"reason.json", "annotations.jsonl", "dataset.json", *(c.path for c in read_clips(dataset))}
    assert list_quarantine(bucket, "monday")[0]["reasons"] == "no clip in it"


def test_what_was_refused_before_and_is_not_now_leaves(bucket, s3, dataset, tmp_path):
    clips = read_clips(dataset)
    refused = [RejectedLine(n + 1, c.clip_id, c.path, ("no",)) for n, c in enumerate(clips[:2])]
    put(bucket, Screening(accepted=clips[2:], new=2, rejected=refused), tmp_path / "here")
    put(bucket, Screening(accepted=clips, new=4), tmp_path / "here")
    assert held(s3) == {}
    assert list_quarantine(bucket, "monday") == []
