"""The ceiling: what perfectly right answers would reach, given the frames that are shown.

Frames of a clip are looked at, not all of them, and answers give whole percents. So even right answers miss a part of
a window or of a box, with one look more than with two. Each method is best read against its own ceiling.
"""

from collections.abc import Mapping, Sequence

from cac.evaluation.facts import clip_facts
from cac.evaluation.metrics import point_values
from cac.params import Frames
from cac.schema.annotations import Clip
from cac.schema.dialogue import Scan, parse_look, write_look, written_windows
from cac.schema.judgement import Judgement, ShownFrames, combine_turns
from cac.training.samples import true_look, true_scan
from cac.video.sampling import dense_indices, spread_indices
from cac.video.views import View

PERFECT_ANSWERS = "perfect_answers"  # the row of the ceiling
LIMITED_BY_FRAMES = ("temporal_iou", "spatial_iou")  # metrics to read against the ceiling
_CERTAIN = 10.0  # log odds


def perfect_judgements(clips: Sequence[Clip], frames: Frames) -> list[Judgement]:
    """Return the judgement that right answers in both turns give of each clip; no clip is decoded."""
    return [_perfect_judgement(clip, frames) for clip in clips]


def ceiling(clips: Sequence[Clip], frames: Frames) -> dict[str, float | None]:
    """Return `LIMITED_BY_FRAMES` of perfect answers about the clips; None where they are undefined."""
    judgements = perfect_judgements(clips, frames)
    values = point_values(clip_facts(clips, judgements, [float(one.verdict == "clean") for one in judgements]))
    return {name: values[name] for name in LIMITED_BY_FRAMES}


def relative_to_ceiling(
    values: Mapping[str, float | None], highest: Mapping[str, float | None]
) -> dict[str, float | None]:
    """Return `LIMITED_BY_FRAMES` as shares of the ceiling; None where one is undefined or the ceiling is 0."""
    return {name: _share(values.get(name), highest.get(name)) for name in LIMITED_BY_FRAMES}


def _share(value: float | None, highest: float | None) -> float | None:
    return None if value is None or not highest else value / highest


def _perfect_judgement(clip: Clip, frames: Frames) -> Judgement:
    if frames.looks == 1:
        scan = Scan((), ())
        coarse: list[int] = []
        indices = spread_indices(clip.frame_count, frames.coarse_count + frames.dense_count)
    else:
        coarse = spread_indices(clip.frame_count, frames.coarse_count)
        scan = true_scan(clip, _view(clip, coarse))
        scan = Scan(scan.odd, tuple(written_windows(scan)))
        indices = dense_indices(scan.windows, clip.frame_count, clip.fps, frames.dense_count)
    view = _view(clip, indices)
    text = write_look(true_look(clip, view))
    look = parse_look(text)
    assert look is not None, "the true answer is in the grammar"
    return combine_turns(
        scan,
        look,
        shown=ShownFrames(tuple(view.times), 1 / clip.fps, clip.duration),
        margin=_CERTAIN if look.verdict == "clean" else -_CERTAIN,
        frames_seen=len({*coarse, *indices}),
        texts=("", text),
    )


def _view(clip: Clip, indices: list[int]) -> View:
    """Return frames of a clip without their pictures."""
    return View(indices, [index / clip.fps for index in indices], [])
