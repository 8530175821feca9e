"""The command that judges a model on labelled photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import CacheOption, DeviceOption, ThreadsOption
from .output import print_blocks, print_json


def evaluate(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    folder: Annotated[Path, typer.Argument(help="Folder of class folders (one a class).")],
    include_trained: Annotated[
        bool, typer.Option("--include-trained", help="Count photos too that the model was trained on.")
    ] = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    cache_dir: CacheOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Accuracy with intervals, precision and recall by class, confusion, calibration, worst mistakes.

    Photos that the model was trained on are counted and left out. Exit codes: 0 done, 2 bad input or no
    space.

    Example: benchgraft evaluate photos.safetensors other-photos/
    """
    from .. import evaluation
    from ..progress import for_terminal
    from ..report.answers import evaluated_blocks

    found = evaluation.evaluate(
        model,
        folder,
        include_trained=include_trained,
        device=device,
        threads=threads,
        cache=cache_dir,
        progress=for_terminal(),
    )
    if json:
        print_json(found)
    else:
        print_blocks(evaluated_blocks(found))
