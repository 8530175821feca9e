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


async def photos_of(request: Request, limits: Limits, *, zips: bool = False) -> list[tuple[str, bytes]]:
    """(name, bytes) of each photo, in order. zips: archives may be as large as a request.

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
    large = [name for name, raw in found if len(raw) > limits.photo_bytes]
    if any(not (zips and name.lower().endswith(".zip")) for name in large):
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
            name = printable(value.filename or "photo")[: limits.name_letters]
            found.append((name, await value.read()))
    return found
