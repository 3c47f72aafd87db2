"""What every request passes on its way to a route and back: its account, its size, its text; errors as one sentence."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel

from ..engine.errors import DreamArtistError, PictureError, SettingError
from .api_auth import Door
from .training.sentences import sentence

MAX_PICTURE_BYTES = 32 * 2**20
MAX_BODY_BYTES = 256 * 2**20  # of a whole request, as base64 in JSON


class Body(BaseModel, extra="forbid"):
    """What is sent as JSON; a misspelt key is refused."""


def decoded(text: str, what: str) -> bytes:
    """The bytes of base64 text, or of a data: address that browsers make of a file; raises PictureError."""
    code = text.partition(",")[2] if text.startswith("data:") else text
    if len(code) > MAX_PICTURE_BYTES * 4 // 3 + 4:
        raise PictureError(f"{what} is larger than {MAX_PICTURE_BYTES // 2**20} MiB; scale it down.")
    try:
        return base64.b64decode("".join(code.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureError(f"{what} is not base64.") from error


@contextmanager
def answering(status: int, kind: type[DreamArtistError]) -> Iterator[None]:
    """An error of this kind is answered with this status."""
    try:
        yield
    except kind as error:
        raise HTTPException(status, sentence(error)) from error


def guarded_route(authorised: Door) -> type[APIRoute]:
    """Routes that read nothing of a request before they know that it may pass, and answer errors in one sentence."""

    class GuardedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                if not authorised(request):
                    return _refusal(401, "A user and password of this WebUI are needed.", {"WWW-Authenticate": "Basic"})
                if not _is_json(request):
                    return _refusal(415, "The body must be JSON, with the header Content-Type: application/json.")
                whole = Request(request.scope, limited(request.receive))
                try:
                    if request.method == "POST":
                        check_text(await whole.body())
                    return await handle(whole)
                except DreamArtistError as error:
                    return _refusal(400, sentence(error))
                except HTTPException as error:
                    return _refusal(error.status_code, str(error.detail))
                except RequestValidationError as error:
                    return _refusal(422, _what_is_wrong(error))

            return guarded

    return GuardedRoute


class WholeJSON(JSONResponse):
    """JSON also of text that is no Unicode, such as the name of a file from an old zip: with ? for what is broken."""

    def render(self, content: Any) -> bytes:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")  # in JSON; two of them can be a whole one


def check_text(body: bytes) -> None:
    """Raises SettingError for what is no UTF-8, and for JSON that holds half a character: nothing could be written or
    answered with either. Python's reader of JSON takes both, and UTF-16 too."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise SettingError(f"the request is not in UTF-8 at byte {error.start}; send it as UTF-8.") from error
    if b"\0" in body:
        raise SettingError("the request holds zero bytes, which JSON in UTF-8 has not; send it as UTF-8.")
    if not _HALF_CHARACTER.search(body):
        return
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start].encode("ascii", "backslashreplace").decode()
        raise SettingError(
            f"the request holds half a character, {half}, which is no text; send the whole character."
        ) from error
    except (ValueError, RecursionError):
        return  # no JSON at all, which is said elsewhere


def _is_json(request: Request) -> bool:
    """Said to be so by every POST, even an empty one: another site's page cannot send that without asking, and a
    browser would add the user's account by itself. Other methods it cannot send or not read."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or request.method != "POST"


def _what_is_wrong(error: RequestValidationError) -> str:
    """The first of it in a sentence, without what was sent: that can be a number which JSON does not know."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    return f"{where[:80]}: {first['msg'].rstrip('.')}."


def _refusal(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return WholeJSON({"detail": detail}, status, headers)


def limited(receive: Callable[[], Any]) -> Callable[[], Coroutine[Any, Any, Any]]:
    """`receive` until the body is too large."""
    size = 0

    async def receive_some() -> Any:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            raise HTTPException(413, f"The request has more than {MAX_BODY_BYTES // 2**20} MiB; send less at once.")
        return message

    return receive_some
