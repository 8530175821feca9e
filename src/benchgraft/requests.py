"""What may be asked of each long task: one object a task, checked once, from Python and from the command.

`checked` builds one and turns whatever is wrong with the values into one RequestError that names them all.
Here only the values are looked at; what lies behind a path is the task's to find out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SkipValidation, ValidationError
from pydantic import model_validator as cross_check
from pydantic_core import ErrorDetails

from .data.decode import Fit
from .data.overlap import Policy
from .data.store import Damaged
from .errors import RequestError
from .progress import Progress
from .values import as_expression, as_model, as_path, as_renames, as_texts, as_whole, at_least_one, shown

R = TypeVar("R", bound=BaseModel)


def _as_teller(value: object) -> object:
    if value is not None and not callable(value):
        raise ValueError(f"is {shown(value)}: give a function that takes a line of text")
    return value


def _as_progress(value: object) -> object:
    if value is not None and not callable(getattr(value, "track", None)):
        raise ValueError(f"is {shown(value)}: give an object with a method track, see benchgraft.progress")
    return value


APath = Annotated[Path, BeforeValidator(as_path)]
AModel = Annotated[Path, BeforeValidator(as_model)]
Texts = Annotated[tuple[str, ...], BeforeValidator(as_texts)]
Expression = Annotated[str, BeforeValidator(as_expression)]
Renames = Annotated[dict[str, str] | tuple[str, ...], BeforeValidator(as_renames)]
Seed = Annotated[int, BeforeValidator(as_whole), Field(ge=0, lt=2**32)]
AtLeastOne = Annotated[int, BeforeValidator(at_least_one)]
Say = Annotated[Callable[[str], None] | None, BeforeValidator(_as_teller)]
Shower = Annotated[SkipValidation[Progress | None], BeforeValidator(_as_progress)]


class Request(BaseModel):
    """What every request has. Values must have their type: no "yes" for True."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    device: str = "auto"
    threads: AtLeastOne | None = None
    cache: APath | None = None
    """Decoded photos and features; None: the user's own."""
    progress: Shower = None


class RunRequest(Request):
    """One that trains and leaves a run folder."""

    run_folder: APath | None = None
    say: Say = None
    profile: bool = False


class PhotosRequest(RunRequest):
    """One that trains on a folder of photos."""

    folder: APath
    parent: AModel | None = None
    freeze: Texts | None = None
    """None: all but the dense layers."""
    seed: Seed = 0
    fit: Fit | None = None
    """None: letterbox, or the rule of the model that is updated."""
    damaged: Damaged = "exclude"
    group_by: Expression | None = None
    overlap: Policy = "refuse"


class AdaptRequest(PhotosRequest):
    """For `adapt`."""

    out: APath | None = None
    update: APath | None = None
    rename: Renames = ()
    refuse_regression: bool = False

    @cross_check(mode="after")
    def _goes_together(self) -> AdaptRequest:
        if self.update is not None and self.parent is not None:
            raise ValueError("parent and update exclude each other: an updated model is its own parent")
        if self.update is None and self.rename:
            raise ValueError("rename needs update: it says what a class of the old model is called now")
        if self.update is None and self.refuse_regression:
            raise ValueError("refuse_regression needs update: it compares the new model with the old one")
        return self


class CompareRequest(PhotosRequest):
    """For `compare`."""

    runs: AtLeastOne = 5
    command: list[str] | None = None


class PrepareRequest(RunRequest):
    """For `prepare`."""

    experiment: APath
    out: APath | None = None
    stage: str | None = None
    data: APath | None = None
    seed: Seed | None = None
    command: list[str] | None = None


class EvaluateRequest(Request):
    """For `evaluate`."""

    model: AModel
    folder: APath
    include_trained: bool = False


class ExportRequest(BaseModel):
    """For `export`."""

    model_config = Request.model_config

    model: AModel
    out: APath | None = None
    images: APath | None = None


def checked(kind: type[R], **given: Any) -> R:
    """The request of this kind with these values. Raises RequestError that tells of every wrong one."""
    try:
        return kind(**given)
    except ValidationError as error:
        lines = [line for each in error.errors() for line in _told(each)]
        raise RequestError(lines[0], *lines[1:]) from None


def _told(error: ErrorDetails) -> list[str]:
    """What is wrong with one value, and what to do."""
    name, value = ".".join(str(part) for part in error["loc"][:1]), error["input"]
    context = error.get("ctx", {})
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
