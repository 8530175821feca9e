"""What a page is made of: headings, sentences and grids, and how a terminal and Markdown show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..names import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

_STYLE = {"supported": "green", "not supported": "red", "cannot tell": "yellow"}


@dataclass(frozen=True)
class Heading:
    """The start of a section."""

    text: str


@dataclass(frozen=True)
class Lines:
    """Sentences, one to a line."""

    lines: list[str]


@dataclass(frozen=True)
class Grid:
    """A table; the columns named in `right` hold numbers."""

    columns: list[str]
    rows: list[list[str]]
    right: frozenset[int] = frozenset()

    @property
    def is_prose(self) -> bool:
        """Whether it holds sentences rather than numbers: too wide for a phone, and nothing to compare down
        a column."""
        return len(self.columns) > 3 and len(self.right) <= 1


Block = Heading | Lines | Grid


def numbers(columns: list[str], rows: list[list[str]]) -> Grid:
    """A table of names, in the first column, and numbers."""
    return Grid(columns, rows, frozenset(range(1, len(columns))))


def said(lines: list[str]) -> list[Block]:
    """Sentences, where there are any."""
    return [Lines(lines)] if lines else []


def terminal(blocks: Sequence[Block], console: Console) -> None:
    """Print everything; long cells are folded, nothing is cut off."""
    from rich.text import Text

    for block in blocks:
        if isinstance(block, Heading):
            console.print()
            console.print(Text(_shown(block.text, console), style="bold"))
        elif isinstance(block, Grid):
            console.print(_rich_table(block, console))
        else:
            for line in block.lines:
                console.print(Text(_shown(line, console)))


def markdown(blocks: Sequence[Block]) -> str:
    """As Markdown, tables in the pipe form, whose cells stay on one line."""
    return "\n\n".join(text for block in blocks if (text := _markdown(block)))


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"## {block.text}"
    if isinstance(block, Grid):
        rules = ["---:" if number in block.right else "---" for number in range(len(block.columns))]
        rows = [[name.replace("\n", " ") for name in block.columns], rules, *block.rows]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    return "\n".join(line if line.startswith("- ") else f"{_plain(line)}  " for line in block.lines)


def _plain(line: str) -> str:
    """A line that starts with a mark is no list and no heading."""
    return f"\\{line}" if line[:2] in ("* ", "+ ", "# ") else line


def _shown(text: str, console: Console) -> str:
    """On one line, escapes for what harms and for letters that the console has not: they count in widths."""
    return printable(text).encode(console.encoding, "backslashreplace").decode(console.encoding)


def _rich_table(grid: Grid, console: Console) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    for number, name in enumerate(grid.columns):
        table.add_column(
            Text("\n".join(_shown(part, console) for part in name.split("\n"))),
            justify="right" if number in grid.right else "left",
            overflow="fold",
        )
    for row in grid.rows:
        table.add_row(*(Text(_shown(cell, console), style=_STYLE.get(cell, "")) for cell in row))
    return table
