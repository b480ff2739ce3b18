"""About two hundred hostile inputs: files that are not clips, invalid annotations, names that lead out of the folder.

Each is one manifest line with its file, made from a good clip. The first word of a name is the kind of input.
"""

import io
import json
import os
import wave
import zipfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import av
import numpy as np

Clip = dict[str, Any]
FRAMES, SIZE = 8, 32

BILLION_LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;"><!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;">
]><annotations><meta><source>&e;&e;&e;&e;&e;&e;&e;&e;</source></meta></annotations>"""

# First word of a name → the checks of which at least one must have found it.
EXPECTED = {
    "cut": {"decodable", "frame_count", "sha256"},
    "damaged": {"decodable", "sha256"},
    "junk": {"decodable"},
    "empty": {"decodable"},
    "disguised": {"decodable", "mp4", "sha256"},
    "large": {"resolution"},
    "uneven": {"constant_rate"},
    "turned": {"upright"},
    "resized": {"size"},
    "path": {"path", "file", "manifest_line"},
    "place": {"file"},
    "json": {"manifest_line"},
    "field": {"manifest_line", "windows", "boxes_in_frame", "boxes_in_window", "fps", "frame_count", "size", "sha256"},
}


def encoded(size: tuple[int, int] = (SIZE, SIZE), codec: str = "libx264", **how: Any) -> bytes:
    """Return a video; `how`: its `container`, `options`, milliseconds `times`, `turn` in degrees, `frames`."""
    with NamedTemporaryFile() as target:  # a file, because a header that goes first is put there in the end
        with av.open(target.name, "w", format=how.get("container", "mp4"), options=how.get("options", {})) as container:
            _encode(container, size, codec, how)
        return Path(target.name).read_bytes()


def _encode(container: Any, size: tuple[int, int], codec: str, how: dict[str, Any]) -> None:
    stream = container.add_stream(codec, rate=8)
    stream.width, stream.height = size
    stream.pix_fmt = how.get("pix_fmt", "yuv420p")
    if how.get("turn"):
        stream.set_display_rotation(how["turn"])
    stream.codec_context.time_base = Fraction(1, 1000)
    chance, count = np.random.default_rng(size[0]), how.get("frames", FRAMES)
    for time in how.get("times", [125 * number for number in range(FRAMES)])[:count]:
        pixels = chance.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(*size, format=stream.pix_fmt)
        frame.pts, frame.time_base = time, Fraction(1, 1000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def files(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield hostile contents of a clip's file, by name."""
    fast = encoded(options={"movflags": "faststart"})
    for part in range(1, 21):
        yield f"cut at {part} of 21", good[: len(good) * part // 21]
        yield f"cut with its header first at {part} of 21", fast[: len(fast) * part // 21]
    for seed in range(15):
        chance = np.random.default_rng(seed)
        content = bytearray(good)
        for place in chance.integers(0, len(good), 1 + seed):
            content[place] ^= 0xFF
        yield f"damaged in {1 + seed} bytes", bytes(content)
    for seed in range(8):
        yield f"junk {seed}", np.random.default_rng(seed).bytes(10 ** (seed % 5))
    yield "junk of zeros", bytes(100_000)
    yield "empty file", b""
    yield "empty container", encoded(frames=0)
    yield from _disguised()
    yield "large 8192 by 8192", encoded((8192, 8192), "mjpeg", pix_fmt="yuvj420p", frames=1)
    yield "large and flat", encoded((4096, 16), "mpeg4")
    yield "large and thin", encoded((16, 4096), "mpeg4")
    for number, times in enumerate(([0, 10, 500, 510, 520, 900, 950, 999], [0, 125, 250, 375, 500, 625, 750, 5000])):
        yield f"uneven {number}", encoded(times=times)
    for turn in (90, 180, 270):
        yield f"turned by {turn}", encoded(turn=turn)
    yield "resized", encoded((64, 48))


def _disguised() -> Iterator[tuple[str, bytes]]:
    sound = io.BytesIO()
    with wave.open(sound, "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(bytes(16_000))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out_zip:
        out_zip.writestr("../../evil.mp4", bytes(1_000_000))
    yield "disguised wav", sound.getvalue()
    yield "disguised zip", archive.getvalue()
    yield "disguised XML bomb", BILLION_LAUGHS
    yield "disguised text", "Ceci n'est pas une vidéo. ".encode() * 99
    yield "disguised page", b"<html><script>alert(1)</script></html>"
    yield "disguised program", b"\x7fELF" + bytes(5000)
    yield "disguised pickle", b"\x80\x04cos\nsystem\n(S'true'\ntR."
    yield "disguised playlist", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n"
    yield "disguised list", b"ffconcat version 1.0\nfile '000.mp4'\n"
    yield (
        "disguised manifest",
        b'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>http://127.0.0.1:9/</BaseURL></MPD>',
    )
    yield "disguised gif", encoded(codec="gif", container="gif", pix_fmt="rgb8")
    yield "disguised matroska", encoded(container="matroska")
    yield "disguised avi", encoded(codec="mpeg4", container="avi")
    yield "disguised subtitles", b"1\n00:00:00,000 --> 00:00:01,000\nhello\n"


PATHS = (
    "../evil.mp4", "clips/../../evil.mp4", "clips/a/../../../evil.mp4", "/etc/passwd", "//etc/passwd", "/dev/zero",
    "..", ".", "clips", "clips/", "clips/..", "./../evil.mp4", "~/.bashrc", "file:///etc/passwd", "pipe:0",
    "http://127.0.0.1:9/x.mp4", "concat:clips/000.mp4|clips/001.mp4", "C:\\evil.mp4", "..\\..\\evil.mp4",
    "clips/\0.mp4", "clips/a\nb.mp4", "clips/" + "n" * 300 + ".mp4", "d/" * 3000 + "x.mp4", "clips/*.mp4",
    "clips/$(id).mp4", "clips/%2e%2e/evil.mp4", "clips/\u202egpm.mp4", "clips/\ud800.mp4", "clips/🎬缺失.mp4",
    "annotations.jsonl/x.mp4", "", " ", "clips/<img src=x onerror=alert(1)>.mp4",
)  # fmt: skip

_NAN, _INF = float("nan"), float("inf")
BOXES: tuple[Any, ...] = (
    [_NAN, 0.1, 0.5, 0.5], [0.1, 0.1, _INF, 0.5], [-_INF, 0.1, 0.5, 0.5], [0.1, 0.1, 1e308, 0.5], [-1, 0, 1, 1],
    [0.5, 0.5, 0.5, 0.5], [0.6, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5], [0.1, 0.1, 0.5, 0.5, 0.9], [], None, "0,0,1,1",
    ["0", "0", "1", "1"], [[0, 0], [1, 1]], {"x1": 0}, [True, False, True, True], [0, 0, 10**400, 1],
)  # fmt: skip
FIELDS: tuple[tuple[str, Any], ...] = (
    ("fps", 0), ("fps", -8), ("fps", _NAN), ("fps", _INF), ("fps", 5e-324), ("fps", 1e308), ("fps", "8"),
    ("fps", 10**400), ("frame_count", 0), ("frame_count", -1), ("frame_count", 10**30), ("frame_count", 10_000_000),
    ("frame_count", 8.5), ("frame_count", True), ("width", 0), ("width", 2**31), ("height", -5), ("height", None),
    ("sha256", ""), ("sha256", "A" * 64), ("sha256", "0" * 64), ("split", "TRAIN"), ("split", ["train"]),
    ("clip_id", ""), ("clip_id", 7), ("clip_id", "\ud800"), ("pair_id", None), ("anomalies", None),
    ("anomalies", "none"), ("anomalies", [[]]), ("anomalies", [{}]), ("generator", {"a": 1}), ("source", 1e999),
    ("__proto__", {}), ("path ", "x"),
)  # fmt: skip
WINDOWS: tuple[Any, ...] = (
    [_NAN, 1], [0, _INF], [-1, 0.5], [0.5, 0.25], [0.5, 0.5], [0, 1e308], [0], [0, 0.5, 1], "0-1", None,
    [5e-324, 1e-300],
)  # fmt: skip
LINES: dict[str, bytes] = {
    "json cut off": b'{"clip_id": "x", "pa',
    "json nested deep": b"[" * 200_000,
    "json objects nested deep": b'{"a":' * 100_000,
    "json with a huge number": b'{"fps": ' + b"9" * 100_000 + b"}",
    "json with a huge name": b'{"clip_id": "' + b"n" * 1_000_000 + b'"}',
    "json longer than a line may be": b'{"clip_id": "' + b"n" * (17 << 20) + b'"}',
    "json with a million keys": b"{" + b",".join(b'"%d":0' % i for i in range(200_000)) + b"}",
    "json that is not UTF-8": b'{"clip_id": "\xff\xfe"}',
    "json in UTF-16": '{"clip_id": "x"}'.encode("utf-16").replace(b"\n", b""),
    "json behind a mark": b"\xef\xbb\xbf{}",
    "json with control characters": b'{"clip_id": "a\x00b"}',
    "json list": b"[1, 2, 3]", "json null": b"null", "json number": b"1e999", "json NaN": b"NaN", "json text": b'"x"',
    "json empty line": b"", "json spaces": b"   \t ", 
    "json XML": BILLION_LAUGHS.replace(b"\n", b" "), "json of YAML": b"a: 1",
}  # fmt: skip


def _with_anomaly(clip: Clip, **changed: Any) -> Clip:
    boxes = [{"frame": i, "box": [0.1, 0.1, 0.5, 0.5]} for i in (2, 3)]
    anomaly = {"family": "temporal_inconsistency", "leaf": "vanishing", "window": [0.25, 0.5], "boxes": boxes}
    return clip | {"anomalies": [anomaly | {"saliency": 0.5} | changed]}


def lines() -> Iterator[tuple[str, Callable[[Clip], Clip | bytes]]]:
    """Yield hostile manifest lines, by name: what is made of a good clip's values."""
    for path in PATHS:
        yield f"path {path[:40]!r}", lambda clip, path=path: clip | {"path": path}
    for box in BOXES:
        shown = repr(box)[:40]
        boxes = [{"frame": 2, "box": box}, {"frame": 3, "box": [0.1, 0.1, 0.5, 0.5]}]
        yield f"field box {shown}", lambda clip, boxes=boxes: _with_anomaly(clip, boxes=boxes)
    for window in WINDOWS:
        yield f"field window {window!r}", lambda clip, window=window: _with_anomaly(clip, window=window)
    for saliency in (0, 1.5, _NAN, "high"):
        yield f"field saliency {saliency}", lambda clip, saliency=saliency: _with_anomaly(clip, saliency=saliency)
    for name, value in FIELDS:
        yield f"field {name} {value!r}"[:50], lambda clip, name=name, value=value: clip | {name: value}
    for name, line in LINES.items():
        yield name, lambda _, line=line: line


def places(folder: Path) -> Iterator[str]:
    """Make things that are no files in a folder and yield their names."""
    os.mkfifo(folder / "pipe.mp4")
    (folder / "folder.mp4").mkdir()
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "device.mp4").symlink_to("/dev/zero")
    (folder / "dangling.mp4").symlink_to("nowhere.mp4")
    yield from ("pipe.mp4", "folder.mp4", "loop.mp4", "device.mp4", "dangling.mp4", "missing.mp4")


def as_line(made: Clip | bytes) -> bytes:
    """Return a manifest line."""
    return made if isinstance(made, bytes) else json.dumps(made).encode()
