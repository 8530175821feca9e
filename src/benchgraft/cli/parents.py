"""The command that shows what there is to transfer from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config.requests import ParentsRequest
from .options import Given, JsonOption, asks
from .output import print_json, print_lines

if TYPE_CHECKING:
    from ..tasks.parents import ParentFacts


@asks(ParentsRequest)
def parents(given: Given, json: JsonOption = False) -> None:
    """List what there is to transfer from: source of weights, licence, size, input, MFLOPs, blocks.

    Example: benchgraft parents    or    benchgraft parents timm/resnet18 --measure
    """
    from ..tasks.parents import parents as run

    result = run(**given)
    if json:
        print_json(result)
        return
    for parent in result.parents:
        print_lines(_lines(parent))
    if given.get("measure"):
        print_lines(
            [
                f"photos a second: features before the head, {result.batch} at a time, {result.device}, "
                f"threads: {result.threads}"
            ]
        )


def _lines(parent: ParentFacts) -> list[str]:
    """For people: the name, and what there is to know of it."""
    on = f", trained on {parent.trained_on}" if parent.trained_on else ""
    size = f", {parent.bytes / 1e6:.1f} MB" if parent.bytes is not None else ""
    licence = f"{parent.licence}, stated by {parent.stated_by}" if parent.licence else "not stated"
    rate = "" if parent.photos_a_second is None else f", {parent.photos_a_second:,.0f} photos/s here"
    chain = f"{len(parent.blocks)} ({' '.join(parent.blocks)})"
    if not parent.has_blocks:
        chain = "only two, backbone and head: its inner blocks are not known, so it is frozen as a whole"
    return [
        f"{parent.name}: {parent.network}{on}",
        f"  weights: {'' if parent.is_here else 'not here: '}{parent.source}{size}",
        f"  licence: {licence}",
        f"  input: {parent.side} x {parent.side} pixels; {parent.megaflops:,.0f} MFLOPs a photo{rate}",
        f"  blocks: {chain}",
    ]
