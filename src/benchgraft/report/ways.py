"""Which of several ways: accuracy, time and break-even of each, and every two of them against each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from ..config.parents import PARENTS, is_name
from ..part import Part
from ..runfolder.records import RunRecord
from ..runfolder.runs import Arm, RunFolder
from ..statistics import pairs
from ..statistics.estimates import (
    MATTERS,
    BreakEven,
    Estimate,
    break_even,
    mean_interval,
    mean_time_interval,
    within_fractions,
)
from .accuracy import answers_of, difference, is_by_photo, is_of_same_images, over_sources
from .speed import mean_seconds, same_machine, same_machines, seconds_of

LEAST_STARTS = 2
"""Parents, or depths from which one trains."""


class ArmRow(Part):
    """One arm."""

    arm: str
    parent: str | None
    """What `benchgraft parents` calls the model that its runs start from, else the stage; None: random
    weights."""
    trained_on: str | None
    """What that parent was trained on, where it has a name."""
    runs: int
    is_fixed: bool
    """Whether all runs gave the same model, since a seed draws nothing there."""
    accuracy: Estimate
    """For other runs and other photos."""
    right: float
    """Test photos, mean of runs."""
    tested: int
    first: Estimate | None
    """Seconds of a retraining that computes its features, or trains from pixels; None: each was
    interrupted."""
    again: Estimate | None
    """Seconds of one on photos whose features are kept; None: it keeps none."""
    preparation_seconds: float | None
    """None: the parent is from elsewhere, and what its making took is not known."""
    pays_first: BreakEven | None
    """Against scratch, where each retraining computes its features. None: of scratch; or the preparation is
    not in the folder, or was timed on another machine."""
    pays_again: BreakEven | None
    """The same where only the first one does, and all others are on the same photos."""
    parameters: int | None
    """Of its network, with the classes of this experiment."""


class PairRow(Part):
    """Two arms, paired by seed; intervals are corrected for the number of pairs."""

    first: str
    """The one that got more test photos right."""
    second: str
    here: Estimate
    """First minus second, a fraction: for other runs on these very test photos."""
    beyond: Estimate
    """The same for other photos too."""
    seconds_first: Estimate | None
    """Seconds of first over those of second, both with their features computed; None: not both timed."""
    seconds_again: Estimate | None
    """The same where features are kept, by an arm that keeps any."""

    @property
    def is_shown(self) -> bool:
        """Whether the first is more accurate, on these photos at least: by an interval, or by the same each
        time."""
        is_always = self.here.standard_error == 0.0 and self.here.value != 0
        return is_always or self.here.differs_from(0.0) or self.beyond.differs_from(0.0)


class Stake(NamedTuple):
    """What it costs to take one arm if a rival is better, and what would tell."""

    rival: ArmRow
    at_most: float
    """A fraction of other photos, by the interval; 0 or below: the rival is not better."""
    likely: float
    """The same by the means."""
    photos: int | None
    """Test photos that would tell the two apart if their difference stays; None: no number would, with so few
    runs."""
    runs: int | None
    """Runs that would, with these test photos; None: no number would."""
    of_both: float
    """How many times as many of both would."""


class Ways(Part):
    """All arms, the one that got most test photos right first."""

    rows: list[ArmRow]
    pairs: list[PairRow]
    by_photo: bool
    """Whether other photos are told by photo, as if each were independent; else by source class."""
    advised: str = ""
    """The arm that the answer advises: of those that cannot be told from the best, and were less than a point
    behind it, the quickest; where that cannot be told either, the best."""

    @property
    def rivals(self) -> list[ArmRow]:
        """Arms that cannot be told from the best."""
        best, *others = self.rows
        return [row for row in others if not self.pair(best.arm, row.arm).is_shown]

    def quickest(self, rows: Sequence[ArmRow]) -> ArmRow | None:
        """The arm that takes the least time, if that is told apart from all others of these."""
        timed = sorted(
            (row for row in rows if row.first), key=lambda row: row.first.value if row.first else 0
        )
        if len(timed) < len(rows):
            return None
        ratios = [self.pair(timed[0].arm, row.arm).seconds_first for row in timed[1:]]
        return timed[0] if all(ratio is not None and ratio.differs_from(1.0) for ratio in ratios) else None

    def with_advice(self) -> Ways:
        """The same, with what it advises."""
        best = self.rows[0]
        near = [row for row in self.rivals if best.accuracy.value - row.accuracy.value < MATTERS]
        return self.model_copy(update={"advised": (self.quickest([best, *near]) or best).arm})

    def row(self, arm: str) -> ArmRow:
        """Of this arm."""
        return next(row for row in self.rows if row.arm == arm)

    def pair(self, one: str, other: str) -> PairRow:
        """Of these two arms, in whichever order."""
        return next(pair for pair in self.pairs if {pair.first, pair.second} == {one, other})


def ways(folder: RunFolder) -> Ways | None:
    """Of scratch and transfer from several parents, or depths of one, on the same test photos, as far as they
    have runs.

    None for a study, which has a question of its own, and where there are no such ways.
    """
    arms = [arm for arm in folder.arms.values() if arm.runs]
    scratch = folder.scratch
    starts = {(arm.runs[0].parent_digest, *arm.runs[0].frozen) for arm in arms if arm is not scratch}
    if folder.experiment.config.get("study") or scratch not in arms or len(starts) < LEAST_STARTS:
        return None
    assert scratch is not None
    firsts = scratch.once_a_seed
    if not all(is_of_same_images(folder, arm.once_a_seed, firsts) for arm in arms):
        return None
    rows = [_row(folder, arm, scratch) for arm in arms]
    rows.sort(key=lambda row: -row.right)
    places = list(combinations([folder.arms[row.arm] for row in rows], 2))
    return Ways(
        rows=rows,
        pairs=[_pair(folder, *two, len(places)) for two in places],
        by_photo=_is_by_photo(folder, firsts),
    ).with_advice()


def stake(found: Ways, taken: ArmRow, rival: ArmRow) -> Stake | None:
    """Of taking one arm and not a rival; None where no interval tells.

    A half width is made of what runs vary and of what photos vary, each of which shrinks with the root of
    their number; Student's quantile, which shrinks a little too, is left as it is.
    """
    pair = found.pair(taken.arm, rival.arm)
    here, beyond = pair.here, pair.beyond
    if beyond.low is None or beyond.high is None:
        return None
    ours = pair.first == taken.arm
    likely = -beyond.value if ours else beyond.value
    whole = ((beyond.high - beyond.low) / 2) ** 2
    by_runs = ((here.high - here.low) / 2) ** 2 if here.low is not None and here.high is not None else 0.0
    by_runs = min(by_runs, whole)
    by_photos, wanted = whole - by_runs, likely**2
    return Stake(
        rival=rival,
        at_most=-beyond.low if ours else beyond.high,
        likely=likely,
        photos=math.ceil(rival.tested * by_photos / (wanted - by_runs)) if wanted > by_runs else None,
        runs=math.ceil(rival.runs * by_runs / (wanted - by_photos))
        if by_runs and wanted > by_photos
        else None,
        of_both=whole / wanted if wanted else math.inf,
    )


def _row(folder: RunFolder, arm: Arm, scratch: Arm) -> ArmRow:
    once = arm.once_a_seed
    right = _right(folder, once)
    beyond = _sources(over_sources(folder, once)) or pairs.over_photos(right)
    first, again = _first(arm), arm.timed("warm")
    preparation = _preparation(folder, arm)
    pays = [
        _pays(folder, arm, scratch, runs, spent)
        for runs, spent in ((first, 0.0), (again, _saved(first, again)))
    ]
    blocks, parent = once[0].blocks, _parent(folder, arm)
    return ArmRow(
        arm=arm.name,
        parent=parent,
        trained_on=PARENTS[parent].trained_on if parent in PARENTS else None,
        runs=len(once),
        is_fixed=len(once) > 1 and len({run.model_digest for run in once}) == 1,
        accuracy=within_fractions(pairs.over_both(mean_interval([run.accuracy for run in once]), beyond)),
        right=float(right.sum()),
        tested=len(right),
        first=mean_time_interval(seconds_of(first)) if first else None,
        again=mean_time_interval(seconds_of(again)) if again else None,
        preparation_seconds=preparation,
        pays_first=pays[0],
        pays_again=pays[1],
        parameters=sum(block.parameters for block in blocks) if blocks else None,
    )


def _pair(folder: RunFolder, one: Arm, other: Arm, comparisons: int) -> PairRow:
    ours, theirs = one.once_a_seed, other.once_a_seed
    both = _same_seeds(ours, theirs)
    here = pairs.paired_difference(*([run.accuracy for run in runs] for runs in both))
    sources = _sources(difference(folder, ours, theirs)[1])
    beyond = sources or pairs.over_photos(_right(folder, ours) - _right(folder, theirs))
    again = [arm.timed("warm") or _first(arm) for arm in (one, other)]
    has_kept = bool(one.timed("warm") or other.timed("warm"))
    return PairRow(
        first=one.name,
        second=other.name,
        here=pairs.corrected(here, comparisons),
        beyond=pairs.corrected(pairs.over_both(here, beyond), comparisons),
        seconds_first=_ratio(_first(one), _first(other), comparisons),
        seconds_again=_ratio(again[0], again[1], comparisons) if has_kept else None,
    )


def _ratio(first: Sequence[RunRecord], second: Sequence[RunRecord], comparisons: int) -> Estimate | None:
    ours, theirs = _same_seeds(first, second)
    if not ours or not same_machines(ours, theirs):
        return None
    ratio = pairs.paired_ratio(seconds_of(ours), seconds_of(theirs))
    return pairs.corrected(ratio, comparisons, is_ratio=True)


def _pays(
    folder: RunFolder, arm: Arm, scratch: Arm, runs: Sequence[RunRecord], spent: float
) -> BreakEven | None:
    """spent: what the first retraining takes longer than the others."""
    preparation = 0.0 if folder.origin(arm) else _preparation(folder, arm)
    rival = _first(scratch)
    if arm is scratch or preparation is None or not rival or not runs:
        return None
    if not same_machine([*folder.chain(arm), *rival, *runs]):
        return None
    return break_even(preparation + spent, seconds_of(rival), seconds_of(runs))


def _preparation(folder: RunFolder, arm: Arm) -> float | None:
    chain = folder.chain(arm)
    if folder.origin(arm) or (not chain and arm.runs[0].parent_digest):
        return None
    return float(sum(run.total_seconds for run in chain))


def _parent(folder: RunFolder, arm: Arm) -> str | None:
    stages = folder.experiment.config.get("stages", {})
    parent: str | None = stages.get(arm.stage, {}).get("parent")
    given = stages.get(parent, {}).get("model_file")
    if given is None:
        return parent
    names = [known.name for known in PARENTS.values() if given in (known.name, known.model_file)]
    return names[0] if names else given if is_name(given) else parent


def _first(arm: Arm) -> list[RunRecord]:
    return arm.timed("cold") or arm.timed("pixels")


def _saved(first: Sequence[RunRecord], again: Sequence[RunRecord]) -> float:
    return max(0.0, mean_seconds(first) - mean_seconds(again)) if first and again else 0.0


def _same_seeds(
    ours: Sequence[RunRecord], theirs: Sequence[RunRecord]
) -> tuple[list[RunRecord], list[RunRecord]]:
    shared = {run.seed for run in ours} & {run.seed for run in theirs}
    both = [
        sorted((run for run in runs if run.seed in shared), key=lambda run: run.seed)
        for runs in (ours, theirs)
    ]
    return both[0], both[1]


def _is_by_photo(folder: RunFolder, runs: Sequence[RunRecord]) -> bool:
    images = folder.images_of(runs[0])
    return images is None or is_by_photo(images) or _sources(over_sources(folder, runs)) is None


def _sources(found: Estimate | None) -> Estimate | None:
    """Where there are enough source classes, or photos, for an interval."""
    return found if found is not None and found.has_interval else None


def _right(folder: RunFolder, runs: Sequence[RunRecord]) -> np.typing.NDArray[np.float64]:
    found = answers_of(folder, runs)
    assert found is not None  # is_of_same_images has seen to it
    return found[1]
