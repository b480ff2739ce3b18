"""`cac VERB`: argument parsing, and the place where a user's mistake becomes a message and an exit code.

Every verb imports what it needs when it runs, so that `cac --help` is instant; the work itself is done elsewhere.
Exit codes: 0 done; 2 a mistake the user can mend; 3 the gate refused the candidate, or the leak check's bar was missed;
130 interrupted. Anything else that escapes is a bug of ours and keeps its traceback.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

from cac.data.delivery_verb import add_delivery_verb
from cac.data.versions.verbs import add_version_verbs
from cac.errors import CacError
from cac.layout import TRAINING_STAGES, VALIDATION
from cac.serving.verbs import add_serving_verbs

CHAMPION = "models:/cac-reward-model@champion"

# Named here as well as in data/exchange, so that `--help` need not import it.
IMPORT_FORMATS = ("cvat", "label-studio", "coco", "skyra", "masks")
EXPORT_FORMATS = ("cvat", "label-studio", "coco")

EXIT_MISTAKE, EXIT_REFUSED, EXIT_INTERRUPTED = 2, 3, 130

_KEPT = "Nothing that was finished is lost; the same command starts over what was not."
_KEPT_BY_TRAINING = "The checkpoints written so far are kept; the same command goes on from the last one."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    args = build_parser().parse_args(argv)
    # Transformers 5.23 warns of its own renaming of an argument that PEFT and TRL still set.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
    try:
        return args.run(args)
    except CacError as error:
        from cac.console import print_error

        print_error(str(error))
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        print(f"Interrupted. {args.kept}", file=sys.stderr)
        return EXIT_INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs; each sets `run`, what it does, and `kept`, what an interruption leaves."""
    parser = argparse.ArgumentParser(prog="cac", description="CaC: a coarse-to-fine anomaly reward model for video.")
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), metavar="FILE", help="settings (default: params.yaml)"
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    _add_data_verbs(verbs)
    train = _add_verb(verbs, "train", _train, "train one stage", _KEPT_BY_TRAINING)
    train.add_argument("stage", choices=TRAINING_STAGES, metavar="STAGE", help=", ".join(TRAINING_STAGES))
    _add_verb(verbs, "evaluate", _evaluate, "measure every checkpoint and the baselines, and write the report")
    register = _add_verb(verbs, "register", _register, "register the trained model in MLflow")
    register.add_argument("--out", type=Path, metavar="FILE", help="write the registered version to FILE as JSON")
    _add_registry_verbs(verbs)
    _add_score_verb(verbs)
    add_serving_verbs(partial(_add_verb, verbs), CHAMPION)
    _add_ablate_verbs(verbs)
    _add_verb(verbs, "summary", _summary, "show the metrics of every checkpoint and baseline, and what to do next")
    return parser


def _add_verb(
    verbs: argparse._SubParsersAction,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    kept: str = _KEPT,
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    verb.set_defaults(run=run, kept=kept)
    return verb


def _add_data_verbs(verbs: argparse._SubParsersAction) -> None:
    summary = "build, import, export, version, validate or look at datasets"
    data = verbs.add_parser("data", help=summary, description="Work on the dataset.")
    data_verbs = data.add_subparsers(metavar="VERB", required=True)
    build = _add_verb(data_verbs, "build", _data_build, "render the sample dataset")
    build.add_argument("--out", type=Path, default=Path("data"), metavar="DIR", help="default: data")
    validate = _add_verb(data_verbs, "validate", _data_validate, "check every clip and annotation")
    validate.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="default: data")
    validate.add_argument(
        "--reference", metavar="VERSION", help="a folder or git revision to measure drift from (default: the setting)"
    )
    validate.add_argument(
        "--manifest-only", action="store_true", help="open no video; the result says what is not checked"
    )
    validate.add_argument("--out", type=Path, metavar="DIR",
                          help=f"default: {VALIDATION}, with --manifest-only {VALIDATION}_manifest")  # fmt: skip
    show = _add_verb(data_verbs, "show", _data_show, "draw clips with their annotations as one picture")
    show.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="default: data")
    show.add_argument(
        "--clips", default="12", metavar="N|IDS", help="how many, or clip ids with commas between (default: 12)"
    )
    show.add_argument("--out", type=Path, required=True, metavar="PNG", help="the picture to write")
    _add_exchange_verbs(data_verbs)
    _add_injection_verbs(data_verbs)
    add_version_verbs(partial(_add_verb, data_verbs))
    add_delivery_verb(partial(_add_verb, data_verbs))


def _add_exchange_verbs(data_verbs: argparse._SubParsersAction) -> None:
    get = _add_verb(data_verbs, "import", _data_import, "make a dataset of videos and another tool's annotations")
    get.add_argument("format", choices=IMPORT_FORMATS, metavar="FORMAT", help=", ".join(IMPORT_FORMATS))
    get.add_argument("source", type=Path, metavar="SOURCE", help="the exported file, or a folder of them")
    get.add_argument("--videos", type=Path, required=True, metavar="DIR", help="the folder of the videos")
    get.add_argument("--labels", type=Path, metavar="YAML", help="which leaf each of the tool's labels is")
    get.add_argument("--out", type=Path, required=True, metavar="DIR", help="the dataset to make")
    get.add_argument("--val-share", type=float, default=0.15, metavar="X", help="share of pairs (default: 0.15)")
    get.add_argument("--test-share", type=float, default=0.2, metavar="X", help="share of pairs (default: 0.2)")
    get.add_argument("--rest-is-clean", action="store_true", help="take videos the source does not name as clean")
    give = _add_verb(data_verbs, "export", _data_export, "write the annotations in another tool's format")
    give.add_argument("format", choices=EXPORT_FORMATS, metavar="FORMAT", help=", ".join(EXPORT_FORMATS))
    give.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="default: data")
    give.add_argument("--out", type=Path, required=True, metavar="PATH", help="a JSON file; for cvat a folder of XML")


def _add_registry_verbs(verbs: argparse._SubParsersAction) -> None:
    promote = _add_verb(verbs, "promote", _promote, "make a registered version the champion if it passes the gate")
    promote.add_argument("--version", required=True, metavar="N", help="the version `cac register` printed")
    promote.add_argument(
        "--remeasure-champion", action="store_true", help="first measure the champion on the present test split"
    )
    promote.add_argument(
        "--despite-rollback", action="store_true", help="let the version through even if it was rolled back"
    )
    promote.add_argument("--despite-veto", action="store_true", help="let the version through even if it was vetoed")
    promote.add_argument("--out", type=Path, metavar="FILE", help="write the decision to FILE as JSON")
    veto = _add_verb(verbs, "veto", _veto, "keep a registered version from becoming the champion")
    veto.add_argument("--version", required=True, metavar="N", help="the version `cac registry` lists")
    veto.add_argument("--reason", required=True, metavar="TEXT", help="what speaks against it; kept with the version")
    rollback = _add_verb(verbs, "rollback", _rollback, "make the champion before this one the champion again")
    rollback.add_argument("--reason", required=True, metavar="TEXT", help="what went wrong; kept with both versions")
    registry = _add_verb(verbs, "registry", _registry, "list the registered versions and what became of them")
    registry.add_argument("--json", action="store_true", help="print one JSON object a version")
    card = _add_verb(verbs, "model-card", _model_card, "write the model card of the trained model")
    card.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to make")
    again = _add_verb(verbs, "reproduce", _reproduce, "make a registered version again, and compare its hashes")
    again.add_argument("version", metavar="VERSION", help="a version's number, or an alias such as champion")
    again.add_argument("--use-cache", action="store_true", help="let DVC take results from this checkout's cache")
    again.add_argument("--keep", action="store_true", help="keep the worktree also if all is the same")


def _add_injection_verbs(data_verbs: argparse._SubParsersAction) -> None:
    inject = _add_verb(data_verbs, "inject", _data_inject, "make annotated pairs of ordinary videos")
    inject.add_argument(
        "folder", type=Path, metavar="CLEAN_FOLDER", help="a folder of videos; those below it count too"
    )
    inject.add_argument("--out", type=Path, required=True, metavar="DATASET", help="the dataset folder to write")
    inject.add_argument("--seed", type=int, default=7, metavar="N", help="default: 7")
    inject.add_argument("--pairs-per-clip", type=int, default=2, metavar="N", help="tried of each segment (default: 2)")
    inject.add_argument("--leaves", metavar="A,B,…", help="the defects to make (default: all that can be)")
    inject.add_argument("--val-share", type=float, default=0.15, metavar="X", help="of the videos (default: 0.15)")
    inject.add_argument("--test-share", type=float, default=0.2, metavar="X", help="of the videos (default: 0.2)")
    inject.add_argument("--segment-seconds", type=float, default=3.0, metavar="S", help="at most (default: 3)")
    inject.add_argument("--size", type=int, default=256, metavar="N", help="the longer side in pixels (default: 256)")
    leaks = _add_verb(data_verbs, "leak-check", _data_leak_check, "see whether compression or seams tell twins apart")
    leaks.add_argument("dataset", type=Path, metavar="DATASET")
    leaks.add_argument("--out", type=Path, metavar="FILE", help="write the result to FILE as JSON")


def _add_score_verb(verbs: argparse._SubParsersAction) -> None:
    score = _add_verb(verbs, "score", _score, "score videos with the registered model")
    score.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    source = score.add_mutually_exclusive_group()
    source.add_argument("--model", default=CHAMPION, metavar="URI", help=f"an MLflow model (default: {CHAMPION})")
    source.add_argument("--package", type=Path, metavar="DIR", help="a model package in a folder; MLflow is not asked")
    score.add_argument("--json", action="store_true", help="print one JSON object a video")
    score.add_argument("--overlay", type=Path, metavar="MP4", help="write the one video with window and boxes drawn")


def _add_ablate_verbs(verbs: argparse._SubParsersAction) -> None:
    ablate = verbs.add_parser(
        "ablate", help="measure what each part of the method is worth", description="Train variants of the method."
    )
    ablate_verbs = ablate.add_subparsers(metavar="VERB", required=True)
    run = _add_verb(ablate_verbs, "run", _ablate_run, "train one variant and measure it on val", _KEPT_BY_TRAINING)
    run.add_argument("variant", metavar="VARIANT", help="one of those in ablations/dvc.yaml")
    run.add_argument("--seed", type=int, required=True, metavar="N")
    run.add_argument("--out", type=Path, required=True, metavar="FILE", help="the metrics, as JSON")
    table = _add_verb(ablate_verbs, "table", _ablate_table, "put the results of all variants into one table")
    table.add_argument("results", type=Path, metavar="DIR", help="the folder of results")
    table.add_argument("--out", type=Path, required=True, metavar="DIR", help="where table.md and table.png go")


def _ablate_run(args: argparse.Namespace) -> int:
    from cac.params import load_params

    run = import_module("cac.ablation.run")
    run.run_variant(load_params(args.params), args.variant, args.seed, Path.cwd(), args.out)
    return 0


def _ablate_table(args: argparse.Namespace) -> int:
    import_module("cac.ablation.table").write_table(args.results, args.out)
    return 0


def _data_build(args: argparse.Namespace) -> int:
    from cac.data.build import build_dataset
    from cac.params import load_params

    build_dataset(args.out, load_params(args.params))
    return 0


def _data_validate(args: argparse.Namespace) -> int:
    from cac.data.drift import Reference, portrait_of
    from cac.data.validation import validate
    from cac.params import load_params

    params, reference = load_params(args.params).validation, None
    named = args.reference or params.reference
    if named:
        from cac.data.versions.revisions import open_version

        name, clips = open_version(named, args.data)
        reference = Reference(name, portrait_of(clips))
    # Not where the pipeline looks: training goes on after a result that stands there.
    out = args.out or (VALIDATION.with_name("validation_manifest") if args.manifest_only else VALIDATION)
    validate(args.data, params, out, reference, files=not args.manifest_only)
    return 0


def _data_show(args: argparse.Namespace) -> int:
    from cac.annotations import read_clips
    from cac.data.selection import select_clips
    from cac.drawing import dataset_sheet

    clips = select_clips(read_clips(args.data), args.clips)
    dataset_sheet(args.data, clips, args.out)
    print(f"wrote {args.out}: {', '.join(clip.clip_id for clip in clips)}")
    return 0


def _data_import(args: argparse.Namespace) -> int:
    from cac.data.exchange.importing import Import, import_dataset
    from cac.data.exchange.report import REPORT_NAME, print_report

    shares = (args.val_share, args.test_share)
    wanted = Import(args.format, args.source, args.videos, args.labels, args.out, *shares, args.rest_is_clean)
    print_report(import_dataset(wanted))
    print(f"made {args.out}; the report is {args.out / REPORT_NAME}. Next: cac data validate --data {args.out}")
    return 0


def _data_export(args: argparse.Namespace) -> int:
    from cac.data.exchange.exporting import export_dataset

    count = export_dataset(args.format, args.data, args.out)
    print(f"wrote {args.out}: the annotations of {count} clips. The videos are in {args.data / 'clips'}.")
    return 0


def _data_inject(args: argparse.Namespace) -> int:
    from cac.console import print_injection
    from cac.data.injection.batch import inject_folder
    from cac.data.injection.catalogue import INJECTABLE
    from cac.data.injection.settings import InjectionSettings

    leaves = tuple(name.strip() for name in args.leaves.split(",")) if args.leaves is not None else INJECTABLE
    settings = InjectionSettings(
        args.seed, args.pairs_per_clip, leaves, args.val_share, args.test_share, args.segment_seconds, args.size
    )
    report = inject_folder(args.folder, args.out, settings)
    print_injection(report, args.out)
    if report.pairs == 0:
        raise CacError(f"no pair could be made of {args.folder}; the table says why. Give it other videos.")
    return 0


def _data_leak_check(args: argparse.Namespace) -> int:
    from cac.console import print_leaks, write_json
    from cac.data.leak_check import leak_check

    result = leak_check(args.dataset)
    if args.out:
        write_json(args.out, result)
    print_leaks(result)
    return 0 if result.passed else EXIT_REFUSED


def _train(args: argparse.Namespace) -> int:
    from cac.params import load_params

    params = load_params(args.params)
    import_module(f"cac.training.{args.stage}").train(params, Path.cwd())
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    from cac.params import load_params
    from cac.registry.lineage import unchanged

    params = load_params(args.params)
    with unchanged(Path.cwd(), "evaluate"):
        import_module("cac.evaluation.evaluate").evaluate(params, Path.cwd())
    return 0


def _register(args: argparse.Namespace) -> int:
    from cac.console import write_json
    from cac.params import load_params
    from cac.registry.register import register

    registered = register(Path.cwd(), load_params(args.params))
    if args.out:
        write_json(args.out, registered)
    print(f"registered {registered.name} version {registered.version}")
    return 0


def _promote(args: argparse.Namespace) -> int:
    from cac.console import print_decision, write_json
    from cac.params import load_params
    from cac.registry.promote import promote

    decision = promote(
        load_params(args.params),
        args.version,
        remeasure_in=Path.cwd() if args.remeasure_champion else None,
        despite_rollback=args.despite_rollback,
        despite_veto=args.despite_veto,
    )
    if args.out:
        write_json(args.out, decision)
    print_decision(decision)
    return 0 if decision.passed else EXIT_REFUSED


def _rollback(args: argparse.Namespace) -> int:
    from cac.params import load_params
    from cac.registry.rollback import rollback

    record = rollback(load_params(args.params), args.reason)
    print(f"{record.model_name} version {record.restored} is the champion again; version {record.version} stepped down")
    return 0


def _veto(args: argparse.Namespace) -> int:
    from cac.params import load_params
    from cac.registry.veto import veto

    record = veto(load_params(args.params), args.version, args.reason)
    print(f"{record.model_name} version {record.version} stays registered, and the gate will refuse it")
    return 0


def _registry(args: argparse.Namespace) -> int:
    from cac.console import print_versions
    from cac.params import load_params
    from cac.registry.listing import list_versions

    print_versions(list_versions(load_params(args.params)), as_json=args.json)
    return 0


def _model_card(args: argparse.Namespace) -> int:
    from cac.layout import DATASET
    from cac.params import load_params
    from cac.registry.candidate import read_facts
    from cac.registry.card_files import PAGE, write_card

    write_card(read_facts(Path.cwd(), load_params(args.params)), Path.cwd() / DATASET, args.out)
    print(f"wrote {args.out / PAGE}, and the same as Markdown")
    return 0


def _reproduce(args: argparse.Namespace) -> int:
    """Become `flows.reproduce`, which runs DVC; nothing of it is known here but its name."""
    import os

    if not Path("flows", "reproduce.py").is_file():
        raise CacError(f"no flows/reproduce.py in {Path.cwd()}. Run from the project's root.")
    options = [option for option, given in (("--use-cache", args.use_cache), ("--keep", args.keep)) if given]
    os.execv(sys.executable, [sys.executable, "-m", "flows.reproduce", *options, "--", args.version])


def _score(args: argparse.Namespace) -> int:
    if args.overlay and len(args.videos) != 1:
        raise CacError(f"--overlay draws one video, but {len(args.videos)} were given. Score them one at a time.")
    from cac.console import print_scores
    from cac.scoring import Scored, draw_overlay, load_model, score_files

    results = list(score_files(load_model(args.model, args.package), args.videos))
    print_scores(results, as_json=args.json)
    scored = [result for result in results if isinstance(result, Scored)]
    if args.overlay and scored:
        draw_overlay(scored[0], args.overlay)
    return 0 if len(scored) == len(results) else EXIT_MISTAKE


def _summary(args: argparse.Namespace) -> int:
    from cac.console import print_summary

    print_summary(Path.cwd())
    return 0


if __name__ == "__main__":
    sys.exit(main())
