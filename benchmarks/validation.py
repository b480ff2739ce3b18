"""Measure time and memory of data validation for manifests of any size.

    python -m benchmarks.validation --clips 10000 100000 1000000 --looks 10000 100000

`--clips`: validates a manifest of this many synthetic clips (half of them clean, the others with one anomaly and ten
boxes) with `files=False`, in a separate process, whose peak memory is measured. `--looks`: compares this many random
hashes across splits, the only part whose time grows with the square of the clips. Times are CPU seconds of one process,
so other load does not count. Out of scope: decoding, which depends on the videos; `--decode DATASET` measures it on a
real dataset.
"""

import argparse
import multiprocessing
import random
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

from cac.data.validation.perceptual_hash import BITS, nearest_of_other_splits
from cac.data.validation.validate import validate
from cac.params import Validation, load_params
from cac.schema.annotations import Split, write_clips
from tests.helpers.invented_clips import invented_clips

_SPLITS: tuple[Split, ...] = ("train", "train", "train", "train", "val", "test")


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.validation", description="Measure data validation.")
    parser.add_argument("--clips", type=int, nargs="*", default=[], metavar="N", help="manifests of so many clips")
    parser.add_argument(
        "--looks", type=int, nargs="*", default=[], metavar="N", help="number of perceptual hashes to compare"
    )
    parser.add_argument("--decode", type=Path, metavar="DATASET", help="a whole validation of this dataset")
    args = parser.parse_args()
    params = load_params(Path("params.yaml")).validation
    print(f"{'what':28} {'clips':>9} {'seconds':>9} {'peak MiB':>9}")
    _print("nothing, only the imports", 0, *_measure(_nothing))
    for count in args.clips:
        with TemporaryDirectory(prefix="cac-validation-") as scratch:
            write_clips(Path(scratch), invented_clips(count))
            _print("manifest only", count, *_measure(_validate, Path(scratch), params, Path(scratch, "out"), False))
    for count in args.looks:
        _print("perceptual hashes compared", count, *_measure(_look, count, params.near_duplicate_distance))
    if args.decode:
        with TemporaryDirectory(prefix="cac-validation-") as scratch:
            _print(str(args.decode), 0, *_measure(_validate, args.decode, params, Path(scratch), True))
    return 0


def _validate(dataset: Path, params: Validation, out: Path, files: bool) -> None:
    validate(dataset, params, out, files=files)


def _look(count: int, most: float) -> None:
    chance = random.Random(7)
    clips = ((number, _SPLITS[number % len(_SPLITS)], chance.randbytes(BITS // 8)) for number in range(count))
    assert not list(nearest_of_other_splits(clips, most))


def _nothing() -> None:
    import great_expectations  # noqa: F401  # imported by the validation, so part of what it takes


def _measure(work: Callable[..., None], *arguments: Any) -> tuple[float, float]:
    """Do the work in a new process; return its seconds of processor time and the peak of its memory in MiB."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(sender, work, *arguments))
    process.start()
    sender.close()
    measured: tuple[float, float] = receiver.recv()
    process.join()
    return measured


def _report(sender: Any, work: Callable[..., None], *arguments: Any) -> None:
    start = process_time()
    work(*arguments)
    sender.send((process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def _print(what: str, clips: int, seconds: float, peak: float) -> None:
    print(f"{what:28} {clips or '':>9} {seconds:9.1f} {peak:9.0f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
