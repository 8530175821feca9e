"""What `adapt --minutes` gains over the head alone, on the sets and splits of ordinary_photos.py.

python benchmarks/deeper.py --data DIR [--minutes 3] [--splits 5] [--only clothing,solar] [--parent NAME]
    [--work build/deeper] [--out benchmarks/results]

Each split is one call, as a user makes it, with its features computed anew; the ledger has the run of the
head alone beside the one that trains more. Writes deeper.md. Times are looked at: run it alone.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ordinary_photos import RESULTS, PhotoSet, all_sets, copy_photos

from benchgraft import adapt
from benchgraft.runfolder.ledger import Ledger, environment, now
from benchgraft.runfolder.records import RunRecord, VerdictRecord
from benchgraft.shortcuts import keep_freed_memory
from benchgraft.statistics.estimates import Estimate, mean_interval


@dataclass(frozen=True)
class Split:
    """One call. Accuracies are fractions of test photos."""

    parent: str
    train_from: str
    head: float
    deeper: float | None
    """None: nothing fitted into the minutes."""
    answered: float
    """Of the model that was kept."""
    is_kept: bool
    seconds: float
    """The whole call."""
    expected: float | None
    """Seconds of training, by the plan."""


def main() -> None:
    """Every set and split, then the table."""
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--only", default="clothing,solar", help="words, one of which is in a set's name")
    parser.add_argument("--parent", help="default: as adapt finds it")
    parser.add_argument("--work", type=Path, default=Path("build/deeper"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for each in all_sets():
        if not any(word in each.name for word in options.only.split(",")):
            continue
        splits = []
        for split in range(options.splits):
            copy_photos(each.deal(options.data, options.work, split), options.work / "photos")
            splits.append(one_split(each, options.parent, options.minutes, options.work))
            print(f"{each.name}, split {split + 1}: {splits[-1]}", flush=True)
        lines.append(_row(each, splits))
    (options.out / "deeper.md").write_text(markdown(lines, options.minutes, options.splits, options.parent))
    print(f"wrote {options.out / 'deeper.md'}")


def one_split(each: PhotoSet, parent: str | None, minutes: float, work: Path) -> Split:
    """One call, nothing cached but parents and graphs."""
    for name in ("cache/features", "cache/stores", "cache/choices", "cache/plans", "run"):
        shutil.rmtree(work / name, ignore_errors=True)
    started = time.perf_counter()
    made = adapt(
        work / "photos",
        work / "m.safetensors",
        parent=parent,
        minutes=minutes,
        overlap="drop-near",
        group_by=each.group_by,
        cache=work / "cache",
        run_folder=work / "run",
    )
    seconds = time.perf_counter() - started
    ledger = Ledger(work / "run")
    runs = {run.stage: run.accuracy for run in ledger.of_kind(RunRecord)}
    kept = [verdict.kept_deeper for verdict in ledger.of_kind(VerdictRecord)]
    return Split(
        made.parent,
        made.plan.train_from if made.plan else "",
        runs.get("head", runs["adapt"]),
        runs["adapt"] if "head" in runs else None,
        made.accuracy.value,
        any(kept),
        seconds,
        made.plan.seconds if made.plan else None,
    )


def markdown(rows: Sequence[str], minutes: float, splits: int, parent: str | None) -> str:
    """The table."""
    machine = environment(2, "cpu")
    versions = ", ".join(f"{name} {machine.versions[name]}" for name in ("benchgraft", "torch"))
    named = f" --parent {parent}" if parent else ""
    return "\n".join(
        [
            "# More than the head",
            "",
            f"`python benchmarks/deeper.py --data DIR --minutes {minutes:g} --splits {splits}{named}`,",
            f"{machine.cores} cores of an {machine.cpu}, {now()[:10]}, {versions}. Sets and splits are",
            "those of ordinary_photos.md; test photos stay the same. Difference: 95 % t-interval",
            "over splits, for other splits of these photos. Kept: by validation photos alone.",
            "",
            "| set | parent, from | head alone, % | trained from there, % | difference, points | kept "
            "| answered, % | whole call, s |",
            "|---|---|---:|---:|---:|---:|---:|---:|",
            *rows,
            "",
        ]
    )


def _row(each: PhotoSet, splits: Sequence[Split]) -> str:
    both = [split for split in splits if split.deeper is not None]
    gains = [100 * (split.deeper - split.head) for split in both if split.deeper is not None]
    cells = [
        each.name,
        " or ".join(sorted({f"{split.parent}, {split.train_from}" for split in splits})),
        _mean([split.head for split in splits]),
        _mean([split.deeper for split in both if split.deeper is not None]),
        _interval(mean_interval(gains)) if gains else "",
        f"{sum(split.is_kept for split in splits)} of {len(splits)}",
        _mean([split.answered for split in splits]),
        f"{statistics.median(split.seconds for split in splits):.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _mean(fractions: Sequence[float]) -> str:
    if not fractions:
        return ""
    low, mean, high = (100 * of(fractions) for of in (min, statistics.mean, max))
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"


def _interval(value: Estimate) -> str:
    interval = f" ({value.low:+.1f} to {value.high:+.1f})" if value.has_interval else ""
    return f"{value.value:+.1f}{interval}"


if __name__ == "__main__":
    main()
