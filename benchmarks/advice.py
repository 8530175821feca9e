"""How often is the advice right, and what does it cost where it is wrong?

python benchmarks/advice.py --data DIR [--draws 20] [--decisions 2] [--hours 6] [--final]
    [--work build/advice] [--out benchmarks/results]

A cell is a kind of photos, so many of them a class, and the parents at hand. Its truth is the mean accuracy
of every arm over `--draws` fresh draws of training photos, on test photos that no draw holds. Then `adapt`
and `compare` are run as a user runs them, on other draws, and what they advise is looked up in the truth.
Stated intervals: of a few of these runs, and test photos drawn from all, by the functions that `compare`
tells by; how many hold the mean of all runs on all photos.
Half of the cells are left for --final: nothing may be mended by looking at them. Says first about how many
hours it takes, and leaves out cells that would go over `--hours`; what is done is not done again. Writes
advice.json and advice.md. Two at once need a --work each: what was decoded is removed after each draw.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import combinations
from pathlib import Path

import numpy as np
from kinds import texture
from ordinary_photos import RESULTS
from PIL import Image

from benchgraft import adapt, compare
from benchgraft.config.checking import checked
from benchgraft.config.requests import CompareRequest
from benchgraft.experiment.bench import make_bench
from benchgraft.experiment.images import open_stage, package_folder
from benchgraft.experiment.run import Run
from benchgraft.experiment.stage import run_stage
from benchgraft.photos import cifar100
from benchgraft.photos.readers import open_source
from benchgraft.runfolder.ledger import environment, now
from benchgraft.shortcuts import keep_freed_memory
from benchgraft.statistics import pairs
from benchgraft.statistics.estimates import MATTERS, Estimate, Floats, mean_interval, within_fractions
from benchgraft.tasks.compare import arranged

SCRATCH = "scratch"
HEAD_ALONE = "imagenet"
"""The constant rules that the advice has to beat: always this arm, always scratch."""
TESTED = 400
"""Test photos of a cell, at most."""
RUNS, SAMPLED, SAMPLES = 5, 150, 20
"""Runs and photos that an interval is stated of, and how many such samples of a cell."""

Pool = Mapping[str, Sequence[Path]]
"""Class -> photos."""


@dataclass(frozen=True)
class Cell:
    """One situation that a user may be in."""

    kind: str
    photos: int
    """A class, to train and validate on."""
    parents: tuple[str, ...]
    train_from: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For files and tables."""
        return f"{self.kind}-{self.photos}-{'+'.join([*self.parents, *self.train_from])}"


@dataclass(frozen=True)
class Ran:
    """One run of an arm."""

    right: str
    """Of each test photo "1" or "0"."""
    seconds: float

    @property
    def bits(self) -> Floats:
        """float64 (test photos,)."""
        return np.array([float(bit) for bit in self.right])


@dataclass(frozen=True)
class Decision:
    """What one command advised on one draw."""

    cell: str
    command: str
    draw: int
    advised: str
    is_sure: bool
    """Whether it said that no other arm may be better."""
    regret: float
    """The best arm's mean accuracy less the advised one's, a fraction."""
    is_wrong: bool
    """Whether the best arm is more than a point better, told apart for other draws, on these test photos."""
    matters: bool
    """Whether an arm that may be better was in truth a point away or more."""
    seconds: float


def all_cells() -> list[Cell]:
    """Small ones first; every second one is left for --final."""
    real, small = ("imagenet", "imagenet-lite2"), ("paper",)
    return [
        *(Cell("clothing", count, real) for count in (10, 30, 100)),
        *(Cell("cells", count, real) for count in (10, 30, 100, 300)),
        *(Cell(f"cifar{classes}", count, real) for classes in (2, 5, 20) for count in (10, 30)),
        *(Cell("fruit", count, real) for count in (10, 100)),
        *(Cell("textures", count, real) for count in (10, 30, 100)),
        *(Cell("textures", count, small) for count in (30, 300)),
        *(Cell("cells", count, small) for count in (30, 300)),
        Cell("clothing", 100, ("imagenet",), ("blocks_5", "blocks_6")),
        Cell("cifar5", 30, ("imagenet",), ("blocks_5", "blocks_6")),
    ]


def main() -> None:
    """Truth, decisions, and the table."""
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--decisions", type=int, default=2, help="draws on which each command is run")
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--only", default="", help="cells whose name this regex finds")
    parser.add_argument("--final", action="store_true", help="the half that was kept aside, too")
    parser.add_argument("--work", type=Path, default=Path("build/advice"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    cells = [cell for number, cell in enumerate(all_cells()) if options.final or number % 2 == 0]
    cells = _fitting([cell for cell in cells if re.search(options.only, cell.name)], options)
    for cell in cells:
        for draw in range(options.draws):
            truth_of(cell, draw, options.data, options.work)
        for draw in range(options.decisions):
            decisions_of(cell, options.draws, draw, options.data, options.work)
    found = [
        decision
        for cell in cells
        for draw in range(options.decisions)
        for decision in decisions_of(cell, options.draws, draw, options.data, options.work)
    ]
    result = summary(cells, found, options)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "advice.json").write_text(json.dumps(result, indent=1) + "\n")
    (options.out / "advice.md").write_text(markdown(cells, found, result, options))
    print(f"wrote {options.out / 'advice.json'}")


def _fitting(cells: Sequence[Cell], options: argparse.Namespace) -> list[Cell]:
    """As many as fit into the hours, by the first draw of each, which is kept; says how long."""
    taken, hours = [], 0.0
    for cell in cells:
        one = truth_of(cell, 0, options.data, options.work)
        seconds = sum(ran.seconds for ran in one.values())
        left = options.draws - len(list((options.work / "truth" / cell.name).glob("*.json")))
        asked = options.decisions - len(list((options.work / "decisions" / cell.name).glob("*.json")))
        # A decision of compare is three runs of each arm, cold and warm; of adapt about one.
        needed = seconds * (left + 7 * asked) / 3600
        if hours + needed <= options.hours:
            taken.append(cell)
            hours += needed
        else:
            print(f"{cell.name}: left out, {needed:.1f} hours more than {options.hours:g}")
    print(f"about {hours:.1f} hours for {len(taken)} cells, without what was done before", flush=True)
    return taken


# truth


def truth_of(cell: Cell, draw: int, data: Path, work: Path) -> dict[str, Ran]:
    """Arm -> one run on a fresh draw; from the file where it was done before."""
    kept = work / "truth" / cell.name / f"{draw}.json"
    if kept.is_file():
        return {arm: Ran(**entry) for arm, entry in json.loads(kept.read_text()).items()}
    with tempfile.TemporaryDirectory(dir=work) as temporary:
        photos = deal(cell, draw, data, work, Path(temporary) / "photos")
        bench = make_bench(Path(temporary) / "run", work / "cache", "cpu")
        request = checked(CompareRequest, folder=photos, fit="letterbox", overlap="keep", **_asked(cell))
        experiment, _, _ = arranged(request, bench)
        found = {}
        for arm, stage in experiment.arms.items():
            started = time.perf_counter()
            _, images, _ = open_stage(experiment, stage, None, bench)
            record = run_stage(Run(experiment, stage, arm, draw, want_warm=True), images, 0.0, bench).record
            right = (np.array(record.predicted) == images.labels["test"]).astype(int)
            found[arm] = Ran("".join(map(str, right.tolist())), time.perf_counter() - started)
    _keep(kept, {arm: asdict(ran) for arm, ran in found.items()}, work)
    told = ", ".join(f"{arm} {100 * ran.bits.mean():.1f} %" for arm, ran in found.items())
    print(f"{cell.name}, draw {draw}: {told}", flush=True)
    return found


def _keep(place: Path, found: object, work: Path) -> None:
    """Pixels of a draw, a quarter of a gigabyte, are of no more use; features of its photos are."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(found))
    shutil.rmtree(work / "cache" / "stores", ignore_errors=True)


def _asked(cell: Cell) -> dict[str, object]:
    return {"parent": cell.parents, "train_from": cell.train_from or None}


@cache
def truth(cell: Cell, draws: int, work: Path) -> dict[str, Floats]:
    """Arm -> float64 (draws, test photos), 1 where right; the same photos in all draws."""
    every = [truth_of(cell, draw, Path(), work) for draw in range(draws)]
    return {arm: np.stack([one[arm].bits for one in every]) for arm in every[0]}


def covered(right: Mapping[str, Floats], seed: int) -> list[bool]:
    """Of intervals stated of some runs on some photos, whether each holds what all say.

    Of each arm, and of every two, as report/ways.py makes them. Photos are drawn with return, as from a
    population; runs are those of other draws of training photos.
    """
    generator, held = np.random.default_rng(seed), []
    first = next(iter(right.values()))
    for _ in range(SAMPLES):
        runs = generator.choice(len(first), min(RUNS, len(first)), replace=False)
        photos = generator.integers(first.shape[1], size=SAMPLED)
        some = {arm: bits[np.ix_(runs, photos)] for arm, bits in right.items()}
        for arm, bits in some.items():
            stated = pairs.over_both(mean_interval(bits.mean(1).tolist()), pairs.over_photos(bits.mean(0)))
            if stated.has_interval:  # else none is stated: all photos were answered alike
                held.append(_holds(within_fractions(stated), right[arm].mean()))
        for one, other in combinations(some, 2):
            here = pairs.paired_difference(*(some[arm].mean(1).tolist() for arm in (one, other)))
            beyond = pairs.over_photos((some[one] - some[other]).mean(0))
            stated = pairs.over_both(here, beyond)
            if stated.has_interval:
                held.append(_holds(stated, right[one].mean() - right[other].mean()))
    return held


def _holds(stated: Estimate, true: float) -> bool:
    return stated.low is not None and stated.high is not None and stated.low <= true <= stated.high


# decisions


def decisions_of(cell: Cell, draws: int, number: int, data: Path, work: Path) -> list[Decision]:
    """Of `adapt`, where it has parents to choose from, and of `compare`, on a draw that the truth has not."""
    kept = work / "decisions" / cell.name / f"{number}.json"
    if kept.is_file():
        return [Decision(**entry) for entry in json.loads(kept.read_text())]
    accuracies = {arm: bits.mean(1) for arm, bits in truth(cell, draws, work).items()}
    asked: dict[str, Callable[[Path, Path], tuple[str, list[str]]]] = {"compare": partial(_compared, cell)}
    if len(cell.parents) > 1:
        asked["adapt"] = _adapted
    found = []
    with tempfile.TemporaryDirectory(dir=work) as temporary:
        photos = deal(cell, 1000 + number, data, work, Path(temporary) / "photos")
        for command, ask in asked.items():
            started = time.perf_counter()
            advised, rivals = ask(photos, Path(temporary))
            if advised not in accuracies:  # adapt tries every parent that is installed
                print(
                    f"{cell.name}, {command}: {advised}, which is no arm of the cell: not judged", flush=True
                )
                continue
            regret, is_wrong = _regret(accuracies, advised)
            away = [abs(float((accuracies[arm] - accuracies[advised]).mean())) for arm in rivals]
            seconds = time.perf_counter() - started
            found.append(
                Decision(
                    cell=cell.name,
                    command=command,
                    draw=number,
                    advised=advised,
                    is_sure=not rivals,
                    regret=regret,
                    is_wrong=is_wrong,
                    matters=max(away, default=0.0) > MATTERS,
                    seconds=seconds,
                )
            )
            print(f"{cell.name}, {command}: {advised}, regret {100 * regret:.1f} points", flush=True)
    _keep(kept, [asdict(decision) for decision in found], work)
    return found


def _adapted(photos: Path, place: Path) -> tuple[str, list[str]]:
    """(the parent that adapt takes of all that are installed, nothing, as it always answers)."""
    made = adapt(
        photos,
        place / "m.safetensors",
        fit="letterbox",
        overlap="keep",
        cache=place.parent / "cache",
        run_folder=place / "adapt",
    )
    return made.parent, []


def _compared(cell: Cell, photos: Path, place: Path) -> tuple[str, list[str]]:
    """(the arm that compare advises, those that may be better)."""
    made = compare(
        photos,
        fit="letterbox",
        overlap="keep",
        runs=3,
        cache=place.parent / "cache",
        run_folder=place / "compare",
        **_asked(cell),  # type: ignore[arg-type]
    )
    ways = made.summary.ways
    if ways is not None:
        leaders = [ways.rows[0].arm, *(row.arm for row in ways.rivals)] if ways.rivals else []
        return ways.advised, [arm for arm in leaders if arm != ways.advised]
    # Two arms: what the report's answer rests on.
    [difference] = made.summary.accuracy
    best, other = ("transfer", SCRATCH) if difference.together.value > 0 else (SCRATCH, "transfer")
    return best, [] if difference.together.differs_from(0.0) else [other]


def _regret(accuracies: Mapping[str, np.ndarray], advised: str) -> tuple[float, bool]:
    """(how much less accurate than the best arm, whether that is more than a point and told apart)."""
    best = max(accuracies, key=lambda arm: float(accuracies[arm].mean()))
    lost = accuracies[best] - accuracies[advised]
    found = mean_interval(lost.tolist())
    return float(lost.mean()), bool(found.value > MATTERS and found.differs_from(0.0))


def _is_wrong_elsewhere(decision: Decision, options: argparse.Namespace) -> bool:
    """Whether the best arm is more than a point better, told apart for other draws and other test photos."""
    cell = next(cell for cell in all_cells() if cell.name == decision.cell)
    right = truth(cell, options.draws, options.work)
    best = max(right, key=lambda arm: float(right[arm].mean()))
    one, other = right[best], right[decision.advised]
    draws = pairs.paired_difference(one.mean(1).tolist(), other.mean(1).tolist())
    lost = pairs.over_both(draws, pairs.over_photos((one - other).mean(0)))
    return bool(lost.value > MATTERS and lost.differs_from(0.0))


# what is written


def summary(
    cells: Sequence[Cell], found: Sequence[Decision], options: argparse.Namespace
) -> dict[str, object]:
    """The figures of advice.json."""
    machine = environment(2, "cpu")
    regrets = np.array([decision.regret for decision in found])
    held = [
        one
        for number, cell in enumerate(cells)
        for one in covered(truth(cell, options.draws, options.work), number)
    ]
    undecided = [decision for decision in found if not decision.is_sure]
    compared = sum(decision.command == "compare" for decision in found)
    return {
        "decisions": len(found),
        "not_judged": sum(1 + (len(cell.parents) > 1) for cell in cells) * options.decisions - len(found),
        "wrong_share": float(np.mean([decision.is_wrong for decision in found])),
        "wrong_on_other_photos_too_share": float(
            np.mean([_is_wrong_elsewhere(decision, options) for decision in found])
        ),
        "cannot_tell_share": len(undecided) / compared,
        "cannot_tell_though_it_matters_share": sum(one.matters for one in undecided) / compared,
        "mean_regret_points": 100 * float(regrets.mean()),
        "worst_regret_points": 100 * float(regrets.max()),
        "rules": {f"always {rule}": _rule(rule, cells, found, options) for rule in (HEAD_ALONE, SCRATCH)},
        "intervals": len(held),
        "intervals_that_hold_share": float(np.mean(held)),
        "cells": [cell.name for cell in cells],
        "draws": options.draws,
        "kept_aside": not options.final,
        "machine": f"{machine.cores} cores of an {machine.cpu}",
        "date": now()[:10],
        "versions": machine.versions,
    }


def _rule(
    rule: str, cells: Sequence[Cell], found: Sequence[Decision], options: argparse.Namespace
) -> dict[str, object]:
    """What a constant rule costs, and how much less ours does: 95 % t-interval over cells."""
    lost, less = [], []
    for cell in cells:
        accuracies = {arm: bits.mean(1) for arm, bits in truth(cell, options.draws, options.work).items()}
        lost.append(_regret(accuracies, _arm(rule, cell))[0])
        less.append(lost[-1] - float(np.mean([one.regret for one in found if one.cell == cell.name])))
    gain = mean_interval([100 * value for value in less])
    return {
        "mean_regret_points": 100 * float(np.mean(lost)),
        "worst_regret_points": 100 * max(lost),
        "ours_is_less_by_points": [gain.value, gain.low, gain.high],
    }


def _arm(rule: str, cell: Cell) -> str:
    """The arm of a constant rule; where no ImageNet parent is at hand, transfer from the one that is."""
    if rule == SCRATCH or rule in cell.parents:
        return rule if rule == SCRATCH or len(cell.parents) + len(cell.train_from) > 1 else "transfer"
    return "transfer"


def markdown(
    cells: Sequence[Cell],
    found: Sequence[Decision],
    result: Mapping[str, object],
    options: argparse.Namespace,
) -> str:
    """The cells, the decisions, and what they cost."""
    lines = [
        "# Is the advice right?",
        "",
        f"`python benchmarks/advice.py --data DIR --draws {options.draws} --decisions {options.decisions}"
        f"{' --final' if options.final else ''}`, {result['machine']}, {result['date']}.",
        "Accuracy: mean over draws, in % (standard error). Regret: the best arm less the advised, points.",
        "",
        "| cell | arms | advised: regret |",
        "|---|---|---|",
    ]
    for cell in cells:
        accuracies = {arm: bits.mean(1) for arm, bits in truth(cell, options.draws, options.work).items()}
        arms = ", ".join(
            f"{arm} {100 * values.mean():.1f} ({100 * values.std(ddof=1) / len(values) ** 0.5:.1f})"
            for arm, values in sorted(accuracies.items(), key=lambda entry: -entry[1].mean())
        )
        told = "; ".join(
            f"{one.command}: {one.advised} {100 * one.regret:.1f}{'' if one.is_sure else ' (cannot tell)'}"
            for one in found
            if one.cell == cell.name
        )
        lines.append(f"| {cell.name} | {arms} | {told} |")
    lines += ["", "```json", json.dumps(result, indent=1), "```", ""]
    return "\n".join(lines)


# photos


def deal(cell: Cell, draw: int, data: Path, work: Path, place: Path) -> Path:
    """A folder with train, validation and test for this draw; test photos are the same in all draws."""
    pool, tested = _pool(cell.kind, data, work)
    for name, paths in pool.items():
        some = random.Random(f"{draw} {name}").sample(list(paths), min(cell.photos, len(paths)))
        validated = max(1, round(0.15 * len(some)))
        _copy(some[:validated], place / "validation" / name)
        _copy(some[validated:], place / "train" / name)
    for name, paths in tested.items():
        _copy(paths[: TESTED // len(tested)], place / "test" / name)
    return place


def _copy(paths: Iterable[Path], place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for path in paths:
        shutil.copy(path, place / f"{path.parent.name}-{path.name}")


@cache
def _pool(kind: str, data: Path, work: Path) -> tuple[Pool, Pool]:
    """(photos to draw from, photos to test on)."""
    if kind == "clothing":
        return (_classes(data / "clothing" / "train"), _classes(data / "clothing" / "test"))
    if kind == "cells":
        return _halves(_solar_cells())
    if kind == "fruit":
        return tuple(_fruit(data / "fruits-360" / side) for side in ("Training", "Test"))  # type: ignore[return-value]
    if kind.startswith("cifar"):
        return _halves(_cifar(int(kind.removeprefix("cifar")), data, work))
    return _halves(_textures(work))


def _classes(folder: Path) -> Pool:
    return {each.name: sorted(each.iterdir()) for each in sorted(folder.iterdir())}


def _halves(photos: Pool) -> tuple[Pool, Pool]:
    """Of each class the last 40 %, at most 200, test."""
    mixed = {name: random.Random(name).sample(list(paths), len(paths)) for name, paths in photos.items()}
    tested = {name: min(200, int(0.4 * len(paths))) for name, paths in mixed.items()}
    return (
        {name: paths[: len(paths) - tested[name]] for name, paths in mixed.items()},
        {name: paths[len(paths) - tested[name] :] for name, paths in mixed.items()},
    )


def _solar_cells() -> Pool:
    found: dict[str, list[Path]] = {"functional": [], "defective": []}
    for sample in open_source("elpv", package_folder("elpv_dataset")).samples:
        if sample.class_name in found:
            found[sample.class_name].append(sample.path)
    return found


def _fruit(folder: Path) -> Pool:
    found: dict[str, list[Path]] = {"apple": [], "pear": [], "noise": []}
    for each in sorted(folder.iterdir()):
        word = each.name.split()[0].lower()
        paths = sorted(each.iterdir())
        some = random.Random(each.name).sample(paths, min(30, len(paths)))
        found[word if word in found else "noise"] += some
    return {name: random.Random(name).sample(paths, len(paths)) for name, paths in found.items()}


def _cifar(classes: int, data: Path, work: Path) -> Pool:
    """Official test photos: no shipped parent was trained on any."""
    names = cifar100.inspect(data / "cifar-100-binary")[0]
    part = cifar100.read(data / "cifar-100-binary", "test.bin", names)
    found: dict[str, list[Path]] = {}
    for label in random.Random(classes).sample(range(len(names)), classes):
        place = work / "pools" / "cifar" / names[label]
        place.mkdir(parents=True, exist_ok=True)
        found[names[label]] = []
        for row in np.flatnonzero(part.labels == label).tolist():
            path = place / f"{row:05}.png"
            if not path.exists():
                Image.fromarray(part.pixels()[row]).save(path)
            found[names[label]].append(path)
    return found


def _textures(work: Path) -> Pool:
    """Three kinds of generated texture, which are told by their grain alone."""
    found: dict[str, list[Path]] = {}
    for label in range(3):
        place = work / "pools" / "textures" / f"grain_{label}"
        place.mkdir(parents=True, exist_ok=True)
        found[place.name] = [place / f"{number:04}.png" for number in range(700)]
        for number, path in enumerate(found[place.name]):
            if not path.exists():
                Image.fromarray(texture(label, np.random.default_rng([label, number]))).save(path)
    return found


if __name__ == "__main__":
    main()
