"""What engines.py has measured, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

OURS, EXACT = "benchgraft", 1e-4
ADAPT, PREDICT = "benchgraft, as `adapt`", "benchgraft, as `predict`"
DECODE = "decoding alone"
FROM_PIXELS, FROM_FILES, OF_PRODUCT = 0.97, 0.85, 0.45
FIRST = "imagenet"

Case = dict[str, Any]


def markdown(result: dict[str, Any]) -> str:
    """The whole file."""
    cases = [(name, case) for name, found in result["results"].items() for case in found]
    parts = [
        *_head(result),
        *_goals(cases),
        *_table("Features from pixels, batches of 64: photos/s", cases, "features", _rate("features", OURS)),
        *_table("Answers, one photo after another: ms a photo", cases, "answers", _milliseconds),
        *_table("From files: photos/s", cases, "files", _rate("files", ADAPT)),
        *_table("Features from pixels: share of the matrix product, %", cases, "features", _share),
        *_table("Largest difference from PyTorch, over the largest feature", cases, "features", _difference),
    ]
    return "\n".join(parts)


def _head(result: dict[str, Any]) -> list[str]:
    machine = result["machine"]
    names = ", ".join(
        f"`{name}` {network}" for name, network in result["networks"].items() if name != network
    )
    missing = (
        [f"Not installed, and left out: {', '.join(result['missing'])}.", ""] if result["missing"] else []
    )
    return [
        "# Features and answers beside other engines",
        "",
        f"`{result['command']}`, {machine['cores']} cores of an {machine['cpu']}, {result['date'][:10]}.",
        f"{result['photos']} JPEG photos of clothing, about 400 x 533; medians of {result['rounds']} rounds",
        "in which the engines take turns, at most three of them from files. A process for each network and",
        "number of threads, held to as many cores. Random weights, which change no time. Brackets: how many",
        "times as fast benchgraft is; below 1 the other wins.",
        "",
        f"{names}. Features: all but the head, of batches of 64; answers: the whole network and softmax,",
        "one photo at a time. ONNX Runtime (default options, threads named) and OpenVINO compute the graph",
        "that benchgraft has written; OpenVINO with float32 asked for, since on this processor it may take",
        "bfloat16 by itself: that is its last line, which is not exact. THROUGHPUT: requests of so many",
        "photos, several at once; LATENCY: one request of the batch. torch.compile: weights frozen into it.",
        "From files, others get photos as benchgraft decodes them, by a thread for each core, ahead of the",
        "engine; `adapt` also lists and hashes files, looks for near copies and writes features.",
        "",
        *missing,
        "Versions: " + ", ".join(f"{name} {text}" for name, text in sorted(result["versions"].items())) + ".",
        "",
    ]


def _goals(cases: list[tuple[str, Case]]) -> list[str]:
    """What was to be reached, and what was."""
    lines = ["## Goals", "", "| goal | network, threads | measured | reached |", "|---|---|---|---|"]
    for name, case in cases:
        best, ratio = _beside_best(case)
        lines.append(
            _goal(f"from pixels {FROM_PIXELS} of the best exact engine", name, case, ratio, FROM_PIXELS, best)
        )
    for name, case in cases:
        for path in (ADAPT, PREDICT):
            slower, possible = _bounds(case)
            ratio = _middle(case, "files", path) / slower
            more = f"{path}; {_middle(case, 'files', path) / possible:.2f} of what the cores can do"
            what = f"from files {FROM_FILES} of the slower of decoding and engine"
            lines.append(_goal(what, name, case, ratio, FROM_FILES, more))
    for name, case in cases:
        if name == FIRST:
            share = _of_product(case, OURS)
            lines.append(
                _goal(f"{OF_PRODUCT:.0%} of the matrix product", name, case, share, OF_PRODUCT, "from pixels")
            )
    return [
        *lines,
        "",
        "What the cores can do: decoding and engine compute on the same ones, so that a photo takes the time",
        "of both, and the slower of them alone can only be reached where the other costs nothing.",
        "",
    ]


def _goal(what: str, name: str, case: Case, value: float, wanted: float, more: str) -> str:
    reached = "yes" if value >= wanted else "no"
    return f"| {what} | {name}, {case['threads']} | {value:.2f} ({more}) | {reached} |"


def _beside_best(case: Case) -> tuple[str, float]:
    """(the fastest exact engine beside ours, ours over it)."""
    others = [
        name
        for name, difference in case["differences"].items()
        if name != OURS and difference < EXACT and name in case["photos_per_second"]["features"]
    ]
    best = max(others, key=lambda name: _middle(case, "features", name))
    return best, _middle(case, "features", OURS) / _middle(case, "features", best)


def _bounds(case: Case) -> tuple[float, float]:
    """Photos a second of (the slower of decoding and engine, both after each other on all cores)."""
    decoding, engine = _middle(case, "files", DECODE), _middle(case, "features", OURS)
    return min(decoding, engine), 1 / (1 / decoding + 1 / engine)


def _table(
    title: str, cases: list[tuple[str, Case]], what: str, cell: Callable[[Case, str], str]
) -> Iterator[str]:
    names = list(cases[0][1]["photos_per_second"][what])
    columns = [f"{name}, {case['threads']}" for name, case in cases]
    yield from (f"## {title}", "", "Network and threads:", "")
    yield f"| | {' | '.join(columns)} |"
    yield "|---|" + "---:|" * len(columns)
    for name in names:
        yield f"| {name} | {' | '.join(cell(case, name) for _, case in cases)} |"
    if what == "features" and title.endswith("%"):
        product = (f"{median(case['gemm_gflops']):.0f}" for _, case in cases)
        yield f"| the product, GFLOP/s | {' | '.join(product)} |"
        photo = (f"{case['megaflops']:.0f}" for _, case in cases)
        yield f"| a photo, MFLOP (multiply and add are two) | {' | '.join(photo)} |"
    yield ""


def _rate(what: str, ours: str) -> Callable[[Case, str], str]:
    def cell(case: Case, name: str) -> str:
        value = _middle(case, what, name)
        return f"{value:,.0f}" + ("" if name == ours else f" ({_middle(case, what, ours) / value:.2f})")

    return cell


def _milliseconds(case: Case, name: str) -> str:
    value = _middle(case, "answers", name)
    ratio = "" if name == OURS else f" ({_middle(case, 'answers', OURS) / value:.2f})"
    return f"{1000 / value:.1f}{ratio}"


def _share(case: Case, name: str) -> str:
    return f"{100 * _of_product(case, name):.0f}"


def _difference(case: Case, name: str) -> str:
    value = case["differences"][name]
    return "0" if value == 0 else f"{value:.0e}" + ("" if value < EXACT else ", not exact")


def _of_product(case: Case, name: str) -> float:
    return _middle(case, "features", name) * case["megaflops"] / 1000 / median(case["gemm_gflops"])


def _middle(case: Case, what: str, name: str) -> float:
    return median(case["photos_per_second"][what][name])
