"""Measures the val clips, on which scores are calibrated, so that a registered model can tell unlike clips."""

import json
from pathlib import Path

from cac.model.familiarity import MIN_CLIPS, Familiarity, fit_familiarity
from cac.model.reward_model import load_reward_model
from cac.params import Params
from cac.paths import DATASET, FAMILIARITY
from cac.schema.annotations import read_clips
from cac.video.clip_store import ClipStore

_MAX_CLIPS = 400  # spread over val; more do not change the ranges


def write_familiarity(root: Path, params: Params, adapter: Path) -> None:
    """Measure the val clips with a checkpoint's vision tower and write `evaluation/familiarity.json`.

    Clips are read one by one. A split of fewer than `MIN_CLIPS` gives no file: nobody can say then what is unlike it.
    """
    clips, store = read_clips(root / DATASET, "val"), ClipStore(root / DATASET)
    if len(clips) < MIN_CLIPS:
        return
    model = load_reward_model(adapter, params)
    chosen = clips[:: -(-len(clips) // _MAX_CLIPS)]
    traits = [model.traits([store.video(clip)])[0] for clip in chosen]
    text = json.dumps(fit_familiarity(traits).to_dict(), sort_keys=True)
    (root / FAMILIARITY).write_text(text + "\n", encoding="utf-8")


def read_familiarity(root: Path) -> Familiarity | None:
    """Return what the last evaluation under `root` measured; None if it had too few clips."""
    file = root / FAMILIARITY
    return Familiarity.from_dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None
