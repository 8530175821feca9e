"""One table and one picture over all questions: how many times as fast benchgraft is as the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import paper
import retrain
import scratch
import speed
from cells import table

matplotlib.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

COLUMNS = {
    "Keras on TensorFlow": ("Keras/TensorFlow", "tf.data"),
    "plain PyTorch": ("PyTorch, channels last", "PyTorch", "Pillow, a thread for each core"),
}
"""Column -> who stands in it, the first that took part. PyTorch's folder data sets decode with Pillow."""
BEST = "the best of the rest"
ALL_CORES = ", a thread for each core"
COLOURS = {"Keras on TensorFlow": "#b4632a", "plain PyTorch": "#6b5ca5", BEST: "#444444"}
MARKS = {"Keras on TensorFlow": "o", "plain PyTorch": "s", BEST: "D"}


@dataclass(frozen=True)
class Job:
    """A piece of work that several programs did."""

    name: str
    ours: float
    others: dict[str, float]
    is_rate: bool
    """Pieces a second, more is better; otherwise seconds."""

    def factor(self, other: str) -> float:
        """How many times as fast benchgraft is; below 1 the other wins."""
        ratio = self.others[other] / self.ours
        return 1 / ratio if self.is_rate else ratio

    def columns(self) -> dict[str, str]:
        """Column -> who stands in it; the last one is the best of those without a column of their own."""
        found = {
            column: next(name for name in names if name in self.others)
            for column, names in COLUMNS.items()
            if any(name in self.others for name in names)
        }
        if rest := set(self.others) - set(found.values()):
            found[BEST] = min(rest, key=self.factor)
        return found


def jobs(folder: Path) -> Iterator[Job]:
    """From the JSON files that are there."""
    found = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    if "files" in found:
        lines = retrain.rows(found["files"])
        yield from _retraining(
            lines, "text", "cold", "to_target", "Retrain from JPEG files, program start and all"
        )
    if "retrain" in found:
        lines = retrain.rows(found["retrain"])
        for reading, layers in (("text", "two layers"), ("code", "one layer")):
            name = f"Retrain {layers} again, to {retrain.TARGET:.1%}"
            yield from _retraining(lines, reading, "warm", "to_target", name)
            name = f"Retrain {layers} again, {retrain.EPOCHS} epochs"
            yield from _retraining(lines, reading, "warm", "all_epochs", name)
    if "scratch" in found:
        lines = retrain.rows(found["scratch"], scratch.TARGET)
        name = f"Train from scratch to {scratch.TARGET:.0%}"
        yield from _job(name, {line["contender"]: line["to_target"] for line in lines}, False)
    if "train" in found:
        yield from _job("Train from scratch, photos a second", _best_rates(found["train"]), True)
    if "forward" in found:
        yield from _job("Answer, photos a second (exported file)", _best_rates(found["forward"]), True)
    if "decode" in found:
        yield from _job("Decode JPEG files, photos a second", _best_rates(found["decode"]), True)
    if "paper" in found and (both := paper.whole(paper.rows(found["paper"]), "recipe")):
        name = f"The whole paper, {paper.RUNS} runs an arm (Keras reckoned)"
        yield from _job(name, {"Keras/TensorFlow": both[0], retrain.OURS: both[1]}, False)


def _retraining(lines: list[dict[str, Any]], reading: str, ours: str, key: str, name: str) -> Iterator[Job]:
    """Ours with features cold or warm against uncached peers, and against features kept by hand alike."""
    times = {
        line["contender"]: line[key]
        for line in lines
        if line["reading"] == reading and line["features"] in (ours, "uncached")
    }
    yield from _job(name, times, False)


def _best_rates(measured: dict[str, Any]) -> dict[str, float]:
    """Contender -> photos a second at its best batch size."""
    return {
        name: max(value for key, value in values.items() if not key.startswith("features"))
        for name, values in speed.rows(measured)[1].items()
    }


def _job(name: str, figures: dict[str, float | None], is_rate: bool) -> Iterator[Job]:
    """Nothing where benchgraft did not get there, or nobody else did."""
    known = {who: value for who, value in figures.items() if value}
    mine = [value for who, value in known.items() if who.startswith(retrain.OURS)]
    others = {who: value for who, value in known.items() if not who.startswith(retrain.OURS)}
    if mine and others:
        yield Job(name, max(mine) if is_rate else min(mine), others, is_rate)


def summary_table(found: list[Job]) -> str:
    """Markdown: benchgraft's figure, and how many times as fast it is as each column."""
    header = ["work", "benchgraft", *COLUMNS, BEST]
    body = []
    for job in found:
        columns = job.columns()
        cells = [_times(job.factor(columns[column])) if column in columns else "" for column in COLUMNS]
        best = columns.get(BEST)
        cells.append(f"{_times(job.factor(best))} ({best})" if best else "")
        body.append([job.name, f"{job.ours:,.0f}" if job.is_rate else _seconds(job.ours), *cells])
    return table(header, body)


def _times(factor: float) -> str:
    """Near 1 with two decimals, so that who wins is seen."""
    return f"{factor:.2f}x" if 0.9 <= factor < 1.1 else f"{factor:.1f}x"


def _seconds(value: float) -> str:
    return f"{value / 60:.1f} min" if value > 100 else f"{value:.2f} s"


def draw(folder: Path, facts: str) -> None:
    """summary.md and summary.svg beside the JSON files; facts: machine, date, versions."""
    found = list(jobs(folder))
    if not found:
        return
    notes = (
        "How many times as fast benchgraft is; below 1 the other wins. Photos and threads are the same for "
        "all; start weights and recipe too, but in the whole paper, where each has its own. Photos a second "
        "are those of each one's best batch size. `again`: benchgraft's features come from its cache on "
        "disk; the others run the whole network, but for those that keep features by hand, in memory. Most "
        "of a time to 96.5% is the start of training, since all are there after one epoch. The table of each "
        "question tells more."
    )
    text = f"# benchgraft beside others\n\n{summary_table(found)}\n\n{notes}\n\n{facts}\n"
    (folder / "summary.md").write_text(text)
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.42 * len(found)), layout="constrained")
    _plot(axes, found)
    with plt.rc_context({"svg.hashsalt": "benchgraft"}):
        figure.savefig(folder / "summary.svg", metadata={"Date": None})
    plt.close(figure)


def _plot(axes: Axes, found: list[Job]) -> None:
    shown: set[str] = set()
    for row, job in enumerate(reversed(found)):
        for column, who in job.columns().items():
            axes.plot(
                job.factor(who),
                row,
                MARKS[column],
                color=COLOURS[column],
                markersize=8,
                label=None if column in shown else column,
            )
            shown.add(column)
            if column == BEST:
                place, text = (job.factor(who), row), who.replace("features ", "").removesuffix(ALL_CORES)
                axes.annotate(text, place, (0, 7), textcoords="offset points", ha="center", fontsize=7)
    axes.axvline(1, color="#1f6f8b", linewidth=2, label=retrain.OURS)
    axes.set_xscale("log")
    axes.set_xticks([0.2, 0.5, 1, 2, 5, 10, 20, 50], ["0.2x", "0.5x", "1x", "2x", "5x", "10x", "20x", "50x"])
    axes.minorticks_off()
    axes.set_yticks(range(len(found)), [job.name for job in reversed(found)])
    axes.set_ylim(-0.6, len(found) - 0.3)
    axes.grid(axis="x", color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("times as long as benchgraft takes; left of its line the other is faster")
    axes.legend(loc="lower right", frameon=True)
