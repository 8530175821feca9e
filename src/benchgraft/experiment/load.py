"""An experiment by its name or file, with all that can be known of it before it runs checked."""

from __future__ import annotations

from ..config import experiment_file
from ..config.experiment import Experiment
from ..errors import ConfigError, UserError
from ..networks.build import block_names
from ..networks.freeze import match_blocks
from .network import stage_network


def load(name: str, quick: bool = False) -> Experiment:
    """As config.experiment_file.read has it, its networks and patterns of blocks checked too.

    Raises ConfigError.
    """
    experiment = experiment_file.read(name, quick)
    check_networks(experiment, name)
    return experiment


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
