"""The command that judges a model on labelled photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config.requests import EvaluateRequest
from .options import Given, JsonOption, asks
from .output import print_json, print_lines

if TYPE_CHECKING:
    from ..tasks.evaluate import EvaluationReport

LARGEST_SHOWN_MATRIX = 12


@asks(EvaluateRequest)
def evaluate(given: Given, json: JsonOption = False) -> None:
    """Accuracy with intervals, precision and recall by class, confusion, calibration, worst mistakes.

    Photos that the model was trained on are counted and left out. Exit codes: 0 done, 2 bad input or no
    space.

    Example: benchgraft evaluate photos.safetensors other-photos/
    """
    from ..progress import for_terminal
    from ..tasks.evaluate import evaluate as run

    found = run(**given, progress=for_terminal())
    if json:
        print_json(found)
    else:
        print_lines(_lines(found))


def _lines(found: EvaluationReport) -> list[str]:
    from ..photos.scan import photos, some
    from ..report import units
    from ..store.findings import left_out_lines

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
