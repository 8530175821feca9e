"""The command that writes a model for other programs."""

from __future__ import annotations

from typing import Annotated

import typer

from ..config.requests import ExportRequest
from .options import Given, JsonOption, asks, one_of
from .output import print_json, say


@asks(ExportRequest)
def export(
    given: Given,
    format: Annotated[str, typer.Option(help="onnx.")] = "onnx",  # noqa: A002
    json: JsonOption = False,
) -> None:
    """Write a model as ONNX, kept only if it answers as PyTorch does.

    Exit codes: 0 done, 2 bad input, no space or another answer.

    Example: benchgraft export photos.safetensors --format onnx
    """
    from ..tasks.export import export as run

    one_of("--format", format, ("onnx",))
    done = run(**given)
    if json:
        print_json(done)
    else:
        say(
            f"{done.path}: same classes as PyTorch on {done.checked_photos:,} pictures, probabilities within "
            f"{done.largest_difference:.1e}"
        )
        if done.kept is not None:
            say(f"the previous {done.path} is kept as {done.kept}")
