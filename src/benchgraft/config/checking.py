"""A request of the values that people gave: all that is wrong with them is one RequestError."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import RequestError, did_you_mean
from .requests import RENAMED, Request
from .values import shown
from .words import asked

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

R = TypeVar("R", bound=Request)


def checked(kind: type[R], **given: Any) -> R:
    """The request of this kind with these values. Raises RequestError that tells of every wrong one."""
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import ArgsKwargs

    made = kind.__new__(kind)
    try:
        # Without an instance to fill, strictness would ask for a request in place of its values.
        TypeAdapter(kind).validator.validate_python(ArgsKwargs((), given), self_instance=made)
    except ValidationError as error:
        lines = [line for each in error.errors() for line in _told(each, kind)]
        raise RequestError(lines[0], *lines[1:]) from None
    return made


def _told(error: ErrorDetails, kind: type[Request]) -> list[str]:
    """What is wrong with one value, and what to do."""
    name, value = ".".join(str(part) for part in error["loc"][:1]), error["input"]
    context = error.get("ctx", {})
    if error["type"] == "unexpected_keyword_argument" and name in RENAMED:
        return [f"{name} is no option any more", RENAMED[name]]
    if error["type"] == "unexpected_keyword_argument":
        return [f"{name} is no option", did_you_mean(name, [field.name for field in asked(kind)])]
    if error["type"] == "missing":
        return [f"{name} is missing"]
    if error["type"] == "value_error":
        return [f"{name} {context['error']}".strip()]
    if error["type"] == "literal_error":
        valid = re.findall(r"'([^']+)'", str(context["expected"]))
        near = get_close_matches(str(value).lower().replace("_", "-"), valid, n=1, cutoff=0.5)
        return [
            f"{name} is {shown(value)}, which is unknown",
            f'did you mean "{near[0]}"?' if near else "valid: " + ", ".join(valid),
        ]
    message = error["msg"]
    return [f"{name} is {shown(value)}: {message[0].lower()}{message[1:]}"]
