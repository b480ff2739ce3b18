"""Reading a request: the video it carries or names, and its prompt, never more than the bytes allowed.

Three forms: the video's bytes as the body (the prompt in the query), multipart/form-data with a file `video`, and JSON
`{"video": "s3://… or a path"}` where the server allows it. A name outside the allowed places is refused before anything
is opened, so that nobody learns what is there. Left out: other forms, and addresses of the web.
"""

import asyncio
import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from cac.io.s3 import SCHEME
from cac.serving.refused import RefusedError, bad_request, not_allowed, too_large
from cac.serving.settings import ServeSettings

if TYPE_CHECKING:
    from starlette.requests import Request

_FIELD = "video"
_FORM_EXTRA = 65_536  # bytes of a form or a JSON body beside the video
_FIELD_BYTES = 500_000  # of a form's field; Werkzeug's own default
_MOST_PARTS = 8
_MOST_PROMPT = 10_000  # characters


@dataclass(frozen=True)
class Wanted:
    """A video to judge: its content, or the path or S3 address that an allowed request names."""

    video: bytes | Path | str
    prompt: str | None


async def read_request(request: "Request", settings: ServeSettings) -> Wanted:
    """Read a request to its end.

    Raises:
        RefusedError: it is too large, not understood, or names what it may not.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return _named(await _body(request, _FORM_EXTRA), settings)
    if kind == "multipart/form-data":
        body = await _body(request, settings.max_bytes + _FORM_EXTRA)
        video, prompt = await asyncio.to_thread(_from_form, body, request.headers["content-type"])
        return _carried(video, prompt, settings.max_bytes)
    body = await _body(request, settings.max_bytes)
    return _carried(body, request.query_params.get("prompt"), settings.max_bytes)


def _carried(video: bytes, prompt: str | None, most_bytes: int) -> Wanted:
    if not video:
        raise bad_request("the request carries no video. Send its bytes as the body, or as the form's file `video`.")
    if len(video) > most_bytes:
        raise too_large(most_bytes)
    return Wanted(video, _checked_prompt(prompt))


async def _body(request: "Request", most: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most:
        raise too_large(most)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise too_large(most)
    return bytes(body)


def _from_form(body: bytes, content_type: str) -> tuple[bytes, str | None]:
    """Return a form's video and prompt, as Werkzeug reads them; FastAPI would need one more package for it."""
    from werkzeug.exceptions import HTTPException
    from werkzeug.formparser import MultiPartParser
    from werkzeug.http import parse_options_header

    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary:
        raise bad_request("the form's content type names no boundary.")
    parser = MultiPartParser(lambda *_, **__: BytesIO(), max_form_memory_size=_FIELD_BYTES, max_form_parts=_MOST_PARTS)
    try:
        fields, files = parser.parse(BytesIO(body), boundary.encode("latin-1", "replace"), len(body))
    except (ValueError, HTTPException) as error:
        raise bad_request("the form cannot be read. Send multipart/form-data with a file `video`.") from error
    if list(files) != [_FIELD] or len(files.getlist(_FIELD)) != 1 or set(fields) - {"prompt"}:
        raise bad_request("the form must have one file `video`, may have a field `prompt`, and nothing else.")
    return files[_FIELD].stream.read(), fields.get("prompt")


def _named(body: bytes, settings: ServeSettings) -> Wanted:
    if not settings.allow_from:
        raise not_allowed("this server takes no names of videos. Send the video itself.")
    try:
        wanted = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad_request("the body is no JSON.") from error
    if not isinstance(wanted, dict) or set(wanted) - {_FIELD, "prompt"} or not isinstance(wanted.get(_FIELD), str):
        raise bad_request('the body must be {"video": "path or s3:// address"}, perhaps with a "prompt".')
    return Wanted(_allowed(wanted[_FIELD], settings.allow_from), _checked_prompt(wanted.get("prompt")))


def _allowed(name: str, places: tuple[str, ...]) -> Path | str:
    """Return the address, or the path without links, if it lies in one of the places."""
    refusal: RefusedError = not_allowed("the video is not in a place that this server allows.")
    if name.startswith(SCHEME):
        prefixes = (f"{place.rstrip('/')}/" for place in places if place.startswith(SCHEME))
        if any(name.startswith(prefix) for prefix in prefixes):
            return name
        raise refusal
    try:
        path = Path(name).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise refusal from error
    folders = (Path(place).resolve() for place in places if not place.startswith(SCHEME))
    if any(path.is_relative_to(folder) for folder in folders):
        return path
    raise refusal


def _checked_prompt(prompt: object) -> str | None:
    if prompt is None:
        return None
    if not isinstance(prompt, str) or len(prompt) > _MOST_PROMPT:
        raise bad_request(f"the prompt must be text of at most {_MOST_PROMPT} characters.")
    return prompt
