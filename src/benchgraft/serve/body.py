"""The photos of a request: the fields `photos` of a form, or one photo as the whole body."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile

from ..names import printable
from .limits import Limits

FIELD = "photos"
FORM = "multipart/form-data"
RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "image/")
"""What the content type of one photo begins with: the second is what `curl --data-binary` says of it. A body
without any is taken for a photo."""
SCHEMA: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {
                        FIELD: {"type": "array", "items": {"type": "string", "format": "binary"}},
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
"""For OpenAPI."""


async def photos_of(request: Request, limits: Limits, *, files: bool = False) -> list[tuple[str, bytes]]:
    """(name as it came, bytes) of each photo, in order.

    files: of a folder: what is too large, or a zip, is the caller's to tell of.
    Raises HTTPException: 413 for too many or too large ones, 415 for another kind of body, 422 for none.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM:
        found = await _of_form(request, limits)
    elif not kind or kind.startswith(RAW):
        found = [("photo", await request.body())]
    else:
        raise HTTPException(415, f"{kind} is no photo: send {FORM} with {FIELD}, or one photo as image/*")
    if not found or found == [("photo", b"")]:
        raise HTTPException(
            422, f"no photo in the request: send them as {FIELD} of a form, or one as the body"
        )
    if not files and any(len(raw) > limits.photo_bytes for _, raw in found):
        raise HTTPException(413, f"a photo may have {limits.photo_bytes >> 20} MiB")
    return found


async def _of_form(request: Request, limits: Limits) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    # One file more than may be, so that it is told by us.
    async with request.form(max_files=limits.photos + 1, max_fields=limits.photos + 1) as form:
        for field, value in form.multi_items():
            if field != FIELD or not isinstance(value, UploadFile):
                what = "a file" if field == FIELD else f"a field of the name {FIELD}"
                raise HTTPException(422, f'form field "{printable(field)[:100]}" is not {what}')
            if len(found) == limits.photos:
                raise HTTPException(413, f"a request may have {limits.photos} photos; send them in several")
            found.append((value.filename or "photo", await value.read()))
    return found


def shown(name: str) -> str:
    """A name from elsewhere, as it may be shown: on one line, and not too long."""
    return printable(name)[: Limits.name_letters]
