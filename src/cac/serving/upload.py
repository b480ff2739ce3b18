"""Reading a request: the video it carries or names, and its prompt, within the allowed number of bytes.

Three forms are accepted: the video's bytes as the body (with the prompt in the query), multipart/form-data with a file
`video`, and JSON `{"video": "s3://… or a path"}` if the server allows it. A name outside the allowed sources is
rejected before anything is opened, so a client cannot find out what exists. Web addresses are never accepted.
"""

import asyncio
import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from cac.io.s3 import SCHEME
from cac.serving.request_errors import RequestError, bad_request, not_allowed, too_large
from cac.serving.settings import ServeSettings

if TYPE_CHECKING:
    from starlette.requests import Request

_FIELD = "video"
_FORM_OVERHEAD = 65_536  # bytes of a form or a JSON body besides the video
_FIELD_BYTES = 500_000  # of a form field; Werkzeug's default
_MAX_PARTS = 8
_MAX_PROMPT = 10_000  # characters


@dataclass(frozen=True)
class ScoreRequest:
    """A video to score: its content, or the path or S3 address that the request names."""

    video: bytes | Path | str
    prompt: str | None


async def read_request(request: "Request", settings: ServeSettings) -> ScoreRequest:
    """Read a request to its end.

    Raises:
        RequestError: it is too large, malformed, or names a video that is not allowed.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return _by_name(await _body(request, _FORM_OVERHEAD), settings)
    if kind == "multipart/form-data":
        body = await _body(request, settings.max_bytes + _FORM_OVERHEAD)
        video, prompt = await asyncio.to_thread(_parse_form, body, request.headers["content-type"])
        return _with_content(video, prompt, settings.max_bytes)
    body = await _body(request, settings.max_bytes)
    return _with_content(body, request.query_params.get("prompt"), settings.max_bytes)


def _with_content(video: bytes, prompt: str | None, max_bytes: int) -> ScoreRequest:
    if not video:
        raise bad_request("the request carries no video. Send its bytes as the body, or as the form's file `video`.")
    if len(video) > max_bytes:
        raise too_large(max_bytes)
    return ScoreRequest(video, _checked_prompt(prompt))


async def _body(request: "Request", limit: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_large(limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise too_large(limit)
    return bytes(body)


def _parse_form(body: bytes, content_type: str) -> tuple[bytes, str | None]:
    """Return a form's video and prompt. Werkzeug parses it; FastAPI would need another package."""
    from werkzeug.exceptions import HTTPException
    from werkzeug.formparser import MultiPartParser
    from werkzeug.http import parse_options_header

    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary:
        raise bad_request("the form's content type names no boundary.")
    parser = MultiPartParser(lambda *_, **__: BytesIO(), max_form_memory_size=_FIELD_BYTES, max_form_parts=_MAX_PARTS)
    try:
        fields, files = parser.parse(BytesIO(body), boundary.encode("latin-1", "replace"), len(body))
    except (ValueError, HTTPException) as error:
        raise bad_request("the form cannot be read. Send multipart/form-data with a file `video`.") from error
    if list(files) != [_FIELD] or len(files.getlist(_FIELD)) != 1 or set(fields) - {"prompt"}:
        raise bad_request("the form must have one file `video`, may have a field `prompt`, and nothing else.")
    return files[_FIELD].stream.read(), fields.get("prompt")


def _by_name(body: bytes, settings: ServeSettings) -> ScoreRequest:
    if not settings.allow_from:
        raise not_allowed("this server does not accept names of videos. Send the video itself.")
    try:
        wanted = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad_request("the body is not valid JSON.") from error
    if not isinstance(wanted, dict) or set(wanted) - {_FIELD, "prompt"} or not isinstance(wanted.get(_FIELD), str):
        raise bad_request('the body must be {"video": "path or s3:// address"}, optionally with a "prompt".')
    return ScoreRequest(_allowed(wanted[_FIELD], settings.allow_from), _checked_prompt(wanted.get("prompt")))


def _allowed(name: str, sources: tuple[str, ...]) -> Path | str:
    """Return the address, or the path with links resolved, if it lies in one of the allowed sources."""
    refusal: RequestError = not_allowed("the video is not in a folder or prefix that this server allows.")
    if name.startswith(SCHEME):
        prefixes = (f"{source.rstrip('/')}/" for source in sources if source.startswith(SCHEME))
        if any(name.startswith(prefix) for prefix in prefixes):
            return name
        raise refusal
    try:
        path = Path(name).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise refusal from error
    folders = (Path(source).resolve() for source in sources if not source.startswith(SCHEME))
    if any(path.is_relative_to(folder) for folder in folders):
        return path
    raise refusal


def _checked_prompt(prompt: object) -> str | None:
    if prompt is None:
        return None
    if not isinstance(prompt, str) or len(prompt) > _MAX_PROMPT:
        raise bad_request(f"the prompt must be text of at most {_MAX_PROMPT} characters.")
    return prompt
