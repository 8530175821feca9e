"""The audit of the published figures: findings, each marked printed, computed or inferred.

`printed` stands in the paper. `computed` follows from printed values by arithmetic. `inferred` is a reading
of them that the paper does not state and that could be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..part import Part
from ..statistics.estimates import break_even, difference_of_means, ratio_of_means
from .published import ModelTable, Published, PublishedTable, preparation_minutes, published

Status = Literal["printed", "computed", "inferred"]
FRUITS_360_TRAINING_IMAGES = 60498
"""Of the edition with 120 classes; a fact of the data set, which the paper does not print."""
LARGEST_SMALL_SET = 5000


class Finding(Part):
    """One statement about the paper, and where it comes from."""

    name: str
    statement: str
    status: Status
    values: dict[str, float | list[float]]


def audit() -> list[Finding]:
    """Every finding, recomputed from the printed figures."""
    paper = published()
    scratch, transfer = paper.table_2, paper.table_5
    return [
        _model_size(paper.table_1),
        *_means(scratch, transfer),
        *_epochs(scratch, transfer),
        *_set_sizes(scratch, transfer),
        *_ratios(paper),
        *_costs(paper),
    ]


def seconds_per_epoch(minutes: Sequence[float]) -> int:
    """The largest whole number of seconds of which every time is a multiple: an epoch, or several."""
    return math.gcd(*(round(value * 60) for value in minutes))


def fitting_sizes(accuracies: Sequence[float], largest: int, decimals: int = 5) -> list[int]:
    """Set sizes N <= largest for which every accuracy is some k / N, rounded to so many decimals."""
    sizes = np.arange(1, largest + 1)
    fits = np.ones(largest, dtype=bool)
    for accuracy in accuracies:
        nearest = np.rint(accuracy * sizes) / sizes
        # 1e-9: a half rounds either way, and neither is excluded by the binary form of a decimal
        fits &= np.abs(nearest - accuracy) <= 0.5 * 10.0**-decimals + 1e-9
    return [int(size) for size in sizes[fits]]


def chance_of_fit(size: int, values: int, decimals: int = 5) -> float:
    """How often a set of this size would fit so many arbitrary accuracies."""
    return min(1.0, size * 10.0**-decimals) ** values


def _computed(name: str, statement: str, **values: float | list[float]) -> Finding:
    return Finding(name=name, statement=statement, status="computed", values=values)


def _inferred(name: str, statement: str, **values: float | list[float]) -> Finding:
    return Finding(name=name, statement=statement, status="inferred", values=values)


def _model_size(table: ModelTable) -> Finding:
    total = sum(layer.parameters for layer in table.layers)
    return _computed(
        "parameters",
        f"the rows of table 1 add up to {total:,} parameters for 3 classes",
        total=total,
    )


def _means(scratch: PublishedTable, transfer: PublishedTable) -> list[Finding]:
    minutes, accuracy = float(np.mean(scratch.minutes)), float(np.mean(scratch.accuracy))
    printed_minutes, printed_accuracy = scratch.mean_minutes or 0.0, scratch.mean_accuracy or 0.0
    count = len(scratch.minutes) + 1
    epoch = seconds_per_epoch(scratch.minutes) / 60
    epochs = round((count * printed_minutes - sum(scratch.minutes)) / epoch)
    missing = count * printed_accuracy - sum(scratch.accuracy)
    return [
        _computed(
            "table 2 means",
            f"the ten rows of table 2 give means of {minutes:.4f} min and {accuracy:.5f}; "
            f"printed are {printed_minutes:.4f} and {printed_accuracy:.5f}, so other rows were averaged too",
            minutes=minutes,
            accuracy=accuracy,
        ),
        _inferred(
            "eleventh row",
            f"the printed means of table 2 fit {count} rows, the missing one being "
            f"{epochs * epoch:.4f} min ({epochs} epochs) with accuracy {missing:.5f}",
            minutes=epochs * epoch,
            epochs=epochs,
            accuracy=missing,
            mean_of_eleven=(sum(scratch.minutes) + epochs * epoch) / count,
        ),
        _computed(
            "table 5 means",
            "the ten rows of table 5 give the printed means, "
            f"{np.mean(transfer.minutes):.4f} min and {np.mean(transfer.accuracy):.5f}",
            minutes=float(np.mean(transfer.minutes)),
            accuracy=float(np.mean(transfer.accuracy)),
        ),
    ]


def _epochs(scratch: PublishedTable, transfer: PublishedTable) -> list[Finding]:
    unit_scratch, unit_transfer = seconds_per_epoch(scratch.minutes), seconds_per_epoch(transfer.minutes)
    rows_scratch = [round(value * 60) // unit_scratch for value in scratch.minutes]
    rows_transfer = [round(value * 60) // unit_transfer for value in transfer.minutes]
    cost = unit_scratch / unit_transfer
    more = float(np.mean(rows_transfer) / np.mean(rows_scratch))
    return [
        _computed(
            f"epochs of table {number}",
            f"every time of table {number} is a whole multiple of {unit} s, as if that were an "
            "epoch: " + ", ".join(map(str, rows)),
            seconds_per_epoch=unit,
            epochs=[float(row) for row in rows],
        )
        for number, unit, rows in ((2, unit_scratch, rows_scratch), (5, unit_transfer, rows_transfer))
    ] + [
        _inferred(
            "cost of an epoch",
            f"an epoch of stage 3 was {cost:.1f} times cheaper than one of scratch, and stage 3 "
            f"took {more:.1f} times more epochs; freezing without a feature cache saves at most the backward "
            "pass, about 3 times a step, so the epochs were plausibly not over the same number of images",
            epoch_cost_ratio=cost,
            epochs_ratio=more,
        ),
    ]


def _set_sizes(scratch: PublishedTable, transfer: PublishedTable) -> list[Finding]:
    small = fitting_sizes(transfer.accuracy, LARGEST_SMALL_SET)
    large = fitting_sizes(scratch.accuracy, FRUITS_360_TRAINING_IMAGES)
    rows = len(scratch.accuracy)
    by_chance = sum(chance_of_fit(size, rows) for size in range(1, FRUITS_360_TRAINING_IMAGES + 1))
    chance = chance_of_fit(FRUITS_360_TRAINING_IMAGES, rows)
    return [
        _computed(
            "set of table 5",
            f"all accuracies of table 5 are whole multiples of 1/{small[0]}; below "
            f"{LARGEST_SMALL_SET:,} only " + " and ".join(f"{size:,}" for size in small) + " fit",
            sizes=[float(size) for size in small],
        ),
        _computed(
            "set of table 2",
            f"the accuracies of table 2 fit no set below {large[0]:,} and {len(large)} sizes up to "
            f"{FRUITS_360_TRAINING_IMAGES:,}",
            sizes=[float(size) for size in large],
            expected_by_chance=by_chance,
        ),
        _inferred(
            "different data",
            f"{FRUITS_360_TRAINING_IMAGES:,}, the training images of the Fruits-360 edition with "
            "120 classes, is among the sizes that fit table 2 (a size named beforehand fits by chance in "
            f"{100 * chance:.1f} % of cases; that {len(large)} sizes fit says nothing, about {by_chance:.0f} "
            "would by chance). So the arms were plausibly measured on different data, and the printed "
            "speed-up mixes set size with method",
            fits=float(FRUITS_360_TRAINING_IMAGES in large),
            chance=chance,
        ),
    ]


def _ratios(paper: Published) -> list[Finding]:
    stages = paper.table_3.minutes[0] / paper.table_4.minutes[0]
    scratch, transfer = paper.table_2, paper.table_5
    printed = (scratch.mean_minutes or 0.0) / (transfer.mean_minutes or 1.0)
    rows = ratio_of_means(scratch.minutes, transfer.minutes)
    gain = 100 * ((transfer.mean_accuracy or 0.0) - (scratch.mean_accuracy or 0.0))
    points = difference_of_means(transfer.accuracy, scratch.accuracy)
    return [
        _computed(
            "stage 1 to stage 2",
            f"stage 2 took {stages:.2f} times less than stage 1; printed is "
            f"{paper.claims.stage_2_times_less:g} times",
            ratio=stages,
        ),
        _computed(
            "scratch to stage 3",
            f"stage 3 took {printed:.2f} times less than scratch by the printed means, "
            f"{rows.value:.2f} ({rows.low:.2f} to {rows.high:.2f}) by the rows; printed is about "
            f"{paper.claims.stage_3_times_less:g}",
            printed_means=printed,
            rows=rows.value,
            low=rows.low or 0.0,
            high=rows.high or 0.0,
        ),
        _computed(
            "accuracy gain",
            f"accuracy rose by {gain:.2f} points by the printed means, {100 * points.value:.2f} "
            f"({100 * (points.low or 0):.2f} to {100 * (points.high or 0):.2f}) by the rows; printed is "
            f"{paper.claims.accuracy_points:g}",
            printed_means=gain,
            rows=100 * points.value,
            low=100 * (points.low or 0.0),
            high=100 * (points.high or 0.0),
        ),
    ]


def _costs(paper: Published) -> list[Finding]:
    scratch, transfer = paper.table_2, paper.table_5
    preparation = preparation_minutes()
    means = scratch.mean_minutes or 0.0, transfer.mean_minutes or 0.0
    even = break_even(preparation, [means[0]], [means[1]])
    runs = len(transfer.minutes)
    at_ten = (preparation + runs * means[1]) / (runs * means[0])
    at_ten_rows = (preparation + sum(transfer.minutes)) / sum(scratch.minutes)
    return [
        _computed(
            "break-even",
            f"preparation is {preparation:.1f} min, a retraining saves "
            f"{means[0] - means[1]:.2f} min, so transfer pays from retraining {even.first} on "
            f"({even.exact:.2f}); the paper gives no such figure",
            preparation=preparation,
            saved=means[0] - means[1],
            exact=even.exact or 0.0,
            first=float(even.first or 0),
        ),
        _computed(
            "at ten retrainings",
            f"at the paper's own {runs} retrainings transfer costs {at_ten:.2f} times what scratch "
            f"does ({at_ten_rows:.2f} from the rows)",
            printed_means=at_ten,
            rows=at_ten_rows,
        ),
    ]
