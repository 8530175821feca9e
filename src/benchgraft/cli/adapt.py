"""The command that makes a model from a folder of photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config.requests import AdaptRequest
from .options import Given, JsonOption, asks
from .output import print_json, print_lines, say_aside

if TYPE_CHECKING:
    from ..tasks.adapted import Adapted

SHOWN_SUSPECTS = 10


@asks(AdaptRequest)
def adapt(given: Given, json: JsonOption = False) -> None:
    """Train a model on a folder of labelled photos: model file, accuracy, and photos worth a second look.

    Give the same command again to go on after an interruption. Exit codes: 0 done, 2 bad input, no space or
    a refused regression, 130 interrupted.

    Example: benchgraft adapt photos/    then    benchgraft adapt photos/ --update photos.safetensors
    """
    from ..progress import for_terminal
    from ..tasks.adapt import adapt as run

    result = run(**given, progress=for_terminal(), say=say_aside)
    if json:
        print_json(result)
    else:
        print_lines(_lines(result))


def _lines(result: Adapted) -> list[str]:
    """For people; the answer first."""
    from ..report import units
    from ..store.findings import left_out_lines

    images = result.images
    seconds = ", ".join(
        f"{name} {units.seconds(value)}" for name, value in result.seconds.items() if value >= 0.005
    )
    accuracy = units.estimate(result.accuracy, units.per_cent)
    return [
        f"{result.model}: {accuracy} right of {images['test']:,} photos that training never saw; mean over "
        f"classes {units.per_cent(result.balanced_accuracy)}",
        f"photos: {images['train']:,} train, {images['validation']:,} validation, {images['test']:,} test; "
        f"{len(result.excluded):,} unusable; {result.decoded:,} decoded and {result.features_computed:,} "
        "featurised now, the others were there",
        *_class_lines(result),
        *left_out_lines([*result.excluded, *result.dropped_from_test]),
        *(f"note: {note}" for note in result.notes),
        *_change_lines(result),
        *_suspect_lines(result),
        f"{units.seconds(sum(result.seconds.values()) + result.decode_seconds)}: decoding photos "
        f"{units.seconds(result.decode_seconds)}, {seconds}; {result.epochs} epochs",
    ]


def _class_lines(result: Adapted) -> list[str]:
    from ..report import units

    width = max(len(each.name) for each in result.classes)
    lines = []
    for each in result.classes:
        recall = "not tested" if each.recall is None else units.estimate(each.recall, units.per_cent)
        lines.append(
            f"  {each.name:{width}}  {each.train_images:>6,} train {each.test_images:>6,} test  {recall}"
        )
    return lines


def _change_lines(result: Adapted) -> list[str]:
    if not result.changes:
        return []
    worse = [change for change in result.changes if change.is_worse]
    return [
        "on the photos that the old model was tested on:",
        *(f"  {change.text()}" for change in result.changes),
        *(f"WORSE beyond noise: {change.text()}" for change in worse),
    ]


def _suspect_lines(result: Adapted) -> list[str]:
    found = result.suspects
    if not found:
        return []
    more = len(found) - SHOWN_SUSPECTS
    return [
        f"Labels to check first, each wrong with a chance of 60 % or more ({len(found):,} of "
        f"{sum(result.images.values()):,} photos):",
        *(
            f"  {each.key}: given {each.given}, looks like {each.likelier}; "
            f"wrong with {int(100 * each.probability)} %"
            for each in found[:SHOWN_SUSPECTS]
        ),
        *([f"  and {more:,} more: --json"] if more > 0 else []),
    ]
