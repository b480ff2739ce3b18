"""Deliveries on a real S3 server: complete or not, changed, with keys that want to be elsewhere."""

import json

import pytest
from helpers.delivery_cases import files, make_dataset

from cac.data.ingest.deliveries import (
    MARKER,
    RECEIPT,
    deliver,
    fetch_delivery,
    is_clip_path,
    is_ingested,
    list_deliveries,
    write_receipt,
)
from cac.errors import CacError
from cac.io.s3 import Bucket
from cac.schema.annotations import CARD_NAME, MANIFEST_NAME

URL = "s3://team/landing"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("delivery") / "data", "one", "two")


@pytest.fixture
def bucket(s3):
    return Bucket(URL)


def test_a_delivery_arrives_as_it_was_sent(bucket, dataset, tmp_path):
    assert deliver(dataset, bucket, "monday") == 6
    [delivery] = list_deliveries(bucket).deliveries
    assert (delivery.name, delivery.is_complete, delivery.unsafe) == ("monday", True, ())
    fetch_delivery(bucket, delivery, tmp_path / "here")
    assert files(tmp_path / "here") == files(dataset)


def test_delivering_twice_sends_nothing_and_is_the_same_delivery(bucket, dataset):
    deliver(dataset, bucket, "monday")
    [first] = list_deliveries(bucket).deliveries
    assert deliver(dataset, bucket, "monday") == 0
    assert list_deliveries(bucket).deliveries == (first,)


def test_a_delivery_without_its_marker_is_not_complete(bucket, dataset):
    deliver(dataset, bucket, "monday")
    bucket.delete([f"monday/{MARKER}"])
    assert not list_deliveries(bucket).deliveries[0].is_complete


def test_while_a_delivery_is_replaced_it_is_not_complete(bucket, dataset, monkeypatch):
    deliver(dataset, bucket, "monday")

    def stop() -> None:
        raise KeyboardInterrupt

    bucket.tick, bucket.part_size = stop, 64
    (dataset / "clips" / "one-bad.mp4").write_bytes((dataset / "clips" / "one-bad.mp4").read_bytes() + b"changed")
    with pytest.raises(KeyboardInterrupt):
        deliver(dataset, bucket, "monday")
    assert not list_deliveries(bucket).deliveries[0].is_complete
    path = dataset / "clips" / "one-bad.mp4"
    path.write_bytes(path.read_bytes().removesuffix(b"changed"))


def test_a_receipt_is_for_one_content(bucket, dataset):
    deliver(dataset, bucket, "monday")
    [delivery] = list_deliveries(bucket).deliveries
    assert not is_ingested(bucket, delivery)
    write_receipt(bucket, delivery, {"revision": None})
    [same] = list_deliveries(bucket).deliveries
    assert is_ingested(bucket, same)
    bucket.write("monday/clips/more.mp4", b"more")
    [changed] = list_deliveries(bucket).deliveries
    assert not is_ingested(bucket, changed)
    bucket.write(f"monday/{RECEIPT}", b"no JSON")
    assert not is_ingested(bucket, same)


def test_keys_that_could_leave_the_folder_are_never_fetched(bucket, s3, dataset, tmp_path):
    deliver(dataset, bucket, "monday")
    unsafe = [
        "..\\..\\evil.mp4",
        "clips/..\\evil.mp4",
        "clips/deep/er.mp4",
        "clips/.hidden.mp4",
        "clips/a\nb.mp4",
        "x/y.json",
    ]
    for key in unsafe:
        bucket.write(f"monday/{key}", b"evil")
    bucket.write("monday/import_report.json", b"{}")
    [delivery] = list_deliveries(bucket).deliveries
    assert {each.key for each in delivery.unsafe} == set(unsafe)
    assert [each.key for each in delivery.others] == ["import_report.json"]
    manifest = (dataset / MANIFEST_NAME).read_text().replace("clips/one-bad.mp4", "clips/../../evil.mp4")
    bucket.write(f"monday/{MANIFEST_NAME}", manifest.encode())
    bucket.write(f"monday/{MARKER}", b"{}")
    fetch_delivery(bucket, list_deliveries(bucket).deliveries[0], tmp_path / "in" / "here")
    assert set(files(tmp_path / "in")) == {f"here/{name}" for name in files(dataset)} - {"here/clips/one-bad.mp4"}


NO_CLIPS = (
    *("clips/../x.mp4", "/clips/x.mp4", "clips//x.mp4", "clips/.mp4", "clips/x.mov", "x.mp4"),
    *("clips/x\0.mp4", "clips/x.mp4\n", f"clips/{'x' * 200}.mp4"),
)


@pytest.mark.parametrize("path", NO_CLIPS)
def test_what_is_no_clips_place(path):
    assert not is_clip_path(path)


@pytest.mark.parametrize("path", ["clips/x.mp4", "clips/Zürich 1 – früh.mp4", "clips/a..b.mp4"])
def test_what_is_a_clips_place(path):
    assert is_clip_path(path)


def test_folders_and_files_that_are_no_delivery_are_named(bucket):
    for key in ("Mo nday/x", "-a/x", "loose.mp4", "_quarantine/x/y", "_announced.json", "ok/x"):
        bucket.write(key, b"")
    landing = list_deliveries(bucket)
    assert [each.name for each in landing.deliveries] == ["ok"]
    assert set(landing.unrecognised) == {"Mo nday", "-a", "loose.mp4"}


def test_a_manifest_that_is_not_what_the_marker_says_is_refused(bucket, dataset, tmp_path):
    deliver(dataset, bucket, "monday")
    bucket.write(f"monday/{CARD_NAME}", b"{}")
    with pytest.raises(CacError, match="does not match delivered"):
        fetch_delivery(bucket, list_deliveries(bucket).deliveries[0], tmp_path / "here")


def test_what_was_fetched_before_and_is_gone_by_now_is_removed(bucket, dataset, tmp_path):
    deliver(dataset, bucket, "monday")
    fetch_delivery(bucket, list_deliveries(bucket).deliveries[0], tmp_path / "here")
    bucket.delete(["monday/clips/two-bad.mp4"])
    fetch_delivery(bucket, list_deliveries(bucket).deliveries[0], tmp_path / "here")
    assert not (tmp_path / "here" / "clips" / "two-bad.mp4").exists()


def test_a_delivery_without_anything_readable_is_fetched_as_far_as_it_goes(bucket, tmp_path):
    bucket.write(f"monday/{MARKER}", b"")
    bucket.write(f"monday/{MANIFEST_NAME}", b"\xff\n")
    fetch_delivery(bucket, list_deliveries(bucket).deliveries[0], tmp_path / "here")
    assert set(files(tmp_path / "here")) == {MANIFEST_NAME}


@pytest.mark.parametrize("name", ["", "_mine", "a/b", "..", "a b"])
def test_a_name_that_is_none_is_refused(bucket, dataset, name):
    with pytest.raises(CacError, match="is not a valid name"):
        deliver(dataset, bucket, name)


def test_a_marker_names_what_was_sent(bucket, dataset):
    deliver(dataset, bucket, "monday")
    assert set(json.loads(bucket.read(f"monday/{MARKER}", 1000) or b"")) == {MANIFEST_NAME, CARD_NAME}
