"""The command that judges a model on labelled photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import CacheOption, DeviceOption, ThreadsOption
from .output import print_json, print_lines

if TYPE_CHECKING:
    from ..evaluation import EvaluationReport

LARGEST_SHOWN_MATRIX = 12


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
        print_lines(_lines(found))


def _lines(found: EvaluationReport) -> list[str]:
    from ..data.findings import left_out_lines
    from ..data.scan import photos, some
    from ..report import units

    error = units.per_cent(found.calibration_error)
    lines = [
        f"{units.estimate(found.accuracy, units.per_cent)} right of {found.photos:,} photos; mean over "
        f"classes {units.per_cent(found.balanced_accuracy)}; calibration error {error}",
        "intervals hold for photos that are independent of each other; frames of one object are not",
    ]
    if found.trained_on:
        lines.append(f"left out: {found.trained_on:,} photos that the model was trained on")
    lines += left_out_lines(found.excluded)
    unknown = [f'"{name}" ({photos(count)})' for name, count in found.unknown_classes.items()]
    if unknown:
        lines.append(f"left out, as they are no classes of the model: {some(unknown)}")
    lines += [f"note: {note}" for note in found.notes]
    width = max(len(each.name) for each in found.classes)
    for each in found.classes:
        figures = [
            f"{word} {units.estimate(value, units.per_cent) if value else 'none'}"
            for word, value in (("recall", each.recall), ("precision", each.precision))
        ]
        lines.append(f"  {each.name:{width}}  {each.photos:>6,} photos  {'  '.join(figures)}")
    if len(found.classes) <= LARGEST_SHOWN_MATRIX:
        lines.append("given class (row) and answer (column):")
        lines += [
            f"  {each.name:{width}}  " + " ".join(f"{count:>6,}" for count in row)
            for each, row in zip(found.classes, found.confusion, strict=True)
        ]
    if found.mistakes:
        lines.append("most confident mistakes:")
        lines += [
            f"  {each.key}: given {each.given}, answer {each.predicted} ({each.confidence:.1%})"
            for each in found.mistakes
        ]
    return lines
