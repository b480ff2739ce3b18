"""Clips of a dataset: small ones decoded and kept up to a bound, so that epochs decode each file once.

Of a large clip only the index of its file is kept; its frames are read when they are needed.
"""

from collections import OrderedDict
from pathlib import Path

from cac.schema.annotations import Clip
from cac.schema.clip_segment import ClipSegment
from cac.video.decode import AnyVideo, Video, VideoSegment, WholeVideo, open_video

MAX_BYTES = 2 * 1024**3
_INDEX_BYTES = 100  # of a frame in an index


class ClipStore:
    """Opens clips on demand and keeps the most recently used, up to `max_bytes` of frames."""

    def __init__(self, dataset: Path, max_bytes: int = MAX_BYTES) -> None:
        self.dataset = dataset
        self.max_bytes = max_bytes
        self._videos: OrderedDict[str, WholeVideo] = OrderedDict()
        self._bytes = 0

    def video(self, clip: Clip) -> AnyVideo:
        """Return the clip, or a segment of one.

        Raises:
            CacError: its file is missing or corrupt.
        """
        whole = self._whole(clip.path)
        return VideoSegment(whole, clip.span) if isinstance(clip, ClipSegment) else whole

    def _whole(self, path: str) -> WholeVideo:
        if path in self._videos:
            self._videos.move_to_end(path)
            return self._videos[path]
        video = open_video(self.dataset / path)
        self._videos[path] = video
        self._bytes += _held_bytes(video)
        while self._bytes > self.max_bytes and len(self._videos) > 1:
            _, oldest = self._videos.popitem(last=False)
            self._bytes -= _held_bytes(oldest)
        return video


def _held_bytes(video: WholeVideo) -> int:
    return video.frames.nbytes if isinstance(video, Video) else _INDEX_BYTES * video.frame_count
