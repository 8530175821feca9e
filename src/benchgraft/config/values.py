"""Checks of single values that people give, from Python or the command: a ValueError says what is wrong."""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RequestError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


LAST_PORT = 65535


@dataclass(frozen=True)
class Check:
    """Metadata of a field: `make` makes its value of the one given; its ValueError says what is wrong."""

    make: Callable[[object], object]
    takes: Any
    """The types that may be given, for type checkers."""
    least: float | None = None
    most: float | None = None
    """For help texts and the command line; `make` checks them too."""

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(self.make)


def shown(value: object) -> str:
    """A value as a message has it."""
    return f'"{value}"' if isinstance(value, str) else f"{value!r:.60}"


def as_name(value: object) -> str:
    """A path, or the name of something that comes along, as it was written: ./paper is a file."""
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(f"is {shown(value)}, no path: give a string or a pathlib.Path")
    text = os.fsdecode(os.fspath(value))
    if not text:
        raise ValueError("is an empty path: name a file or folder, . for the present folder")
    if "\0" in text:
        raise ValueError("holds a zero byte, which no path can")
    return text


def as_path(value: object) -> Path:
    """A string or a path object, never an empty one."""
    return Path(as_name(value))


def as_file(value: object) -> Path:
    """A file to be written, which a path that ends as a folder's does is not."""
    text = as_name(value)
    if text.endswith(os.sep) or str(Path(text)).endswith(
        os.sep
    ):  # the root is a folder however it is written
        raise ValueError(f'is "{text}", a folder: name the file to write: {text}NAME')
    return Path(text)


def as_model(value: object) -> Path:
    """A model file by its path, or by the name under which messages print one that comes along.

    It stays the one that was given: `files.shipped_path` has the file.
    """
    from ..files import shipped_path  # with it comes numpy, which `--help` does without

    path = as_path(value)
    shipped_path(str(path))
    return path


def as_parent(value: object) -> str:
    """The name of a parent, or a model file: its path, or the name of one that comes along.

    As it was written: ./imagenet is a file, and so is what comes as a path object.
    """
    from ..files import SHIPPED, shipped_path

    text = as_name(value)
    if text.startswith(SHIPPED):
        shipped_path(text)
    elif isinstance(value, os.PathLike) and not Path(text).is_absolute():
        return f"./{text}"
    return text


def as_parents(value: object) -> tuple[str, ...]:
    """As as_parent; one stands for a list of one."""
    if isinstance(value, (str, os.PathLike)):
        return (as_parent(value),)
    if not isinstance(value, Iterable) or isinstance(value, (bytes, Mapping)):
        raise ValueError(f"is {shown(value)}: give a path or a name, or several of them")
    several = tuple(as_parent(each) for each in value)
    if not several:
        raise ValueError("is empty: name one at least, or leave it out")
    return several


def as_text(value: object) -> str:
    """One string, not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"is {shown(value)}: give a name")
    return value


def as_paths(value: object) -> Iterator[str]:
    """One path, or several of them. Of several each is checked when its turn comes: there may be many.

    Raises ValueError at once where it is neither, RequestError at a turn that brings no path.
    """
    if isinstance(value, (str, os.PathLike)):
        return iter([os.fspath(as_path(value))])
    if not isinstance(value, Iterable) or isinstance(value, (bytes, Mapping)):
        raise ValueError(f"is {shown(value)}: give a path, or several of them")
    return _each_path(value)


def _each_path(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        with named("one of paths"):
            path = as_path(value)
        yield os.fspath(path)


def as_texts(value: object) -> tuple[str, ...]:
    """Strings; one stands for a list of one."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Iterable) or isinstance(value, (bytes, Mapping)):
        raise ValueError(f"is {shown(value)}: give a string, or several of them")
    several = tuple(value)
    if not several:
        raise ValueError("is empty: give one string at least")
    for each in several:
        if not isinstance(each, str):
            raise ValueError(f"is {shown(each)}: give a string, or several of them")
    return several


def as_whole(value: object) -> int:
    """A whole number of any kind, numpy's among them, but no truth value."""
    if not isinstance(value, bool):
        try:
            return operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise ValueError(f"is {shown(value)}, no whole number")


def as_seed(value: object) -> int:
    """A whole number that generators of random numbers take."""
    number = as_whole(value)
    if not 0 <= number < 2**32:
        raise ValueError(f"is {number}, but must be from 0 to {2**32 - 1:,}")
    return number


def at_least_one(value: object) -> int:
    """A whole number from 1 on."""
    number = as_whole(value)
    if number < 1:
        raise ValueError(f"is {number}, but must be at least 1")
    return number


def as_port(value: object) -> int:
    """A TCP port; 0 stands for a free one."""
    number = as_whole(value)
    if not 0 <= number <= LAST_PORT:
        raise ValueError(f"is {number}, but must be from 0 to {LAST_PORT}")
    return number


def _as_number(value: object) -> float:
    if isinstance(value, (str, bytes, bool)) or not hasattr(value, "__float__"):
        raise ValueError(f"is {shown(value)}, no number")
    return float(value)


def as_points(value: object) -> float:
    """Percentage points between 0 and 100."""
    number = _as_number(value)
    if not 0 < number < 100:
        raise ValueError(f"is {number:g}, no number of points: name one, as in 0.5")
    return number


def as_minutes(value: object) -> float:
    """From 0 up."""
    number = _as_number(value)
    if not 0 <= number < math.inf:
        raise ValueError(f"is {number:g}, but must be a number of minutes, 0 or more")
    return number


def as_block(value: object) -> str:
    """The name of a block."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"is {shown(value)}, no name of a block: benchgraft parents NAME lists them")
    return value


def as_fraction(value: object) -> float:
    """A number from 0 to 1."""
    number = _as_number(value)
    if not 0 <= number <= 1:
        raise ValueError(f"is {number:g}, but must be from 0 to 1")
    return number


def as_expression(value: object) -> str:
    """A regular expression, as text."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"is {shown(value)}, no regular expression")
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is {shown(value)}, no regular expression: {error}") from None
    return value


def as_renames(value: object) -> dict[str, str] | tuple[str, ...]:
    """A mapping of names to names, or pairs OLD=NEW."""
    if isinstance(value, Mapping) and all(isinstance(n, str) for pair in value.items() for n in pair):
        return dict(value)
    pairs = (value,) if isinstance(value, str) else value
    if isinstance(pairs, (list, tuple)) and all(isinstance(pair, str) for pair in pairs):
        return tuple(pairs)
    raise ValueError(f"is {shown(value)}: give a mapping of old class names to new ones, or pairs OLD=NEW")


def as_teller(value: object) -> object:
    """A function that takes a line of text."""
    if not callable(value):
        raise ValueError(f"is {shown(value)}: give a function that takes a line of text")
    return value


def as_listener(value: object) -> object:
    """A function that takes an event."""
    if not callable(value):
        raise ValueError(f"is {shown(value)}: give a function that takes an event, see benchgraft.events")
    return value


def as_cancel(value: object) -> object:
    """What another thread sets when the task is to stop."""
    if not callable(getattr(value, "is_set", None)):
        raise ValueError(f"is {shown(value)}: give an object with a method is_set, such as threading.Event()")
    return value


def as_progress(value: object) -> object:
    """What follows long tasks."""
    if not callable(getattr(value, "track", None)):
        raise ValueError(f"is {shown(value)}: give an object with a method track, see benchgraft.progress")
    return value


class named:  # noqa: N801 - reads as a statement: with named("top")
    """Turn a ValueError within the block into a RequestError that says of which value it is."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, ValueError):
            raise RequestError(f"{self._name} {error}") from None
