"""The network of a stage: what the stage says, else its parent's, else the paper's."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.network import PAPER, NetworkSpec
from ..config.parents import is_name, network_of
from ..networks import model_file
from ..networks.build import resolved
from ..networks.parents import parent_place, spec_of

if TYPE_CHECKING:
    from ..config.experiment import Experiment, Stage


def asked_network(experiment: Experiment, stage: Stage) -> NetworkSpec | None:
    """What the stage itself says; None: that it is its parent's."""
    if stage.parent and not stage.network:
        return None
    return experiment.networks.get(stage.network or PAPER.name, PAPER)


def stage_network(experiment: Experiment, stage: str, cache: Path | None = None) -> NetworkSpec:
    """Of a stage's own model. Raises ModelFileError where it comes from a file that cannot be used.

    cache: keeps the model file that a parent by a name of timm becomes; without one that parent is told by
    its name, and its weights need not be there.
    """
    asked = experiment.stages[stage]
    if asked.model_file:
        return _given_network(asked.model_file, cache)
    spec = asked_network(experiment, asked)
    if spec is None:
        assert asked.parent is not None
        return stage_network(experiment, asked.parent, cache)
    return resolved(spec)


@functools.cache
def given_model(given: str, cache: Path) -> str:
    """Where a stage's `model_file` is: a path, or the name of a shipped one. A parent by a name of timm
    becomes a file in the cache, once a process: no run pays for that.

    Raises ModelFileError where weights are missing, or for a word that is neither a name nor a file.
    """
    place = parent_place(given, None, cache)
    return place if is_name(given) else given


def _given_network(given: str, cache: Path | None) -> NetworkSpec:
    network = network_of(given) if is_name(given) else None
    if network is not None and cache is None:
        return spec_of(network, None)
    return model_file.read_card(Path(given_model(given, cache or Path()))).network
