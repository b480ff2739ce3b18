import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.rl.downstream.experiment import (
    WITH_MOTION,
    WITHOUT_MOTION,
    Run,
    Setup,
    load_generator,
    run_experiment,
    select_candidates,
)
from cac.rl.downstream.generator import ClipGenerator
from cac.rl.downstream.grpo import Training
from cac.rl.downstream.pictures import draw_clips, draw_curves
from cac.rl.downstream.summary import MEASURED, summarise, table

pytestmark = pytest.mark.slow

TINY = Setup(Training(updates=1, prompts=2, group=2), prompts=2, candidates=2, reference_clips=5)
RUN = Run(WITH_MOTION, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pinned):
    """Two finished runs."""
    folder = tmp_path_factory.mktemp("runs")
    for run in (RUN, Run(WITHOUT_MOTION, 0)):
        run_experiment(run, TINY, pinned, folder, lambda line: None)
    return folder


def test_a_finished_run_is_kept_until_what_it_follows_from_changes(folder, pinned):
    said: list[str] = []
    file = folder / "motion-0.json"
    before = file.read_bytes()
    result = run_experiment(RUN, TINY, pinned, folder, said.append)
    assert said == ["motion-0: already finished"]
    assert result == json.loads(before)
    file.write_text(file.read_text().replace(pinned.source, "models:/another/7"))
    run_experiment(RUN, TINY, pinned, folder, said.append)
    assert len(said) == 2
    assert "update 1: reward" in said[1]
    assert file.read_bytes() == before, "made anew, it is the same to the byte"


def test_a_run_without_its_weights_is_not_finished(folder, pinned):
    weights = folder / "motion-0.safetensors"
    before = weights.read_bytes()
    weights.unlink()
    run_experiment(RUN, TINY, pinned, folder, lambda line: None)
    assert weights.read_bytes() == before


def test_the_trained_generator_is_another_than_the_untrained_and_can_be_drawn(folder, tmp_path):
    generators = {"untrained": ClipGenerator(0), "trained": load_generator(RUN, folder)}
    assert (generators["trained"].out.weight != generators["untrained"].out.weight).any()
    results = {
        run.arm: [json.loads((folder / f"{run.name}.json").read_text())] for run in (RUN, Run(WITHOUT_MOTION, 0))
    }
    for name in ("one", "two"):
        draw_clips(generators, 2, tmp_path / f"{name}-clips.png")
        draw_curves(results, tmp_path / f"{name}-curves.png")
    for kind in ("clips", "curves"):
        assert (tmp_path / f"one-{kind}.png").read_bytes() == (tmp_path / f"two-{kind}.png").read_bytes()


def columns(rate: float, prompts: int, **others: float):
    """A measurement in which every prompt's clips have the same mean."""
    return {name: [[others.get(name, 1.0)] * 4] * prompts for name in MEASURED} | {"anomalous": [[rate] * 4] * prompts}


def result(before: float, after: float, moved: float, prompts: int = 5):
    first, last = columns(before, prompts), columns(after, prompts, motion=moved, clean_motion=moved)
    return {"before": {"columns": first}, "after": {"columns": last}, "best": None}


def test_the_summary_holds_falls_and_motion_against_the_bars():
    good = summarise({WITH_MOTION: [result(0.5, 0.25, 0.95), result(0.5, 0.2, 1.0)]})
    compared = good["comparisons"]["rl"]
    assert compared["fall"] == {"value": 0.55, "low": 0.5, "high": 0.6, "by_seed": [0.5, 0.6]}
    assert compared["motion_change"]["value"] == -0.025
    assert good["bars"] == {"rl_fall": True, "rl_motion": True}
    still = summarise({WITH_MOTION: [result(0.5, 0.0, 0.1)]})
    assert still["bars"] == {"rl_fall": True, "rl_motion": False}
    assert summarise({WITH_MOTION: [result(0.5, 0.4, 1.0)]})["bars"]["rl_fall"] is False
    by_luck = [result(0.5, 0.0, 1.0), result(0.5, 0.6, 1.0), result(0.5, 0.4, 1.0)]
    assert summarise({WITH_MOTION: by_luck})["bars"]["rl_fall"] is False, "the interval holds zero"
    assert "50%, 60%" in table(good)


def test_motion_that_anomalies_hid_is_no_change():
    before = columns(0.5, 3, motion=0.5)
    runs = [{"before": {"columns": before}, "after": {"columns": columns(0.0, 3)}, "best": None}]
    summary = summarise({WITH_MOTION: runs})
    assert summary["comparisons"]["rl"]["motion_change"]["value"] == 1.0
    assert summary["comparisons"]["rl"]["clean_motion_change"]["value"] == 0.0
    assert summary["bars"]["rl_motion"]


def test_best_of_n_is_the_picked_candidates_alone():
    before = columns(0.5, 2) | {"anomalous": [[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]]}
    assert select_candidates(before, [1, 1])["anomalous"] == [[0.0], [1.0]]
    runs = [{**result(0.5, 0.5, 1.0, 2), "before": {"columns": before}, "best": [1, 0]}]
    assert summarise({WITH_MOTION: runs})["comparisons"]["best"]["fall"]["value"] == 1.0


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.floats(0.1, 1), st.floats(0, 1)), min_size=1, max_size=4), st.integers(2, 9))
def test_an_interval_holds_its_value_where_all_prompts_are_alike(rates, prompts):
    fall = summarise({WITH_MOTION: [result(*rate, 1.0, prompts) for rate in rates]})["comparisons"]["rl"]["fall"]
    assert fall["low"] - 1e-6 <= fall["value"] <= fall["high"] + 1e-6
    assert np.isclose(min(fall["by_seed"]), fall["low"]) or len(rates) > 2


def test_the_bars_need_runs():
    assert summarise({WITH_MOTION: [], WITHOUT_MOTION: []}) == {"comparisons": {}, "bars": {}}
    assert replace(TINY, prompts=3) != TINY
