"""The table and the bars of the question `paper`."""

from __future__ import annotations

from typing import Any

import paper
from cells import number, ratio, table


def table_of_stages(measured: dict[str, Any]) -> str:
    """Markdown, with what the figures hold and what not."""
    lines = paper.rows(measured)
    header = [
        "stage", "training images", "s a step", "steps measured, of an epoch's", "epochs (recipe)",
        "Keras, s", "benchgraft, s", "against cold", "against warm", "epochs (paper)", "Keras, s",
    ]  # fmt: skip
    body = []
    for line in lines:
        ours, epochs = line["ours"], line["epochs"]
        by_recipe = line["keras"]["recipe"]
        once = ours.get("cold", ours.get("from pixels"))
        body.append(
            [
                line["stage"],
                f"{line['images']:,}",
                number(line["step_seconds"], 3),
                f"{line['steps_measured']:,} of {line['steps_an_epoch']:,}",
                f"{epochs['recipe']}",
                f"~{by_recipe:,.0f}",
                ", ".join(f"{value:,.2f} {mode}" for mode, value in ours.items()) or "not run",
                ratio(by_recipe, once),
                ratio(by_recipe, ours.get("warm")),
                f"{epochs['paper']:.1f}" if epochs["paper"] else "not shown",
                f"~{line['keras']['paper']:,.0f}" if "paper" in line["keras"] else "",
            ]
        )
    return table(header, body) + "\n\n" + "\n\n".join(_notes(measured, lines))


def _notes(measured: dict[str, Any], lines: list[dict[str, Any]]) -> list[str]:
    notes = [
        "`~`: reckoned from the steps measured, a validation pass after each epoch, and the warm-up. Keras "
        f"runs the whole network on decoded, enlarged images at batch {measured['batch']} with Adam; "
        "benchgraft's seconds are those of its run folder at its own batch size and recipe, validation, "
        "test and model file included; where that was made at another time or on another machine, so "
        "were they. No accuracy stands here: Keras did not train to the end."
    ]
    for which, told in (
        ("recipe", "the same numbers of epochs"),
        ("paper", "the paper's where known, so that the ratio holds the recipe too"),
    ):
        both = paper.whole(lines, which)
        if both:
            keras, ours = both
            notes.append(
                f"Preparation and {paper.RUNS} runs of both arms, Keras with {told}: ~{keras / 60:,.0f} min; "
                f"benchgraft by its recipe: {ours / 60:,.1f} min ({keras / ours:.1f}x)."
            )
    return notes


def bars(measured: dict[str, Any]) -> tuple[list[str], list[float], str]:
    """Labels, seconds, and what they are."""
    labels, values = [], []
    for line in paper.rows(measured):
        labels.append(f"Keras, {line['stage']}")
        values.append(line["keras"]["recipe"])
        for mode, seconds in line["ours"].items():
            labels.append(f"benchgraft, {line['stage']}, {mode}")
            values.append(seconds)
    return labels, values, "seconds for benchgraft's number of epochs; Keras reckoned from a part"
