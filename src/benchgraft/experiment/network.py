"""The network of a stage: what the stage says, else its parent's, else the paper's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config.network import PAPER, NetworkSpec
from ..errors import ConfigError, UserError
from ..files import shipped_path
from ..networks import model_file
from ..networks.build import block_names, resolved
from ..networks.freeze import match_blocks

if TYPE_CHECKING:
    from .config import Experiment, Stage


def asked_network(experiment: Experiment, stage: Stage) -> NetworkSpec | None:
    """What the stage itself says; None: that it is its parent's."""
    if stage.parent and not stage.network:
        return None
    return experiment.networks.get(stage.network or PAPER.name, PAPER)


def stage_network(experiment: Experiment, stage: str) -> NetworkSpec:
    """Of a stage's own model. Raises ModelFileError where it comes from a file that cannot be used."""
    asked = experiment.stages[stage]
    if asked.model_file:
        return model_file.read(shipped_path(asked.model_file)).card.network
    spec = asked_network(experiment, asked)
    if spec is None:
        assert asked.parent is not None
        return stage_network(experiment, asked.parent)
    return resolved(spec)


def check_networks(experiment: Experiment, where: str) -> None:
    """Raises ConfigError for a network that cannot be, or is not its parent's, and for patterns of blocks
    that match none.

    Of a parent's file that is not there yet nothing can be said.
    """
    for name, stage in experiment.stages.items():
        try:
            spec = stage_network(experiment, name)
            before = stage_network(experiment, stage.parent) if stage.parent else spec
        except ConfigError as error:
            raise ConfigError(f"{where}: stages.{name}: {error.what}", *error.details) from None
        except UserError:
            continue
        if (spec.family, spec.name) != (before.family, before.name):
            raise ConfigError(
                f"{where}: stages.{name} is a {spec.name}, and its parent {stage.parent} a {before.name}",
                "leave out the network of the stage: it is its parent's",
            )
        match_blocks(block_names(spec), stage.freeze, f"{where}: stages.{name}.freeze")
