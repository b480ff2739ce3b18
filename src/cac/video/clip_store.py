"""Decoded clips of a dataset, kept in memory up to a bound, so that epochs over small clips decode each file once."""

from collections import OrderedDict
from pathlib import Path

from cac.schema.annotations import Clip
from cac.video.decode import Video, decode

MAX_BYTES = 2 * 1024**3


class ClipStore:
    """Decodes clips on demand and keeps the most recently used, up to `max_bytes` of frames."""

    def __init__(self, dataset: Path, max_bytes: int = MAX_BYTES) -> None:
        self.dataset = dataset
        self.max_bytes = max_bytes
        self._videos: OrderedDict[str, Video] = OrderedDict()
        self._bytes = 0

    def video(self, clip: Clip) -> Video:
        """Return the decoded clip.

        Raises:
            CacError: its file is missing or corrupt.
        """
        if clip.clip_id in self._videos:
            self._videos.move_to_end(clip.clip_id)
            return self._videos[clip.clip_id]
        video = decode(self.dataset / clip.path)
        self._videos[clip.clip_id] = video
        self._bytes += video.frames.nbytes
        while self._bytes > self.max_bytes and len(self._videos) > 1:
            _, oldest = self._videos.popitem(last=False)
            self._bytes -= oldest.frames.nbytes
        return video
