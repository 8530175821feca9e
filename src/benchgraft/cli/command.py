"""The kind of command that ours are: help texts are plain text, and an empty word is a mistake."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.core

from ..config.requests import RENAMED
from ..errors import UserError


class Command(typer.core.TyperCommand):
    """One command."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help text, brackets and all."""
        with _taken_as_text(self):
            super().format_help(ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raises UserError for an empty path, which would stand for the present folder."""
        words = list(args)
        self._refuse_old_names(words)
        rest = list(super().parse_args(ctx, args))
        paths = [path for value in ctx.params.values() for path in _paths(value)]
        for before, word in zip([str(self.name), *words], words, strict=False):
            if (not word or (word.startswith("--") and word.endswith("="))) and Path() in paths:
                raise UserError(
                    f'the path after "{word or before}" is empty',
                    "is a variable not set? leave the option out; the present folder is written .",
                )
        return rest

    def _refuse_old_names(self, words: list[str]) -> None:
        """Raises UserError for an option of an earlier version, with what takes its place."""
        known = {name for parameter in self.params for name in parameter.opts}
        for word in words:
            option = word.partition("=")[0]
            name = option.removeprefix("--").replace("-", "_")
            if option.startswith("--") and option not in known and name in RENAMED:
                raise UserError(f"{option} is no option any more", RENAMED[name])


def _paths(value: object) -> list[Path]:
    """Of the value of a parameter; a list of words is one of paths, or of names that are never empty."""
    if isinstance(value, Path):
        return [value]
    return [Path(word) for word in value] if isinstance(value, (list, tuple)) else []


class Group(typer.core.TyperGroup):
    """A command of commands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help text, and the first words of each command's."""
        with _taken_as_text(self, *self.commands.values()):
            super().format_help(ctx, formatter)


@contextlib.contextmanager
def _taken_as_text(*commands: Any) -> Iterator[None]:
    """Where rich writes help texts it takes [export] in them for markup, and prints nothing in its place."""
    from rich.markup import escape

    before = []
    if commands[0].rich_markup_mode == "rich" and getattr(typer.core, "HAS_RICH", True):
        for item in [item for command in commands for item in (command, *command.params)]:
            for name in ("help", "short_help", "epilog"):
                text = getattr(item, name, None)
                if isinstance(text, str):
                    before.append((item, name, text))
                    setattr(item, name, escape(text))
    try:
        yield
    finally:
        for item, name, text in before:
            setattr(item, name, text)
