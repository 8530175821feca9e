"""One run of a stage of an experiment: which one it is, apart from where it takes place."""

from __future__ import annotations

from dataclasses import dataclass

from ..config.experiment import DataConfig, Experiment, Stage
from ..runfolder.ledger import RunRecord


@dataclass(frozen=True, eq=False)
class Run:
    """Plain data, which can be sent to another process or machine."""

    experiment: Experiment
    stage: str
    arm: str | None
    """None for a preparation stage."""
    seed: int
    want_warm: bool = False
    """Take the features from the cache; else they are computed anew even where they are there."""
    cold: RunRecord | None = None
    """The run whose model a warm one must give again, before it takes its place."""
    parent_digest: str | None = None
    """Of the model that it must start from; None: of whichever its parent stage has left."""

    @property
    def settings(self) -> Stage:
        """The stage as the experiment has it."""
        return self.experiment.stages[self.stage]

    @property
    def data(self) -> DataConfig:
        """The data set of the stage as the experiment has it."""
        return self.experiment.data[self.settings.data]

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.arm or self.stage}, seed {self.seed}"
