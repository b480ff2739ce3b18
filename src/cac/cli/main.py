"""`cac VERB`: parses the arguments, runs the verb, and turns errors into messages and exit codes.

Every verb imports what it needs when it runs, so that `cac --help` answers at once.
Exit codes: 0 success; 2 a mistake that the user can fix; 3 the gate refused the candidate, or the leak check failed;
4 something needs attention (`cac status --exit-code`); 130 interrupted. Any other exception is a bug and keeps its
traceback.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

from cac.cli.data import add_data_verbs
from cac.cli.evaluate_on import add_benchmark_verb
from cac.cli.monitoring import add_drift_verbs
from cac.cli.plan import add_plan_verb
from cac.cli.registry import add_registry_verbs
from cac.cli.scoring import DEFAULT_MODEL, add_serving_verbs
from cac.cli.status import add_status_verb
from cac.errors import EXIT_INTERRUPTED, EXIT_MISTAKE, CacError
from cac.paths import TRAINING_STAGES

_RESTARTS = "Finished work is kept; run the same command again to redo the rest."
_RESUMES = "The checkpoints so far are kept; run the same command again to resume from the last one."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    args = build_parser().parse_args(argv)
    # Transformers 5.23 renamed an argument that PEFT and TRL still set, and warns about it.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
    try:
        result: int = args.run(args)
        return result
    except CacError as error:
        from cac.cli.console import print_error

        print_error(str(error))
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        print(f"Interrupted. {args.kept}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        if not (explanation := _explain(error)):
            raise
        from cac.cli.console import print_error

        print_error(explanation)
        return EXIT_MISTAKE


def _explain(error: Exception) -> str | None:
    """Return a message if the cause is the environment, not a bug: a full disk or an unreachable server."""
    from cac.io.disk_full import explain_full_disk
    from cac.tracking.mlflow_unreachable import explain_unreachable

    return explain_full_disk(error) or explain_unreachable(error)


class _Version(argparse.Action):
    """Prints the installed version; reads the package's metadata only when asked."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, default=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"cac {version('cac-reward-model')}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; each verb sets `run`, its function, and `kept`, the message after an interruption."""
    parser = argparse.ArgumentParser(prog="cac", description="CaC: a coarse-to-fine anomaly reward model for video.")
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), metavar="FILE", help="settings (default: params.yaml)"
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    summary = "build, import, export, version, validate or view datasets"
    data = verbs.add_parser("data", help=summary, description="Work on datasets.")
    add_data_verbs(partial(_add_verb, data.add_subparsers(metavar="VERB", required=True)))
    train = _add_verb(verbs, "train", _train, "train one stage", _RESUMES)
    train.add_argument("stage", choices=TRAINING_STAGES, metavar="STAGE", help=", ".join(TRAINING_STAGES))
    add_plan_verb(partial(_add_verb, verbs))
    _add_verb(verbs, "evaluate", _evaluate, "evaluate every checkpoint and the baselines, and write the report")
    add_benchmark_verb(partial(_add_verb, verbs))
    add_registry_verbs(partial(_add_verb, verbs))
    _add_score_verb(verbs)
    add_serving_verbs(partial(_add_verb, verbs))
    _add_ablate_verbs(verbs)
    _add_params_verbs(verbs)
    drift = verbs.add_parser("drift", help="check recent clips for drift", description="Monitor production.")
    add_drift_verbs(partial(_add_verb, drift.add_subparsers(metavar="VERB", required=True)))
    add_status_verb(partial(_add_verb, verbs))
    _add_verb(verbs, "summary", _summary, "show the metrics of every checkpoint and baseline, and the next steps")
    return parser


def _add_verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    kept: str = _RESTARTS,
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    verb.set_defaults(run=run, kept=kept)
    return verb


def _add_score_verb(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    score = _add_verb(verbs, "score", _score, "score videos with the registered model")
    score.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    source = score.add_mutually_exclusive_group()
    source.add_argument("--model", metavar="URI", help=f"an MLflow model (default: {DEFAULT_MODEL})")
    source.add_argument(
        "--package", type=Path, metavar="DIR", help="a model package in a folder, instead of a registered model"
    )
    score.add_argument("--json", action="store_true", help="print one JSON object per video")
    score.add_argument(
        "--overlay", type=Path, metavar="MP4", help="write the video with windows and boxes drawn; for one video only"
    )


def _add_ablate_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    ablate = verbs.add_parser(
        "ablate", help="measure what each part of the method contributes", description="Train variants of the method."
    )
    ablate_verbs = ablate.add_subparsers(metavar="VERB", required=True)
    run = _add_verb(ablate_verbs, "run", _ablate_run, "train one variant and measure it on val", _RESUMES)
    run.add_argument("variant", metavar="VARIANT", help="a variant of ablations/dvc.yaml")
    run.add_argument("--seed", type=int, required=True, metavar="N")
    run.add_argument("--out", type=Path, required=True, metavar="FILE", help="the metrics, as JSON")
    table = _add_verb(ablate_verbs, "table", _ablate_table, "write one table of the results of all variants")
    table.add_argument("results", type=Path, metavar="DIR", help="the folder of results")
    table.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for table.md and table.png")


def _add_params_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    params = verbs.add_parser("params", help="change settings", description="Work on the settings.")
    apply = _add_verb(
        params.add_subparsers(metavar="VERB", required=True),
        "apply",
        _apply,
        "write the values of an overlay into params.yaml",
    )
    apply.add_argument("overlay", type=Path, metavar="OVERLAY", help="a YAML file of settings, for example from conf/")


def _apply(args: argparse.Namespace) -> int:
    from cac.params_overlay import apply_overlay

    changes = apply_overlay(args.params, args.overlay)
    for change in changes:
        print(f"{change.key}: {change.before} -> {change.after}")
    print(f"{len(changes)} settings of {args.params} changed; `dvc status` shows the stages to rerun")
    return 0


def _ablate_run(args: argparse.Namespace) -> int:
    from tempfile import TemporaryDirectory

    from cac.ablation.variants import VARIANTS
    from cac.cli.outputs import JSON, check_file
    from cac.io.aside import write_text
    from cac.params import load_params
    from cac.training.required_inputs import check_dataset

    check_file("--out", args.out, JSON)
    params = load_params(args.params)
    if args.variant not in VARIANTS:
        raise CacError(f"no variant {args.variant!r}; there are: {', '.join(VARIANTS)}.")
    check_dataset(Path.cwd(), "train", "val")
    with TemporaryDirectory(prefix="cac-ablate-") as scratch:
        result = Path(scratch) / "result.json"
        import_module("cac.ablation.run").run_variant(params, args.variant, args.seed, Path.cwd(), result)
        write_text(args.out, result.read_text(encoding="utf-8"))
    return 0


def _ablate_table(args: argparse.Namespace) -> int:
    from cac.cli.outputs import check_place

    check_place("--out", args.out / "table.md")
    import_module("cac.ablation.table").write_table(args.results, args.out)
    return 0


def _train(args: argparse.Namespace) -> int:
    from cac.params import load_params

    params = load_params(args.params)
    import_module("cac.training.required_inputs").check_inputs(Path.cwd(), args.stage)
    launcher = import_module("cac.training.launch")
    if params.compute.accelerate and not launcher.is_launched():
        result: int = launcher.launch(
            Path(params.compute.accelerate), ["--params", str(args.params), "train", args.stage]
        )
        return result
    import_module(f"cac.training.{args.stage}").train(params, Path.cwd())
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    from cac.params import load_params
    from cac.tracking.lineage import guard_inputs

    params = load_params(args.params)
    with guard_inputs(Path.cwd(), "evaluate"):
        import_module("cac.evaluation.evaluate").evaluate(params, Path.cwd())
    return 0


def _score(args: argparse.Namespace) -> int:
    if args.overlay:
        _check_overlay(args.overlay, args.videos)
    from cac.batch.score_files import Scored, draw_overlay, score_files
    from cac.cli.scores import print_scores
    from cac.registry.model_uri import default_model_uri
    from cac.registry.pinned import open_model, pin_package

    pinned = pin_package(args.package) if args.package else open_model(args.model or default_model_uri(args.params))
    results = list(score_files(pinned, args.videos))
    print_scores(results, as_json=args.json)
    scored = [result for result in results if isinstance(result, Scored)]
    if args.overlay and scored:
        draw_overlay(scored[0], args.overlay)
    return 0 if len(scored) == len(results) else EXIT_MISTAKE


def _check_overlay(overlay: Path, videos: Sequence[Path]) -> None:
    """Refuse an overlay that could not be written, or that would replace a video, before anything is scored."""
    from cac.cli.outputs import check_file
    from cac.video.overlay import VIDEO_SUFFIXES

    if len(videos) != 1:
        raise CacError(f"--overlay draws one video, but {len(videos)} were given. Score one video at a time.")
    check_file("--overlay", overlay, VIDEO_SUFFIXES)
    if overlay.resolve() == videos[0].resolve():
        raise CacError(f"--overlay {overlay} would overwrite the video itself. Choose another file.")
    if overlay.exists():
        raise CacError(f"--overlay {overlay} exists, and could be a video that you need. Choose another file.")


def _summary(args: argparse.Namespace) -> int:
    from cac.cli.summary import print_summary

    print_summary(Path.cwd())
    return 0


if __name__ == "__main__":
    sys.exit(main())
