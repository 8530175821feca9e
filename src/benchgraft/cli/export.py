"""The command that writes a model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import file_option, one_of
from .output import print_json, say


def export(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    out: Annotated[Path | None, file_option("File to write. Default: the model's name, .onnx")] = None,
    format: Annotated[str, typer.Option(help="onnx.")] = "onnx",  # noqa: A002
    images: Annotated[
        Path | None,
        typer.Option(help="Photos to compare on. Default: generated pictures."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write a model as ONNX, kept only if it answers as PyTorch does.

    Needs the extra: pip install 'benchgraft[export]'. Exit codes: 0 done, 2 bad input, no space
    or another answer.

    Example: benchgraft export photos.safetensors --format onnx
    """
    from .. import onnx_export

    one_of("--format", format, ("onnx",))
    done = onnx_export.export(model, out, images=images)
    if json:
        print_json(done)
    else:
        say(
            f"{done.path}: same classes as PyTorch on {done.checked_photos:,} pictures, probabilities within "
            f"{done.largest_difference:.1e}"
        )
        if done.kept is not None:
            say(f"the file that was there before is kept as {done.kept}")
