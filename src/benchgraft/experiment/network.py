"""The network of a stage: what the stage says, else its parent's, else the paper's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..config.network import PAPER, NetworkSpec
from ..networks import model_file
from ..networks.build import resolved

if TYPE_CHECKING:
    from ..config.experiment import Experiment, Stage


def asked_network(experiment: Experiment, stage: Stage) -> NetworkSpec | None:
    """What the stage itself says; None: that it is its parent's."""
    if stage.parent and not stage.network:
        return None
    return experiment.networks.get(stage.network or PAPER.name, PAPER)


def stage_network(experiment: Experiment, stage: str) -> NetworkSpec:
    """Of a stage's own model. Raises ModelFileError where it comes from a file that cannot be used."""
    asked = experiment.stages[stage]
    if asked.model_file:
        return model_file.read_card(Path(asked.model_file)).network
    spec = asked_network(experiment, asked)
    if spec is None:
        assert asked.parent is not None
        return stage_network(experiment, asked.parent)
    return resolved(spec)
