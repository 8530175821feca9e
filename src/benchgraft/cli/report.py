"""The command that prints a run folder's tables."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError


def report(
    folder: Annotated[Path, typer.Argument(help="A run folder that reproduce has written.")],
    format: Annotated[str, typer.Option(help="text, md or json.")] = "text",  # noqa: A002
) -> None:
    """Print the tables of a run folder again. Example: benchgraft report runs/paper --format md"""
    from ..errors import did_you_mean

    if format not in ("text", "md", "json"):
        raise UserError(f'--format "{format}" is unknown', did_you_mean(format, ["text", "md", "json"]))
    print_report(folder, format)


def print_report(folder: Path, format: str = "text") -> None:  # noqa: A002
    """Print the tables of a run folder; as text, also leave them in it as files."""
    from rich.console import Console

    from ..files import write_whole
    from ..ledger import read
    from ..report import render
    from ..report.tables import summarise

    summary = summarise(read(folder))
    if format == "json":
        print(summary.model_dump_json(indent=2))
    elif format == "md":
        print(render.markdown(summary))
    else:
        width = None if sys.stdout.isatty() else 100
        render.terminal(summary, Console(width=width))
        if os.access(folder, os.W_OK):
            write_whole(folder / "tables.md", render.markdown(summary))
            write_whole(folder / "tables.json", summary.model_dump_json(indent=2))
            print(f"\nthe same as files: {folder}/tables.md, {folder}/tables.json")
