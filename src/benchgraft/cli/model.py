"""The command that prints table 1."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import UserError


def model(
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 3,
    stage: Annotated[str | None, typer.Option(help="Mark what is frozen at this stage.")] = None,
    experiment: Annotated[str, typer.Option(help="The experiment that has the stage.")] = "paper",
) -> None:
    """Print table 1: layer, output shape, parameters, MFLOPs. Example: benchgraft model --stage stage3"""
    from ..config.network import PAPER
    from ..errors import did_you_mean
    from ..experiment.load import load
    from ..networks.build import build
    from ..networks.cost import block_costs
    from ..networks.freeze import match_blocks

    network = build(PAPER, classes, None)
    frozen: list[str] = []
    if stage is not None:
        stages = load(experiment).stages
        if stage not in stages:
            raise UserError(f'--stage "{stage}" is not in {experiment}', did_you_mean(stage, stages))
        frozen = match_blocks(network.block_names, stages[stage].freeze)
    rows = block_costs(network)
    print(f"{'layer':24}{'output':>14}{'parameters':>12}{'MFLOPs':>9}" + ("  frozen" if stage else ""))
    for row in rows:
        output = ", ".join(map(str, row.output))
        mark = "  yes" if row.name in frozen else ""
        print(f"{row.name:24}{output:>14}{row.parameters:>12,}{row.megaflops:>9.2f}{mark}")
    total = sum(row.parameters for row in rows)
    print(f"{'total':38}{total:>12,}{sum(row.megaflops for row in rows):>9.2f}")
