"""What commands print: text that any terminal takes, whatever the names of files and classes are.

A name with a newline, an escape sequence or bytes that are no text is shown with escapes; a letter that the
terminal's encoding has not is written as an escape too. JSON is valid, and valid UTF-8, in any case.
"""

from __future__ import annotations

import codecs
import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..names import printable, storable

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ..report.blocks import Block


def take_any_letter() -> None:
    """Make stdout and stderr write escapes for what their encoding has not, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(line: str) -> None:
    """A line of what goes on, to be seen at once."""
    print(printable(line), flush=True)


def say_aside(line: str) -> None:
    """The same on stderr, where stdout is for the result alone."""
    print(printable(line), file=sys.stderr, flush=True)


def print_lines(lines: Iterable[str]) -> None:
    """Each on one line, as it comes."""
    for line in lines:
        print(printable(line))


def print_blocks(blocks: Sequence[Block], width: int = 10_000) -> None:
    """What a command answers; width: of lines and tables where no terminal says it."""
    from rich.console import Console

    from ..report.blocks import terminal

    terminal(blocks, Console(width=None if sys.stdout.isatty() else width))


def print_error(what: str, *details: str) -> None:
    """One block on stderr: a line of what and where, then lines of detail and advice."""
    print("\n  ".join(map(printable, [f"error: {what}", *details])), file=sys.stderr)


def print_json(result: BaseModel | dict[str, Any]) -> None:
    """A result for programs, over several lines."""
    print(to_json(result if isinstance(result, dict) else result.model_dump(), indent=2))


def to_json(facts: object, indent: int | None = None) -> str:
    """As JSON; only ASCII where stdout writes no UTF-8, as readers of JSON expect that."""
    is_utf8 = codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name == "utf-8"
    return json.dumps(storable(facts), indent=indent, ensure_ascii=not is_utf8, allow_nan=False)
