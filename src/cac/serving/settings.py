"""The server's settings. The defaults suit short generated clips on one machine."""

from dataclasses import dataclass, field

from cac.errors import CacError
from cac.video.stream import Limits

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ServeSettings:
    """How the server listens, batches, and protects itself.

    Attributes:
        host, port: the address to listen on; port 0 takes a free port.
        batch_size: maximum number of videos judged together.
        batch_wait: seconds that the first video of a batch waits for others.
        max_requests: maximum number of requests in progress; further requests get status 503.
        max_bytes: maximum size of a video file.
        limits: of a decoded video.
        timeout: seconds that a request may take to arrive, and again to be answered.
        allow_from: folders and s3:// prefixes in which requests may name videos; none: requests must carry the video.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    batch_size: int = 8
    batch_wait: float = 0.02
    max_requests: int = 64
    max_bytes: int = 32_000_000
    limits: Limits = field(default_factory=Limits)
    timeout: float = 120.0
    allow_from: tuple[str, ...] = ()

    def check(self) -> None:
        """Check the ranges.

        Raises:
            CacError: a setting is out of range.
        """
        at_least_one = {
            "--batch-size": self.batch_size,
            "--max-requests": self.max_requests,
            "--max-mb": self.max_bytes,
        }
        positive = {"--timeout": self.timeout, "--max-seconds": self.limits.seconds}
        for option, count in at_least_one.items():
            if count < 1:
                raise CacError(f"{option} must be 1 or more.")
        for option, amount in positive.items():
            if not amount > 0:
                raise CacError(f"{option} must be more than 0.")
        if not 0 <= self.batch_wait <= 10:
            raise CacError("--batch-wait-ms must be between 0 and 10000.")
        if not 0 <= self.port <= 65535:
            raise CacError("--port must be between 0 (any free port) and 65535.")

    @property
    def decoded_at_once(self) -> int:
        """Maximum number of decoded videos in memory: the batch being judged, and the next one."""
        return 2 * self.batch_size
