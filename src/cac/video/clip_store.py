"""Clips of a dataset: small ones decoded and kept up to a bound, so that epochs decode each file once.

Of a large clip only the index of its file is kept; its frames are read when they are needed.
"""

from collections import OrderedDict
from pathlib import Path

from cac.schema.annotations import Clip
from cac.video.decode import AnyVideo, Video, open_video

MAX_BYTES = 2 * 1024**3
_INDEX_BYTES = 100  # of a frame in an index


class ClipStore:
    """Opens clips on demand and keeps the most recently used, up to `max_bytes` of frames."""

    def __init__(self, dataset: Path, max_bytes: int = MAX_BYTES) -> None:
        self.dataset = dataset
        self.max_bytes = max_bytes
        self._videos: OrderedDict[str, AnyVideo] = OrderedDict()
        self._bytes = 0

    def video(self, clip: Clip) -> AnyVideo:
        """Return the clip.

        Raises:
            CacError: its file is missing or corrupt.
        """
        if clip.clip_id in self._videos:
            self._videos.move_to_end(clip.clip_id)
            return self._videos[clip.clip_id]
        video = open_video(self.dataset / clip.path)
        self._videos[clip.clip_id] = video
        self._bytes += _held_bytes(video)
        while self._bytes > self.max_bytes and len(self._videos) > 1:
            _, oldest = self._videos.popitem(last=False)
            self._bytes -= _held_bytes(oldest)
        return video


def _held_bytes(video: AnyVideo) -> int:
    return video.frames.nbytes if isinstance(video, Video) else _INDEX_BYTES * video.frame_count
