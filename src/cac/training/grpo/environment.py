"""The environment of two-turn GRPO: it shows a clip and answers the tool call `concentrate`.

TRL makes one for each rollout, resets it with a row of the dataset, offers its public method as the tool, and passes it
to the rewards. Frames and messages come from `video/views.py` and `schema/dialogue.py`, as in every other stage.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cac.frames import Frames
from cac.schema.annotations import Clip
from cac.schema.dialogue import Message, look_content, parse_look, parse_scan, parse_windows, scan_prompt
from cac.schema.judgement import Judgement, ShownFrames, combine_turns
from cac.video.clip_store import ClipStore
from cac.video.decode import AnyVideo
from cac.video.views import coarse_view, dense_view


class ConcentrateEnvironment:
    """The clip of one rollout and the frames shown so far."""

    def __init__(self, clips: Sequence[Clip], store: ClipStore, frames: Frames) -> None:
        self._clips = clips
        self._store = store
        self._frames = frames
        self._video: AnyVideo | None = None
        self._shown: set[int] = set()
        self._look = ShownFrames((), 0.0, 0.0)

    def reset(self, **row: Any) -> Any:
        """Start a rollout on clip number `row["clip"]`; return the content blocks of the first user message."""
        self._video = self._store.video(self._clips[row["clip"]])
        view = coarse_view(self._video, self._frames)
        self._shown = set(view.indices)
        self._look = ShownFrames((), 1 / self._video.fps, self._video.duration)
        return scan_prompt(view.images, view.times)[0]["content"]

    # The text below is the tool's description in the prompt; a test holds it equal to `dialogue.CONCENTRATE_TOOL`.
    # It has no return annotation, because the description would include it.
    def concentrate(self, windows: list[list[float]]):  # type: ignore[no-untyped-def]
        """
        Show dense frames of the given time windows.

        Args:
            windows: Start and end of each window in seconds.
        """
        spans = parse_windows(windows)
        if spans is None or self._video is None:
            raise ValueError("windows must be a list of [start, end] in seconds")
        view = dense_view(self._video, spans, self._frames)
        self._shown |= set(view.indices)
        self._look = replace(self._look, times=tuple(view.times))
        return look_content(view.images, view.times)

    def _judge(self, completion: list[Message]) -> Judgement:
        """Parse a finished rollout, given its messages as TRL returns them."""
        replies = [message for message in completion if message["role"] == "assistant"]
        scan = parse_scan(replies[0]["content"], replies[0].get("tool_calls"))
        look_text = replies[1]["content"] if len(replies) > 1 else ""
        return combine_turns(
            scan,
            parse_look(look_text),
            shown=self._look,
            margin=0.0,
            frames_seen=len(self._shown),
            texts=(replies[0]["content"], look_text),
        )


def environment_factory(
    clips: Sequence[Clip], store: ClipStore, frames: Frames
) -> Callable[[], ConcentrateEnvironment]:
    """Return the factory that `GRPOTrainer` calls for each rollout."""
    return lambda: ConcentrateEnvironment(clips, store, frames)


def judge_rollouts(
    environments: Sequence[ConcentrateEnvironment], completions: Sequence[list[Message]]
) -> list[Judgement]:
    """Parse the finished rollouts of a batch, each with its environment."""
    return [env._judge(completion) for env, completion in zip(environments, completions, strict=True)]
