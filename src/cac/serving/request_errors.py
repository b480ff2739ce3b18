"""Errors of a request that gets no score: the HTTP status, a kind that the metrics count, and a message."""

from dataclasses import dataclass


@dataclass(eq=False)  # exception handlers need it to be hashable
class RequestError(Exception):
    """A request that gets no score."""

    status: int
    kind: str
    message: str

    def __str__(self) -> str:
        return self.message


def bad_request(message: str) -> RequestError:
    """The request is malformed."""
    return RequestError(400, "bad_request", message)


def not_allowed(message: str) -> RequestError:
    """The request names a video outside the allowed sources."""
    return RequestError(403, "not_allowed", message)


def too_large(max_bytes: int) -> RequestError:
    """The upload exceeds the allowed size."""
    return RequestError(413, "too_large", f"the upload has more than the {max_bytes} bytes allowed")


def beyond_limits(message: str) -> RequestError:
    """The video is longer or has more pixels than allowed."""
    return RequestError(422, "beyond_limits", message)


def not_a_video(message: str) -> RequestError:
    """The content cannot be decoded as video."""
    return RequestError(422, "not_a_video", message)


def too_slow(seconds: float) -> RequestError:
    """The request did not arrive in time."""
    return RequestError(408, "slow_upload", f"the video did not arrive within {seconds:g} seconds")


def timed_out(seconds: float) -> RequestError:
    """The video was not judged in time."""
    return RequestError(504, "timeout", f"the video was not judged within {seconds:g} seconds; try again later")


def busy(limit: int) -> RequestError:
    """The maximum number of requests is in progress."""
    return RequestError(503, "busy", f"{limit} requests are in progress, which is the limit; try again later")


def store_unreachable(message: str) -> RequestError:
    """The S3 server does not answer."""
    return RequestError(502, "store_unreachable", message)


def judge_failed() -> RequestError:
    """The model raised an exception; details are only in the server's log."""
    return RequestError(500, "judge_failed", "the model could not judge this video; see the server's log")
