"""The answer in plain words, computed from the figures: does transfer pay, how fast, how accurate.

No difference is claimed where its interval includes none, and none at all with one run an arm.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from ..runfolder.ledger import RunRecord
from .guide import quoted
from .proportions import proportion
from .runs import SCRATCH, Arm, RunFolder
from .summary import AccuracyDifference, Payback, Speedup
from .units import bare_points, estimate, number, per_cent, seconds, times

_SEEN = {
    "fruits360": " on frames of fruits it has seen",
    "elpv": " on cells of modules that training may have seen",
}
"""Format -> what the test images are to a model, where the data set's split gives them away."""
ONE_RUN = "one run an arm, so no interval and no claim"


def answer(
    folder: RunFolder,
    speedups: Sequence[Speedup],
    paybacks: Sequence[Payback],
    differences: Sequence[AccuracyDifference],
) -> list[str]:
    """Sentences, the most important first; of each transfer arm, by its cold runs where it has such."""
    arms = [arm for arm in folder.rivals if arm.runs]
    if not arms or folder.scratch is None or not folder.scratch.runs:
        return _alone(folder)
    sentences = []
    for arm in arms:
        name = "Transfer" if len(arms) == 1 else f"Arm {arm.name}"
        speedup = next((entry for entry in speedups if entry.arm == arm.name), None)
        payback = next((entry for entry in paybacks if entry.arm == arm.name), None)
        sentences += [
            _pays_in_own_time(name, speedup) if folder.origin(arm) else _pays(name, payback, speedup),
            _faster(name, speedup),
            _accurate(
                name,
                next((entry for entry in differences if entry.arm == arm.name), None),
                _where(folder, arm),
            ),
        ]
    if any(entry.preparation_given for entry in paybacks):
        sentences.append("Preparation was not carried out here; it was timed where the model was made.")
    cannot_tell = any(not entry.together.differs_from(0.0) for entry in differences)
    elsewhere = _measured_elsewhere(folder, arms[0]) if cannot_tell else []
    return [*sentences, *elsewhere, *subject_told(folder), parents_told(arms)]


def subject_told(folder: RunFolder) -> list[str]:
    """That the paper's figures stand beside photos of something else, where they do."""
    subject = folder.experiment.config.get("subject")
    if not subject or not folder.is_of_the_paper:
        return []
    return [
        f"These are photos of {subject}, not of fruit: the paper's figures stand beside them for its claims "
        "alone."
    ]


def _alone(folder: RunFolder) -> list[str]:
    """Of a folder that cannot compare: what its models are worth, and what is missing for more."""
    models = [(f"Arm {arm.name}", arm.once_a_seed) for arm in folder.arms.values() if arm.runs]
    models += [(run.stage, [run]) for run in folder.preparation if not run.given and run.predicted]
    sentences = [_worth(folder, name, run) for name, runs in models for run in runs[:1]]
    if folder.scratch is None or not folder.rivals:
        return [*sentences, "This folder compares nothing; benchgraft compare says whether transfer pays."]
    there = ", ".join(arm.name for arm in folder.arms.values() if arm.runs)
    what = f"only {there} has runs" if there else "no run of either arm is finished"
    return [f"No answer yet: {what}, and it takes runs of {SCRATCH} and of transfer.", *sentences]


def _worth(folder: RunFolder, name: str, run: RunRecord) -> str:
    """Accuracy of one model on its test images, and what its training took."""
    images = folder.images_of(run)
    tested = len(run.predicted)
    right = proportion(round(run.accuracy * tested), tested)
    classes = f" of {len(images.class_names):,} classes" if images else ""
    return (
        f"{name} gets {estimate(right, per_cent)} right of {tested:,} test images{classes} that training "
        f"never saw, trained in {seconds(run.total_seconds)} on {run.train_images:,}."
    )


def parents_told(arms: Sequence[Arm]) -> str:
    """How far what is said of transfer reaches."""
    count = min(len({run.parent_digest for run in arm.runs}) for arm in arms)
    if count < 2:
        return "All transfer runs start from one parent model: this holds for this parent."
    return f"The transfer runs take turns on {count} parents of as many seeds; intervals are over parents."


def is_told_apart(speedup: Speedup | None) -> bool:
    """Whether the arms' times differ by the speed-up's interval too.

    With few runs the break-even's interval, made on seconds and not on their logarithms, may be finite while
    that of the speed-up includes 1; whether transfer pays is then not claimed.
    """
    return speedup is None or not speedup.ratio.has_interval or speedup.ratio.differs_from(1.0)


def _pays(name: str, payback: Payback | None, speedup: Speedup | None) -> str:
    if payback is None:
        return f"Whether {name.lower()} pays cannot be said: its preparation or timed runs are not in here."
    even = payback.break_even
    if payback.other_machine:
        return (
            f"When {name.lower()} pays cannot be said: its preparation was timed on another machine, "
            "or with other threads, than the retrainings."
        )
    if not even.has_interval:
        first = f"from the {ordinal(even.first)} retraining on" if even.first is not None else "never"
        return f"These runs cannot tell when {name.lower()} pays ({first} by their means; {even.why_none})."
    if not is_told_apart(speedup):
        first = f"from the {ordinal(even.first)} retraining on" if even.first is not None else "never"
        return (
            f"These runs cannot tell whether {name.lower()} pays ({first} by their means): they cannot tell "
            "which is faster."
        )
    if even.low is None:
        return f"{name} never pays: a retraining by it is not cheaper than training from scratch."
    if even.high is None:
        return (
            f"These runs cannot tell whether {name.lower()} pays: from the {ordinal(even.low)} retraining on "
            "at best, never at worst."
        )
    assert even.first is not None  # both bounds are numbers, so the mean between them is one too
    if even.high == 1:
        return f"{name} pays from the first model on, preparation included."
    interval = f" (95 % interval {even.low:,} to {even.high:,})" if even.low != even.high else ""
    return f"{name} pays from the {ordinal(even.first)} retraining on{interval}."


def _pays_in_own_time(name: str, speedup: Speedup | None) -> str:
    """Of a parent from elsewhere: nothing is claimed of its preparation."""
    unknown = "What the parent's preparation took is not known: it is from elsewhere"
    if speedup is None or speedup.other_machine or not speedup.ratio.differs_from(1.0):
        return f"{unknown}. These runs cannot tell whether {name.lower()} pays in your own time."
    if speedup.ratio.value > 1:
        return f"{unknown}. In your own time {name.lower()} pays from the first retraining on."
    return f"{unknown}. In your own time a retraining by {name.lower()} takes no less than from scratch."


def _faster(name: str, speedup: Speedup | None) -> str:
    if speedup is None:
        return "No uninterrupted run of both arms, so no times to compare."
    ratio = speedup.ratio
    both = f"{seconds(speedup.transfer_seconds)} instead of {seconds(speedup.scratch_seconds)}"
    if speedup.other_machine:
        return f"A retraining took {both}, but on two machines or with other threads: no ratio of methods."
    if not ratio.has_interval:
        return f"A retraining took {both} ({estimate(ratio.bare, times)}; {ratio.why_none})."
    text = estimate(ratio, times).replace(" (", ", 95 % interval ").removesuffix(")")
    if not ratio.differs_from(1.0):
        return f"These runs cannot tell which is faster: {both} ({text})."
    if ratio.value < 1:
        return f"A retraining takes longer by {name.lower()}: {both} ({text})."
    return f"A retraining takes {both} ({text})."


def _accurate(name: str, difference: AccuracyDifference | None, where: str) -> str:
    if difference is None:
        return "No accuracies to compare."
    value = difference.together
    size = number(abs(100 * value.value))
    if value.low is None or value.high is None:
        more = "more" if value.value >= 0 else "less"
        why = ONE_RUN if "one run" in (value.why_none or "") else value.why_none
        return f"{name} was {size} points {more} accurate{where} ({why})."
    if not value.differs_from(0.0):
        return (
            f"These runs cannot tell which is more accurate{where}: {name.lower()} minus scratch is "
            f"{bare_points(value.value)} points ({bare_points(value.low)} to {bare_points(value.high)})."
        )
    low, high = sorted((abs(value.low), abs(value.high)))
    more = "more" if value.value > 0 else "less"
    text = f"{name} is {size} points {more} accurate ({number(100 * low)} to {number(100 * high)}){where}"
    if not difference.same_images:
        return f"{text}, but the arms were tested on different images."
    return f"{text}."


def _measured_elsewhere(folder: RunFolder, arm: Arm) -> list[str]:
    """The line of the guide for as many photos as a user has; nothing for other data than a user's."""
    images = folder.images_of(arm.runs[0])
    data = folder.data.get(images.data) if images else None
    if images is None or data is None or data.format != "folder":
        return []
    return [quoted(median(images.counts["train"].values()))]


def _where(folder: RunFolder, arm: Arm) -> str:
    """What kind of images the accuracy is of, where that makes it look better than it is."""
    images = folder.images_of(arm.runs[0])
    data = folder.data.get(images.data) if images else None
    return _SEEN.get(data.format, "") if data else ""


def ordinal(count: int) -> str:
    """`1st`, `2nd`, `13th`, `1,001st`."""
    ending = "th" if count % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count:,}{ending}"
