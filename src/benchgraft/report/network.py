"""The network layer by layer: what is frozen at each stage, and its share of the arithmetic."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files

from ..part import Part
from ..runfolder.runs import RunFolder

HEAD = "dense_3"
"""The output layer, whose size follows the classes."""


class Layer(Part):
    """A layer of paper_cnn."""

    name: str
    output: list[int]
    parameters: int


class LayerShare(Part):
    """A row of table 1; arithmetic of one image forward, multiply and add counted as two."""

    name: str
    output: list[int]
    parameters: int
    megaflops: float
    share: float
    """Of the arithmetic of all layers."""


class StageFreeze(Part):
    """What one stage froze, by its own record."""

    stage: str
    frozen: list[str]
    """Layers with at least one frozen tensor."""
    moving_statistics: list[str]
    """Frozen layers whose running statistics were not frozen, as in the paper's stage 2."""
    frozen_share: float
    trained_parameters: int


class Network(Part):
    """Table 1 for the classes of this folder's arms, and its stages."""

    layers: list[LayerShare]
    stages: list[StageFreeze]


@lru_cache
def layers() -> tuple[Layer, ...]:
    """Of paper_cnn, as table 1 of the paper has them: with an output layer for 3 classes."""
    table = tomllib.loads((files(__package__) / "paper_cnn.toml").read_text("utf-8"))
    return tuple(Layer.model_validate(layer) for layer in table["layers"])


def network(folder: RunFolder) -> Network:
    """From table 1 and from the names of frozen tensors in the ledger."""
    table = [_for_classes(layer, _classes(folder)) for layer in layers()]
    work = {layer.name: _megaflops(layer) for layer in table}
    total = sum(work.values())
    shares = [
        LayerShare(
            name=layer.name,
            output=layer.output,
            parameters=layer.parameters,
            megaflops=work[layer.name],
            share=work[layer.name] / total,
        )
        for layer in table
    ]
    firsts = [*folder.preparation, *(arm.runs[0] for arm in folder.arms.values() if arm.runs)]
    stages = []
    for run in firsts:
        frozen = list(dict.fromkeys(name.rpartition(".")[0] for name in run.frozen))
        stages.append(
            StageFreeze(
                stage=run.stage,
                frozen=frozen,
                moving_statistics=[
                    name
                    for name in frozen
                    if name.startswith("batch_norm") and f"{name}.running_mean" not in run.frozen
                ],
                frozen_share=sum(work.get(name, 0.0) for name in frozen) / total,
                trained_parameters=run.trained_parameters,
            )
        )
    return Network(layers=shares, stages=stages)


def _classes(folder: RunFolder) -> int | None:
    """Of the arms' first images; None where no arm has any."""
    stages = [arm.stage for arm in folder.arms.values()]
    return next((len(images.class_names) for images in folder.images if images.stage in stages), None)


def _for_classes(layer: Layer, classes: int | None) -> Layer:
    """The row of the output layer for so many classes; all others are the same for any."""
    if layer.name != HEAD or classes is None:
        return layer
    [printed] = layer.output
    return layer.model_copy(update={"output": [classes], "parameters": layer.parameters // printed * classes})


def _megaflops(layer: Layer) -> float:
    """Every weight (parameters less one bias a filter) works once at every place of the output."""
    if not layer.name.startswith(("conv", "dense")):
        return 0.0
    *places, filters = layer.output
    area = places[0] * places[1] if places else 1
    return 2 * (layer.parameters - filters) * area / 1e6
