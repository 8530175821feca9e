"""Options of the commands: those of a request are read off its class, the rest stand here.

A field with words is an option, or an argument, under its own name; help text, default and type come from it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_origin

import typer

from ..config.requests import Request, StoreRequest
from ..config.values import as_file
from ..config.words import Argument, Asked, asked

V = TypeVar("V")
Given = dict[str, Any]
"""Field of a request -> what was given for it on the command line, or its default there."""


def help_of(kind: type[Request], name: str) -> str:
    """The words of a field, for a command that has it without a request of its own."""
    return next(field.words.help for field in asked(kind) if field.name == name and field.words)


CacheOption = Annotated[Path | None, typer.Option("--cache-dir", help=help_of(StoreRequest, "cache"))]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON, all else on stderr.")]


def asks(kind: type[Request]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function of what was given for a request, and of options of its own."""

    def made(function: Callable[..., None]) -> Callable[..., None]:
        _, *own = inspect.signature(function, eval_str=True).parameters.values()
        own = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in own]

        @functools.wraps(function)
        def command(**values: Any) -> None:
            rest = {parameter.name: values.pop(parameter.name) for parameter in own}
            function({name: value for name, value in values.items() if value is not None}, **rest)

        parameters = [_parameter(field) for field in asked(kind) if field.words]
        command.__signature__ = inspect.Signature([*parameters, *own])  # type: ignore[attr-defined]
        command.__annotations__ = {}
        return command

    return made


def _parameter(field: Asked) -> inspect.Parameter:
    """As typer wants it. None stands for what is not given, which the request then fills in."""
    details: dict[str, Any] = {"help": field.words.help if field.words else None}
    if field.check and field.check.make is as_file:
        details |= {"parser": file_to_write, "metavar": "<path>"}
    elif field.check and field.type in (int, float):
        details |= {"min": field.check.least, "max": field.check.most}
    is_argument = isinstance(field.words, Argument)
    words = typer.Argument(**details) if is_argument else typer.Option(*field.names, **details)
    is_required = field.default is dataclasses.MISSING
    given = _type_of(field) if is_required or not field.is_optional else _type_of(field) | None
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if is_required else field.default,
        annotation=Annotated[given, words],
    )


def _type_of(field: Asked) -> Any:
    """The type of a field on the command line; what is written out is checked with the request."""
    if field.type in (bool, int, float, str, Path):
        return field.type
    return str if get_origin(field.type) is Literal else list[str]


def file_to_write(text: str) -> Path:
    """The value of --out where it is a file. Raises UserError for a folder, which a Path would not show."""
    from ..errors import UserError

    if text.endswith(os.sep):
        raise UserError(f'--out "{text}" is a folder', f"name the file to write: {text}NAME")
    return Path(text)


def one_of(option: str, given: str, valid: Sequence[V]) -> V:
    """The value of an option that has few. Raises UserError with the nearest valid one."""
    from ..errors import UserError, did_you_mean

    for value in valid:
        if given == value:
            return value
    raise UserError(f'{option} "{given}" is unknown', did_you_mean(str(given), map(str, valid)))
