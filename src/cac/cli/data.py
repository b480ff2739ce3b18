"""The verbs of `cac data` on one dataset: their arguments and output.

`main.py` imports this module for every verb, so everything else is imported inside the verbs.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from cac.cli.evaluate_on import BENCHMARKS
from cac.cli.options import add_overwrite_option, add_ratio_options
from cac.cli.versions import add_version_verbs
from cac.errors import EXIT_REFUSED, CacError
from cac.paths import DATASET, VALIDATION

# (name, what it runs, its help) → its parser
AddVerb = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]

# Named here as well as in data/exchange, so that `--help` need not import it.
IMPORT_FORMATS = ("cvat", "label-studio", "coco", "skyra", "masks", "labelu", "darwin", "windows")
EXPORT_FORMATS = ("cvat", "label-studio", "coco")
_DEFAULT_RATIOS = (0.15, 0.2)  # of val and test


def add_data_verbs(add: AddVerb) -> None:
    """Add the verbs of `cac data` with their arguments."""
    build = add("build", _data_build, "render the sample dataset")
    build.add_argument("--out", type=Path, default=Path("data"), metavar="DIR", help="default: data")
    add_overwrite_option(build)
    validate = add("validate", _data_validate, "check every clip and annotation")
    validate.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="default: data")
    validate.add_argument(
        "--reference", metavar="VERSION", help="a folder or git revision to measure drift from (default: the setting)"
    )
    validate.add_argument(
        "--manifest-only", action="store_true", help="open no video; the result lists the checks that were skipped"
    )
    validate.add_argument(
        "--out", type=Path, metavar="DIR", help=f"default: {VALIDATION}; of another dataset {VALIDATION}-NAME"
    )
    show = add("show", _data_show, "draw clips with their annotations as one picture")
    show.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="default: data")
    show.add_argument(
        "--clips", default="12", metavar="N|IDS", help="a number, or clip ids separated by commas (default: 12)"
    )
    show.add_argument("--out", type=Path, required=True, metavar="PNG", help="the picture to write")
    _add_exchange_verbs(add)
    _add_injection_verbs(add)
    add_version_verbs(add)
    add_delivery_verb(add)


def _add_exchange_verbs(add: AddVerb) -> None:
    get = add("import", _data_import, "make a dataset of videos and another tool's annotations")
    get.add_argument(
        "format", type=_import_format, choices=IMPORT_FORMATS, metavar="FORMAT", help=", ".join(IMPORT_FORMATS)
    )
    get.add_argument("source", type=Path, metavar="SOURCE", help="the exported file, or a folder of them")
    get.add_argument("--videos", type=Path, required=True, metavar="DIR", help="the folder of the videos")
    get.add_argument("--labels", type=Path, metavar="YAML", help="label map: the leaf of each of the tool's labels")
    get.add_argument("--out", type=Path, required=True, metavar="DIR", help="the dataset to make")
    add_overwrite_option(get)
    add_ratio_options(get, "ratio of pairs", defaults=_DEFAULT_RATIOS)
    get.add_argument(
        "--rest-is-clean", action="store_true", help="import videos that the source does not name as clean"
    )
    get.add_argument("--strict", action="store_true", help="write nothing if a video or an annotation is refused")
    get.add_argument(
        "--first-frame", type=int, choices=(0, 1), help="the first frame's number, where the source leaves it open"
    )
    get.add_argument("--frame-rate", type=float, metavar="FPS", help="of folders of frames that have no times")
    give = add("export", _data_export, "write the annotations in another tool's format")
    give.add_argument("format", choices=EXPORT_FORMATS, metavar="FORMAT", help=", ".join(EXPORT_FORMATS))
    give.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="default: data")
    give.add_argument("--out", type=Path, required=True, metavar="PATH", help="a JSON file; for cvat a folder of XML")


def _import_format(name: str) -> str:
    """Return the name of a format; that of a benchmark is refused with the command that reads it."""
    if name in BENCHMARKS:
        raise argparse.ArgumentTypeError(
            f"{name} is a benchmark, for evaluation only. Use `cac evaluate-on {name} FOLDER`."
        )
    return name


def _add_injection_verbs(add: AddVerb) -> None:
    inject = add("inject", _data_inject, "make annotated pairs of ordinary videos")
    inject.add_argument("folder", type=Path, metavar="CLEAN_FOLDER", help="a folder of videos, searched recursively")
    inject.add_argument("--out", type=Path, required=True, metavar="DATASET", help="the dataset folder to write")
    add_overwrite_option(inject)
    inject.add_argument("--seed", type=int, default=7, metavar="N", help="default: 7")
    inject.add_argument(
        "--pairs-per-clip", type=int, default=2, metavar="N", help="pairs to try of each segment (default: 2)"
    )
    inject.add_argument("--leaves", metavar="A,B,…", help="the defects to make (default: all)")
    add_ratio_options(inject, "ratio of videos", defaults=_DEFAULT_RATIOS)
    inject.add_argument("--segment-seconds", type=float, default=3.0, metavar="S", help="maximum (default: 3)")
    inject.add_argument("--size", type=int, default=256, metavar="N", help="the longer side in pixels (default: 256)")
    leaks = add("leak-check", _data_leak_check, "check whether compression or seams reveal the defects")
    leaks.add_argument("dataset", type=Path, metavar="DATASET")
    leaks.add_argument("--out", type=Path, metavar="FILE", help="write the result to FILE as JSON")


def _data_build(args: argparse.Namespace) -> int:
    from cac.data.sample.build import build_dataset
    from cac.params import load_params

    build_dataset(args.out, load_params(args.params))
    return 0


def _data_validate(args: argparse.Namespace) -> int:
    from cac.data.validation.drift import Reference, profile_of
    from cac.data.validation.validate import check_replaceable, validate
    from cac.params import load_params

    out = _findings_folder(args.data, args.out, args.manifest_only)
    check_replaceable(out)
    params, reference = load_params(args.params).validation, None
    named = args.reference or params.reference
    if named:
        from cac.data.versions.revisions import open_version

        name, clips = open_version(named, args.data)
        reference = Reference(name, profile_of(clips))
    validate(args.data, params, out, reference, files=not args.manifest_only)
    if out != VALIDATION:
        print(f"the findings are in {out}")
    return 0


def _findings_folder(data: Path, out: Path | None, manifest_only: bool) -> Path:
    """Return where the findings go; only the pipeline's own check writes where training looks for its result.

    Raises:
        CacError: `out` is a place that this validation must not write to.
    """
    from cac.cli.outputs import check_place

    is_other = data.resolve() != DATASET.resolve()
    name = f"{VALIDATION.name}-{data.resolve().name}" if is_other else VALIDATION.name
    chosen = out or VALIDATION.with_name(f"{name}_manifest" if manifest_only else name)
    taken = VALIDATION.resolve() in (chosen.resolve(), *chosen.resolve().parents)
    if taken and (is_other or manifest_only):
        raise CacError(f"--out {chosen} is for the pipeline's check of {DATASET}/. Name another folder.")
    check_place("--out", chosen)
    return chosen


def _data_show(args: argparse.Namespace) -> int:
    from cac.cli.clip_selection import select_clips
    from cac.cli.outputs import PNG, check_file
    from cac.io.aside import new_file
    from cac.schema.annotations import read_clips
    from cac.video.sheets import dataset_sheet

    check_file("--out", args.out, PNG)
    clips = select_clips(read_clips(args.data), args.clips)
    with new_file(args.out) as picture:
        dataset_sheet(args.data, clips, picture)
    print(f"wrote {args.out}: {', '.join(clip.clip_id for clip in clips)}")
    return 0


def _data_import(args: argparse.Namespace) -> int:
    from cac.cli.data_tables import print_import
    from cac.data.exchange.import_ import SHEET_NAME, ImportRequest, import_dataset
    from cac.data.exchange.report import REPORT_NAME, ImportRefusedError

    paths, ratios = (args.source, args.videos, args.labels, args.out), (args.val_ratio, args.test_ratio)
    switches = (args.rest_is_clean, args.strict, args.first_frame, args.frame_rate)
    try:
        report = import_dataset(ImportRequest(args.format, *paths, *ratios, *switches, overwrite=args.overwrite))
    except ImportRefusedError as error:
        print_import(error.report)
        raise
    print_import(report)
    print(f"wrote {args.out}; the report is {args.out / REPORT_NAME}, ten clips are drawn in {args.out / SHEET_NAME}.")
    print(f"Look at them. Next: cac data validate --data {args.out}")
    return 0


def _data_export(args: argparse.Namespace) -> int:
    from cac.cli.outputs import check_place
    from cac.data.exchange.export import export_dataset

    check_place("--out", args.out)
    count = export_dataset(args.format, args.data, args.out)
    print(f"wrote {args.out}: the annotations of {count} clips. The videos are in {args.data / 'clips'}.")
    return 0


def _data_inject(args: argparse.Namespace) -> int:
    from cac.cli.data_tables import print_injection
    from cac.data.injection.batch import NoPairError, inject_folder
    from cac.data.injection.catalogue import INJECTABLE
    from cac.data.injection.report import REPORT_NAME
    from cac.data.injection.settings import InjectionSettings

    leaves = tuple(name.strip() for name in args.leaves.split(",")) if args.leaves is not None else INJECTABLE
    settings = InjectionSettings(
        args.seed, args.pairs_per_clip, leaves, args.val_ratio, args.test_ratio, args.segment_seconds, args.size
    )
    try:
        report = inject_folder(args.folder, args.out, settings, overwrite=args.overwrite)
    except NoPairError as error:
        print_injection(error.report)
        raise
    print_injection(report)
    print(f"{report.pairs} pairs in {args.out}; all refusals are in {args.out / REPORT_NAME}")
    return 0


def _data_leak_check(args: argparse.Namespace) -> int:
    from cac.cli.console import write_json
    from cac.cli.data_tables import print_leaks
    from cac.cli.outputs import JSON, check_file
    from cac.data.injection.leak_check import leak_check

    check_file("--out", args.out, JSON)
    result = leak_check(args.dataset)
    if args.out:
        write_json(args.out, result)
    print_leaks(result)
    return 0 if result.passed else EXIT_REFUSED


def add_delivery_verb(add: AddVerb) -> None:
    """Add `cac data deliver` with its arguments."""
    deliver = add("deliver", _deliver, "upload a dataset to a landing folder in S3, from which it is ingested")
    deliver.add_argument("dataset", type=Path, metavar="DATASET")
    deliver.add_argument("landing", metavar="LANDING", help="s3://BUCKET/FOLDER")
    deliver.add_argument("--name", metavar="NAME", help="of the delivery (default: the dataset folder's name)")


def _deliver(args: argparse.Namespace) -> int:
    from cac.data.ingest.deliveries import deliver
    from cac.io.s3 import Bucket

    bucket = Bucket(args.landing)
    name = args.name if args.name is not None else args.dataset.resolve().name
    sent = deliver(args.dataset, bucket, name)
    print(f"delivered {args.dataset} as {bucket.url(name)}; {sent} files uploaded, the others were already there")
    return 0
