"""Why a request gets no score: an HTTP status, a kind that metrics count, and words for the client."""

from dataclasses import dataclass


@dataclass(eq=False)  # compared by value it could not be hashed, which handlers of exceptions do
class RefusedError(Exception):
    """A request that gets no score."""

    status: int
    kind: str
    message: str

    def __str__(self) -> str:
        return self.message


def bad_request(message: str) -> RefusedError:
    """The request is not one that can be understood."""
    return RefusedError(400, "bad_request", message)


def not_allowed(message: str) -> RefusedError:
    """The request names a video that it may not name."""
    return RefusedError(403, "not_allowed", message)


def too_large(most_bytes: int) -> RefusedError:
    """The upload has more bytes than allowed."""
    return RefusedError(413, "too_large", f"the upload has more than the {most_bytes} bytes allowed")


def beyond_limits(message: str) -> RefusedError:
    """The video is longer or has more pixels than allowed."""
    return RefusedError(422, "beyond_limits", message)


def not_a_video(message: str) -> RefusedError:
    """What was sent cannot be decoded."""
    return RefusedError(422, "not_a_video", message)


def too_slow(seconds: float) -> RefusedError:
    """The request did not arrive in time."""
    return RefusedError(408, "slow_upload", f"the video did not arrive within {seconds:g} seconds")


def timed_out(seconds: float) -> RefusedError:
    """The answer was not there in time."""
    return RefusedError(504, "timeout", f"the video was not judged within {seconds:g} seconds; try again later")


def busy(most: int) -> RefusedError:
    """As many requests as allowed are under way."""
    return RefusedError(503, "busy", f"{most} requests are under way, which is the limit; try again later")


def store_unreachable(message: str) -> RefusedError:
    """The S3 store does not answer."""
    return RefusedError(502, "store_unreachable", message)


def judge_failed() -> RefusedError:
    """The model raised; what it raised is in the server's log alone."""
    return RefusedError(500, "judge_failed", "the model could not judge this video; the server's log says why")
