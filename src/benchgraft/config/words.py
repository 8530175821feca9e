"""What a request says of itself: its fields with their words, and the command line that asks for the same."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from .values import Check


@dataclass(frozen=True)
class Option:
    """Metadata of a field that is an option of the command."""

    help: str
    names: tuple[str, ...] = ()
    """Default: --name-of-the-field. The first is the one that commands are written with."""


@dataclass(frozen=True)
class Argument:
    """Metadata of a field that is an argument of the command."""

    help: str


@dataclass(frozen=True)
class Asked:
    """One field of a request."""

    name: str
    type: Any
    """Of its values, but None."""
    check: Check | None
    words: Option | Argument | None
    """None: it can be given in Python alone."""
    default: Any
    """dataclasses.MISSING where it must be given."""
    is_optional: bool
    """Whether None is a value of it."""

    @property
    def takes(self) -> Any:
        """The type that Python callers may give."""
        given = self.check.takes if self.check else self.type
        return given | None if self.is_optional else given

    @property
    def names(self) -> tuple[str, ...]:
        """Of the option on the command line."""
        own = self.words.names if isinstance(self.words, Option) else ()
        return own or ("--" + self.name.replace("_", "-"),)


def asked(kind: type) -> tuple[Asked, ...]:
    """The fields of a request, what is special to it before what it has in common with others."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = get_type_hints(kind, include_extras=True)
    names = [name for each in kind.__mro__ for name in inspect.get_annotations(each)]
    return tuple(
        _field(name, hints[name], fields[name].default) for name in dict.fromkeys(names) if name in fields
    )


def _field(name: str, hint: Any, default: Any) -> Asked:
    notes: list[Any] = []
    is_optional = False
    while True:
        if get_origin(hint) is Annotated:
            notes += hint.__metadata__
            hint = hint.__origin__
        elif get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint):
            is_optional = True
            hint = Union[tuple(part for part in get_args(hint) if part is not NoneType)]  # noqa: UP007
        else:
            break
    check = next((note for note in notes if isinstance(note, Check)), None)
    words = next((note for note in notes if isinstance(note, (Option, Argument))), None)
    return Asked(name, hint, check, words, default, is_optional)


def command_line(verb: str, request: Any) -> list[str]:
    """The words of the command that asks for the same: every value, defaults too."""
    arguments, options = [], []
    for field in asked(type(request)):
        texts = _texts(getattr(request, field.name))
        if isinstance(field.words, Argument):
            arguments += [f"./{text}" if text.startswith("-") else text for text in texts]
        elif isinstance(field.words, Option):
            flag = field.names[0]
            options += [flag] if field.type is bool and texts else [w for text in texts for w in (flag, text)]
    return ["benchgraft", verb, *arguments, *options]


def _texts(value: object) -> list[str]:
    """A value as the command line has it: none, one or several words."""
    if value is None or value is False:
        return []
    if isinstance(value, Mapping):
        return [f"{old}={new}" for old, new in value.items()]
    return [str(each) for each in value] if isinstance(value, tuple) else [str(value)]
