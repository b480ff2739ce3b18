"""A part of a clip as a clip of its own, for training and for fitting scores; a manifest has whole clips only."""

from cac.schema.annotations import Anomaly, Clip, Distractor, FrameBox
from cac.schema.geometry import Window, cut_windows


class ClipSegment(Clip):
    """Consecutive frames of a clip. Its path is the whole clip's file, and its times start at 0."""

    first_frame: int

    @property
    def span(self) -> range:
        """The indices of its frames in the file."""
        return range(self.first_frame, self.first_frame + self.frame_count)


def cut_clip(clip: Clip, span: range) -> ClipSegment:
    """Return the frames `span` of a clip whose windows are all known, with what of its annotations lies in them."""
    start, seconds = span.start / clip.fps, len(span) / clip.fps
    distractors = [(one, _inside(one.window, start, seconds)) for one in clip.distractors]
    changes = {
        "clip_id": f"{clip.clip_id}@{span.start}",
        "frame_count": len(span),
        "first_frame": span.start,
        "anomalies": tuple(one for anomaly in clip.anomalies if (one := _cut_anomaly(anomaly, clip, span))),
        "distractors": tuple(Distractor(name=one.name, window=window) for one, window in distractors if window),
    }
    return ClipSegment.model_construct(**{name: getattr(clip, name) for name in Clip.model_fields} | changes)


def _cut_anomaly(anomaly: Anomaly, clip: Clip, span: range) -> Anomaly | None:
    """Return the part of an anomaly that lies in the segment, or None."""
    if anomaly.window is None or not any(frame in span for frame in clip.frames_of(anomaly)):
        return None
    window = _inside(anomaly.window, span.start / clip.fps, len(span) / clip.fps)
    shown = [box for box in anomaly.boxes if box.frame in span]
    boxes = tuple(FrameBox(frame=box.frame - span.start, box=box.box) for box in shown)
    return anomaly.model_copy(update={"window": window, "boxes": boxes}) if window else None


def _inside(window: Window, start: float, seconds: float) -> Window | None:
    """Return the part of a window inside a segment, from the segment's start; None if there is none."""
    cut = cut_windows([(window[0] - start, window[1] - start)], seconds)
    return (round(cut[0][0], 6), round(cut[0][1], 6)) if cut else None
