"""How good `adapt` is on ordinary photos, beside a logistic regression by scipy on the same frozen features.

python benchmarks/ordinary_photos.py --data DIR [--splits 5] [--only WORD] [--work build/ordinary-photos]
    [--out benchmarks/results]

DIR holds clothing/, fruits-360/ and cifar-100-binary/; solar cells come from the package elpv-dataset. Test
photos are fixed; which of the others train and which validate is drawn anew for each split. `adapt` is
called as a user calls it: without a parent, and with the parent imagenet. The reference computes features of
the same photos itself, and nothing of it is adapt's but the network. Writes ordinary_photos.md. Times are not
looked at: run it beside other work.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.optimize import minimize
from scipy.special import logsumexp

from benchgraft import adapt
from benchgraft.config.choices import Fit
from benchgraft.config.experiment import ClassRules
from benchgraft.engines.engine import Engine
from benchgraft.errors import UserError
from benchgraft.experiment.bench import Bench, make_bench
from benchgraft.experiment.folder import REAL_PARENT, start_of
from benchgraft.experiment.images import package_folder
from benchgraft.experiment.prefixes import frozen_parent
from benchgraft.photos import cifar100, elpv
from benchgraft.photos.decode import decode, rule_of
from benchgraft.photos.grey import FULL_RANGE
from benchgraft.report.answers import Adapted
from benchgraft.runfolder.ledger import environment, now
from benchgraft.shortcuts import keep_freed_memory
from benchgraft.store.classes import match
from benchgraft.store.varieties import held_out, variety

RESULTS = Path(__file__).resolve().parent / "results"
VALIDATION = 0.1
SOLAR_TEST = 0.2
FRUIT_PHOTOS = 20
"""A folder of Fruits-360, at most."""
FIXED_FOLD, FOLDS = (2, 4), 5
"""The fixed test holds 7 of 27 folders of apples, 2 of 6 of pears and 14 of 67 others; else each variety
tests once."""
VARIETY = r"/([^/_]+)_[^/]*$"
"""What a user passes as group_by: files are named VARIETY_FOLDER FRAME."""
SMALL_SETS, SMALL_CLASSES, SMALL_PHOTOS = 4, 5, 60
"""Of CIFAR-100; the other 40 of a class test."""
FRUIT_RULES = ClassRules(rules={"apple": ["apple"], "pear": ["pear"]}, rest="noise")
BELOW = 0.01
"""How much less right than the reference no set may be."""
DEFAULT, NAMED, REFERENCE, COMMONEST = "adapt", f"adapt, {REAL_PARENT}", "reference", "always the commonest"
STRENGTHS = tuple(10 ** (1 - step / 2) for step in range(11))
"""Of the reference's penalty, per photo, for features of a mean variance of one: from 10 to 0.0001."""

Deal = Mapping[str, Path]
"""SIDE/CLASS/FILE -> the photo."""
Values = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PhotoSet:
    """Photos of one kind, with a split for every number."""

    name: str
    deal: Callable[[Path, Path, int], Deal]
    """(data sets, where files may be kept, split) -> who is where."""
    is_balanced: bool = False
    """Whether the mean over classes is what counts: then the reference weighs classes alike."""
    goal: float | None = None
    group_by: str | None = None


@dataclass(frozen=True)
class Result:
    """One model of one split. Accuracies are fractions of test photos."""

    who: str
    how: str
    """Parent, and how photos were brought to its input."""
    fit: Fit
    right: float
    balanced: float
    tested: int
    trained: int
    """With those that validate."""
    below: float | None = None
    """Of what counts, how much less than the reference."""


def all_sets() -> list[PhotoSet]:
    """In the order of the table."""
    unseen = "fruit of unseen varieties"
    return [
        PhotoSet("clothing", _clothing, goal=0.875),
        PhotoSet("solar cells", _solar, goal=0.88),
        PhotoSet(unseen, partial(_fruit, False, False), True, 0.71),
        PhotoSet(f"{unseen}, grouped", partial(_fruit, False, True), True, 0.71, VARIETY),
        PhotoSet(f"{unseen}, five folds", partial(_fruit, True, False), True, 0.71),
        PhotoSet(f"{unseen}, five folds, grouped", partial(_fruit, True, True), True, 0.71, VARIETY),
        *(
            PhotoSet(f"CIFAR-100, {SMALL_CLASSES} classes, draw {draw}", partial(_small, draw))
            for draw in range(SMALL_SETS)
        ),
    ]


def main() -> None:
    """Every set and split, then the table."""
    keep_freed_memory()  # as a command does; functions leave malloc alone
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--only", default="", help="sets with this in their name")
    parser.add_argument("--work", type=Path, default=Path("build/ordinary-photos"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    for folder in (options.work, options.out):
        folder.mkdir(parents=True, exist_ok=True)
    # Features are worth keeping; which parent is chosen is what is measured.
    shutil.rmtree(options.work / "cache" / "choices", ignore_errors=True)
    reference = Reference(make_bench(options.work, options.work / "cache", "cpu"))
    found: dict[str, list[Result]] = {}
    failed: list[str] = []
    sets = [each for each in all_sets() if options.only in each.name]
    for each in sets:
        found[each.name] = []
        for split in range(options.splits):
            deal = each.deal(options.data, options.work, split)
            results, errors = one_split(each, deal, reference, options.work)
            found[each.name] += results
            failed += [f"{each.name}, split {split + 1}, {error}" for error in errors]
            for result in results:
                print(f"{each.name}, split {split + 1}: {_line(result)}", flush=True)
            for error in errors:
                print(f"{each.name}, split {split + 1}, {error}", flush=True)
    reference.close()
    (options.out / "ordinary_photos.md").write_text(markdown(sets, found, failed, options.splits))
    print(f"wrote {options.out / 'ordinary_photos.md'}")


def _line(result: Result) -> str:
    below = "" if result.below is None else f", {100 * (0 - result.below):+.1f} to the reference"
    return (
        f"{result.who} ({result.how}): {result.right:.1%} right of {result.tested:,}, "
        f"mean over classes {result.balanced:.1%}{below}"
    )


# Who is where


def _with_validation(photos: Mapping[str, Sequence[tuple[str, Path]]], rng: random.Random) -> dict[str, Path]:
    """Class -> (name, photo), dealt to the sides train and validation."""
    deal: dict[str, Path] = {}
    for class_name, of_class in photos.items():
        drawn = rng.sample(of_class, len(of_class))
        count = max(1, round(VALIDATION * len(drawn)))
        for place, (name, path) in enumerate(drawn):
            deal[f"{'validation' if place < count else 'train'}/{class_name}/{name}"] = path
    return deal


def _clothing(data: Path, _work: Path, split: int) -> Deal:
    """The official test photos test."""
    folder = data / "clothing"
    photos = {
        place.name: [(path.name, path) for path in sorted(place.iterdir())]
        for place in sorted((folder / "train").iterdir())
    }
    test = {
        f"test/{path.parent.name}/{path.name}": path for path in sorted((folder / "test").glob("*/*.jpg"))
    }
    return _with_validation(photos, random.Random(split)) | test


def _solar(_data: Path, _work: Path, split: int) -> Deal:
    """Probability 0 of a defect against 1."""
    folder = package_folder("elpv_dataset")
    photos: dict[str, list[tuple[str, Path]]] = {"functional": [], "defective": []}
    for label in elpv.read_labels(folder):
        if label.class_name in photos:
            photos[label.class_name].append((label.path.name, folder / label.path))
    fixed = random.Random(0)
    deal: dict[str, Path] = {}
    for class_name, of_class in photos.items():
        drawn = fixed.sample(of_class, len(of_class))
        count = round(SOLAR_TEST * len(drawn))
        deal |= {f"test/{class_name}/{name}": path for name, path in drawn[:count]}
        photos[class_name] = drawn[count:]
    return deal | _with_validation(photos, random.Random(split))


def _fruit(is_folded: bool, is_grouped: bool, data: Path, _work: Path, split: int) -> Deal:
    """Apple, pear and noise; whole varieties test. is_grouped: whole varieties validate, too."""
    folders = _fruit_photos(data)
    names = sorted(folders)
    fold, of = (split % FOLDS, FOLDS) if is_folded else FIXED_FOLD
    tests = dict(zip(names, held_out(names, fold, of).tolist(), strict=True))
    photos: dict[str, dict[str, list[tuple[str, Path]]]] = {}
    deal: dict[str, Path] = {}
    for class_name, sources in match(names, FRUIT_RULES).items():
        photos[class_name] = defaultdict(list)
        for source in sources:
            named = [(f"{variety(source)}_{source} {path.name}", path) for path in folders[source]]
            if tests[source]:
                deal |= {f"test/{class_name}/{name}": path for name, path in named}
            else:
                photos[class_name][variety(source)] += named
    rng = random.Random(split)
    if not is_grouped:
        every = {name: [photo for one in of_one.values() for photo in one] for name, of_one in photos.items()}
        return deal | _with_validation(every, rng)
    for class_name, of_variety in photos.items():
        drawn = rng.sample(sorted(of_variety), len(of_variety))
        count = max(1, round(VALIDATION * len(drawn)))
        for place, name in enumerate(drawn):
            side = "validation" if place < count else "train"
            deal |= {f"{side}/{class_name}/{file}": path for file, path in of_variety[name]}
    return deal


@cache
def _fruit_photos(data: Path) -> dict[str, list[Path]]:
    """Folder -> some of its photos, the same in every split."""
    found = {}
    for folder in sorted((data / "fruits-360" / "Training").iterdir()):
        paths = sorted(folder.iterdir())
        found[folder.name] = random.Random(0).sample(paths, min(FRUIT_PHOTOS, len(paths)))
    return found


def _small(draw: int, data: Path, work: Path, split: int) -> Deal:
    """Some classes of CIFAR-100. All are official test photos: no shipped parent was trained on any."""
    folder = data / "cifar-100-binary"
    names = cifar100.inspect(folder)[0]
    part = cifar100.read(folder, "test.bin", names)
    place = work / "cifar-100" / str(draw)
    photos: dict[str, list[tuple[str, Path]]] = {}
    deal: dict[str, Path] = {}
    for label in random.Random(draw).sample(range(len(names)), SMALL_CLASSES):
        rows = np.flatnonzero(part.labels == label).tolist()
        files = [(f"{row:05}.png", place / names[label] / f"{row:05}.png") for row in rows]
        if not files[-1][1].exists():
            (place / names[label]).mkdir(parents=True, exist_ok=True)
            for row, (_, path) in zip(rows, files, strict=True):
                Image.fromarray(part.pixels()[row]).save(path)
        drawn = random.Random(draw).sample(files, len(files))
        photos[names[label]] = drawn[:SMALL_PHOTOS]
        deal |= {f"test/{names[label]}/{name}": path for name, path in drawn[SMALL_PHOTOS:]}
    return deal | _with_validation(photos, random.Random(split))


# One split


def one_split(each: PhotoSet, deal: Deal, reference: Reference, work: Path) -> tuple[list[Result], list[str]]:
    """(both calls of adapt and the references, what adapt refused)."""
    place = work / "photos"
    copy_photos(deal, place)
    made: dict[str, Adapted] = {}
    errors = []
    for who, parent in ((DEFAULT, None), (NAMED, REAL_PARENT)):
        try:
            made[who] = _adapted(each, place, parent, work)
        except UserError as error:
            errors.append(f"{who}: {error}")
    # Photos that the gate takes out are out for the reference as well.
    left_out = {image.key for image in made[NAMED].dropped_from_test} if NAMED in made else set()
    photos = {key: path for key, path in deal.items() if key not in left_out}
    fits: set[Fit] = {"letterbox", *(done.fit for done in made.values())}
    references = {fit: reference.result(photos, fit, each.is_balanced) for fit in sorted(fits)}
    results = [_result(who, done, references[done.fit], each.is_balanced) for who, done in made.items()]
    if NAMED in made and made[NAMED].images["test"] != references["letterbox"].tested:
        raise RuntimeError(f"{each.name}: adapt and the reference were tested on different photos")
    return [*results, *references.values(), _commonest(photos)], errors


def copy_photos(deal: Deal, place: Path) -> None:
    """Copies, since a hard link would change the times of the data set's own files."""
    shutil.rmtree(place, ignore_errors=True)
    for key, path in deal.items():
        (place / key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / key)


def _adapted(each: PhotoSet, photos: Path, parent: str | None, work: Path) -> Adapted:
    shutil.rmtree(work / "run", ignore_errors=True)
    (work / "m.safetensors").unlink(missing_ok=True)
    return adapt(
        photos,
        work / "m.safetensors",
        parent=parent,
        overlap="drop-near",
        group_by=each.group_by,
        cache=work / "cache",
        run_folder=work / "run",
    )


def _result(who: str, done: Adapted, reference: Result, is_balanced: bool) -> Result:
    right, balanced = done.accuracy.value, done.balanced_accuracy
    below = reference.balanced - balanced if is_balanced else reference.right - right
    how = f"{done.parent}, {done.fit}"
    trained = done.images["train"] + done.images["validation"]
    return Result(who, how, done.fit, right, balanced, done.images["test"], trained, below)


def _commonest(photos: Deal) -> Result:
    sides = _sides(photos)
    trained = [key.split("/")[1] for side in ("train", "validation") for key in sides[side]]
    common = statistics.mode(trained)
    tested = [key.split("/")[1] for key in sides["test"]]
    share = statistics.mean(name == common for name in tested)
    return Result(COMMONEST, common, "letterbox", share, 1 / len(set(tested)), len(tested), len(trained))


def _sides(photos: Iterable[str]) -> dict[str, list[str]]:
    sides: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for key in sorted(photos):
        sides[key.split("/")[0]].append(key)
    return sides


# The reference


class Reference:
    """Features by the network of the parent, each photo once; the fits in a process of its own."""

    BATCH = 32

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._start = start_of(REAL_PARENT, bench.cache)
        self._engine: Engine | None = None
        self._known: dict[tuple[Fit, Path], npt.NDArray[np.float32]] = {}
        # Two libraries' threads on two cores make L-BFGS 20 times slower beside other work. adapt, in this
        # process, has what a user has.
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        self._apart = ProcessPoolExecutor(1, get_context("spawn"))

    def close(self) -> None:
        """End that process."""
        self._apart.shutdown()

    def result(self, photos: Deal, fit: Fit, is_balanced: bool) -> Result:
        """On the test photos among these."""
        names = sorted({key.split("/")[1] for key in photos})
        rows, labels = {}, {}
        for side, keys in _sides(photos).items():
            rows[side] = self._features([photos[key] for key in keys], fit)
            labels[side] = np.array([names.index(key.split("/")[1]) for key in keys])
        answers = self._apart.submit(_answers, rows, labels, len(names), is_balanced).result()
        is_right = answers == labels["test"]
        recalls = [is_right[labels["test"] == label].mean() for label in np.unique(labels["test"])]
        accuracies = float(is_right.mean()), float(np.mean(recalls))
        trained = len(rows["train"]) + len(rows["validation"])
        return Result(REFERENCE, f"{REAL_PARENT}, {fit}", fit, *accuracies, len(is_right), trained)

    def _features(self, paths: Sequence[Path], fit: Fit) -> Values:
        """(photos, features)."""
        missing = [path for path in dict.fromkeys(paths) if (fit, path) not in self._known]
        rule = rule_of(self._start.file.card.network.frame(fit), FULL_RANGE)
        for first in range(0, len(missing), self.BATCH):
            batch = missing[first : first + self.BATCH]
            pixels = np.stack([decode(path.read_bytes(), rule)[0] for path in batch])
            if self._engine is None:
                prefix = frozen_parent(self._start, pixels, self._bench).prefix
                self._engine = prefix.engine(prefix.cuts[-1])
            rows = self._engine.compute(pixels).reshape(len(batch), -1)
            for path, row in zip(batch, rows, strict=True):
                self._known[fit, path] = np.asarray(row, np.float32)
        return np.stack([self._known[fit, path] for path in paths]).astype(np.float64)


def _answers(
    rows: Mapping[str, Values], labels: Mapping[str, Labels], class_count: int, is_balanced: bool
) -> Labels:
    """Of the test photos: strength by the log loss on validation photos, then a fit on all but these."""
    weights = partial(_weights, class_count=class_count, is_balanced=is_balanced)
    strength = _strength(rows, labels, weights, class_count)
    both, both_labels = (np.concatenate([of["train"], of["validation"]]) for of in (rows, labels))
    both, test = _scaled(both, rows["test"])
    start = np.zeros((class_count, both.shape[1] + 1))
    point = _fitted(both, both_labels, weights(both_labels), strength, start)
    return np.asarray(_logs(point, test).argmax(1), np.int64)


def _strength(
    rows: Mapping[str, Values],
    labels: Mapping[str, Labels],
    weights: Callable[[Labels], Values],
    class_count: int,
) -> float:
    train, validation = _scaled(rows["train"], rows["validation"])
    judged = labels["validation"]
    point = np.zeros((class_count, train.shape[1] + 1))
    losses = []
    for strength in STRENGTHS:  # each from where the last ended
        point = _fitted(train, labels["train"], weights(labels["train"]), strength, point)
        logs = _logs(point, validation)[np.arange(len(judged)), judged]
        losses.append(-np.average(logs, weights=weights(judged)))
    return STRENGTHS[int(np.argmin(losses))]


def _scaled(train: Values, others: Values) -> tuple[Values, Values]:
    """Centred, and divided by one number, so that the mean variance in training is one."""
    centre, scale = train.mean(0), train.var(0).mean() ** 0.5
    return (train - centre) / scale, (others - centre) / scale


def _weights(labels: Labels, class_count: int, is_balanced: bool) -> Values:
    """Of each photo, of mean one."""
    counts = np.bincount(labels, minlength=class_count)
    if not is_balanced:
        return np.ones(len(labels))
    return np.asarray(len(labels) / (np.count_nonzero(counts) * counts[labels]), np.float64)


def _fitted(rows: Values, labels: Labels, weights: Values, strength: float, start: Values) -> Values:
    """Weights and, last, biases: (classes, features + 1)."""
    places = np.arange(len(labels))

    def loss(flat: Values) -> tuple[float, Values]:
        point = flat.reshape(start.shape)
        logs = _logs(point, rows)
        penalty = strength * point[:, :-1]
        value = -np.mean(weights * logs[places, labels]) + 0.5 * np.sum(penalty * point[:, :-1])
        slope = np.exp(logs)
        slope[places, labels] -= 1
        slope *= weights[:, None] / len(labels)
        gradient = np.concatenate([slope.T @ rows + penalty, slope.sum(0)[:, None]], 1)
        return float(value), gradient.ravel()

    found = minimize(
        loss,
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 2000, "maxcor": 20, "ftol": 1e-9, "gtol": 1e-5},
    )
    return np.asarray(found.x.reshape(start.shape), np.float64)


def _logs(point: Values, rows: Values) -> Values:
    """Logarithms of probabilities, (photos, classes)."""
    scores = rows @ point[:, :-1].T + point[:, -1]
    return np.asarray(scores - logsumexp(scores, axis=1, keepdims=True), np.float64)


# The table


def markdown(
    sets: Sequence[PhotoSet], found: Mapping[str, Sequence[Result]], failed: Sequence[str], splits: int
) -> str:
    """Table of sets, goals, and what adapt refused."""
    machine = environment(1, "cpu")
    versions = ", ".join(f"{name} {machine.versions[name]}" for name in ("benchgraft", "torch"))
    lines = [
        "# Ordinary photos",
        "",
        f"`python benchmarks/ordinary_photos.py --data DIR --splits {splits}`, {machine.cores} cores of an",
        f"{machine.cpu}, {now()[:10]}, {versions}. Mean over {splits} splits into training and",
        f"validation ({VALIDATION:.0%}), in brackets the lowest and the highest; test photos are the same in",
        "all splits, but with five folds, where every variety of fruit tests once. Of CIFAR-100 all are",
        "official test photos: shipped parents know its classes, but not these. Near-copies are left out of",
        "test and validation (`drop-near`). Grouped: whole varieties validate, and `group_by` names them;",
        "else frames of the same fruits do. The reference: logistic regression by scipy (L-BFGS, float64) on",
        f"frozen features of `{REAL_PARENT}`, its strength chosen by the log loss on validation photos,",
        "fitted again on both; where the mean over classes is the goal, classes weigh alike in it. As adapt",
        "fits again on both as well, a split changes little but the strength, where the test photos are the",
        "same. Last column: what the goal counts, less the reference with photos by the same rule, split by",
        "split.",
        "",
        "| set: photos to learn from / to test on | model | parent, photos by | right, % "
        "| mean over classes, % | to the reference, points |",
        "|---|---|---|---:|---:|---:|",
    ]
    for each in sets:
        lines += _rows(each, found[each.name])
    lines += ["", *_goals(sets, found)]
    if failed:
        lines += ["", "Without a model:", "", *(f"- {line}" for line in failed)]
    return "\n".join(lines) + "\n"


def _rows(each: PhotoSet, results: Sequence[Result]) -> list[str]:
    groups: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        how = result.how if result.who == REFERENCE else ""
        groups[result.who, how].append(result)
    lines = []
    for (who, _), group in sorted(groups.items(), key=lambda entry: _order(entry[0])):
        how = " or ".join(sorted({result.how for result in group}))
        photos = f"{_range([one.trained for one in group])} / {_range([one.tested for one in group])}"
        below = [0 - one.below for one in group if one.below is not None]
        cells = [f"{each.name}: {photos}", who, how, _spread([one.right for one in group])]
        cells += [_spread([one.balanced for one in group]), _spread(below, "+.1f")]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _order(group: tuple[str, str]) -> tuple[int, str]:
    return (DEFAULT, NAMED, REFERENCE, COMMONEST).index(group[0]), group[1]


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _spread(fractions: Sequence[float], form: str = ".1f") -> str:
    if not fractions:
        return ""
    low, mean, high = (100 * of(fractions) for of in (min, statistics.mean, max))
    return f"{mean:{form}} ({low:{form}} to {high:{form}})" if high > low else f"{mean:{form}}"


def _goals(sets: Sequence[PhotoSet], found: Mapping[str, Sequence[Result]]) -> list[str]:
    lines = [f"| goal | {DEFAULT} | {NAMED} |", "|---|---|---|"]
    for each in sets:
        if each.goal is not None:
            what = "mean over classes" if each.is_balanced else "right"
            cells = [_reached(each, each.goal, _of(who, found[each.name])) for who in (DEFAULT, NAMED)]
            lines.append(f"| {each.name}: {what} at least {each.goal:.1%} | {' | '.join(cells)} |")
    cells = [_furthest_below(sets, found, who) for who in (DEFAULT, NAMED)]
    lines.append(f"| at most {100 * BELOW:g} point below the reference | {' | '.join(cells)} |")
    return lines


def _of(who: str, results: Sequence[Result]) -> list[Result]:
    return [result for result in results if result.who == who]


def _reached(each: PhotoSet, goal: float, results: Sequence[Result]) -> str:
    if not results:
        return "no model"
    mean = statistics.mean(one.balanced if each.is_balanced else one.right for one in results)
    return f"{mean:.1%}, {'reached' if mean >= goal else 'missed'}"


def _furthest_below(sets: Sequence[PhotoSet], found: Mapping[str, Sequence[Result]], who: str) -> str:
    means = {
        each.name: statistics.mean(one.below or 0.0 for one in _of(who, found[each.name]))
        for each in sets
        if _of(who, found[each.name])
    }
    if not means:
        return "no model"
    missed = [f"{name} {100 * (0 - mean):+.1f}" for name, mean in means.items() if mean > BELOW]
    name = max(means, key=lambda name: means[name])
    return (
        f"missed: {', '.join(missed)}" if missed else f"kept; least {100 * (0 - means[name]):+.1f} on {name}"
    )


if __name__ == "__main__":
    main()
