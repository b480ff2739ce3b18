"""A frame-level judge of clips: the dialogue of single_frame_sft about one frame at a time.

Each of the frames that one look shows, as many as two looks show together, is judged without the others. A clip is as
suspicious as its most suspicious frame: its margin is the lowest of its frames. Windows are around the frames that have
a box, as after any look; the leaf is that of the most suspicious of them. It sees no motion, and no training of its own
teaches it how to combine frames.
"""

from collections.abc import Sequence

from cac.model.reward_model import Answer, RewardModel
from cac.schema.dialogue import Look, Scan, parse_look, write_look
from cac.schema.judgement import Judgement, ShownFrames, combine_turns
from cac.video.decode import AnyVideo
from cac.video.views import View, only_view


class FrameJudge:
    """Judges clips frame by frame with a reward model."""

    def __init__(self, model: RewardModel) -> None:
        self.model = model

    def judge(self, videos: Sequence[AnyVideo], batch_size: int = 32) -> list[Judgement]:
        """Judge videos, in their order; `batch_size` counts frames."""
        return [self._judge(video, batch_size) for video in videos]

    def _judge(self, video: AnyVideo, batch_size: int) -> Judgement:
        view = only_view(video, self.model.frames)
        frames = [
            View([i], [time], [image]) for i, time, image in zip(view.indices, view.times, view.images, strict=True)
        ]
        answers = [
            answer
            for start in range(0, len(frames), batch_size)
            for answer in self.model.look_at(frames[start : start + batch_size])
        ]
        look = _combined(answers)
        return combine_turns(
            Scan((), ()),
            look,
            shown=ShownFrames(tuple(view.times), 1 / video.fps, video.duration),
            margin=min(answer.margin for answer in answers),
            frames_seen=len(frames),
            texts=("", write_look(look) if look else "\n".join(answer.text for answer in answers)),
            unaided=all(answer.unaided for answer in answers),
        )


def _combined(answers: Sequence[Answer]) -> Look | None:
    """Return the answers to the frames of a clip, in order, as one look; None if one of them cannot be parsed."""
    looks = [look for answer in answers if (look := parse_look(answer.text))]
    if len(looks) < len(answers):
        return None
    findings = tuple(finding for look in looks for finding in look.findings)
    accusing = [(answer.margin, look) for answer, look in zip(answers, looks, strict=True) if look.leaf]
    if not accusing:
        return Look(findings, None, None, "clean")
    _, worst = min(accusing, key=lambda one: one[0])
    return Look(findings, worst.family, worst.leaf, "anomalous")
