"""The model that a run starts from: where it lies, and that it is the right one."""

from __future__ import annotations

from pathlib import Path

from ..config.experiment import Experiment
from ..errors import RunFolderError
from ..files import shipped_path
from ..networks import model_file
from ..networks.model_file import ModelFile
from .bench import Bench
from .network import given_model
from .run import Run


def parent_file(run: Run, bench: Bench) -> ModelFile | None:
    """The model a run starts from, None for random weights.

    Raises ModelFileError, and RunFolderError if it is not the one that the run must start from.
    """
    if run.settings.parent is None:
        return None
    given = run.experiment.stages[run.settings.parent].model_file
    path = (
        shipped_path(given_model(given, bench.cache))
        if given
        else model_path(run.experiment, run.settings.parent, run.seed, bench)
    )
    file = model_file.read(path)
    if run.parent_digest not in (None, file.card.model_digest):
        raise RunFolderError(
            f"{path} is not the model that {run.title} is to start from",
            "put it back as it was, or start anew in another folder",
        )
    return file


def model_path(experiment: Experiment, stage: str, seed: int, bench: Bench) -> Path:
    """Model file of a stage in a run of this seed; preparation that is done once is named without a seed."""
    if experiment.arm_of(stage) is None:
        seed = experiment.parent_seed(seed)
        return bench.model_path(stage, None if seed == experiment.seed else seed)
    return bench.model_path(stage, seed)
