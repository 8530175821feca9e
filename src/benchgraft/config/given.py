"""The types of what people give: each with the check that makes a value of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from ..events import Cancel, Listen
from ..progress import Progress
from .values import (
    LAST_PORT,
    Check,
    as_block,
    as_cancel,
    as_expression,
    as_file,
    as_fraction,
    as_listener,
    as_minutes,
    as_model,
    as_name,
    as_parent,
    as_parents,
    as_path,
    as_paths,
    as_points,
    as_port,
    as_progress,
    as_renames,
    as_seed,
    as_teller,
    as_text,
    as_texts,
    at_least_one,
)
from .words import Option

APath = Annotated[Path, Check(as_path, Path | str)]
AFile = Annotated[Path, Check(as_file, Path | str)]
"""One to be written."""
AModel = Annotated[Path, Check(as_model, Path | str)]
AName = Annotated[str, Check(as_name, Path | str)]
"""A path, or the name of something that comes along."""
AParent = Annotated[str, Check(as_parent, Path | str)]
"""The name of a parent, or a model file."""
Parents = Annotated[tuple[str, ...], Check(as_parents, Sequence[Path | str] | Path | str)]
Text = Annotated[str, Check(as_text, str)]
Paths = Annotated[Iterable[str], Check(as_paths, Iterable[Path | str] | Path | str)]
Texts = Annotated[tuple[str, ...], Check(as_texts, Sequence[str] | str)]
Expression = Annotated[str, Check(as_expression, str)]
Renames = Annotated[dict[str, str] | tuple[str, ...], Check(as_renames, Mapping[str, str] | Sequence[str])]
Seed = Annotated[int, Check(as_seed, int)]
Count = Annotated[int, Check(at_least_one, int, least=1)]
Port = Annotated[int, Check(as_port, int, least=0, most=LAST_PORT)]
Fraction = Annotated[float, Check(as_fraction, float, least=0, most=1)]
ABlock = Annotated[str, Check(as_block, str)]
Minutes = Annotated[float, Check(as_minutes, float, least=0)]
Points = Annotated[float, Check(as_points, float)]
Teller = Annotated[Callable[[str], None], Check(as_teller, Callable[[str], None])]
Shower = Annotated[Progress, Check(as_progress, Progress)]
Listener = Annotated[Listen, Check(as_listener, Listen)]
CacheFolder = Annotated[
    APath, Option("Stores and feature caches. Default: ~/.cache/benchgraft", ("--cache-dir",))
]
LabelTable = Annotated[
    APath,
    Option(
        "Labels from a CSV file with the columns path,label[,split,group]. Default: "
        ".benchgraft/labels.csv in the folder, if there is one."
    ),
]
"""Paths in it are relative to the folder of photos; see photos/table.py."""
Token = Annotated[Cancel, Check(as_cancel, Cancel)]
