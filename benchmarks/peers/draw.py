"""Tables in Markdown and pictures in SVG from the JSON files of a results folder."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import draw_files
import draw_ordinary
import draw_paper
import draw_summary
import matplotlib
import retrain
import scratch
import speed
from cells import number, ratio, table

matplotlib.use("svg")
from matplotlib import pyplot as plt

TITLES = {
    "retrain": "Retraining: 3 classes x 400 photos from the same pretrained weights",
    "files": "Retraining in a new process, from 1,470 JPEG files, everything counted",
    "scratch": "Training from scratch to an accuracy, 3 classes x 400 photos",
    "train": "Training from scratch, images a second",
    "forward": "Answers from pixels in memory, images a second",
    "decode": "JPEG files to pixels, photos a second",
    "paper": "The whole paper: its procedure in Keras, stage by stage",
}
OURS, PEER = "#1f6f8b", "#b9bec4"


def draw_all(folder: Path) -> None:
    """NAME.md and NAME.svg beside every NAME.json of a question, and summary.md and .svg over all of them."""
    measured_all = []
    for question, title in TITLES.items():
        path = folder / f"{question}.json"
        if not path.exists():
            continue
        measured = json.loads(path.read_text())
        body = TABLES.get(question, _speeds)(measured)
        text = f"# {title}\n\n{body}\n\n{_facts(measured)}\n"
        path.with_suffix(".md").write_text(text)
        bars = BARS.get(question, _speed_bars)(measured)
        _picture(path.with_suffix(".svg"), title, *bars)
        measured_all.append(measured)
    if (folder / "ordinary.json").exists():
        text = draw_ordinary.markdown(json.loads((folder / "ordinary.json").read_text()))
        (folder / "ordinary.md").write_text(text)
    if measured_all:
        draw_summary.draw(folder, _summary_facts(measured_all))


def _ours(lines: list[dict[str, Any]], reading: str, variant: str) -> dict[str, Any]:
    for line in lines:
        if line["contender"] == retrain.OURS and (line["reading"], line["features"]) == (reading, variant):
            return line
    return {}


def _retraining(measured: dict[str, Any]) -> str:
    lines = retrain.rows(measured)
    epochs, common = measured["epochs"], lines[0]["common"]
    header = [
        "trains", "contender", "features", f"s to {retrain.TARGET:.1%}", "against cold", "against warm",
        f"s to {common:.1%}", f"s for {epochs} epochs", "against warm", "warm-up s in it",
        "validation", "test",
    ]  # fmt: skip
    body = []
    for line in lines:
        cold, warm = (_ours(lines, line["reading"], variant) for variant in ("cold", "warm"))
        is_ours = line["contender"].startswith(retrain.OURS)
        # what a peer keeps by hand is compared with what is kept, all else with both
        body.append(
            [
                line["reading"],
                line["contender"],
                line["features"],
                number(line["to_target"]),
                "" if is_ours or line["features"] == "warm" else _against(line, cold, "to_target"),
                "" if is_ours or line["features"] == "cold" else _against(line, warm, "to_target"),
                number(line["to_common"]),
                number(line["all_epochs"]) if line["all_epochs"] else "",
                "" if is_ours or line["features"] == "cold" else _against(line, warm, "all_epochs"),
                number(line["warm_up"]),
                f"{line['validation_accuracy']:.1%}",
                f"{line['test_accuracy']:.1%}",
            ]
        )
    notes = (
        "`text` trains the last two layers, `code` the output layer alone, `own` is benchgraft's stage 3 (20 "
        "epochs, batch 64). `cold` computes the features, `warm` has them, `uncached` runs the whole "
        f"network each epoch. Uncached contenders ran all {epochs} epochs in the first round and fewer in "
        "the others, whose remaining epochs are reckoned from their median epoch. `validation` is the best "
        "epoch's, `test` the last one's, of photos that are looked at when the clock has stopped. Imports "
        "are not in the times. benchgraft trains full batches only, 37 an epoch; the others 38, the last one "
        "half as large."
    )
    return table(header, body) + "\n\n" + notes


def _against(line: dict[str, Any], ours: dict[str, Any], key: str) -> str:
    return ratio(line[key], ours.get(key))


def _speeds(measured: dict[str, Any]) -> str:
    question = measured["question"]
    keys, medians = speed.rows(measured)
    ours = next((v for k, v in medians.items() if k.startswith("benchgraft")), {})
    gemm = median(measured["gemm_gflops"])
    body = []
    for name, values in medians.items():
        cells = [name]
        for key in keys:
            value = values.get(key)
            mine = name.startswith("benchgraft") or not value or key not in ours
            cells.append(
                (f"{value:,.0f}" if value else "") + ("" if mine else _speed_ratio(value, ours[key]))
            )
        if question != "decode":
            best = max(value for key, value in values.items() if not key.startswith("features"))
            cells.append(f"{best * measured['megaflops'] / 1e3 / gemm:.0%}")
        body.append(cells)
    named = [key if not key.isdigit() else f"batch {key}" for key in keys]
    header = ["contender", *named, *([] if question == "decode" else ["of the matrix product"])]
    return table(header, body)


def _speed_ratio(value: float, ours: float) -> str:
    return f" ({ours / value:.2f}x" + (", peer wins)" if value > ours else ")")


def _facts(measured: dict[str, Any]) -> str:
    machine = measured["machine"]
    versions: dict[str, str] = {}
    for results in measured["results"].values():
        versions |= results[0]["versions"]
    gemm = measured["gemm_gflops"]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, {machine['system']}; "
        f"{measured['date']}; medians of {measured['rounds']} interleaved rounds, each contender in a "
        f"process of its own. Matrix product in the same run: {median(gemm):,.0f} GFLOP/s "
        f"({min(gemm):,.0f} to {max(gemm):,.0f}). Ratios: how many times benchgraft is faster.",
        "Versions: " + ", ".join(f"{name} {text}" for name, text in sorted(versions.items())) + ".",
    ]
    lines += [
        f"Did not run: {name}: {reason.splitlines()[-1]}" for name, reason in measured["failed"].items()
    ]
    return "\n\n".join(lines)


def _summary_facts(measured: list[dict[str, Any]]) -> str:
    machine = measured[0]["machine"]
    dates = sorted({each["date"][:10] for each in measured})
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; {' and '.join(dates)}; medians of "
        f"{min(each['rounds'] for each in measured)} interleaved rounds."
    )


def _retraining_bars(measured: dict[str, Any]) -> tuple[list[str], list[float], str]:
    lines = [line for line in retrain.rows(measured) if line["reading"] == "text" and line["to_target"]]
    labels = [f"{line['contender']}, {line['features']}" for line in lines]
    return (
        labels,
        [line["to_target"] for line in lines],
        f"seconds to {retrain.TARGET:.1%} validation accuracy",
    )


def _speed_bars(measured: dict[str, Any]) -> tuple[list[str], list[float], str]:
    keys, medians = speed.rows(measured)
    key = keys[0] if len(keys) == 1 else next(k for k in reversed(keys) if not k.startswith("features"))
    label = "images a second" + (f", batch {key}" if key.isdigit() else "")
    return list(medians), [values[key] for values in medians.values()], label


def _picture(path: Path, title: str, labels: list[str], values: list[float], axis: str) -> None:
    figure, axes = plt.subplots(figsize=(9, 0.8 + 0.4 * len(labels)), layout="constrained")
    colours = [OURS if label.startswith("benchgraft") else PEER for label in labels]
    bars = axes.barh(labels[::-1], values[::-1], color=colours[::-1])
    axes.bar_label(bars, fmt=lambda v: f"{v:,.2f}" if v < 100 else f"{v:,.0f}", padding=4)
    axes.set_xlabel(axis)
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    with plt.rc_context({"svg.hashsalt": "benchgraft"}):
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


TABLES = {
    "retrain": _retraining,
    "files": draw_files.table_of_parts,
    "scratch": scratch.table_of_times,
    "paper": draw_paper.table_of_stages,
}
BARS = {
    "retrain": _retraining_bars,
    "files": draw_files.bars,
    "scratch": scratch.bars,
    "paper": draw_paper.bars,
}
