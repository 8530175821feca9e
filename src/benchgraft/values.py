"""Checks of single values that people give, from Python or the command: a ValueError says what is wrong."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from .errors import RequestError
from .files import shipped_path


def shown(value: object) -> str:
    """A value as a message has it."""
    return f'"{value}"' if isinstance(value, str) else f"{value!r:.60}"


def as_path(value: object) -> Path:
    """A string or a path object, never an empty one."""
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(f"is {shown(value)}, no path: give a string or a pathlib.Path")
    text = os.fsdecode(os.fspath(value))
    if not text:
        raise ValueError("is an empty path: name a file or folder, . for the present folder")
    if "\0" in text:
        raise ValueError("holds a zero byte, which no path can")
    return Path(text)


def as_model(value: object) -> Path:
    """A model file by its path, or by the name under which messages print one that comes along."""
    return shipped_path(str(as_path(value)))


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


def as_texts(value: object) -> tuple[object, ...]:
    """One string stands for a list of one; what several hold is not looked at here."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Iterable) or isinstance(value, (bytes, Mapping)):
        raise ValueError(f"is {shown(value)}: give a string, or several of them")
    several = tuple(value)
    if not several:
        raise ValueError("is empty: give one string at least")
    return several


def as_whole(value: object) -> int:
    """A whole number of any kind, numpy's among them, but no truth value."""
    if not isinstance(value, bool):
        try:
            return operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise ValueError(f"is {shown(value)}, no whole number")


def at_least_one(value: object) -> int:
    """A whole number from 1 on."""
    number = as_whole(value)
    if number < 1:
        raise ValueError(f"is {number}, but must be at least 1")
    return number


def as_fraction(value: object) -> float:
    """A number from 0 to 1."""
    if isinstance(value, (str, bytes, bool)) or not hasattr(value, "__float__"):
        raise ValueError(f"is {shown(value)}, no number")
    number = float(value)
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


class named:  # noqa: N801 - reads as a statement: with named("top")
    """Turn a ValueError within the block into a RequestError that says of which value it is."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, ValueError):
            raise RequestError(f"{self._name} {error}") from None
