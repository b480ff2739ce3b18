"""The verbs of scoring many videos: `cac serve` and `cac score-batch`, their arguments and what they print.

`main.py` imports this module for every verb, so everything else is imported inside the functions.
"""

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cac.errors import EXIT_MISTAKE
from cac.registry.model_uri import DEFAULT_MODEL_NAME

if TYPE_CHECKING:
    from cac.batch.run import Summary
    from cac.video.stream import Limits

# (name, function, help text, message after an interruption) → parser
AddVerb = Callable[[str, Callable[[argparse.Namespace], int], str, str], argparse.ArgumentParser]


_MAX_FAILURES = 10  # printed one by one
_MEGA = 1_000_000


DEFAULT_MODEL = f"the champion of registry.model_name in params.yaml, or of {DEFAULT_MODEL_NAME} outside of a project"


def add_serving_verbs(add: AddVerb) -> None:
    """Add the verbs with their arguments."""
    serve = add("serve", _serve, "serve scores over HTTP", "The requests in progress were answered.")
    serve.add_argument("--model", metavar="URI", help=f"resolved once, at start (default: {DEFAULT_MODEL})")
    serve.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    serve.add_argument("--port", type=int, default=8000, metavar="N", help="0: any free port (default: 8000)")
    _add_compute(serve)
    serve.add_argument(
        "--batch-wait-ms", type=float, default=20, metavar="MS", help="wait for further videos of a batch (default: 20)"
    )
    serve.add_argument(
        "--max-requests", type=int, default=64, metavar="N", help="maximum number of requests in progress (default: 64)"
    )
    _add_limits(serve, most_mb=32)
    serve.add_argument(
        "--timeout",
        type=float,
        default=120,
        metavar="S",
        help="for a request to arrive, and again to be judged (default: 120)",
    )
    serve.add_argument(
        "--allow-from", action="append", default=[], metavar="SOURCE",
        help="a folder or s3:// prefix in which requests may name videos; repeatable (default: none)",
    )  # fmt: skip
    kept = "The parts so far are kept; run the same command again to resume."
    batch = add("score-batch", _score_batch, "score a folder or S3 prefix into a Parquet file", kept)
    batch.add_argument("source", metavar="SOURCE", help="a folder, or s3://bucket/prefix, with everything below it")
    batch.add_argument("--out", type=Path, required=True, metavar="PARQUET", help="the table to write")
    batch.add_argument("--model", required=True, metavar="URI", help="models:/NAME/NUMBER or models:/NAME@ALIAS")
    batch.add_argument(
        "--restart", action="store_true", help="discard the results of an earlier run, including the table"
    )
    batch.add_argument(
        "--engine", choices=("one-process", "ray"), default="one-process",
        help="ray: a pool of Ray actors, on the cluster of RAY_ADDRESS or here (default: one-process)",
    )  # fmt: skip
    batch.add_argument("--actors", type=int, default=2, metavar="N", help="of --engine ray (default: 2)")
    _add_compute(batch)
    _add_limits(batch, most_mb=512)


def _add_compute(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--device", default="cpu", help="as PyTorch names it (default: cpu)")
    verb.add_argument("--batch-size", type=int, default=8, metavar="N", help="videos judged together (default: 8)")


def _add_limits(verb: argparse.ArgumentParser, most_mb: float) -> None:
    verb.add_argument("--max-mb", type=_amount, default=most_mb, metavar="N", help=f"of a file (default: {most_mb})")
    verb.add_argument("--max-seconds", type=_amount, default=60, metavar="S", help="of a video (default: 60)")
    verb.add_argument(
        "--max-megapixels", type=_amount, default=9.44, metavar="N", help="of one frame (default: 9.44, which is 4K)"
    )


def _amount(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError("must be a number")
    return value


def _limits(args: argparse.Namespace) -> "Limits":
    from cac.video.stream import Limits

    return Limits(seconds=args.max_seconds, frame_pixels=round(args.max_megapixels * _MEGA))


def _serve(args: argparse.Namespace) -> int:
    from cac.registry.model_uri import default_model_uri
    from cac.serving.server import serve
    from cac.serving.settings import ServeSettings

    settings = ServeSettings(
        host=args.host,
        port=args.port,
        batch_size=args.batch_size,
        batch_wait=args.batch_wait_ms / 1000,
        max_requests=args.max_requests,
        max_bytes=round(args.max_mb * _MEGA),
        limits=_limits(args),
        timeout=args.timeout,
        allow_from=tuple(args.allow_from),
    )
    serve(args.model or default_model_uri(args.params), settings, args.device)
    return 0


def _score_batch(args: argparse.Namespace) -> int:
    from cac.batch.ray_engine import ray_engine
    from cac.batch.run import BatchSettings, one_process, score_batch
    from cac.cli.outputs import check_file

    check_file("--out", args.out, (".parquet",))
    engine = ray_engine(args.actors) if args.engine == "ray" else one_process
    settings = BatchSettings(args.batch_size, round(args.max_mb * _MEGA), _limits(args), args.device)
    summary = score_batch(args.source, args.out, args.model, settings, args.restart, engine=engine)
    _print_summary(summary, args.out)
    return EXIT_MISTAKE if summary.failures else 0


def _print_summary(summary: "Summary", out: Path) -> None:
    from cac.cli.console import print_error

    done = "wrote" if summary.written else "nothing to do:"
    print(f"{done} {out}: {summary.videos} videos, {len(summary.failures)} without a score, by {summary.model}")
    for _, reason in summary.failures[:_MAX_FAILURES]:
        print_error(reason)
    if len(summary.failures) > _MAX_FAILURES:
        print(f"and {len(summary.failures) - _MAX_FAILURES} more; see the table's column `error`", file=sys.stderr)
