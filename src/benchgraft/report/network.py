"""The networks block by block: what is frozen at each stage, and its share of the arithmetic."""

from __future__ import annotations

from ..part import Part
from ..runfolder.ledger import BlockRecord, RunRecord
from ..runfolder.runs import RunFolder


class BlockShare(Part):
    """A block; arithmetic of one image forward, multiply and add counted as two."""

    name: str
    output: list[int]
    parameters: int
    megaflops: float
    share: float
    """Of the arithmetic of all blocks."""


class StageFreeze(Part):
    """What one stage froze, by its own record."""

    stage: str
    frozen: list[str]
    """Blocks with at least one frozen tensor."""
    moving_statistics: list[str]
    """Frozen blocks whose running statistics were not frozen, as in the paper's stage 2."""
    frozen_share: float
    trained_parameters: int


class Network(Part):
    """A network of this folder, with the classes of its arms, and the stages that train it."""

    name: str
    blocks: list[BlockShare]
    stages: list[StageFreeze]


def networks(folder: RunFolder) -> list[Network]:
    """As the ledger tells of them; none of a folder made by a version whose accounts did not."""
    arms = [arm.runs[0] for arm in folder.arms.values() if arm.runs]
    runs = [run for run in (*arms, *folder.preparation) if run.blocks]
    shown: dict[str, RunRecord] = {}
    for run in runs:  # the blocks of an arm's run, whose head has the classes that are compared
        shown.setdefault(run.network, run)
    firsts = [*folder.preparation, *arms]
    return [
        _network(name, run.blocks, [each for each in firsts if each.network == name])
        for name, run in shown.items()
    ]


def _network(name: str, blocks: list[BlockRecord], runs: list[RunRecord]) -> Network:
    total = sum(block.megaflops for block in blocks)
    shares = {block.name: block.megaflops / total for block in blocks}
    keep_statistics = {block.name for block in blocks if block.has_statistics}
    return Network(
        name=name,
        blocks=[
            BlockShare(
                name=block.name,
                output=block.output,
                parameters=block.parameters,
                megaflops=block.megaflops,
                share=shares[block.name],
            )
            for block in blocks
        ],
        stages=[_stage(run, shares, keep_statistics) for run in runs],
    )


def _stage(run: RunRecord, shares: dict[str, float], keep_statistics: set[str]) -> StageFreeze:
    frozen = list(dict.fromkeys(name.partition(".")[0] for name in run.frozen))
    still = {name.partition(".")[0] for name in run.frozen if name.endswith(".running_mean")}
    return StageFreeze(
        stage=run.stage,
        frozen=frozen,
        moving_statistics=[name for name in frozen if name in keep_statistics - still],
        frozen_share=sum(shares.get(name, 0.0) for name in frozen),
        trained_parameters=run.trained_parameters,
    )
