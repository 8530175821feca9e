"""The answer in plain words, computed from the figures: does transfer pay, how fast, how accurate.

No difference is claimed where its interval includes none, and none at all with one run an arm. Where the runs
cannot tell, the line of the decision guide (guide.toml, in docs/findings.md) for as many images is quoted.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from statistics import median
from typing import NamedTuple

from ..part import Part
from ..runfolder.records import DataRecord, ImagesRecord, RunRecord
from ..runfolder.runs import SCRATCH, Arm, RunFolder
from ..statistics.proportions import proportion
from . import words
from .accuracy import AccuracyDifference
from .speed import Payback, Speedup, is_told_apart
from .ways import Ways
from .ways_told import ways_answer
from .words import bare_per_cent, bounds, capital, estimate, number, ordinal, per_cent, seconds, times


class GuideLine(Part):
    """One line of the guide."""

    advice: str
    figure: str
    """What was measured, and the section of docs/findings.md that has it."""
    limit: str
    """Where the line stops holding."""
    images: tuple[int, int] | None = None
    """Training images a class that it is about, from and to; None: the number is not what decides."""

    @property
    def text(self) -> str:
        """The whole line."""
        return f"{self.advice} {self.figure} {self.limit}"


@lru_cache
def guide() -> tuple[GuideLine, ...]:
    """All lines of the guide in order."""
    table = tomllib.loads((files(__package__) / "guide.toml").read_text(encoding="utf-8"))
    return tuple(GuideLine.model_validate(line) for line in table["line"])


class Against(NamedTuple):
    """What is known of the transfer arms against scratch."""

    speedups: Sequence[Speedup]
    paybacks: Sequence[Payback]
    differences: Sequence[AccuracyDifference]

    def of(self, arm: str) -> tuple[Speedup | None, Payback | None, AccuracyDifference | None]:
        """Of one arm; times of its cold runs where it has such."""
        return (
            next((entry for entry in self.speedups if entry.arm == arm), None),
            next((entry for entry in self.paybacks if entry.arm == arm), None),
            next((entry for entry in self.differences if entry.arm == arm), None),
        )


def answer(folder: RunFolder, against: Against, found: Ways | None = None) -> list[str]:
    """Sentences, the most important first; of each transfer arm, by its cold runs where it has such.

    found: of three arms or more, which one; the answer then says that.
    """
    arms = [arm for arm in folder.rivals if arm.runs]
    if not arms or folder.scratch is None or not folder.scratch.runs:
        return _alone(folder)
    given = [f"Preparation was {words.GIVEN}."] if any(p.preparation_given for p in against.paybacks) else []
    if found is not None:
        return [*ways_answer(found, _where(folder, arms[0])), *given, words.parents_told(arms)]
    sentences = []
    for arm in arms:
        name = "Transfer" if len(arms) == 1 else f"Arm {arm.name}"
        speedup, payback, difference = against.of(arm.name)
        sentences += [
            _pays_in_own_time(name, speedup) if folder.origin(arm) else _pays(name, payback, speedup),
            _faster(name, speedup),
            _accurate(name, difference, _where(folder, arm)),
        ]
    cannot_tell = any(not entry.together.differs_from(0.0) for entry in against.differences)
    elsewhere = _measured_elsewhere(folder, arms[0]) if cannot_tell else []
    return [*sentences, *given, *elsewhere, words.parents_told(arms)]


def quoted(images: float) -> str:
    """What was measured elsewhere for so many training images a class: where between two lines, both."""
    spans = [(line, line.images) for line in guide() if line.images]
    fitting = [line for line, (least, most) in spans if least <= images <= most]
    below = [line for line, (_, most) in spans if most < images][-1:]
    above = [line for line, (least, _) in spans if least > images][:1]
    chosen = fitting or below + above
    between = "" if fitting else f", which is {_place(bool(below), bool(above))}"
    return (
        "Measured elsewhere, on fruit, clothing and solar cells (docs/findings.md), for about "
        f"{images:,.0f} training images a class{between}: {' '.join(line.text for line in chosen)}"
    )


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


def _pays(name: str, payback: Payback | None, speedup: Speedup | None) -> str:
    if payback is None:
        return f"Cannot say whether {name.lower()} pays: its preparation or timed runs are not in here."
    even = payback.break_even
    if payback.other_machine:
        return f"Cannot say when {name.lower()} pays: its preparation was {words.OTHER_MACHINE}."
    first = f"from the {ordinal(even.first)} retraining on" if even.first is not None else "never"
    if not even.has_interval:
        return f"These runs cannot tell when {name.lower()} pays ({first} by their means; {even.why_none})."
    if not is_told_apart(speedup):
        return (
            f"These runs cannot tell whether {name.lower()} pays ({first} by their means): "
            f"{words.WHICH_IS_FASTER}."
        )
    if even.low is None:
        return f"{name} never pays: a retraining by it is not cheaper than training from scratch."
    if even.high is None:
        return (
            f"These runs cannot tell whether {name.lower()} pays: from the {ordinal(even.low)} retraining on "
            "at best, never at worst."
        )
    if even.high == 1:
        return f"{name} pays from the first model on, preparation included."
    interval = f" (95 % interval {even.low:,} to {even.high:,})" if even.low != even.high else ""
    return f"{name} pays {first}{interval}."


def _pays_in_own_time(name: str, speedup: Speedup | None) -> str:
    """Of a parent from elsewhere: nothing is claimed of its preparation."""
    unknown = "How long the parent's preparation took is not known: it comes from elsewhere"
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
        return f"A retraining took {both}, but {words.OTHER_MACHINE}."
    if not ratio.has_interval:
        return f"A retraining took {both} ({estimate(ratio.bare, times)}; {ratio.why_none})."
    text = estimate(ratio, times).replace(" (", ", 95 % interval ").removesuffix(")")
    if not ratio.differs_from(1.0):
        return f"{capital(words.WHICH_IS_FASTER)}: {both} ({text})."
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
        return f"{name} was {size} points {more} accurate{where} ({value.why_none})."
    if not value.differs_from(0.0):
        return (
            f"{capital(words.WHICH_IS_MORE_ACCURATE)}{where}: {name.lower()} minus scratch is "
            f"{bare_per_cent(value.value)} points ({bounds(value, bare_per_cent)})."
        )
    low, high = sorted((abs(value.low), abs(value.high)))
    more = "more" if value.value > 0 else "less"
    text = f"{name} is {size} points {more} accurate ({number(100 * low)} to {number(100 * high)}){where}"
    if not difference.same_images:
        return f"{text}, but {words.OTHER_IMAGES}."
    return f"{text}."


def _measured_elsewhere(folder: RunFolder, arm: Arm) -> list[str]:
    """The line of the guide for as many photos as a user has; nothing for other data than a user's."""
    images, data = _tested_on(folder, arm)
    if images is None or data is None or data.format not in ("folder", "split"):
        return []
    return [quoted(median(images.counts["train"].values()))]


def _where(folder: RunFolder, arm: Arm) -> str:
    """What kind of images the accuracy is of, where that makes it look better than it is."""
    _, data = _tested_on(folder, arm)
    return words.SEEN_BY_TRAINING.get(data.format, ("", ""))[0] if data else ""


def _tested_on(folder: RunFolder, arm: Arm) -> tuple[ImagesRecord | None, DataRecord | None]:
    images = folder.images_of(arm.runs[0])
    return images, folder.data.get(images.data) if images else None


def _place(has_below: bool, has_above: bool) -> str:
    if has_below and has_above:
        return "between two lines"
    return "more than was measured" if has_below else "fewer than were measured"
