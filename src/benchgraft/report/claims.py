"""The paper's claims, one line each: supported, not supported or cannot tell, and by which figure.

Rules, the same for every claim: it is supported only if the whole interval agrees with it, not supported only
if the whole interval contradicts it; without an interval, or with times of two machines, one cannot tell.
A size is claimed as "at least so much", the printed figure's rounding given to it (about 12: from 11.5).
"""

from __future__ import annotations

from collections.abc import Sequence

from . import statistics
from .published import preparation_minutes, published
from .runs import VARIANT_TEXT, RunFolder
from .speed import PAPER_RETRAININGS, same_machine
from .statistics import Estimate
from .summary import AccuracyDifference, Claim, Payback, Speedup, Verdict
from .units import estimate, points, seconds, times

SPEEDUP_FROM = 11.5
POINTS_FROM = 0.0145
_UNKNOWN: Verdict = "cannot tell"
OTHER_MACHINE = "times of two machines or numbers of threads, so no ratio of methods"


def judge(
    folder: RunFolder,
    speedups: Sequence[Speedup],
    paybacks: Sequence[Payback],
    differences: Sequence[AccuracyDifference],
) -> list[Claim]:
    """Every claim; those about a transfer arm once for each such arm."""
    claims = [_stages(folder)]
    for arm in [arm.name for arm in folder.rivals] or ["transfer"]:
        judged = next((entry for entry in speedups if entry.arm == arm), None)
        payback = next((entry for entry in paybacks if entry.arm == arm), None)
        difference = next((entry for entry in differences if entry.arm == arm), None)
        claims += [
            *_speed(arm, judged),
            *_accuracy(arm, difference),
            _improved_later(arm, payback, difference),
            _made_once(arm, payback, difference),
        ]
    return claims


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
            figure += " (timed where the models were made)"
    return Claim(
        name="stage 2 faster than stage 1",
        claim=f"stage 2 took {paper.claims.stage_2_times_less:g} times less than stage 1",
        source="printed",
        arm=None,
        verdict="cannot tell",
        figure=figure,
        published=f"{printed:.2f}x by tables 3 and 4 (computed)",
    )


def _speed(arm: str, judged: Speedup | None) -> list[Claim]:
    rows = statistics.ratio_of_means(published().table_2.minutes, published().table_5.minutes)
    by_paper = f"{estimate(rows, times)} by the rows (computed), on plausibly different data (inferred)"
    figure, faster, as_much = "no timed run of both arms yet", _UNKNOWN, _UNKNOWN
    if judged is not None:
        figure = f"{VARIANT_TEXT[judged.variant]}: {estimate(judged.ratio, times)}"
        if judged.other_machine:
            figure += f"; {OTHER_MACHINE}"
        else:
            faster, as_much = above(judged.ratio, 1.0), at_least(judged.ratio, SPEEDUP_FROM)
    return [
        Claim(
            name="stage 3 faster than scratch",
            claim="stage 3 took less time than training from scratch",
            source="printed",
            arm=arm,
            verdict=faster,
            figure=figure,
            published=by_paper,
        ),
        Claim(
            name="stage 3 about 12 times faster",
            claim=f"it took about {published().claims.stage_3_times_less:g} times less",
            source="printed",
            arm=arm,
            verdict=as_much,
            figure=figure,
            published=by_paper,
        ),
    ]


def _accuracy(arm: str, difference: AccuracyDifference | None) -> list[Claim]:
    rows = statistics.difference_of_means(published().table_5.accuracy, published().table_2.accuracy)
    by_paper = (
        f"{estimate(rows, points)} points by the rows (computed), on plausibly different data (inferred)"
    )
    figure, better, as_much = "no run of both arms yet", _UNKNOWN, _UNKNOWN
    if difference is not None:
        figure = f"{estimate(difference.together, points)} points"
        better, as_much = above(difference.together, 0.0), at_least(difference.together, POINTS_FROM)
        if not difference.same_images:
            figure += ", but the arms were tested on different images"
    return [
        Claim(
            name="transfer more accurate",
            claim="transfer is more accurate than scratch",
            source="printed",
            arm=arm,
            verdict=better,
            figure=figure,
            published=by_paper,
        ),
        Claim(
            name="1.5 points more accurate",
            claim=f"accuracy rose by {published().claims.accuracy_points:g} points",
            source="printed",
            arm=arm,
            verdict=as_much,
            figure=figure,
            published=by_paper,
        ),
    ]


def _improved_later(arm: str, payback: Payback | None, difference: AccuracyDifference | None) -> Claim:
    """Judged by whether preparation has paid within the paper's ten retrainings, accuracy not being lower."""
    verdict = _UNKNOWN
    if payback is not None and payback.break_even.has_interval and not payback.other_machine:
        first, last = payback.break_even.low, payback.break_even.high
        if first is None or first > PAPER_RETRAININGS:
            verdict = "not supported"
        elif last is not None and last <= PAPER_RETRAININGS:
            verdict = "supported"
    figure = _payback_text(payback)
    if difference is not None and above(difference.together, 0.0) == "not supported":
        verdict = "not supported"
        figure += f"; and accuracy is lower, {estimate(difference.together, points)} points"
    scratch, transfer = published().table_2.mean_minutes or 0.0, published().table_5.mean_minutes or 0.0
    own = statistics.break_even(preparation_minutes(), [scratch], [transfer])
    return Claim(
        name="transfer if improved later",
        claim="if the model is to be improved later, transfer is much the better choice "
        f"(judged by: has it paid within the paper's {PAPER_RETRAININGS} retrainings?)",
        source="printed",
        arm=arm,
        verdict=verdict,
        figure=figure,
        published=f"pays from retraining {own.first} on (computed), and the paper made {PAPER_RETRAININGS}",
    )


def _made_once(arm: str, payback: Payback | None, difference: AccuracyDifference | None) -> Claim:
    """Judged by whether one model is cheaper from scratch; what accuracy that gives up is said beside it."""
    verdict = _UNKNOWN
    if payback is not None and payback.break_even.has_interval and not payback.other_machine:
        first, last = payback.break_even.low, payback.break_even.high
        if first is None or first > 1:
            verdict = "supported"
        elif last is not None and last <= 1:
            verdict = "not supported"
    figure = _payback_text(payback)
    if difference is not None:
        figure += f"; transfer's accuracy {estimate(difference.together, points)} points to scratch"
    by_transfer = preparation_minutes() + (published().table_5.mean_minutes or 0.0)
    return Claim(
        name="scratch if made once",
        claim="if the model is made once, scratch will do (judged by: is one model cheaper from scratch?)",
        source="printed",
        arm=arm,
        verdict=verdict,
        figure=figure,
        published=f"one model: {by_transfer:.1f} min by transfer, {published().table_2.mean_minutes} min "
        "from scratch (computed)",
    )


def _payback_text(payback: Payback | None) -> str:
    if payback is None:
        return "preparation or one arm is not in this folder"
    text = f"{VARIANT_TEXT[payback.variant]}: {retrainings(payback)}"
    text += f", preparation {seconds(payback.preparation_seconds)}"
    return text + (f"; {OTHER_MACHINE}" if payback.other_machine else "")


def retrainings(payback: Payback) -> str:
    """`pays from retraining 19 on (18.28, interval 17 to 22)`, or that it never does."""
    even = payback.break_even
    text = f"pays from retraining {even.first:,} on" if even.first is not None else "never pays"
    if not even.has_interval:
        return f"{text} ({even.why_none})"
    low, high = (f"{bound:,}" if bound is not None else "never" for bound in (even.low, even.high))
    # Never three digits alone: "145 on (144, ...)" reads as two answers.
    exact = f"{even.exact:,.2f}, " if even.exact is not None else ""
    return f"{text} ({exact}interval {low} to {high})"
