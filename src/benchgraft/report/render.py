"""Summary -> terminal and Markdown. JSON is `summary.model_dump_json()`."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from .blocks import Block, Grid, Heading
from .sections import blocks
from .summary import Summary

_STYLE = {"supported": "green", "not supported": "red", "cannot tell": "yellow"}


def terminal(summary: Summary, console: Console) -> None:
    """Print everything; long cells are folded, nothing is cut off."""
    for block in blocks(summary):
        if isinstance(block, Heading):
            console.print()
            console.print(Text(_shown(block.text, console), style="bold"))
        elif isinstance(block, Grid):
            console.print(_rich_table(block, console))
        else:
            for line in block.lines:
                console.print(Text(_shown(line, console)))


def markdown(summary: Summary) -> str:
    """The same as a Markdown page, tables in the pipe form."""
    title = "measured beside published" if summary.claims else summary.experiment
    parts = [f"# benchgraft: {title}", *(markdown_block(block) for block in blocks(summary))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _shown(text: str, console: Console) -> str:
    """With escapes for letters that the console has not, so that they count in a table's widths."""
    return text.encode(console.encoding, "backslashreplace").decode(console.encoding)


def _rich_table(grid: Grid, console: Console) -> RichTable:
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    for number, name in enumerate(grid.columns):
        table.add_column(
            Text(_shown(name, console)), justify="right" if number in grid.right else "left", overflow="fold"
        )
    for row in grid.rows:
        table.add_row(*(Text(_shown(cell, console), style=_STYLE.get(cell, "")) for cell in row))
    return table


def markdown_block(block: Block) -> str:
    """One block in Markdown; cells of a table stay on one line."""
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
