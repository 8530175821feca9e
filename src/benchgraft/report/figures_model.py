"""The figures about the model: blocks and what is frozen, and which classes are taken for which."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from . import words
from .accuracy import Confusion
from .drawing import BLUE, INK, MUTED, Picture, canvas, styled, svg
from .network import Network

DEEPEST_SHADE = 0.5
"""Of a cell: text on it can still be read."""


@styled
def blocks(network: Network) -> Picture:
    """The network block by block, its arithmetic, and what each stage freezes."""
    rows, stages = network.blocks, network.stages
    figure, (axes, marks) = canvas(4.3, columns=2, sharey=True, width_ratios=[3, max(1.5, 0.7 * len(stages))])
    for place, block in enumerate(rows):
        axes.barh(place, 100 * block.share, color=BLUE, height=0.6)
        if block.megaflops:
            axes.annotate(
                f"{100 * block.share:.1f}", (100 * block.share, place), (3, -3.5), textcoords="offset points"
            )
        for column, stage in enumerate(stages):
            is_frozen = block.name in stage.frozen
            if block.parameters:
                marks.plot(
                    [column],
                    [place],
                    "s",
                    markersize=9,
                    color=INK if is_frozen else "none",
                    markeredgecolor=INK if is_frozen else MUTED,
                )
    axes.set_yticks(range(len(rows)), [block.name for block in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1.25 * 100 * max(block.share for block in rows))
    axes.set_xlabel("arithmetic, %")
    for panel in (axes, marks):
        panel.tick_params(axis="y", length=0)
        panel.grid(visible=False, axis="y")
    marks.set_xticks(range(len(stages)), [stage.stage for stage in stages], rotation=40, ha="right")
    marks.set_xlim(-0.6, len(stages) - 0.4)
    marks.spines["left"].set_visible(False)
    told = "; ".join(
        f"{stage.stage} freezes {len(stage.frozen)} blocks with {100 * stage.frozen_share:.0f} % of the "
        f"arithmetic and trains {stage.trained_parameters:,} parameters"
        for stage in stages
    )
    shares = ", ".join(f"{stage.stage} {100 * stage.frozen_share:.0f} %" for stage in stages)
    see = (
        "Bars: each block's share of the arithmetic of one image. Filled squares: frozen at that stage; "
        f"together, of the arithmetic: {shares or 'no stage has run yet'}."
    )
    moving = [stage.stage for stage in stages if stage.moving_statistics]
    if moving:
        see += f" Running statistics of frozen BatchNorms move in {', '.join(moving)}."
    name, title = f"blocks_{network.name}", f"The network {network.name}, and what is frozen"
    return Picture(name, title, see, told + ".", svg(figure, name))


@styled
def confusion(found: list[Confusion]) -> Picture | None:
    """Rows are what an image shows, columns what the models said; mean number of images over runs."""
    shown = [entry for entry in found if entry.counts is not None]
    if not shown:
        return None
    size = len(shown[0].class_names)
    columns = 2 if size <= 4 and len(shown) > 1 else 1
    rows = -(-len(shown) // columns)
    figure, panels = canvas(rows * (2.5 if columns == 2 else 3.6), rows=rows, columns=columns)
    for panel, entry in zip(panels, shown, strict=False):
        _matrix(panel, entry, columns)
    for panel in panels[len(shown) :]:
        panel.set_visible(False)
    panels[0].set_ylabel("shown")
    told = ". ".join(
        f"{entry.name}: "
        + ", ".join(f"{pair.true} taken for {pair.said} {_count(pair.images)}" for pair in entry.pairs[:5])
        for entry in shown
    )
    return Picture(
        "confusion",
        "Which classes are mixed up",
        "Rows: what the test image shows; columns: the answer; mean number of images over runs. Everything "
        "off the diagonal is a mistake.",
        told + ".",
        svg(figure, "confusion"),
    )


def _matrix(panel: Axes, entry: Confusion, columns: int) -> None:
    """One arm's answers; the deeper a cell, the larger its share of the images of that class."""
    counts, size = np.asarray(entry.counts), len(entry.class_names)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    for row, column in np.ndindex(*counts.shape):
        panel.fill_between(
            [column - 0.48, column + 0.48],
            row - 0.48,
            row + 0.48,
            color=BLUE,
            alpha=float(DEEPEST_SHADE * shares[row, column]),
            linewidth=0,
        )
        panel.annotate(
            _count(float(counts[row, column])),
            (column, row),
            ha="center",
            va="center",
            fontweight="bold" if row == column else "normal",
        )
    panel.set_xticks(range(size), entry.class_names, rotation=0 if size <= 4 else 60)
    panel.set_yticks(range(size), entry.class_names, rotation=90 if columns == 2 else 0, va="center")
    panel.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xlabel="answer")
    panel.set_title(entry.name, fontsize=10)
    panel.set_aspect("equal")
    panel.grid(visible=False)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)


def _count(images: float) -> str:
    return (
        f"{images:.0f}"
        if images == round(images) or images >= 100
        else words.number(images).rstrip("0").rstrip(".")
    )
