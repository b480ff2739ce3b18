"""What the server is started with. Every bound has a default that suits short generated clips on one machine."""

from dataclasses import dataclass, field

from cac.errors import CacError
from cac.video.decode import Limits

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ServeSettings:
    """How the server listens, batches, and protects itself.

    Attributes:
        host, port: where it listens; port 0 takes a free one.
        batch_size: videos judged together at most.
        batch_wait: seconds that the first video of a batch waits for others.
        max_requests: requests under way at most, whatever they wait for; more are refused with 503.
        max_bytes: of one video file.
        limits: of one decoded video.
        timeout: seconds that a request may take to arrive, and after that to be answered.
        allow_from: folders and s3:// prefixes that requests may name videos in; none: requests carry their video.
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
        """Refuse what cannot work.

        Raises:
            CacError: a bound is out of its range.
        """
        least = {"--batch-size": self.batch_size, "--max-requests": self.max_requests, "--max-mb": self.max_bytes}
        above = {"--timeout": self.timeout, "--max-seconds": self.limits.seconds}
        for option, count in least.items():
            if count < 1:
                raise CacError(f"{option} must be 1 or more.")
        for option, amount in above.items():
            if not amount > 0:
                raise CacError(f"{option} must be more than 0.")
        if not 0 <= self.batch_wait <= 10:
            raise CacError("--batch-wait-ms must be between 0 and 10000.")
        if not 0 <= self.port <= 65535:
            raise CacError("--port must be between 0 (any that is free) and 65535.")

    @property
    def decoded_at_once(self) -> int:
        """How many decoded videos may be in memory: a batch being judged, and one waiting."""
        return 2 * self.batch_size
