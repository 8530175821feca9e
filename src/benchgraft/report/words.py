"""Numbers and facts as people read them: units are given here, and a fact that several places tell is here.

Fractions become per cent and seconds get their unit here, and only here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..runfolder.records import RunRecord
from ..runfolder.runs import Arm, RunFolder, Variant
from ..statistics.estimates import BreakEven, Estimate

VARIANT_TEXT: dict[Variant, str] = {"cold": "cold", "warm": "warm", "pixels": "from pixels"}
INTERVALS = "In brackets: 95 % intervals"
OTHER_MACHINE = "timed on another machine or with other threads, so not compared"
GIVEN = "not trained here, timed where the model was made"
NOT_COUNTED = "how long its parent took to make is not known, and not counted"
OTHER_IMAGES = "the arms were tested on different images"
WHICH_IS_FASTER = "these runs cannot tell which is faster"
WHICH_IS_MORE_ACCURATE = "these runs cannot tell which is more accurate"
INTERRUPTED = "interrupted and continued, so not in the means of time"
TRIED_AGAIN = "diverged at first; tried again with"
ALL_TIME = "all the time counts"
SEEN_BY_TRAINING = {
    "fruits360": (
        " on frames of fruits it has seen",
        "Fruits-360's own split holds frames of the same rotating fruit on both sides, so these accuracies "
        "are optimistic: measured on other frames of fruits that the model has seen.",
    ),
    "elpv": (
        " on cells of modules that training may have seen",
        "The data do not say which solar module a cell is from, so that cells of one module are on both "
        "sides of the split: these accuracies are optimistic for cells of other modules.",
    ),
}
"""Format -> what its own split gives away of the test images: behind an accuracy, and in a sentence."""
_RATES = {1: "half the learning rate", 2: "half the learning rate, then a quarter"}


def seconds(value: float) -> str:
    """Wall time: `0.84 s`, `12.3 s`, `315 s`; from 10 minutes on minutes, `24.2 min`."""
    if value >= 600:
        return f"{value / 60:.1f} min"
    if value >= 100:
        return f"{value:.0f} s"
    return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"


def per_cent(fraction: float) -> str:
    """An accuracy: `97.21 %`."""
    return f"{100 * fraction:.2f} %"


def points(fraction: float) -> str:
    """A difference of accuracies in percentage points, with its sign: `+1.43`."""
    return f"{100 * fraction:+.2f}"


def times(ratio: float) -> str:
    """A ratio: `12.4x`, `0.38x`, `120x`."""
    return f"{number(ratio)}x"


def number(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def bare_per_cent(fraction: float) -> str:
    """A fraction, or a difference of two, in per cent without the sign for it: `97.21`, `-0.31`."""
    return f"{100 * fraction:.2f}"


def ordinal(count: int) -> str:
    """`1st`, `2nd`, `13th`, `1,001st`."""
    ending = "th" if count % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count:,}{ending}"


def estimate(value: Estimate, write: Callable[[float], str]) -> str:
    """A value with its interval, `12.4x (9.81 to 15.6)`, or with the reason for having none."""
    text = write(value.value)
    if value.low is None or value.high is None:
        return f"{text} ({value.why_none})" if value.why_none else text
    return f"{text} ({span(value.low, value.high, write, stated=unit(text))})"


def bounds(value: Estimate, write: Callable[[float], str], *, stated: str = "") -> str:
    """Only the interval, `19.4 to 20.6 s`; empty where there is none."""
    if value.low is None or value.high is None:
        return ""
    return span(value.low, value.high, write, stated=stated)


def span(low: float, high: float, write: Callable[[float], str], *, stated: str = "") -> str:
    """From low to high, the unit written once where both have the same, and not at all where it is stated."""
    first, last = write(low), write(high)
    ending = unit(last)
    if unit(first) == ending:
        first = first.removesuffix(ending)
        last = last.removesuffix(ending) if ending == stated else last
    return f"{first} to {last}"


def unit(text: str) -> str:
    """What a written number ends with: ` s`, ` min`, ` %`, `x` or nothing."""
    return text[len(text.rstrip(" %abcdefghijklmnopqrstuvwxyz")) :]


def capital(text: str) -> str:
    """A fact as the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def named(arm: str, variant: Variant) -> str:
    """`transfer, cold`."""
    return f"{arm}, {VARIANT_TEXT[variant]}"


def product_told(before: str, after: str, whole: str) -> str:
    """What the factors of a ratio of times are."""
    return f"Each factor is {before} over {after}; {whole} = epochs x images an epoch x cost an image."


def parents_told(arms: Sequence[Arm]) -> str:
    """How far what is said of transfer reaches."""
    parents = [{run.parent_digest for run in arm.runs} for arm in arms]
    count = min(map(len, parents))
    if count < 2 and len(set().union(*parents)) > 1:
        return "The runs of an arm all start from one parent model: this holds for these parents."
    if count < 2:
        return "All transfer runs start from one parent model: this holds for this parent."
    return f"The transfer runs take turns on {count} parents of as many seeds; intervals are over parents."


def retrainings(even: BreakEven) -> str:
    """`pays from retraining 19 on (18.28, interval 17 to 22)`, or that it never does."""
    text = f"pays from retraining {even.first:,} on" if even.first is not None else "never pays"
    if not even.has_interval:
        return f"{text} ({even.why_none})"
    low, high = (f"{bound:,}" if bound is not None else "never" for bound in (even.low, even.high))
    # Never three digits alone: "145 on (144, ...)" reads as two answers.
    exact = f"{even.exact:,.2f}, " if even.exact is not None else ""
    return f"{text} ({exact}interval {low} to {high})"


def retried(run: RunRecord) -> list[str]:
    """That the training of a run was tried again; nothing of one that went well at once."""
    return [f"training {_tried([run])}"] if run.diverged else []


def retried_told(folder: RunFolder) -> list[str]:
    """A sentence for each arm, or preparation stage, of which some run was tried again."""
    arms = [
        f"{len(again)} of {_seeds(arm)} runs of {arm.name} {_tried(again)}."
        for arm in folder.arms.values()
        if (again := [run for run in arm.once_a_seed if run.diverged])
    ]
    return arms + [
        f"{run.stage}, seed {run.seed}: {line}." for run in folder.preparation for line in retried(run)
    ]


def without_model_told(folder: RunFolder) -> list[str]:
    """A sentence for each arm of which some run gave no model: what is said of the arm leaves it out."""
    return [_without_model(arm) for arm in folder.arms.values() if arm.diverged]


def _seeds(arm: Arm) -> int:
    return len(arm.once_a_seed) + len(arm.diverged)


def _tried(runs: Sequence[RunRecord]) -> str:
    rates = _RATES.get(max(len(run.diverged) for run in runs), "ever lower learning rates")
    return f"{TRIED_AGAIN} {rates}; {ALL_TIME}"


def _without_model(arm: Arm) -> str:
    tried = [run for run in arm.diverged if run.diverged]
    why = (
        f"training diverged {len(tried[0].diverged)} times, with a lower learning rate each time"
        if tried
        else "the runs that they build on gave none"
    )
    left = len(arm.once_a_seed)
    if not left:
        return f"No run of {arm.name} gave a model, of {_seeds(arm)}: {why}."
    return (
        f"{len(arm.diverged)} of {_seeds(arm)} runs of {arm.name} gave no model: {why}. What is said of "
        f"{arm.name} is said of the other{'s' if left > 1 else ''}."
    )
