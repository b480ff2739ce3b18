"""Every answer and every refusal of the server: HTTP in one process, real videos, a judge that costs nothing."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
from helpers.judges import LEAF, UNLOOKABLE, BrightIsClean, clip, score_of
from helpers.s3_server import s3_server
from prometheus_client.parser import text_string_to_metric_families

from cac.serving.app import make_app
from cac.serving.settings import ServeSettings
from cac.video.decode import Limits
from cac.video.encode import encode

SETTINGS = ServeSettings(batch_size=4, batch_wait=0.05, limits=Limits(seconds=2.0), max_bytes=50_000, timeout=20.0)


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("videos")
    made = {f"grey{level}": clip(level) for level in range(0, 256, 15)}
    made |= {"long": clip(99, frames=17), "odd": clip(99, height=UNLOOKABLE)}
    for name, video in made.items():
        encode(folder / f"{name}.mp4", video.frames, video.fps)
    return {name: (folder / f"{name}.mp4").read_bytes() for name in made}


@asynccontextmanager
async def serving(judge: BrightIsClean, settings: ServeSettings = SETTINGS):
    app = make_app(judge, settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://cac") as client,
    ):
        yield client


def ask(*requests, settings: ServeSettings = SETTINGS, judge: BrightIsClean | None = None):
    """Post requests all at once; return their answers and the metrics after them."""

    async def run():
        async with serving(judge or BrightIsClean(), settings) as client:
            answers = await asyncio.gather(*(client.post("/score", **request) for request in requests))
            return answers, numbers((await client.get("/metrics")).text)

    return asyncio.run(run())


def numbers(text: str) -> dict[str, float]:
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {sample.name + "".join(sorted(map(str, sample.labels.values()))): sample.value for sample in samples}


def test_concurrent_requests_are_judged_together_and_each_gets_its_own_answer(videos):
    judge = BrightIsClean(seconds=0.05)
    levels = [level for level in range(0, 256, 15) for _ in range(2)]
    answers, metrics = ask(*({"content": videos[f"grey{level}"]} for level in levels), judge=judge)
    assert [answer.status_code for answer in answers] == [200] * len(levels)
    scores = [answer.json()["score"] for answer in answers]
    assert scores == pytest.approx([score_of(level) for level in levels], abs=0.02)
    assert all(answer.json()["model_version"] == "7" for answer in answers)
    assert max(judge.batches) == 4
    assert metrics["cac_batch_videos_sum"] == len(levels) == metrics["cac_request_seconds_count"]
    assert metrics["cac_batch_videos_count"] == len(judge.batches) == metrics["cac_judge_seconds_count"]
    dark, unparsed = sum(s < 0.5 for s in scores), sum(s >= 0.95 for s in scores)
    assert metrics["cac_verdicts_totalanomalous"] == dark > 0
    assert metrics["cac_verdicts_totalunparsed"] == unparsed > 0
    assert metrics["cac_verdicts_totalclean"] == len(levels) - dark - unparsed
    assert metrics["cac_score_count"] == len(levels) - unparsed
    assert metrics["cac_model_infomodels:/bright/7"] == 1
    assert metrics["cac_requests_under_way"] == metrics["cac_queue_videos"] == 0


def test_an_answer_says_all_of_it(videos):
    (answer,), _ = ask({"content": videos["grey30"], "params": {"prompt": "a grey day"}})
    assert answer.json() == {
        "score": pytest.approx(score_of(30), abs=0.02),
        "verdict": "anomalous",
        "threshold": 0.5,
        "windows": [[0.5, 1.0]],
        "family": answer.json()["family"],
        "leaf": LEAF,
        "boxes": [{"time": 0.5, "box": [0.1, 0.1, 0.5, 0.5]}],
        "evidence": "it is dark",
        "parsed": True,
        "warnings": [],
        "prompt": "a grey day",
        "model": "models:/bright/7",
        "model_version": "7",
    }


def test_a_form_is_read_like_a_body(videos):
    form = {"files": {"video": ("a.mp4", videos["grey30"])}, "data": {"prompt": "a grey day"}}
    plain = {"content": videos["grey30"], "params": {"prompt": "a grey day"}}
    (one, other), _ = ask(form, plain)
    assert one.status_code == 200
    assert one.json() == other.json()


REFUSED = {
    "a text": ({"content": b"no video at all"}, 422, "not_a_video"),
    "a playlist": ({"content": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"}, 422, "not_a_video"),
    "a list of files": ({"content": b"ffconcat version 1.0\nfile /etc/passwd\n"}, 422, "not_a_video"),
    "nothing": ({"content": b""}, 400, "bad_request"),
    "too many bytes": ({"content": bytes(50_001)}, 413, "too_large"),
    "too many bytes in a form": ({"files": {"video": bytes(50_001)}}, 413, "too_large"),
    "far too many bytes in a form": ({"files": {"video": bytes(200_000)}}, 413, "too_large"),
    "a form without a video": ({"files": {"film": b"x"}}, 400, "bad_request"),
    "a form with two": ({"files": [("video", b"x"), ("video", b"y")]}, 400, "bad_request"),
    "a form with more": ({"files": {"video": b"x"}, "data": {"fps": "8"}}, 400, "bad_request"),
    "a broken form": (
        {"content": b"--x\r\n\r\n", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400, "bad_request"
    ),
    "a form without a boundary": (
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "bad_request"
    ),
    "a long prompt": ({"content": b"x", "params": {"prompt": "x" * 10_001}}, 400, "bad_request"),
    "a path": ({"json": {"video": "/etc/passwd"}}, 403, "not_allowed"),
    "an address": ({"json": {"video": "http://169.254.169.254/"}}, 403, "not_allowed"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_why(name):
    request, status, kind = REFUSED[name]
    (answer,), metrics = ask(request)
    assert (answer.status_code, answer.json()["error"]) == (status, kind)
    assert "/etc" not in answer.text
    assert metrics[f"cac_errors_total{kind}"] == 1
    assert metrics["cac_requests_under_way"] == 0


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(seconds=2.0), "2 seconds"),
        (Limits(frame_pixels=1000), "1000 pixels"),
        (Limits(frames=16), "16 frames"),
    ],
)
def test_a_video_beyond_the_limits_is_refused_and_others_are_not(videos, limits, words):
    (answer,), metrics = ask({"content": videos["long"]}, settings=replace(SETTINGS, limits=limits))
    assert (answer.status_code, answer.json()["error"]) == (422, "beyond_limits")
    assert words in answer.json()["message"]
    assert metrics["cac_errors_totalbeyond_limits"] == 1
    just = Limits(seconds=17 / 8, frame_pixels=1024, frames=17)
    (answer,), _ = ask({"content": videos["long"]}, settings=replace(SETTINGS, limits=just))
    assert answer.status_code == 200


def test_more_requests_than_allowed_are_refused_at_once(videos):
    settings, judge = replace(SETTINGS, max_requests=3), BrightIsClean(seconds=0.3)
    answers, metrics = ask(*[{"content": videos["grey30"]}] * 8, settings=settings, judge=judge)
    busy = [answer for answer in answers if answer.status_code == 503]
    assert len(busy) == 5
    assert all(answer.json()["error"] == "busy" and answer.headers["retry-after"] == "1" for answer in busy)
    assert sum(judge.batches) == 3
    assert metrics["cac_errors_totalbusy"] == 5


def test_a_video_that_the_model_cannot_look_at_spoils_no_other(videos):
    requests = [{"content": videos[name]} for name in ("grey30", "odd", "grey240")]
    answers, metrics = ask(*requests, settings=replace(SETTINGS, batch_wait=0.5))
    assert [answer.status_code for answer in answers] == [200, 500, 200]
    assert "height 13" not in answers[1].text, "what a model raises is for the log"
    assert metrics["cac_errors_totaljudge_failed"] == 1


def test_who_waits_too_long_is_told_so(videos):
    settings = replace(SETTINGS, timeout=0.2, batch_wait=0.0)
    (answer,), metrics = ask({"content": videos["grey30"]}, settings=settings, judge=BrightIsClean(seconds=1.0))
    assert (answer.status_code, answer.json()["error"]) == (504, "timeout")

    async def drip():
        yield b"x"
        await asyncio.sleep(1.0)
        yield b"y"

    (answer,), metrics = ask({"content": drip()}, settings=settings)
    assert (answer.status_code, answer.json()["error"]) == (408, "slow_upload")
    assert metrics["cac_errors_totalslow_upload"] == 1


def test_only_allowed_places_may_be_named(videos, tmp_path, monkeypatch):
    bucket = tmp_path / "store" / "bucket"
    for folder in (tmp_path / "open", tmp_path / "open-not", bucket / "open", bucket / "open-not"):
        folder.mkdir(parents=True)
        (folder / "a.mp4").write_bytes(videos["grey30"])
    (tmp_path / "open" / "link.mp4").symlink_to(tmp_path / "open-not" / "a.mp4")
    (tmp_path / "open" / "large.mp4").write_bytes(bytes(50_001))
    (bucket / "open" / "large.mp4").write_bytes(bytes(50_001))
    settings = replace(SETTINGS, allow_from=(str(tmp_path / "open"), "s3://bucket/open"))
    expected = {
        f"{tmp_path}/open/a.mp4": 200,
        f"{tmp_path}/open/../open/a.mp4": 200,
        f"{tmp_path}/open/none.mp4": 422,
        f"{tmp_path}/open/large.mp4": 413,
        f"{tmp_path}/open/link.mp4": 403,
        f"{tmp_path}/open/../open-not/a.mp4": 403,
        f"{tmp_path}/open-not/a.mp4": 403,
        f"{tmp_path}/open-not/none.mp4": 403,
        "/etc/passwd": 403,
        "a\0b": 403,
        "http://bucket/open/a.mp4": 403,
        "s3://bucket/open/a.mp4": 200,
        "s3://bucket/open/none.mp4": 422,
        "s3://bucket/open/large.mp4": 422,
        "s3://bucket/open-not/a.mp4": 403,
        "s3://other/open/a.mp4": 403,
    }
    with s3_server(tmp_path / "store") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        answers, _ = ask(*({"json": {"video": name}} for name in expected), settings=settings)
    assert dict(zip(expected, (answer.status_code for answer in answers), strict=True)) == expected
    bodies = ({"content": b"{", "headers": {"content-type": "application/json"}}, {"json": ["x"]}, {"json": {"x": "y"}})
    answers, _ = ask(*bodies, {"json": {"video": "x", "prompt": 3}}, settings=settings)
    assert {answer.status_code for answer in answers} <= {400, 403}
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    (answer,), _ = ask({"json": {"video": "s3://bucket/open/a.mp4"}}, settings=settings)
    assert (answer.status_code, answer.json()["error"]) == (502, "store_unreachable")


def test_ready_names_the_version_until_the_judge_is_gone():
    async def run():
        app = make_app(BrightIsClean(), SETTINGS)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://cac") as client:
            async with app.router.lifespan_context(app):
                alive, ready = await client.get("/health"), await client.get("/ready")
            return alive, ready, await client.get("/ready")

    alive, ready, after = asyncio.run(run())
    assert (alive.status_code, ready.status_code, after.status_code) == (200, 200, 503)
    assert ready.json() == {"status": "ready", "model": "models:/bright/7", "model_version": "7"}
