"""The ceiling: what perfectly right answers would reach, given the frames that are shown.

Frames of a clip are looked at, not all of them, and answers give whole percents. So even right answers miss a part of
a window or of a box, with one look more than with two. Each method is best read against its own ceiling. Where nobody
annotated boxes, a right answer has windows and none of them; where nobody annotated a window, any is right.
"""

from collections.abc import Sequence
from dataclasses import replace

from cac.frames import Frames
from cac.schema.annotations import Clip
from cac.schema.clip_segment import ClipSegment
from cac.schema.dialogue import (
    Look,
    Scan,
    parse_look,
    parse_yes_no,
    write_look,
    written_windows,
    yes_no_reply,
)
from cac.schema.judgement import Judgement, ShownFrames, combine_turns
from cac.schema.merge import merge_judgements
from cac.training.samples import true_look, true_scan
from cac.video.sampling import coarse_indices, even_times, look_indices, only_indices
from cac.video.segments import clip_segments
from cac.video.views import View

PERFECT_ANSWERS = "perfect_answers"  # the row of the ceiling
_CERTAIN = 10.0  # log odds


def perfect_judgements(clips: Sequence[Clip], frames: Frames) -> list[Judgement]:
    """Return the judgement that right answers in both turns give of each clip; no clip is decoded."""
    return [_perfect_whole(_with_windows(clip), frames) for clip in clips]


def _perfect_whole(clip: Clip, frames: Frames) -> Judgement:
    segments = clip_segments(clip, frames)
    starts = [one.first_frame / one.fps if isinstance(one, ClipSegment) else 0.0 for one in segments]
    return merge_judgements([_perfect_judgement(one, frames) for one in segments], starts)


def _with_windows(clip: Clip) -> Clip:
    """Return the clip with the whole of it in place of windows that nobody annotated."""
    if clip.has_all_windows:
        return clip
    whole = (0.0, clip.duration)
    known = tuple(one.model_copy(update={"window": one.window or whole}) for one in clip.anomalies)
    return clip.model_copy(update={"anomalies": known})


def _perfect_judgement(clip: Clip, frames: Frames) -> Judgement:
    if frames.looks < 2:
        scan = Scan((), ())
        coarse: list[int] = []
        indices = only_indices(clip.frame_count, clip.duration, frames)
    else:
        coarse = coarse_indices(clip.frame_count, clip.duration, frames)
        scan = true_scan(clip, _view(clip, coarse))
        scan = Scan(scan.odd, tuple(written_windows(scan)))
        indices = look_indices(scan.windows, even_times(clip.frame_count, clip.fps), clip.duration, frames)
    view = _view(clip, indices)
    look, text = _perfect_answer(clip, view, frames)
    judgement = combine_turns(
        scan,
        look,
        shown=ShownFrames(tuple(view.times), 1 / clip.fps, clip.duration),
        margin=_CERTAIN if look.verdict == "clean" else -_CERTAIN,
        frames_seen=len({*coarse, *indices}),
        texts=("", text),
    )
    if not judgement.findings:  # a yes or a no says nothing of frames
        return judgement
    pairs = zip(judgement.findings, indices, strict=True)
    return replace(judgement, findings=tuple(one if clip.boxes_at(i) else replace(one, box=None) for one, i in pairs))


def _perfect_answer(clip: Clip, view: View, frames: Frames) -> tuple[Look, str]:
    if frames.looks == 0:
        text = yes_no_reply("clean" if clip.is_clean else "anomalous")["content"][0]["text"]
        look = parse_yes_no(text)
    else:
        text = write_look(true_look(clip, view))
        look = parse_look(text)
    assert look is not None, "the true answer is in the grammar"
    return look, text


def _view(clip: Clip, indices: list[int]) -> View:
    """Return frames of a clip without their pictures."""
    return View(indices, [index / clip.fps for index in indices], [])
