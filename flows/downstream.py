"""The downstream experiment as a Prefect flow: one task per run, and one for the summary.

The reward model is resolved to a version once, before all runs. Finished runs are files in `reports/downstream/runs/`
and are not repeated; nothing else is cached.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed, State
from prefect.utilities.annotations import quote

from cac.errors import CacError
from cac.registry.pinned import PinnedModel, pin
from cac.rl.downstream.experiment import WITH_MOTION, Result, Run, Setup, load_generator, run_experiment
from cac.rl.downstream.generator import ClipGenerator
from cac.rl.downstream.pictures import draw_clips, draw_curves
from cac.rl.downstream.summary import summarise, table

FOLDER = Path("reports/downstream")
RUNS = FOLDER / "runs"
_SHEET_PROMPTS = 6


@flow(name="downstream", persist_result=False, validate_parameters=False)
def downstream(uri: str, setup: Setup, runs: Sequence[Run]) -> State:
    """Do the missing runs with the registered model at `uri`, and summarise all runs."""
    try:
        pinned = pin(uri)
    except CacError as error:
        return Failed(message=str(error))
    results: dict[str, list[Result]] = {run.arm: [] for run in runs}
    for run in runs:
        state = do_run.with_options(task_run_name=run.name)(run, setup, quote(pinned), return_state=True)
        if not state.is_completed():
            return state
        results[run.arm].append(state.result())
    return sum_up(quote(results), runs, pinned.source, return_state=True)


@task(cache_policy=NO_CACHE, persist_result=False)
def do_run(run: Run, setup: Setup, pinned: PinnedModel) -> Result:
    """Do a run, or read its result if it is finished."""
    return run_experiment(run, setup, pinned, RUNS, get_run_logger().info)


@task(task_run_name="summary", cache_policy=NO_CACHE, persist_result=False)
def sum_up(results: dict[str, list[Result]], runs: Sequence[Run], source: str) -> State:
    """Write `summary.json`, `table.md` and the pictures."""
    summary = {"reward_model": source, **summarise(results)}
    text = table(summary)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "summary.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (FOLDER / "table.md").write_text(text, encoding="utf-8")
    draw_curves(results, FOLDER / "curves.png")
    draw_clips(_generators(runs), _SHEET_PROMPTS, FOLDER / "clips.png")
    create_markdown_artifact(text, key="downstream", description=f"The reward model {source} as a generator's reward")
    return Completed(message=f"{text}\nreward model {source}; bars: {summary['bars']}; pictures in {FOLDER}")


def _generators(runs: Sequence[Run]) -> dict[str, ClipGenerator]:
    """Return the generators to show side by side, by title: the first of each arm."""
    shown = {"untrained": ClipGenerator(0)}
    for run in runs:
        title = "trained" if run.arm == WITH_MOTION else "trained without the motion term"
        shown.setdefault(title, load_generator(run, RUNS))
    return shown
