"""Buckets and transfers against a real S3 server that is killed, forgets, lies and refuses."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cac.errors import CacError
from cac.io.s3 import Bucket
from cac.io.s3_transfer import download, upload

pytestmark = pytest.mark.slow

URL = "s3://team/landing"
PART = 5 * 1024**2
CONTENT = bytes(range(256)) * 4096 * 12  # 12 MiB
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PARTIAL = ".film.mp4.partial"


@pytest.fixture
def bucket(s3):
    return Bucket(URL, part_size=PART)


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(CONTENT)
    return path


def store(s3, content: bytes, key: str = "landing/film.mp4") -> None:
    """Put an object where the server keeps it."""
    path = s3.folder / "team" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_small_objects_are_written_read_listed_copied_deleted(bucket):
    bucket.write("a/x.json", b"{}")
    bucket.write("b/y é.json", b"[]")
    bucket.copy("a/x.json", "a/z/x.json")
    assert bucket.folders() == (["a", "b"], [])
    assert [(each.key, each.size) for each in bucket.objects("a")] == [("x.json", 2), ("z/x.json", 2)]
    assert [each.key for each in bucket.objects("b")] == ["y é.json"]
    bucket.delete(["a/x.json", "a/not-there"])
    assert bucket.read("a/x.json", 10) is None
    assert bucket.read("a/z/x.json", 10) == b"{}"


def test_a_folder_whose_name_begins_alike_is_another(bucket):
    bucket.write("a/x", b"1")
    bucket.write("ab/y", b"2")
    assert [each.key for each in bucket.objects("a")] == ["x"]


def test_an_object_that_should_be_small_is_refused_if_it_is_not(bucket):
    bucket.write("a", b"123")
    with pytest.raises(CacError, match="3 bytes, of 2 allowed"):
        bucket.read("a", 2)


def test_files_come_back_as_they_went(bucket, film, tmp_path):
    assert upload(bucket, film, "clips/film.mp4")
    assert download(bucket, "clips/film.mp4", tmp_path / "back.mp4", DIGEST) == DIGEST
    assert (tmp_path / "back.mp4").read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.mp4", "film.mp4", "s3"]


def test_a_file_that_is_there_is_not_sent_again_and_another_one_is(bucket, film):
    assert upload(bucket, film, "film.mp4")
    assert not upload(bucket, film, "film.mp4")
    film.write_bytes(CONTENT[:-1] + b"!")
    assert upload(bucket, film, "film.mp4")


class Counting:
    """Counts ticks, and does something at one of them."""

    def __init__(self, at: int, act) -> None:
        self.ticks, self.at, self.act = 0, at, act

    def __call__(self) -> None:
        self.ticks += 1
        if self.ticks == self.at:
            self.act()


def interrupt() -> None:
    raise KeyboardInterrupt


def test_an_upload_that_was_stopped_sends_only_the_parts_that_are_missing(bucket, s3, film):
    bucket.tick = Counting(3, interrupt)
    with pytest.raises(KeyboardInterrupt):
        upload(bucket, film, "film.mp4")
    sent = []
    bucket.client.meta.events.register("before-call.s3.UploadPart", lambda params, **_: sent.append(params["url"]))
    bucket.tick = lambda: None
    assert upload(bucket, film, "film.mp4")
    assert len(sent) == 1
    assert s3.files()["landing/film.mp4"] == CONTENT


def test_an_upload_goes_on_when_the_server_was_killed_and_forgot_its_parts(bucket, s3, film):
    def restart() -> None:
        s3.kill()
        s3.start()

    bucket.tick = Counting(3, restart)
    assert upload(bucket, film, "film.mp4")
    assert s3.files()["landing/film.mp4"] == CONTENT


def test_the_server_refuses_a_part_that_was_damaged_on_the_way(bucket, film):
    def damage(params, **_) -> None:
        params["body"] = io.BytesIO(bytes(PART))

    bucket.client.meta.events.register("before-call.s3.UploadPart", damage)
    with pytest.raises(CacError, match="BadDigest"):
        upload(bucket, film, "film.mp4")
    assert bucket.read("film.mp4", 10) is None


def test_a_download_goes_on_when_the_server_was_killed_in_the_middle(bucket, s3, tmp_path, monkeypatch):
    store(s3, CONTENT)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "8")

    def restart() -> None:
        s3.kill()
        threading.Timer(0.5, s3.start).start()

    asked = []
    bucket = Bucket(URL, tick=Counting(4, restart))
    bucket.client.meta.events.register("before-call.s3.GetObject", lambda params, **_: asked.append(params["headers"]))
    assert download(bucket, "film.mp4", tmp_path / "film.mp4", DIGEST) == DIGEST
    assert "Range" not in asked[0]
    assert any(int(headers["Range"][6:-1]) >= 3 * 1024**2 for headers in asked[1:]), "it was fetched from the start"


def test_a_download_gives_up_when_the_server_stays_away_and_keeps_what_came(bucket, s3, tmp_path):
    store(s3, CONTENT)
    bucket.tick = Counting(4, s3.kill)
    with pytest.raises(CacError, match="run again"):
        download(bucket, "film.mp4", tmp_path / "film.mp4", DIGEST)
    assert (tmp_path / PARTIAL).stat().st_size >= 3 * 1024**2
    assert not (tmp_path / "film.mp4").exists()


PROGRAM = """
import os, signal, sys
from pathlib import Path
from cac.io.s3 import Bucket
from cac.io.s3_transfer import download
ticks = []
def tick():
    ticks.append(1)
    if len(ticks) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
download(Bucket(sys.argv[1], tick=tick), "film.mp4", Path(sys.argv[2]))
"""


def test_a_download_goes_on_after_its_process_was_killed(bucket, s3, tmp_path):
    store(s3, CONTENT)
    killed = subprocess.run((sys.executable, "-c", PROGRAM, URL, str(tmp_path / "film.mp4")), env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    have = (tmp_path / PARTIAL).stat().st_size
    assert 0 < have < len(CONTENT)
    bucket.tick = counting = Counting(0, interrupt)
    assert download(bucket, "film.mp4", tmp_path / "film.mp4", DIGEST) == DIGEST
    assert counting.ticks <= 1 + (len(CONTENT) - have) // 1024**2


def test_what_is_left_of_another_object_is_not_mixed_in(bucket, s3, tmp_path):
    store(s3, CONTENT)
    bucket.tick = Counting(4, interrupt)
    with pytest.raises(KeyboardInterrupt):
        download(bucket, "film.mp4", tmp_path / "film.mp4")
    time.sleep(0.01)
    store(s3, CONTENT[::-1])
    bucket.tick = lambda: None
    assert download(bucket, "film.mp4", tmp_path / "film.mp4") == hashlib.sha256(CONTENT[::-1]).hexdigest()


def test_a_file_that_is_there_is_not_fetched_again(bucket, s3, film):
    s3.kill()
    assert download(bucket, "film.mp4", film, DIGEST) == DIGEST


def test_another_content_than_announced_is_fetched_twice_and_told(bucket, s3, tmp_path):
    store(s3, b"other")
    asked = []
    bucket.client.meta.events.register("before-call.s3.GetObject", lambda **_: asked.append(1))
    assert download(bucket, "film.mp4", tmp_path / "x", DIGEST) == hashlib.sha256(b"other").hexdigest()
    assert len(asked) == 2


def test_content_that_differs_each_time_is_an_error(bucket, s3, tmp_path):
    store(s3, b"first")

    def change(**_) -> None:
        store(s3, b"second")

    bucket.client.meta.events.register("after-call.s3.GetObject", change)
    with pytest.raises(CacError, match="another content at each download"):
        download(bucket, "film.mp4", tmp_path / "x", DIGEST)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_ACCESS_KEY_ID", "nobody", "AWS_ACCESS_KEY_ID"),
        ("AWS_SECRET_ACCESS_KEY", "guessed-0123", "secret key is wrong"),
        ("AWS_PROFILE", "not-there", "not-there"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1", "AWS_ENDPOINT_URL_S3"),
        ("AWS_MAX_ATTEMPTS", "many", "AWS_MAX_ATTEMPTS"),
    ],
)
def test_wrong_settings_are_clear_errors_without_secrets(s3, monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(CacError, match=said) as error:
        Bucket(URL).folders()
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(error.value)


def test_no_credentials_at_all_is_a_clear_error(s3, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(CacError, match="Unable to locate credentials"):
        Bucket(URL).folders()


def test_credentials_may_come_from_a_profile(s3, monkeypatch, tmp_path):
    (tmp_path / "credentials").write_text(
        f"[annotators]\naws_access_key_id = {'A' * 20}\naws_secret_access_key = {'S' * 20}\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "annotators")
    assert Bucket(URL).folders() == ([], [])


def test_a_missing_bucket_and_a_wrong_address_are_clear_errors(s3):
    with pytest.raises(CacError, match="bucket does not exist"):
        Bucket("s3://nobodys").folders()
    for url in ("team/landing", "s3://", "s3:///x", "https://team", "s3://UPPER/x"):
        with pytest.raises(CacError, match="not an S3 URL"):
            Bucket(url)


def test_a_full_or_missing_disk_is_a_clear_error(bucket, s3):
    store(s3, b"x")
    with pytest.raises(CacError, match="Free some space"):
        download(bucket, "film.mp4", Path("/nowhere/film.mp4"))
