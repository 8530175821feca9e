"""How often the report's 95 % intervals hold the truth, by simulation on invented data.

Mean times: log-normal, sd 5 % and 25 % of the mean, n = 2, 3, 5, 10, 30 runs; beside the report's interval
stand Student's, and the percentile bootstrap over runs. Runs: the t-interval of accuracies; a permutation
test of two equal arms. Two arms: times are log-normal (sd 5 % and 20 % of the mean, then 25 % in both),
accuracies normal; n = 3, 5, 10, 30 runs an arm. Source classes: 10, 20, 30, 100 of them, of 2 to 20 images
each, each with its own difficulty (beta distributed); beside the report's interval stand the percentiles of
the same bootstrap, and the interval that takes images as independent. Both at once, as claims are judged: 60
source classes, and runs that are all a little better or worse. Three arms in pairs, on 400 photos in two
classes, one arm the same in every run, and rounds that slow all arms down: how often the corrected intervals
of all three pairs hold the truth together. Where no interval is given, none is counted;
the share of experiments with one stands in brackets if it is not all.

    python benchmarks/coverage.py [--repeats 4000] [--json FILE]

Writes a Markdown table; with --json also the figures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchgraft.statistics import estimates, pairs
from benchgraft.statistics.by_source import accuracy_by_source, accuracy_difference_by_source
from benchgraft.statistics.estimates import Estimate, Floats
from benchgraft.statistics.significance import permutation_test

LOST = 0.02
"""Share of the first model's right answers that the second loses."""
RUNS = (3, 5, 10, 30)
TIMED_RUNS = (2, *RUNS)
SOURCES = (10, 20, 30, 100)
Generator = np.random.Generator


class Rate(NamedTuple):
    """Coverage of the intervals given, and how often one was given."""

    coverage: float
    given: float

    def __str__(self) -> str:
        text = f"{100 * self.coverage:.1f} %"
        return text if self.given == 1 else f"{text} ({100 * self.given:.0f} %)"


def lognormal(generator: Generator, mean: float, relative: float, count: int) -> list[float]:
    """Positive values of this mean and this standard deviation over mean."""
    variance = math.log1p(relative**2)
    return list(mean * np.exp(generator.normal(-variance / 2, math.sqrt(variance), count)))


def holds(estimate: Estimate, truth: float) -> bool | None:
    """None where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return None
    return estimate.low <= truth <= estimate.high


def over_times(repeats: int) -> Iterator[tuple[str, int, Rate]]:
    """(what, runs, fraction of intervals that hold the true mean time)."""
    for spread in (0.05, 0.25):
        for runs in TIMED_RUNS:
            generator = np.random.default_rng(runs)
            found: dict[str, list[bool | None]] = {}
            for repeat in range(repeats):
                times = lognormal(generator, 20.0, spread, runs)
                found.setdefault("report's interval (log)", []).append(
                    holds(estimates.mean_time_interval(times), 20.0)
                )
                found.setdefault("Student's", []).append(holds(estimates.mean_interval(times), 20.0))
                if repeat % 4 == 0:
                    drawn = percentiles_over_runs(times, generator)
                    found.setdefault("percentile bootstrap", []).append(holds(drawn, 20.0))
            for name, results in found.items():
                yield f"mean time, sd {100 * spread:.0f} %, {name}", runs, rate(results)


def over_runs(repeats: int) -> Iterator[tuple[str, int, Rate]]:
    """(what, runs an arm, fraction of intervals that hold the truth)."""
    for runs in RUNS:
        generator = np.random.default_rng(runs)
        mean, difference = [], []
        for _ in range(repeats):
            first, second = generator.normal(0.97, 0.004, runs), generator.normal(0.94, 0.012, runs)
            mean.append(holds(estimates.mean_interval(list(first)), 0.97))
            difference.append(holds(estimates.difference_of_means(list(first), list(second)), 0.03))
        yield "mean accuracy of runs (t)", runs, rate(mean)
        yield (
            "permutation test of equal arms: p above 0.05",
            runs,
            rate(never_differs(generator, runs, repeats)),
        )
        yield "difference of accuracies (Welch), sd 0.4 and 1.2 points", runs, rate(difference)
        for scratch_sd, transfer_sd in ((0.05, 0.20), (0.25, 0.25)):
            ratio: list[bool | None] = []
            payback: list[bool | None] = []
            for _ in range(repeats):
                scratch = lognormal(generator, 20.0, scratch_sd, runs)
                transfer = lognormal(generator, 2.0, transfer_sd, runs)
                ratio.append(holds(estimates.ratio_of_means(scratch, transfer), 10.0))
                even = estimates.break_even(330.0, scratch, transfer)
                # 330 / 18 = 18.33 -> 19
                payback.append(
                    (even.low is not None and even.low <= 19) and (even.high is None or even.high >= 19)
                )
            spreads = f"time sd {scratch_sd:.0%} and {transfer_sd:.0%}".replace("%", " %")
            yield f"ratio of mean times (log), {spreads}", runs, rate(ratio)
            yield f"break-even, {spreads}", runs, rate(payback)


def over_sources(repeats: int) -> Iterator[tuple[str, int, Rate]]:
    """(what, source classes, fraction of intervals that hold the truth)."""
    for mean, spread, name_of_set in (
        (0.94, 10.0, "accuracy 94 %"),
        (0.975, 20.0, "accuracy 97.5 %"),
        (0.94, 2.0, "accuracy 94 %, strongly clustered"),
    ):
        for sources in SOURCES:
            generator = np.random.default_rng(sources)
            found: dict[str, list[bool | None]] = {}
            for repeat in range(repeats):
                names, better, worse = two_models(generator, sources, mean, spread)
                accuracy = {
                    "report's interval": accuracy_by_source(better, names, repeat),
                    "percentiles": percentiles(better, names, generator),
                    "images as if independent": independent(better),
                }
                for name, interval in accuracy.items():
                    found.setdefault(f"accuracy, {name}", []).append(holds(interval, mean))
                difference = accuracy_difference_by_source(better, names, worse, names, repeat)
                found.setdefault("difference, report's interval", []).append(holds(difference, LOST * mean))
            for name, results in found.items():
                yield f"{name}, {name_of_set}", sources, rate(results)


def over_both(repeats: int) -> Iterator[tuple[str, int, Rate]]:
    """Runs of two arms on 60 source classes; each run has its own factor on the chance of a right answer."""
    mean, spread, sources = 0.94, 10.0, 60
    for runs in RUNS:
        generator = np.random.default_rng(runs)
        found: dict[str, list[bool | None]] = {}
        for repeat in range(repeats):
            images = generator.choice([2, 5, 10, 20], size=sources)
            names = np.repeat([f"source {number:03}" for number in range(sources)], images).tolist()
            chance = np.repeat(generator.beta(mean * spread, (1 - mean) * spread, sources), images)
            kept = np.repeat(1 - generator.beta(LOST * spread, (1 - LOST) * spread, sources), images)
            # factors below 1, so that a chance stays one; 0.98 on average in both arms
            shifts = 1 - generator.uniform(0, 0.04, (2, runs, 1))
            right = [
                (generator.random((runs, len(names))) < arm * shift).astype(np.float64)
                for arm, shift in zip((chance, chance * kept), shifts, strict=True)
            ]
            by_runs = estimates.difference_of_means(*(list(arm.mean(axis=1)) for arm in right))
            by_sources = accuracy_difference_by_source(
                right[0].mean(axis=0), names, right[1].mean(axis=0), names, repeat
            )
            both = estimates.joined(by_runs, by_sources)
            for name, interval in (
                ("runs and source classes", both),
                ("runs alone", by_runs),
                ("source classes alone", by_sources),
            ):
                found.setdefault(f"difference over {name}", []).append(holds(interval, 0.98 * LOST * mean))
        for name, results in found.items():
            yield name, runs, rate(results)


def over_pairs(repeats: int) -> Iterator[tuple[str, int, Rate]]:
    """Three arms, of which the first gives the same answers in every run; all three pairs at once."""
    mean, spread, photos, lost = 0.82, 2.0, 400, (0.0, 0.09, 0.12)
    truth = [mean * (1 - share) for share in lost]
    for runs in RUNS:
        generator = np.random.default_rng(runs)
        found: dict[str, list[bool | None]] = {}
        for _ in range(repeats):
            chance = generator.beta(mean * spread, (1 - mean) * spread, photos)
            right = []
            for share in lost:
                kept = 1 - generator.beta(share * spread, (1 - share) * spread, photos) if share else 1.0
                shifts = 1 + generator.normal(0, 0.015, (runs, 1))
                right.append(generator.random((runs, photos)) < chance * kept * shifts)
            right[0][:] = generator.random(photos) < chance
            slow = lognormal(generator, 1.0, 0.2, runs)
            times = [np.multiply(slow, lognormal(generator, 6.0, sd, runs)) for sd in (0.02, 0.05, 0.1)]
            both, alone, ratios = [], [], []
            for one, other in itertools.combinations(range(3), 2):
                here = pairs.paired_difference(*(right[arm].mean(axis=1).tolist() for arm in (one, other)))
                apart = right[one].mean(axis=0) - right[other].mean(axis=0)
                beyond = pairs.over_both(here, pairs.over_photos(apart))
                both.append(holds(pairs.corrected(beyond, 3), truth[one] - truth[other]))
                alone.append(holds(pairs.corrected(here, 3), truth[one] - truth[other]))
                ratio = pairs.paired_ratio(times[one].tolist(), times[other].tolist())
                ratios.append(holds(pairs.corrected(ratio, 3, is_ratio=True), 1.0))
            found.setdefault("accuracy of three pairs, runs and photos", []).append(all(both))
            found.setdefault("accuracy of three pairs, runs alone", []).append(all(alone))
            found.setdefault("time of three pairs", []).append(all(ratios))
        for name, results in found.items():
            yield name, runs, rate(results)


def two_models(
    generator: Generator, sources: int, mean: float, spread: float
) -> tuple[list[str], Floats, Floats]:
    """Source of each image, and the right answers (images,) of two models, the second worse by LOST."""
    images = generator.choice([2, 5, 10, 20], size=sources)
    chance = generator.beta(mean * spread, (1 - mean) * spread, sources)
    kept = 1 - generator.beta(LOST * spread, (1 - LOST) * spread, sources)
    first = generator.random(images.sum()) < np.repeat(chance, images)
    second = generator.random(images.sum()) < np.repeat(chance * kept, images)
    names = np.repeat([f"source {number:03}" for number in range(sources)], images)
    return names.tolist(), first.astype(np.float64), second.astype(np.float64)


def percentiles(correct: Floats, names: list[str], generator: Generator) -> Estimate:
    """The plain percentile bootstrap over source classes."""
    _, source = np.unique(names, return_inverse=True)
    right, count = np.bincount(source, weights=correct), np.bincount(source)
    draws = generator.multinomial(len(count), np.full(len(count), 1 / len(count)), size=1000)
    low, high = np.quantile(draws @ right / (draws @ count), [0.025, 0.975])
    return Estimate(value=float(correct.mean()), low=low, high=high, method="percentiles")


def percentiles_over_runs(values: list[float], generator: Generator) -> Estimate:
    """The plain percentile bootstrap over runs, which the report gives from ten runs on only."""
    drawn = np.asarray(values)[generator.integers(len(values), size=(2000, len(values)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(value=float(np.mean(values)), low=low, high=high, method="percentiles")


def never_differs(generator: Generator, runs: int, repeats: int) -> list[bool | None]:
    """Of two arms with nothing between them: whether the permutation test rightly claims nothing."""
    found: list[bool | None] = []
    for _ in range(max(1, repeats // 20)):
        test = permutation_test(*generator.normal(0.97, 0.004, (2, runs)))
        found.append(test is not None and test.p > 0.05)
    return found


def independent(correct: Floats) -> Estimate:
    """Wilson's interval, as if no two images had anything to do with each other."""
    bounds = stats.binomtest(int(correct.sum()), len(correct)).proportion_ci(method="wilson")
    return Estimate(value=float(correct.mean()), low=bounds.low, high=bounds.high, method="Wilson")


def rate(results: list[bool | None]) -> Rate:
    """Of the intervals given, the fraction that hold the truth; of all experiments, the fraction with one."""
    given = [result for result in results if result is not None]
    return Rate(sum(given) / max(1, len(given)), len(given) / len(results))


def markdown(title: str, unit: str, figures: list[tuple[str, int, Rate]]) -> str:
    """One row for each kind of interval, one column for each size."""
    sizes = sorted({size for _, size, _ in figures})
    by_name = {
        name: {size: value for other, size, value in figures if other == name} for name, _, _ in figures
    }
    lines = [f"| {title} | " + " | ".join(f"{unit} = {size}" for size in sizes) + " |"]
    lines.append("| --- |" + " ---: |" * len(sizes))
    for name, values in by_name.items():
        lines.append(f"| {name} | " + " | ".join(str(values[size]) for size in sizes) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the simulations and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=4000, help="simulated experiments for each figure")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    times = list(over_times(options.repeats))
    runs = list(over_runs(options.repeats))
    both = list(over_both(max(1, options.repeats // 4)))
    three = list(over_pairs(options.repeats))
    # a bootstrap for each repeat: fewer of them
    sources = list(over_sources(max(1, options.repeats // 4)))
    tables = [("runs", times), ("runs", runs), ("source classes", sources), ("runs", both), ("runs", three)]
    print("\n\n".join(markdown("interval", unit, figures) for unit, figures in tables))
    if options.json:
        rows = [
            {"interval": name, "size": size, **value._asdict()}
            for name, size, value in [*times, *runs, *sources, *both, *three]
        ]
        options.json.write_text(json.dumps({"repeats": options.repeats, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
