"""Reading real clips: the frames of a two-turn sample against decoding the whole clip.

    python -m benchmarks.real_clips [--width 1280 --height 720 --fps 24 --seconds 5] [--clips 3]

Makes its own clips with moving noise and shapes, then measures in one run, each in a process of its own: CPU seconds
and the peak of memory above the start. "whole clip" is how every use read a clip before 1 December 2026: all frames
decoded at full size and stacked.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from cac.params import load_params
from cac.video.decode import decode, open_video
from cac.video.encode import encode
from cac.video.views import coarse_view, dense_view

ROWS = ("whole clip", "two-turn sample", "single frame")


def main() -> int:
    """Print a table: CPU seconds and peak memory of each way, and the ratio to the whole clip."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_clips", description="Measure reading clips.")
    for name, default in (("width", 1280), ("height", 720), ("fps", 24), ("seconds", 5), ("clips", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    with TemporaryDirectory(prefix="cac-real-") as folder:
        clips = [Path(folder) / f"{number}.mp4" for number in range(args.clips)]
        for number, clip in enumerate(clips):
            encode(clip, _frames(args, number), args.fps, pix_fmt="yuv420p")
        measured = {row: _in_process(row, clips) for row in ROWS}
    whole = measured[ROWS[0]]
    print(f"{args.clips} clips of {args.width}x{args.height}, {args.fps} frames/s, {args.seconds} s")
    print("| | CPU s a clip | times faster | peak MB above start |\n| --- | --- | --- | --- |")
    for row, (seconds, peak) in measured.items():
        print(f"| {row} | {seconds / args.clips:.2f} | {whole[0] / seconds:.1f} | {peak / 1024:.0f} |")
    return 0


def _frames(args: argparse.Namespace, seed: int) -> Sequence[np.ndarray]:
    """Return frames of smooth noise that pans, with a bright square that crosses."""
    import cv2

    generator = np.random.default_rng(seed)
    small = generator.integers(0, 256, (args.height // 16, args.width // 8, 3)).astype(np.uint8)
    wide = cv2.resize(small, (2 * args.width, args.height), interpolation=cv2.INTER_CUBIC)
    frames = []
    for index in range(args.fps * args.seconds):
        left = (3 * index) % args.width
        frame = wide[:, left : left + args.width].copy()
        x = (7 * index) % (args.width - 80)
        frame[100:180, x : x + 80] = 255
        frames.append(frame)
    return frames


def _in_process(row: str, clips: Sequence[Path]) -> tuple[float, float]:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        result: tuple[float, float] = pool.apply(_measure, (row, list(clips)))
    return result


def _measure(row: str, clips: list[Path]) -> tuple[float, float]:
    """Return CPU seconds, and KiB of peak memory above the start."""
    frames = load_params(Path("params.yaml")).frames.model_copy(update={"coarse_size": 384, "dense_size": 640})

    def sample(path: Path) -> None:
        video = open_video(path)
        coarse_view(video, frames)
        dense_view(video, [(2.0, 3.0)], frames)

    ways: dict[str, Callable[[Path], object]] = {
        "whole clip": lambda path: decode(path),
        "two-turn sample": sample,
        "single frame": lambda path: list(open_video(path).frames_at([30], 640)),
    }
    import av  # noqa: F401  # its own memory is not what is measured

    start = _peak_memory()
    begun = time.process_time()
    for clip in clips:
        ways[row](clip)
    return time.process_time() - begun, _peak_memory() - start


def _peak_memory() -> int:
    """Return this process's peak in KiB; getrusage would include that of the process it was forked from."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    sys.exit(main())
