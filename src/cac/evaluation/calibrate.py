"""Fit the calibration of a row's scores on val: the score on segments, the threshold of the verdict on whole clips."""

from collections.abc import Sequence

from cac.frames import Frames
from cac.model.calibration import Calibration, fit_calibration, fit_threshold
from cac.schema.annotations import Clip
from cac.schema.judgement import Judgement
from cac.video.segments import clip_segments


def calibrate(judgements: Sequence[Judgement], clips: Sequence[Clip], frames: Frames) -> Calibration:
    """Return the calibration that predicts best which segments are clean, with its threshold for whole clips.

    A judgement that has one margin for a clip of several segments (an unreadable one, a baseline's) says nothing of
    any of them and is not fitted on, unless that holds for all.

    Args:
        judgements: of val, aligned with the clips.
        clips: of val.
        frames: the settings, which say how clips are cut.

    Raises:
        CacError: there is no clip, or a margin is not finite.
    """
    rows = zip(judgements, clips, strict=True)
    pairs = [pair for judgement, clip in rows for pair in _by_segment(judgement, clip, frames)]
    if not pairs:
        pairs = [(one.margin, clip.is_clean) for one, clip in zip(judgements, clips, strict=True)]
    calibration = fit_calibration([margin for margin, _ in pairs], [is_clean for _, is_clean in pairs])
    scores = [calibration.probability(judgement) for judgement in judgements]
    return fit_threshold(calibration, scores, [clip.is_clean for clip in clips])


def _by_segment(judgement: Judgement, clip: Clip, frames: Frames) -> list[tuple[float, bool]]:
    segments = clip_segments(clip, frames)
    if len(segments) != len(judgement.margins):
        return []
    return [(margin, one.is_clean) for margin, one in zip(judgement.margins, segments, strict=True)]
