"""The Python code of the how-to pages runs; the tests supply the names that a page leaves to its reader."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.markdown import blocks
from helpers.rl_clips import BRIGHT, DARK, frozen, moving

from cac.video.encode import encode

PAGES = Path(__file__).parents[2] / "docs" / "how-to"


def run_page(name: str, **yours: Any) -> dict[str, Any]:
    """Execute a page's Python blocks in order in one namespace, and return the namespace."""
    found = blocks(PAGES / name, "python")
    assert found
    for block in found:
        exec(compile(block, name, "exec"), yours)
    return yours


@pytest.fixture(autouse=True)
def outside_the_project(store: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_best_of_n_page_keeps_the_clean_clip_that_moves(tmp_path: Path) -> None:
    clips = {"a": moving(BRIGHT), "b": frozen(moving(DARK)), "c": moving(DARK), "d": moving(BRIGHT, seed=2)}
    for name, clip in clips.items():
        encode(tmp_path / f"{name}.mp4", clip.frames, clip.fps)
    assert run_page("best-of-n.md")["ranking"].best == 2


def test_the_diffusion_page_rewards_the_clean_clip_most(tmp_path: Path) -> None:
    clips = [moving(DARK), moving(BRIGHT)]
    videos = torch.from_numpy(np.stack([clip.frames for clip in clips])).permute(0, 1, 4, 2, 3) / 255
    encode(tmp_path / "0.mp4", clips[0].frames, 8)
    after = run_page(
        "reward-in-diffusion-rl.md", untrained=clips, videos=videos, prompts=["p", "q"], path=tmp_path / "0.mp4"
    )
    assert after["scores"]["avg"][0] > after["scores"]["avg"][1]
    assert after["rewards"][0] == pytest.approx(float(after["scores"]["avg"][0]), abs=0.05)


def test_the_trl_page_trains_a_policy(policy: tuple[Any, Any]) -> None:
    from datasets import Dataset

    model, tokenizer = policy
    yours = {"film": lambda prompt, completion: moving(DARK), "dataset": Dataset.from_list([{"prompt": "a ball"}] * 4)}
    after = run_page("reward-in-trl.md", policy=model, tokenizer=tokenizer, **yours)
    assert after["trainer"].state.global_step == 2
    assert after["rewarder"].monitor.last.motion > 0
