"""From matplotlib to inline SVG that follows the page: its colours, its font, light and dark.

Colours are drawn as fixed values and then replaced by the page's CSS variables (the value stays as what is
used outside the page). Arms differ in marker, hatch and label too, so no figure needs colour vision.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..runfolder.runs import SCRATCH, Variant
from .summary import Summary
from .words import named

INK, MUTED, RULE, PAPER = "#1b1c1d", "#6a6d70", "#d9dbdd", "#fdfdfc"
LOOKS = {
    "scratch": ("#b3541e", "o", "-"),
    "cold": ("#1f6aa5", "s", "--"),
    "warm": ("#12806a", "^", ":"),
    "pixels": ("#7a5195", "D", "-."),
}
"""Colour, marker and dashes of scratch and of the variants of a transfer arm; CSS names too."""
BLUE = LOOKS["cold"][0]
_VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper"} | {
    colour: name for name, (colour, _, _) in LOOKS.items()
}
MINUTES_FROM_SECONDS = 600
WIDTH_INCHES = 4.6
"""About the width of a phone at one CSS pixel a point: text then has its size there and grows elsewhere."""
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "font.size": 9.5,
    "font.family": "DejaVu Sans",
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "hatch.color": PAPER,
    "hatch.linewidth": 1.0,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}

styled = mpl.rc_context(_SETTINGS)
"""Decorates every function that draws: most settings are read when a thing is made, not when it is saved."""


@dataclass(frozen=True)
class Picture:
    """One figure: its name (an anchor), title, the line that says what to see, alternative text, SVG."""

    name: str
    title: str
    see: str
    alt: str
    svg: str


@dataclass(frozen=True)
class Look:
    """How one arm and variant is drawn everywhere."""

    label: str
    colour: str
    marker: str
    dashes: str


def look(summary: Summary, arm: str, variant: Variant) -> Look:
    """The same arm looks the same in every figure; several transfer arms are told apart by their names, and
    cold runs of all but the first by their colour too."""
    if arm == SCRATCH:
        return Look(SCRATCH, *LOOKS[SCRATCH])
    is_first = arm == next((table.arm for table in summary.tables if table.arm not in (None, SCRATCH)), arm)
    kind: Variant = variant if is_first or variant != "cold" else "pixels"
    return Look(named(arm_name(summary, arm), variant), *LOOKS[kind])


def arm_name(summary: Summary, arm: str) -> str:
    """What an arm is called where there is one transfer arm only, whatever its name."""
    rivals = {table.arm for table in summary.tables if table.arm not in (None, SCRATCH)}
    return "transfer" if arm != SCRATCH and len(rivals) == 1 else arm


def legend(figure: Figure, axes: Axes, columns: int = 2, **options: Any) -> None:
    """Above the axes."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=columns, **options)


def label_rows(axes: Axes, labels: list[str]) -> None:
    """Names at the left, the first row on top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)


def time_unit(seconds: list[float]) -> tuple[float, str]:
    """What to divide by, and its name."""
    return (60.0, "minutes") if max(seconds, default=0.0) >= MINUTES_FROM_SECONDS else (1.0, "seconds")


def canvas(
    height: float,
    rows: int = 1,
    columns: int = 1,
    width_ratios: Sequence[float] | None = None,
    height_ratios: Sequence[float] | None = None,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    """A figure of the width that all have, and its axes row by row."""
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    axes = figure.subplots(
        rows, columns, squeeze=False, sharey=sharey, width_ratios=width_ratios, height_ratios=height_ratios
    )
    return figure, list(axes.flat)


def svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element; equal figures give equal text. `name` keeps ids apart on a page."""
    file = io.StringIO()
    settings = {**_SETTINGS, "svg.hashsalt": name}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")  # the page's fonts have it
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"font: ([\d. ]*)([\d.]+px) [^;\"]+", r"font: \1\2 system-ui, sans-serif", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", text)
    text = re.sub(r'<svg ([^>]*?)width="[\d.]+pt" height="[\d.]+pt"', r"<svg \1", text)
    text = re.sub(
        r'<svg height="[\d.]+pt" version="1.1" (.*?)width="[\d.]+pt"', r'<svg version="1.1" \1', text
    )
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable}, {colour})")
    return text.strip()
