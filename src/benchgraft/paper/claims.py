"""The paper's claims, one line each: supported, not supported or cannot tell, and by which figure.

Rules, the same for every claim: it is supported only if the whole interval agrees with it, not supported only
if the whole interval contradicts it; without an interval, or with times of two machines, one cannot tell.
A size is claimed as "at least so much", the printed figure's rounding given to it (about 12: from 11.5).
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from ..part import Part
from ..report.accuracy import AccuracyDifference
from ..report.headline import Against
from ..report.speed import RETRAININGS, Payback, Speedup, same_machine
from ..report.words import (
    GIVEN,
    OTHER_IMAGES,
    OTHER_MACHINE,
    VARIANT_TEXT,
    estimate,
    points,
    retrainings,
    seconds,
    times,
)
from ..runfolder.runs import Arm, RunFolder
from ..statistics.estimates import Estimate, break_even, difference_of_means, ratio_of_means
from .audit import Status
from .published import preparation_minutes, published

Verdict = Literal["supported", "not supported", "cannot tell"]

SPEEDUP_FROM = 11.5
POINTS_FROM = 0.0145
_UNKNOWN: Verdict = "cannot tell"
_OPPOSITE: dict[Verdict, Verdict] = {
    "supported": "not supported",
    "not supported": "supported",
    "cannot tell": "cannot tell",
}
_BY_THE_ROWS = "by the rows (computed), on plausibly different data (inferred)"


class Claim(Part):
    """One claim of the paper, judged by these runs."""

    name: str
    claim: str
    source: Status = "printed"
    arm: str | None
    verdict: Verdict
    figure: str
    published: str
    """What the printed figures themselves say to it, marked."""


def judge(folder: RunFolder, against: Against) -> list[Claim]:
    """Every claim; those about a transfer arm once for each such arm."""
    claims = [_stages(folder)]
    for arm in [arm.name for arm in of_the_paper(folder)] or ["transfer"]:
        judged, payback, difference = against.of(arm)
        claims += [
            *_speed(arm, judged),
            *_accuracy(arm, difference),
            _improved_later(arm, payback, difference),
            _made_once(arm, payback, difference),
        ]
    return claims


def of_the_paper(folder: RunFolder) -> list[Arm]:
    """The transfer arms that the paper speaks of; of a parent from elsewhere it says nothing."""
    return [arm for arm in folder.rivals if folder.origin(arm) is None]


def at_least(value: Estimate, bound: float) -> Verdict:
    """Whether a quantity is at least `bound`, by its whole interval."""
    if value.low is None or value.high is None:
        return "cannot tell"
    if value.low >= bound:
        return "supported"
    return "not supported" if value.high < bound else "cannot tell"


def above(value: Estimate, none: float) -> Verdict:
    """Whether a quantity is above `none`, the value of no difference, by its whole interval."""
    if value.low is None or value.high is None:
        return "cannot tell"
    if value.low > none:
        return "supported"
    return "not supported" if value.high < none else "cannot tell"


def _stages(folder: RunFolder) -> Claim:
    paper = published()
    printed = paper.table_3.minutes[0] / paper.table_4.minutes[0]
    runs = folder.preparation[:2]
    if len(runs) < 2:
        figure = "stages 1 and 2 are not both in this folder"
    else:
        figure = f"{times(runs[0].total_seconds / runs[1].total_seconds)} less, but " + (
            "one run each, so no interval" if same_machine(runs) else OTHER_MACHINE
        )
        if any(run.given is not None for run in runs):
            figure += f" ({GIVEN})"
    return Claim(
        name="stage 2 faster than stage 1",
        claim=f"stage 2 took {paper.claims.stage_2_times_less:g} times less than stage 1",
        arm=None,
        verdict="cannot tell",
        figure=figure,
        published=f"{printed:.2f}x by tables 3 and 4 (computed)",
    )


def paid_within(payback: Payback | None, count: int) -> Verdict:
    """Whether the preparation has paid after so many retrainings, by the whole interval of the break-even."""
    if payback is None or not payback.break_even.has_interval or payback.other_machine:
        return "cannot tell"
    first, last = payback.break_even.low, payback.break_even.high
    if first is None or first > count:
        return "not supported"
    return "supported" if last is not None and last <= count else "cannot tell"


def _speed(arm: str, judged: Speedup | None) -> list[Claim]:
    figure, faster, as_much = "no timed run of both arms yet", _UNKNOWN, _UNKNOWN
    if judged is not None:
        figure = f"{VARIANT_TEXT[judged.variant]}: {estimate(judged.ratio, times)}"
        if judged.other_machine:
            figure += f"; {OTHER_MACHINE}"
        else:
            faster, as_much = above(judged.ratio, 1.0), at_least(judged.ratio, SPEEDUP_FROM)
    rows = ratio_of_means(published().table_2.minutes, published().table_5.minutes)
    claimed = f"it took about {published().claims.stage_3_times_less:g} times less"
    claim = partial(Claim, arm=arm, figure=figure, published=f"{estimate(rows, times)} {_BY_THE_ROWS}")
    return [
        claim(
            name="stage 3 faster than scratch",
            claim="stage 3 took less time than training from scratch",
            verdict=faster,
        ),
        claim(name="stage 3 about 12 times faster", claim=claimed, verdict=as_much),
    ]


def _accuracy(arm: str, difference: AccuracyDifference | None) -> list[Claim]:
    figure, better, as_much = "no run of both arms yet", _UNKNOWN, _UNKNOWN
    if difference is not None:
        figure = f"{estimate(difference.together, points)} points"
        better, as_much = above(difference.together, 0.0), at_least(difference.together, POINTS_FROM)
        if not difference.same_images:
            figure += f", but {OTHER_IMAGES}"
    rows = difference_of_means(published().table_5.accuracy, published().table_2.accuracy)
    claimed = f"accuracy rose by {published().claims.accuracy_points:g} points"
    by_rows = f"{estimate(rows, points)} points {_BY_THE_ROWS}"
    claim = partial(Claim, arm=arm, figure=figure, published=by_rows)
    return [
        claim(
            name="transfer more accurate",
            claim="transfer is more accurate than scratch",
            verdict=better,
        ),
        claim(name="1.5 points more accurate", claim=claimed, verdict=as_much),
    ]


def _improved_later(arm: str, payback: Payback | None, difference: AccuracyDifference | None) -> Claim:
    """Judged by whether preparation has paid within the paper's ten retrainings, accuracy not being lower."""
    verdict, figure = paid_within(payback, RETRAININGS), _payback_text(payback)
    if difference is not None and above(difference.together, 0.0) == "not supported":
        verdict = "not supported"
        figure += f"; and accuracy is lower, {estimate(difference.together, points)} points"
    scratch, transfer = published().table_2.mean_minutes or 0.0, published().table_5.mean_minutes or 0.0
    own = break_even(preparation_minutes(), [scratch], [transfer])
    return Claim(
        name="transfer if improved later",
        claim="if the model is to be improved later, transfer is much the better choice "
        f"(judged by: has it paid within the paper's {RETRAININGS} retrainings?)",
        arm=arm,
        verdict=verdict,
        figure=figure,
        published=f"pays from retraining {own.first} on (computed), and the paper made {RETRAININGS}",
    )


def _made_once(arm: str, payback: Payback | None, difference: AccuracyDifference | None) -> Claim:
    """Judged by whether one model is cheaper from scratch; what accuracy that gives up is said beside it."""
    figure = _payback_text(payback)
    if difference is not None:
        figure += f"; transfer's accuracy {estimate(difference.together, points)} points to scratch"
    by_transfer = preparation_minutes() + (published().table_5.mean_minutes or 0.0)
    return Claim(
        name="scratch if made once",
        claim="if the model is made once, scratch will do (judged by: is one model cheaper from scratch?)",
        arm=arm,
        verdict=_OPPOSITE[paid_within(payback, 1)],
        figure=figure,
        published=f"one model: {by_transfer:.1f} min by transfer, {published().table_2.mean_minutes} min "
        "from scratch (computed)",
    )


def _payback_text(payback: Payback | None) -> str:
    if payback is None:
        return "preparation or one arm is not in this folder"
    text = f"{VARIANT_TEXT[payback.variant]}: {retrainings(payback.break_even)}"
    text += f", preparation {seconds(payback.preparation_seconds)}"
    return text + (f"; {OTHER_MACHINE}" if payback.other_machine else "")
