"""Options that several commands have, and what they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CacheOption = Annotated[
    Path | None, typer.Option("--cache-dir", help="Stores and feature caches. Default: ~/.cache/benchgraft")
]


def cache_folder(chosen: Path | None) -> Path:
    """The folder of stores and feature caches: the one chosen, or the user's."""
    from ..files import default_cache

    return chosen or default_cache()
