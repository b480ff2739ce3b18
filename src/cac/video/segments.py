"""Long clips in overlapping segments, each short enough to be shown at the settings' rate.

A model sees a segment as a clip of its own: it is trained on segments and judges segments. The judgements of a clip's
segments are merged in `schema/merge.py`. Without a `coarse_rate` a clip of any length is one segment.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence

from cac.frames import Frames
from cac.schema.annotations import Clip
from cac.schema.clip_segment import ClipSegment, cut_clip
from cac.schema.geometry import total_length
from cac.video.decode import AnyVideo, VideoSegment
from cac.video.sampling import coarse_indices, even_times

_TOLERANCE = 1e-6  # seconds


def segment_spans(times: Sequence[float], duration: float, frames: Frames) -> list[range]:
    """Return the frames of each segment of a clip: as few segments as cover it, of one length, evenly spread.

    Neighbours share at least `frames.overlap` seconds, so that an anomaly of up to that length is whole in one of them.

    Args:
        times: of the clip's frames in seconds, sorted.
        duration: of the clip in seconds.
        frames: the settings.
    """
    longest = frames.segment_seconds
    if longest is None or duration <= longest + _TOLERANCE:
        return [range(len(times))]
    count = math.ceil((duration - frames.overlap) / (longest - frames.overlap) - _TOLERANCE)
    starts = [number * (duration - longest) / (count - 1) for number in range(count)]
    spans = [range(_first_from(times, start), _first_from(times, start + longest)) for start in starts]
    # Where frames are further apart than a segment is long, some segments have none.
    return list(dict.fromkeys(span for span in spans if span))


def _first_from(times: Sequence[float], time: float) -> int:
    return bisect_left(times, time - _TOLERANCE)


def chance_shown(window: float, duration: float, fps: float, frames: Frames) -> float:
    """Return the share of the places where a window of a clip may lie that have a coarse frame of the scan in it.

    Args:
        window: its length in seconds, below the clip's.
        duration: of the clip in seconds.
        fps: frames a second of the clip.
        frames: the settings.
    """
    times = even_times(max(1, round(duration * fps)), fps)
    spans = segment_spans(times, duration, frames)
    shown = {
        times[span.start + index] for span in spans for index in coarse_indices(len(span), len(span) / fps, frames)
    }
    # A window that starts in (time - window, time] holds the frame at that time.
    starts = [(max(0.0, time - window), min(time, duration - window)) for time in shown]
    return min(1.0, total_length([one for one in starts if one[0] < one[1]]) / (duration - window))


def cut_video(video: AnyVideo, frames: Frames) -> list[AnyVideo]:
    """Return the segments of a video; one that needs no cut is its own."""
    spans = segment_spans(video.times, video.duration, frames)
    if len(spans) == 1 or isinstance(video, VideoSegment):
        return [video]
    return [VideoSegment(video, span) for span in spans]


def clip_segments(clip: Clip, frames: Frames) -> list[Clip]:
    """Return the segments of a clip as clips with the annotations that lie in them; one that needs no cut is its own.

    A clip is cut where its video is, frame by frame. Which segments of a clip show an anomaly without a window is not
    known, so such a clip has no segments unless it needs no cut.
    """
    spans = segment_spans(even_times(clip.frame_count, clip.fps), clip.duration, frames)
    if len(spans) == 1 or isinstance(clip, ClipSegment):
        return [clip]
    return [cut_clip(clip, span) for span in spans] if clip.has_all_windows else []
